/**
 * Bundles: messages that are gathered and then carried out all or none. OpenFlow 1.4.1 6.8, 7.3.9
 *
 * Everything runs in one turn of the event loop, so no packet is ever translated by half a bundle. Rules changed by a
 * bundle that fails are put back as they were; what the changes mean to others (revalidation, flow-removed messages)
 * is told only when the bundle has succeeded.
 */

import type { OfMessage } from '../../openflow/messages.ts';
import { BUNDLE_CTRL } from '../../openflow/messages-ext.ts';
import { decodeMessage, OFP_HEADER_LEN } from '../../openflow/wire.ts';
import type { Bridge } from '../bridge.ts';
import type { OfConn } from '../conn.ts';
import type { Group } from '../group.ts';
import type { Rule } from '../rule.ts';
import type { FlowTables, FlowTablesListener, RuleRemovedReason } from '../tables.ts';
import { applyFlowMod, checkFlowMod } from './flows.ts';
import { applyGroupMod, checkGroupMod } from './groups.ts';
import type { Handler } from './index.ts';
import { checkPacketOut, executePacketOut } from './packet-out.ts';
import { applyPortMod, checkPortMod } from './ports.ts';

interface Bundled {
  readonly message: OfMessage;
  readonly xid: number;
  readonly bytes: Uint8Array;
}

/** A bundle may be of a million messages, which take ten times as much memory decoded as they do on the wire. */
export class OpenBundle {
  readonly flags: number;
  isClosed = false;
  private chunks: Uint8Array[] = [];
  /** Of the last chunk. */
  private used = CHUNK_BYTES;

  constructor(flags: number) {
    this.flags = flags;
  }

  /** `bytes` begins with a whole message that has been decoded before. */
  add(bytes: Uint8Array): void {
    const length = (bytes[2] << 8) | bytes[3];
    if (this.used + length > CHUNK_BYTES) {
      this.chunks.push(new Uint8Array(CHUNK_BYTES));
      this.used = 0;
    }
    this.chunks[this.chunks.length - 1].set(bytes.subarray(0, length), this.used);
    this.used += length;
  }

  *[Symbol.iterator](): Generator<Bundled> {
    for (const chunk of this.chunks) {
      // A chunk ends where no message begins.
      for (let at = 0; at + OFP_HEADER_LEN <= CHUNK_BYTES && chunk[at] !== 0; ) {
        const bytes = chunk.subarray(at, at + ((chunk[at + 2] << 8) | chunk[at + 3]));
        const decoded = decodeMessage(bytes);
        if (decoded.ok) yield { message: decoded.message, xid: decoded.xid, bytes };
        at += bytes.length;
      }
    }
  }
}

const CHUNK_BYTES = 1 << 17;

const OFPT_EXPERIMENTER = 4;

export const bundleControl: Handler<'bundle_control'> = (bridge, conn, request) => {
  const { bundleId, ctrl, flags } = request.message;
  const error = control(bridge, conn, bundleId, ctrl, flags);
  if (error) conn.error(request, error);
  else conn.reply(request, { type: 'bundle_control', bundleId, ctrl: ctrl + 1, flags: 0 });
};

/** The original forgets a bundle that was misused. */
function control(bridge: Bridge, conn: OfConn, id: number, ctrl: number, flags: number): string | null {
  const bundle = conn.bundles.get(id);
  if (ctrl === BUNDLE_CTRL.open_request) {
    conn.bundles.delete(id);
    if (bundle) return 'OFPBFC_BAD_ID';
    conn.bundles.set(id, new OpenBundle(flags));
    return null;
  }
  if (!bundle) return 'OFPBFC_BAD_ID';
  switch (ctrl) {
    case BUNDLE_CTRL.close_request: {
      const error = bundle.isClosed ? 'OFPBFC_BUNDLE_CLOSED' : bundle.flags !== flags ? 'OFPBFC_BAD_FLAGS' : null;
      if (error) conn.bundles.delete(id);
      bundle.isClosed = true;
      return error;
    }
    case BUNDLE_CTRL.commit_request:
      conn.bundles.delete(id);
      if (bundle.flags !== flags) return 'OFPBFC_BAD_FLAGS';
      return commit(bridge, conn, bundle) ? null : 'OFPBFC_MSG_FAILED';
    case BUNDLE_CTRL.discard_request:
      conn.bundles.delete(id);
      return null;
    default:
      return 'OFPBFC_BAD_TYPE';
  }
}

export const bundleAdd: Handler<'bundle_add'> = (_bridge, conn, request) => {
  const { bundleId, flags, message } = request.message;
  let bundle = conn.bundles.get(bundleId);
  if (!bundle) {
    bundle = new OpenBundle(flags);
    conn.bundles.set(bundleId, bundle);
  }
  const error = bundle.isClosed ? 'OFPBFC_BUNDLE_CLOSED' : bundle.flags !== flags ? 'OFPBFC_BAD_FLAGS' : null;
  if (error) {
    conn.bundles.delete(bundleId);
    conn.error(request, error);
    return;
  }
  // The ONF's extension for 1.3 has eight bytes of experimenter header more.
  const at = request.bytes[1] === OFPT_EXPERIMENTER ? 24 : 16;
  bundle.add(request.bytes.subarray(at));
  if (message.type === 'flow_mod') message.match.release();
};

/** False when it failed; the connection has then been told which message did. */
function commit(bridge: Bridge, conn: OfConn, bundle: OpenBundle): boolean {
  const undo = new Recorder(bridge);
  const last: OfMessage[] = [];
  for (const bundled of bundle) {
    const { message } = bundled;
    // What is checked may need what the messages before it bring, as a rule needs its group.
    let error = check(bridge, message, conn.version);
    if (!error && message.type === 'flow_mod') {
      undo.remember(message);
      error = applyFlowMod(bridge, conn, message, bundled.xid);
      message.match.release();
    } else if (!error && message.type === 'group_mod') {
      error = applyGroupMod(bridge, message);
    } else {
      last.push(message);
    }
    if (!error) continue;
    undo.rollBack();
    conn.error(bundled, error);
    return false;
  }
  undo.tell();
  for (const message of last) {
    if (message.type === 'port_mod') applyPortMod(bridge, conn, message);
    else if (message.type === 'packet_out') executePacketOut(bridge, message);
  }
  return true;
}

function check(bridge: Bridge, message: OfMessage, version: number): string | null {
  switch (message.type) {
    case 'flow_mod':
      return checkFlowMod(bridge, message, version);
    case 'group_mod':
      return checkGroupMod(bridge, message);
    case 'port_mod':
      return checkPortMod(bridge, message);
    case 'packet_out':
      return checkPacketOut(bridge, message, version);
    default:
      return 'OFPBFC_MSG_UNSUP';
  }
}

type Change =
  | { readonly kind: 'added'; readonly rule: Rule }
  | { readonly kind: 'modified'; readonly rule: Rule; readonly actionsChanged: boolean }
  | { readonly kind: 'removed'; readonly rule: Rule; readonly reason: RuleRemovedReason };

/** Stands between tables and their listener while a bundle is carried out. */
class Recorder {
  private readonly bridge: Bridge;
  /** A changed group is another object, so the list of before is enough. */
  private readonly groups: readonly (readonly [number, Group])[];
  private readonly tables: FlowTables;
  private readonly listener: FlowTablesListener;
  private readonly changes: Change[] = [];
  private readonly before = new Map<Rule, Pick<Rule, 'actions' | 'cookie' | 'modifiedMs' | 'packets' | 'bytes'>>();

  constructor(bridge: Bridge) {
    const { tables } = bridge;
    this.bridge = bridge;
    this.groups = [...bridge.groups];
    this.tables = tables;
    this.listener = tables.listener;
    tables.listener = {
      added: (rule) => this.changes.push({ kind: 'added', rule }),
      modified: (rule, actionsChanged) => this.changes.push({ kind: 'modified', rule, actionsChanged }),
      removed: (rule, reason) => this.changes.push({ kind: 'removed', rule, reason }),
    };
  }

  /** Called before each flow-mod: keeps what it may overwrite. */
  remember(message: Extract<OfMessage, { type: 'flow_mod' }>): void {
    if (!message.command.startsWith('modify')) return;
    for (const rule of this.tables.matching({ ...message, outPort: OFPP_NONE, outGroup: OFPG_ANY })) {
      if (this.before.has(rule)) continue;
      const { actions, cookie, modifiedMs, packets, bytes } = rule;
      this.before.set(rule, { actions, cookie, modifiedMs, packets, bytes });
    }
  }

  rollBack(): void {
    this.tables.listener = {};
    this.bridge.groups.clear();
    for (const [id, group] of this.groups) this.bridge.groups.set(id, group);
    for (const change of this.changes.reverse()) {
      if (change.kind === 'added') this.tables.remove(change.rule, 'flush');
      else if (change.kind === 'removed') {
        change.rule.removed = false;
        this.tables.insert(change.rule);
      }
    }
    for (const [rule, state] of this.before) {
      this.tables.setActions(rule, state.actions);
      Object.assign(rule, state);
    }
    this.tables.listener = this.listener;
  }

  tell(): void {
    this.tables.listener = this.listener;
    for (const change of this.changes) {
      if (change.kind === 'added') this.listener.added?.(change.rule);
      else if (change.kind === 'modified') this.listener.modified?.(change.rule, change.actionsChanged);
      else this.listener.removed?.(change.rule, change.reason);
    }
  }
}

const OFPP_NONE = 0xffff;
const OFPG_ANY = 0xffffffff;
