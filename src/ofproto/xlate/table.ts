/** Looking a packet up in a table and doing what the rule says; `resubmit` and `goto_table`; the action set. */
import { OFS } from '../../flow/layout.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import { IMPLICIT_MISS } from '../packet-in-reason.ts';
import type { Rule } from '../rule.ts';
import { N_TABLES, TBL_INTERNAL } from '../tables.ts';
import { runActions } from './actions.ts';
import { commitActions } from './commit.ts';
import { controller } from './controller.ts';
import { type Ctx, MAX_DEPTH, MAX_RESUBMITS } from './ctx.ts';
import { isIpAny } from './prereq.ts';
import { freezeRegisters } from './recirc.ts';
import { commitTunnel } from './tunnel.ts';
import { PortConfig, type TableMissKind } from './types.ts';

export interface TableStep {
  readonly table: number;
  /** Stands in for the packet's own during the lookup only. */
  readonly inPort: number;
  /** Follow the table's miss configuration, as the first table and `goto_table` do. */
  readonly honorsMiss: boolean;
  readonly mayPacketIn: boolean;
  /** `resubmit(…,ct)`: match on the connection's original direction. */
  readonly ctOrig?: boolean;
  /** Asked before the first rule of a packet does anything; false stops it there. */
  readonly mayBegin?: () => boolean;
}

export function xlateTable(ctx: Ctx, step: TableStep): void {
  if (ctx.wasMpls) freeze(ctx, step.table);
  if (ctx.freezing) {
    ctx.frozenTable = step.table;
    return;
  }
  if (!withinLimits(ctx)) return;
  const { flow } = ctx;
  const oldTable = ctx.table;
  const oldInPort = flow.get32(OFS.in_port);
  ctx.table = step.table;
  flow.set32(OFS.in_port, step.inPort);
  const swapped = step.ctOrig ? swapInCtTuple(ctx) : null;
  const found = lookup(ctx, step);
  swapped?.();
  flow.set32(OFS.in_port, oldInPort);
  const { observer } = ctx.input;
  observer?.enter({ type: 'table', table: ctx.table, rule: found.rule, miss: found.miss });
  const deeper = step.table <= oldTable ? 1 : 0;
  if (step.mayBegin && !step.mayBegin()) {
    observer?.leave();
    ctx.table = oldTable;
    return;
  }
  if (found.rule) {
    descend(ctx, found.rule, found.rule.actions, found.rule.cookie, deeper);
  } else if (found.miss === 'packet-in') {
    const oldCookie = ctx.ruleCookie;
    ctx.ruleCookie = 0n;
    observer?.note({
      type: 'action',
      action: {
        kind: 'controller',
        maxLen: 0xffff,
        controllerId: 0,
        reason: 0,
        userdata: null,
        pause: false,
        meterId: null,
      },
    });
    controller(ctx, { maxLen: 0xffff, reason: IMPLICIT_MISS, controllerId: 0 });
    ctx.ruleCookie = oldCookie;
  } else {
    observer?.note({ type: 'drop' });
  }
  observer?.leave();
  ctx.table = oldTable;
}

function descend(ctx: Ctx, rule: Rule, actions: readonly Ofpact[], cookie: bigint, deeper: number): void {
  const oldRule = ctx.rule;
  const oldCookie = ctx.ruleCookie;
  ctx.resubmits++;
  ctx.depth += deeper;
  ctx.rule = rule;
  ctx.ruleCookie = cookie;
  if (actions.length === 0) ctx.input.observer?.note({ type: 'drop' });
  runActions(ctx, actions, true);
  ctx.rule = oldRule;
  ctx.ruleCookie = oldCookie;
  ctx.depth -= deeper;
}

function withinLimits(ctx: Ctx): boolean {
  if (ctx.depth >= MAX_DEPTH) {
    ctx.note('error', `over max translation depth ${MAX_DEPTH}`);
    ctx.fail('Recursion too deep');
  } else if (ctx.resubmits >= MAX_RESUBMITS) {
    ctx.note('error', `over ${MAX_RESUBMITS} resubmit actions`);
    ctx.fail('Too many resubmits');
  } else if (ctx.actions.length > 8192) {
    ctx.note('error', 'resubmits yielded over 64 kB of actions');
    // The translation stands, but nothing more is added.
    ctx.exit = true;
  } else if (ctx.stack.length >= 65536) {
    ctx.note('error', 'resubmits yielded over 64 kB of stack');
    ctx.fail('Stack too deep');
  } else {
    return true;
  }
  return false;
}

function lookup(ctx: Ctx, step: TableStep): { rule: Rule | null; miss: TableMissKind | null } {
  const { flow, wc, bridge } = ctx;
  // Later fragments have no ports, whatever stands in their place.
  let ports: number | null = null;
  if (isIpAny(flow)) {
    wc.set8(OFS.ip_frag, 0xff);
    if (flow.get8(OFS.ip_frag) !== 0) {
      ports = flow.get32(OFS.tp_src);
      flow.set32(OFS.tp_src, 0);
    }
  }
  let rule: Rule | null = null;
  let miss: TableMissKind | null = null;
  for (let id = step.table; id < N_TABLES; id++) {
    if (id === TBL_INTERNAL && step.table !== TBL_INTERNAL) continue;
    ctx.table = id;
    const table = bridge.tables.tables[id];
    rule = table.size > 0 ? bridge.tables.lookup(id, flow, wc) : null;
    ctx.effects.push({ kind: 'table', table, matched: rule !== null });
    if (rule) {
      ctx.effects.push({ kind: 'rule', rule, tables: bridge.tables });
      break;
    }
    miss = 'no match';
    if (!step.honorsMiss || table.miss === 'drop') break;
    if (table.miss === 'continue') continue;
    const wanted = table.miss === 'controller' || bridge.wantsPacketInOnMiss;
    const port = bridge.port(step.inPort);
    if (wanted && step.mayPacketIn && !(port && port.config & PortConfig.noPacketIn)) miss = 'packet-in';
    break;
  }
  if (ports !== null) flow.set32(OFS.tp_src, ports);
  return { rule, miss: rule ? null : miss };
}

/** Puts the conntrack original tuple where the packet's addresses and ports are; returns how to undo it. */
function swapInCtTuple(ctx: Ctx): () => void {
  const { flow, wc } = ctx;
  const words = [OFS.ip_proto, OFS.ip_src, OFS.ip_dst, OFS.tp_src].map((ofs) => ofs >> 2);
  const saved = words.map((w) => flow.w[w]);
  const saved6 = flow.w.slice(OFS.ipv6_src >> 2, (OFS.ipv6_dst >> 2) + 4);
  if (flow.get8(OFS.ct_nw_proto) !== 0) {
    for (const [from, to, bytes] of CT_TUPLE) {
      for (let i = 0; i < bytes; i++) {
        flow.u8[to + i] = flow.u8[from + i];
        wc.u8[from + i] = 0xff;
      }
    }
  }
  wc.set8(OFS.ct_nw_proto, 0xff);
  return () => {
    words.forEach((w, i) => {
      flow.w[w] = saved[i];
    });
    flow.w.set(saved6, OFS.ipv6_src >> 2);
  };
}

const CT_TUPLE = [
  [OFS.ct_nw_proto, OFS.ip_proto, 1],
  [OFS.ct_nw_src, OFS.ip_src, 4],
  [OFS.ct_nw_dst, OFS.ip_dst, 4],
  [OFS.ct_ipv6_src, OFS.ipv6_src, 16],
  [OFS.ct_ipv6_dst, OFS.ipv6_dst, 16],
  [OFS.ct_tp_src, OFS.tp_src, 2],
  [OFS.ct_tp_dst, OFS.tp_dst, 2],
] as const;

/** From here on everything waits for the packet's return. */
export function freeze(ctx: Ctx, table: number | null): void {
  ctx.freezing = true;
  ctx.frozenTable = table;
}

/** Hands the rest of the translation to the packet's return. */
export function finishFreezing(ctx: Ctx): void {
  commitActions(ctx);
  commitTunnel(ctx);
  if (ctx.pause) {
    controller(ctx, { ...ctx.pause, remaining: ctx.frozenActions });
    ctx.pause = null;
    endFreezing(ctx);
    return;
  }
  if (ctx.recirculatesTooOften()) {
    endFreezing(ctx);
    return;
  }
  const id = ctx.input.recirc.allocate({
    bridge: ctx.bridge,
    table: ctx.table,
    cookie: ctx.ruleCookie,
    resume: ctx.frozenTable,
    inPort: ctx.flow.get32(OFS.in_port),
    registers: freezeRegisters(ctx.flow),
    stack: [...ctx.stack],
    actions: ctx.frozenActions,
    actionSet: [...ctx.actionSet],
    conntracked: ctx.conntracked,
    mirrored: ctx.mirrored,
    userdata: null,
    hops: ctx.hops + 1,
  });
  if (ctx.recircHash) ctx.actions.push({ kind: 'hash', ...ctx.recircHash });
  ctx.recircHash = null;
  ctx.actions.push({ kind: 'recirc', id });
  endFreezing(ctx);
}

function endFreezing(ctx: Ctx): void {
  ctx.freezing = false;
  ctx.frozenActions = [];
  ctx.frozenTable = null;
  ctx.wasMpls = false;
}

/** Actions of the set in the order of the specification (OpenFlow 1.3.5 5.10); those of one kind replace each other. */
const SET_ORDER: readonly (readonly [kinds: readonly Ofpact['kind'][], keepsAll: boolean])[] = [
  [['strip_vlan'], false],
  [['pop_mpls'], false],
  [['decap'], false],
  [['encap'], false],
  [['push_mpls'], false],
  [['push_vlan'], false],
  [['dec_ttl'], false],
  [['dec_mpls_ttl'], false],
  [['dec_nsh_ttl'], false],
  [
    [
      'set_field',
      'reg_move',
      'set_vlan_vid',
      'set_vlan_pcp',
      'set_mpls_label',
      'set_mpls_tc',
      'set_mpls_ttl',
      'delete_field',
    ],
    true,
  ],
  [['set_queue'], false],
];
const SET_FINAL: readonly Ofpact['kind'][] = ['group', 'output', 'resubmit', 'ct'];

export function orderActionSet(set: readonly Ofpact[]): Ofpact[] {
  const ordered: Ofpact[] = [];
  for (const [kinds, keepsAll] of SET_ORDER) {
    const mine = set.filter((a) => kinds.includes(a.kind));
    ordered.push(...(keepsAll ? mine : mine.slice(-1)));
  }
  for (const kind of SET_FINAL) {
    const last = set.findLast((a) => a.kind === kind);
    if (last) return [...ordered, last];
  }
  // Without an output the set drops the packet: nothing of it is worth doing.
  return [];
}

export function runActionSet(ctx: Ctx): void {
  if (ctx.actionSet.length === 0 || ctx.error !== 'OK') return;
  const ordered = orderActionSet(ctx.actionSet);
  ctx.actionSet = [];
  ctx.inActionSet = true;
  ctx.exit = false;
  ctx.table = 0xff;
  ctx.input.observer?.enter({ type: 'action_set' });
  if (ordered.length === 0) ctx.input.observer?.note({ type: 'drop' });
  runActions(ctx, ordered, true);
  ctx.input.observer?.leave();
  ctx.inActionSet = false;
}
