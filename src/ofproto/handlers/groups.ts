/** The group table. OpenFlow 1.3.5 6.7, 7.3.4.2, 7.3.5.8 to 7.3.5.10; bucket commands of 1.5 */
import { clock } from '../../base/clock.ts';
import {
  type Bucket,
  type GroupMod,
  OFPG_ALL,
  OFPG_ANY,
  OFPG_MAX,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
  OFPG15_BUCKET_LAST,
} from '../../openflow/messages-ext.ts';
import type { Bridge } from '../bridge.ts';
import { checkFlowActions } from '../check.ts';
import { Group } from '../group.ts';
import type { Handler } from './index.ts';

export const groupMod: Handler<'group_mod'> = (bridge, conn, request) => {
  const error = checkGroupMod(bridge, request.message) ?? applyGroupMod(bridge, request.message);
  if (error) conn.error(request, error);
};

/** What packets a bucket gets is not known. */
const BUCKET = { match: null, key: null, table: 255, version: 6 } as const;

export function checkGroupMod(bridge: Bridge, mod: GroupMod): string | null {
  if (hasDuplicateIds(mod.buckets)) return 'OFPGMFC_BAD_BUCKET';
  if (mod.props && !METHODS.has(mod.props.selectionMethod)) return 'OFPBPC_BAD_VALUE';
  for (const bucket of mod.buckets) {
    // Groups that a bucket names may come later.
    const actions = bucket.actions.filter((a) => a.kind !== 'group');
    const error = checkFlowActions(bridge, actions, BUCKET);
    if (error) return error;
  }
  return null;
}

/** Selection methods that select groups may ask for. */
const METHODS: ReadonlySet<string> = new Set(['', 'hash', 'dp_hash']);

export function applyGroupMod(bridge: Bridge, mod: GroupMod): string | null {
  const { groupId: id, command } = mod;
  if (command === 'delete') {
    deleteGroups(bridge, id);
    return null;
  }
  if (id > OFPG_MAX) return 'OFPGMFC_INVALID_GROUP';
  const old = bridge.groups.get(id);
  if (command === 'add' && old) return 'OFPGMFC_GROUP_EXISTS';
  if (command !== 'add' && command !== 'add_or_mod' && !old) return 'OFPGMFC_UNKNOWN_GROUP';
  let buckets = mod.buckets;
  let type = mod.groupType;
  let props = mod.props;
  if (old && (command === 'insert_bucket' || command === 'remove_bucket')) {
    const changed = command === 'insert_bucket' ? inserted(old, mod) : removed(old, mod);
    if (typeof changed === 'string') return changed;
    buckets = changed;
    type = old.type;
    props = old.props;
  }
  if (type === 'indirect' && buckets.length > 1) return 'OFPGMFC_INVALID_GROUP';
  if (hasDuplicateIds(buckets)) return 'OFPGMFC_BUCKET_EXISTS';
  bridge.groups.set(id, new Group(id, type, buckets, props, old?.createdMs));
  bridge.backer.revalidateAll();
  return null;
}

function deleteGroups(bridge: Bridge, id: number): void {
  const ids = id === OFPG_ALL ? [...bridge.groups.keys()] : [id];
  for (const one of ids) {
    if (!bridge.groups.delete(one)) continue;
    for (const rule of [...bridge.tables]) if (rule.outputsTo(null, one)) bridge.tables.remove(rule, 'group_delete');
    bridge.backer.revalidateAll();
  }
}

function inserted(old: Group, mod: GroupMod): readonly Bucket[] | string {
  const buckets = old.desc().buckets;
  if (mod.commandBucketId === OFPG15_BUCKET_FIRST) return [...mod.buckets, ...buckets];
  if (mod.commandBucketId === OFPG15_BUCKET_LAST) return [...buckets, ...mod.buckets];
  const at = buckets.findIndex((b) => b.bucketId === mod.commandBucketId);
  if (at < 0) return 'OFPGMFC_UNKNOWN_BUCKET';
  return [...buckets.slice(0, at + 1), ...mod.buckets, ...buckets.slice(at + 1)];
}

function removed(old: Group, mod: GroupMod): readonly Bucket[] | string {
  const buckets = old.desc().buckets;
  if (mod.commandBucketId === OFPG15_BUCKET_ALL) return [];
  if (mod.commandBucketId === OFPG15_BUCKET_FIRST) return buckets.slice(1);
  if (mod.commandBucketId === OFPG15_BUCKET_LAST) return buckets.slice(0, -1);
  if (!buckets.some((b) => b.bucketId === mod.commandBucketId)) return 'OFPGMFC_UNKNOWN_BUCKET';
  return buckets.filter((b) => b.bucketId !== mod.commandBucketId);
}

function hasDuplicateIds(buckets: readonly Bucket[]): boolean {
  const ids = buckets.map((b) => b.bucketId).filter((id) => id < OFPG15_BUCKET_FIRST);
  return new Set(ids).size !== ids.length;
}

function selected(bridge: Bridge, id: number): Group[] {
  if (id === OFPG_ALL || id === OFPG_ANY) return [...bridge.groups.values()].sort((a, b) => a.id - b.id);
  const group = bridge.groups.get(id);
  return group ? [group] : [];
}

export const groupDesc: Handler<'group_desc_request'> = (bridge, conn, request) => {
  const groups = selected(bridge, request.message.groupId).map((group) => group.desc());
  conn.reply(request, { type: 'group_desc_reply', more: false, groups });
};

export const groupStats: Handler<'group_stats_request'> = (bridge, conn, request) => {
  bridge.backer.pushStats();
  const now = clock.nowMs();
  const references = new Map<number, number>();
  for (const rule of bridge.tables) {
    for (const group of bridge.groups.keys()) {
      if (rule.outputsTo(null, group)) references.set(group, (references.get(group) ?? 0) + 1);
    }
  }
  const groups = selected(bridge, request.message.groupId).map((group) => ({
    groupId: group.id,
    refCount: references.get(group.id) ?? 0,
    packets: group.packets,
    bytes: group.bytes,
    durationMs: Math.floor(now - group.createdMs),
    buckets: group.bucketCounts.map((c) => ({ ...c })),
  }));
  conn.reply(request, { type: 'group_stats_reply', more: false, groups });
};

const bits = (...numbers: readonly number[]): number => numbers.reduce((set, n) => set | (1 << n), 0) >>> 0;
/** What buckets may do, by the numbers of the version's actions: old ones, TTL, push and pop, set_queue, group, set_field. */
const GROUP_ACTIONS = {
  1: bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
  2: bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24),
  3: bits(0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25),
} as const;
/** SELECT_WEIGHT, SELECT_LIVENESS and CHAINING. */
const GROUP_CAPABILITIES = 7;
const ALL_GROUP_TYPES = 0xf;

export const groupFeatures: Handler<'group_features_request'> = (_bridge, conn, request) => {
  const actions = GROUP_ACTIONS[conn.version <= 2 ? (conn.version as 1 | 2) : 3];
  conn.reply(request, {
    type: 'group_features_reply',
    features: {
      types: ALL_GROUP_TYPES,
      capabilities: GROUP_CAPABILITIES,
      maxGroups: [OFPG_MAX, OFPG_MAX, OFPG_MAX, OFPG_MAX],
      actions: [actions, actions, actions, actions],
    },
  });
};
