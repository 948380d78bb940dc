/** Flow-mods and what is asked about flows. OpenFlow 1.3.5 6.4, 7.3.5.2, 7.3.5.3 */
import { clock } from '../../base/clock.ts';
import { Match } from '../../flow/match.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import type { FlowMod, FlowModFlags, FlowStats, FlowStatsRequest } from '../../openflow/messages.ts';
import type { Bridge } from '../bridge.ts';
import { checkFlowActions } from '../check.ts';
import type { OfConn } from '../conn.ts';
import type { Rule } from '../rule.ts';
import type { Handler } from './index.ts';

const NO_BUFFER = 0xffffffff;
/** So many flows are put in a message at a time; between them others get their turn. */
const FLOWS_PER_PART = 400;

const COUNTED_AS = {
  add: 'add',
  modify: 'modify',
  modify_strict: 'modify',
  delete: 'delete',
  delete_strict: 'delete',
} as const;

export const flowMod: Handler<'flow_mod'> = (bridge, conn, request) => {
  const mod = request.message;
  const error = checkFlowMod(bridge, mod, conn.version) ?? applyFlowMod(bridge, conn, mod, request.xid);
  mod.match.release();
  if (error) conn.error(request, error);
};

/** Carries out what `checkFlowMod` has passed. Returns the error's name, or null when done. */
export function applyFlowMod(bridge: Bridge, conn: OfConn, mod: FlowMod, xid: number): string | null {
  bridge.flowModOrigin = { conn, xid };
  const result = bridge.tables.flowMod(mod, clock.nowMs());
  bridge.flowModOrigin = null;
  if (!result.ok) return result.error;
  conn.countFlowMod(COUNTED_AS[mod.command]);
  // The rule is in; but there are no buffers here whose packet it could be applied to.
  return mod.bufferId !== NO_BUFFER && !mod.command.startsWith('delete') ? 'OFPBRC_BUFFER_UNKNOWN' : null;
}

export function checkFlowMod(bridge: Bridge, mod: FlowMod, version: number): string | null {
  if (mod.command.startsWith('delete')) return null;
  const { match, table } = mod;
  return checkFlowActions(bridge, mod.actions, { match, key: match.key, table, version });
}

export const flowStats: Handler<'flow_stats_request'> = async (bridge, conn, request) => {
  const rules = selected(bridge, request.message);
  const now = clock.nowMs();
  const { nxm } = request.message;
  let at = 0;
  do {
    const part = rules.slice(at, at + FLOWS_PER_PART);
    at += part.length;
    const flows = part.map((rule) => new StatsOfRule(rule, now));
    conn.reply(request, { type: 'flow_stats_reply', more: at < rules.length, flows, nxm });
    if (at < rules.length) await conn.room();
  } while (at < rules.length && !conn.isClosed);
};

export const aggregateStats: Handler<'aggregate_request'> = (bridge, conn, request) => {
  const rules = selected(bridge, request.message);
  const sum = (of: (rule: Rule) => number): number => {
    let total = 0;
    for (const rule of rules) total += of(rule);
    return total;
  };
  conn.reply(request, {
    type: 'aggregate_reply',
    packets: sum((r) => r.packets),
    bytes: sum((r) => r.bytes),
    flows: rules.length,
    nxm: request.message.nxm,
  });
};

function selected(bridge: Bridge, criteria: FlowStatsRequest): Rule[] {
  bridge.backer.pushStats();
  return bridge.tables.matching(criteria).sort(inOrder);
}

/** By table, then the order in which lookups prefer them, then age. */
export function inOrder(a: Rule, b: Rule): number {
  return a.table - b.table || b.priority - a.priority || a.createdMs - b.createdMs;
}

/** The one match that all flows of a message show in turn, since a whole one is large. */
const shown = new Match();

/** A rule as a reply tells it; `match` is the same object for all, so it is to be used at once. */
export class StatsOfRule implements FlowStats {
  readonly priority: number;
  readonly cookie: bigint;
  readonly table: number;
  readonly durationMs: number;
  readonly idleTimeout: number;
  readonly hardTimeout: number;
  readonly idleAge: number;
  readonly hardAge: number;
  readonly importance: number;
  readonly packets: number;
  readonly bytes: number;
  readonly flags: FlowModFlags;
  readonly actions: readonly Ofpact[];
  private readonly rule: Rule;

  constructor(rule: Rule, now: number) {
    this.rule = rule;
    this.priority = rule.priority;
    this.cookie = rule.cookie;
    this.table = rule.table;
    this.durationMs = Math.floor(now - rule.createdMs);
    this.idleTimeout = rule.idleTimeout;
    this.hardTimeout = rule.hardTimeout;
    this.idleAge = Math.floor((now - rule.usedMs) / 1000);
    this.hardAge = Math.floor((now - rule.modifiedMs) / 1000);
    this.importance = rule.importance;
    // Rules that need not count count as well, as in the original.
    this.packets = rule.packets;
    this.bytes = rule.bytes;
    this.flags = rule.flags;
    this.actions = rule.actions;
  }

  /** Good until another flow is asked for its own. */
  get match(): Match {
    shown.key.clear();
    shown.mask.clear();
    return this.rule.writeMatch(shown);
  }
}
