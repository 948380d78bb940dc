/**
 * Flow monitors: a connection hears of changes to the flow table that it asked for. Nicira's extension, OpenFlow 1.4.1 7.3.5.17
 *
 * What a connection does itself is only told in brief ("abbreviated": the transaction's number), unless its monitor asks
 * for its own changes too. Updates of one turn of the event loop travel together.
 */
import type { Match } from '../flow/match.ts';
import { FLOW_MONITOR_FLAGS, type FlowMonitorRequest, type FlowUpdate, OFPG_ANY } from '../openflow/messages-ext.ts';
import { OFPP } from '../openflow/ports.ts';
import type { OfConn } from './conn.ts';
import type { Rule } from './rule.ts';
import { TABLE_ALL, TBL_INTERNAL } from './tables.ts';

export type FlowEvent = 'added' | 'deleted' | 'modified';

const FLAG: Record<FlowEvent, number> = {
  added: FLOW_MONITOR_FLAGS.add,
  deleted: FLOW_MONITOR_FLAGS.delete,
  modified: FLOW_MONITOR_FLAGS.modify,
};

/** Whose flow-mod is being carried out. */
export interface Origin {
  readonly conn: OfConn;
  readonly xid: number;
}

/** The monitors of one connection. */
export class FlowMonitors {
  private readonly conn: OfConn;
  private readonly byId = new Map<number, FlowMonitorRequest>();
  private pending: FlowUpdate[] = [];

  constructor(conn: OfConn) {
    this.conn = conn;
  }

  has(id: number): boolean {
    return this.byId.has(id);
  }

  set(request: FlowMonitorRequest): void {
    this.byId.set(request.id, request);
  }

  delete(id: number): void {
    this.byId.delete(id);
  }

  /** What a new monitor begins with. */
  initial(request: FlowMonitorRequest, rules: Iterable<Rule>): FlowUpdate[] {
    if ((request.flags & FLOW_MONITOR_FLAGS.initial) === 0) return [];
    const withActions = (request.flags & FLOW_MONITOR_FLAGS.actions) !== 0;
    const updates: FlowUpdate[] = [];
    for (const rule of rules) {
      if (isMeant(request, rule, rule.match)) updates.push(update('added', rule, 0, withActions));
    }
    return updates;
  }

  note(event: FlowEvent, rule: Rule, reason: number, origin: Origin | null): void {
    if (this.byId.size === 0) return;
    let isWanted = false;
    let wantsActions = false;
    let wantsOwn = false;
    const match = rule.match;
    for (const monitor of this.byId.values()) {
      if ((monitor.flags & FLAG[event]) === 0 || !isMeant(monitor, rule, match)) continue;
      isWanted = true;
      wantsActions ||= (monitor.flags & FLOW_MONITOR_FLAGS.actions) !== 0;
      wantsOwn ||= (monitor.flags & FLOW_MONITOR_FLAGS.own) !== 0;
    }
    if (!isWanted) return;
    if (origin?.conn === this.conn && !wantsOwn) {
      const last = this.pending.at(-1);
      if (last?.event !== 'abbrev' || last.xid !== origin.xid) this.push({ event: 'abbrev', xid: origin.xid });
    } else {
      this.push(update(event, rule, reason, wantsActions));
    }
  }

  private push(one: FlowUpdate): void {
    if (this.pending.length === 0) queueMicrotask(() => this.flush());
    this.pending.push(one);
  }

  private flush(): void {
    const updates = this.pending;
    this.pending = [];
    this.conn.sendAsync({ type: 'flow_monitor_reply', more: false, updates });
  }
}

function isMeant(monitor: FlowMonitorRequest, rule: Rule, match: Match): boolean {
  if (rule.isHidden || rule.table === TBL_INTERNAL) return false;
  if (monitor.table !== TABLE_ALL && monitor.table !== rule.table) return false;
  const port = monitor.outPort === OFPP.NONE ? null : monitor.outPort;
  const group = monitor.outGroup === OFPG_ANY ? null : monitor.outGroup;
  return rule.outputsTo(port, group) && match.isSubsetOf(monitor.match);
}

function update(event: FlowEvent, rule: Rule, reason: number, withActions: boolean): FlowUpdate {
  return {
    event,
    reason,
    idleTimeout: rule.idleTimeout,
    hardTimeout: rule.hardTimeout,
    table: rule.table,
    priority: rule.priority,
    cookie: rule.cookie,
    match: rule.match,
    actions: withActions ? rule.actions : [],
  };
}
