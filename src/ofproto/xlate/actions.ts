/** Runs a list of OpenFlow actions: what each kind does, and how a list ends. */
import { SlowReason } from '../../flow/dp-actions.ts';
import { OFS } from '../../flow/layout.ts';
import type { Ofpact, OfpactKind, OfpactOf } from '../../openflow/actions/types.ts';
import { OFPP } from '../../openflow/ports.ts';
import { controller } from './controller.ts';
import { ct } from './ct.ts';
import type { Ctx } from './ctx.ts';
import { decap, decNshTtl, deleteField, encap } from './encap.ts';
import {
  decTtl,
  popQueue,
  readSubfield,
  regMove,
  setFieldAction,
  setQueue,
  stackPop,
  stackPush,
  writeMetadata,
} from './fields.ts';
import { group } from './group.ts';
import { bundle, multipath } from './hash.ts';
import { learn } from './learn.ts';
import { checkPktLarger, clone, conjunctionOnly, finTimeout } from './misc.ts';
import { clearConntrack, output, outputReason } from './output.ts';
import { sample } from './sampling.ts';
import { freeze, orderActionSet, xlateTable } from './table.ts';
import { decMplsTtl, popMpls, popVlan, pushMpls, pushVlan, setMpls, setVlanPcp, setVlanVid } from './tags.ts';

export interface ActionPlace {
  /** Nothing follows, here or in any list this one is part of. */
  readonly isLast: boolean;
  /** What follows in this list. */
  readonly rest: readonly Ofpact[];
}

/** True ends the list. */
type Handler<K extends OfpactKind> = (ctx: Ctx, action: OfpactOf<K>, place: ActionPlace) => unknown;

const HANDLERS: { readonly [K in OfpactKind]?: Handler<K> } = {
  output: (ctx, a, { isLast }) => output(ctx, a.port, { maxLen: a.maxLen, isLast }),
  output_trunc: (ctx, a, { isLast }) => output(ctx, a.port, { maxLen: 0xffff, isLast, truncate: a.maxLen }),
  output_reg: (ctx, a, { isLast }) => {
    const port = Number(readSubfield(ctx, a.src) & 0xffffffffn);
    const ofport = port >= 0xffffff00 ? port - 0xffff0000 : port;
    if (ofport <= 0xffff) {
      ctx.note('detail', `output port is ${ofport}`);
      output(ctx, ofport, { maxLen: a.maxLen, isLast });
    } else {
      ctx.note('warn', `output port ${port} is out of range, no output`);
    }
  },
  enqueue: (ctx, a, { isLast }) => {
    const saved = ctx.flow.get32(OFS.skb_priority);
    const port = a.port === OFPP.IN_PORT ? ctx.flow.get32(OFS.in_port) : a.port;
    const priority = ctx.bridge.port(port)?.queuePriority(a.queue) ?? null;
    if (priority !== null) {
      ctx.wc.set32(OFS.skb_priority, 0xffffffff);
      ctx.flow.set32(OFS.skb_priority, priority);
    }
    if (port !== ctx.flow.get32(OFS.in_port) || a.port === OFPP.IN_PORT) {
      output(ctx, a.port, { maxLen: 0xffff, isLast });
    }
    ctx.flow.set32(OFS.skb_priority, saved);
  },
  controller: (ctx, a) => {
    const request = {
      maxLen: a.maxLen,
      reason: a.reason === 1 ? outputReason(ctx) : a.reason,
      controllerId: a.controllerId,
      userdata: a.userdata,
      meterId: a.meterId,
      pause: a.pause,
    };
    if (!a.pause) return controller(ctx, request);
    freeze(ctx, null);
    ctx.pause = request;
  },
  group: (ctx, a, { isLast }) => group(ctx, a.groupId, isLast),
  bundle,
  multipath,
  set_field: setFieldAction,
  reg_move: regMove,
  stack_push: stackPush,
  stack_pop: stackPop,
  set_vlan_vid: setVlanVid,
  set_vlan_pcp: setVlanPcp,
  strip_vlan: (ctx) => popVlan(ctx),
  push_vlan: pushVlan,
  push_mpls: pushMpls,
  pop_mpls: popMpls,
  set_mpls_label: (ctx, a) => setMpls(ctx, 0xfffff000 >>> 0, (a.label << 12) >>> 0),
  set_mpls_tc: (ctx, a) => setMpls(ctx, 0xe00, a.tc << 9),
  set_mpls_ttl: (ctx, a) => setMpls(ctx, 0xff, a.ttl),
  dec_mpls_ttl: (ctx) => decMplsTtl(ctx),
  dec_ttl: decTtl,
  set_queue: (ctx, a) => setQueue(ctx, a.queue),
  pop_queue: (ctx) => popQueue(ctx),
  fin_timeout: finTimeout,
  resubmit: (ctx, a) => {
    const inPort = a.inPort === OFPP.IN_PORT ? ctx.flow.get32(OFS.in_port) : a.inPort;
    const table = a.table === 0xff ? ctx.table : a.table;
    xlateTable(ctx, { table, inPort, honorsMiss: false, mayPacketIn: false, ctOrig: a.ct });
  },
  goto_table: (ctx, a) =>
    xlateTable(ctx, { table: a.table, inPort: ctx.flow.get32(OFS.in_port), honorsMiss: true, mayPacketIn: true }),
  learn,
  conjunction: conjunctionOnly,
  note: () => {},
  exit: (ctx) => {
    ctx.exit = true;
    return true;
  },
  unroll_xlate: (ctx, a) => {
    ctx.table = a.table;
    ctx.ruleCookie = a.cookie;
    const cookie = a.cookie === 0n ? '0' : `0x${a.cookie.toString(16)}`;
    ctx.note('plain', `restored state: table=${a.table}, cookie=${cookie}`);
  },
  ct,
  ct_clear: (ctx) => {
    if (ctx.conntracked) ctx.actions.push({ kind: 'ct_clear' });
    clearConntrack(ctx);
  },
  clone: (ctx, a, { isLast }) => clone(ctx, a.actions, isLast),
  check_pkt_larger: (ctx, a, { rest }) => checkPktLarger(ctx, a, rest),
  meter: (ctx, a) => {
    const id = ctx.bridge.meter(a.meterId);
    if (id !== null) ctx.actions.push({ kind: 'meter', id });
  },
  clear_actions: (ctx) => {
    noteActionSet(ctx, 'was');
    ctx.actionSet = [];
  },
  write_actions: (ctx, a) => {
    ctx.actionSet = [...ctx.actionSet, ...a.actions];
    noteActionSet(ctx, 'is');
  },
  write_metadata: writeMetadata,
  encap,
  decap,
  dec_nsh_ttl: decNshTtl,
  delete_field: deleteField,
  debug_recirc: (ctx) => freeze(ctx, null),
  sample,
  debug_slow: (ctx) => {
    ctx.slow |= SlowReason.action;
  },
};

export const TRANSLATED: ReadonlySet<OfpactKind> = new Set(Object.keys(HANDLERS) as OfpactKind[]);

/** Kinds that look at headers which popping an MPLS label brought to light: the packet must come back first. */
const NEEDS_HEADERS: ReadonlySet<OfpactKind> = new Set([
  'set_field',
  'reg_move',
  'stack_push',
  'dec_ttl',
  'output_reg',
  'learn',
  'multipath',
  'bundle',
  'push_mpls',
  'ct',
  'stack_pop',
  'resubmit',
  'goto_table',
  'encap',
  'decap',
  'dec_nsh_ttl',
]);

export function runActions(ctx: Ctx, actions: readonly Ofpact[], isLast: boolean): void {
  const { observer } = ctx.input;
  for (let i = 0; i < actions.length; i++) {
    if (ctx.exit) return;
    const action = actions[i];
    if (ctx.wasMpls && !ctx.freezing && NEEDS_HEADERS.has(action.kind)) freeze(ctx, null);
    if (ctx.freezing) {
      keepForLater(ctx, actions.slice(i));
      return;
    }
    if (observer && action.kind !== 'conjunction') observer.note({ type: 'action', action });
    // The table holds for each kind the handler of that kind.
    const handler = HANDLERS[action.kind] as Handler<OfpactKind> | undefined;
    const place = { isLast: isLast && i === actions.length - 1, rest: actions.slice(i + 1) };
    if (handler?.(ctx, action as never, place) === true) return;
  }
}

/** What is left of a list is done after recirculation, in the table and for the rule it belongs to. */
export function keepForLater(ctx: Ctx, rest: readonly Ofpact[]): void {
  const last = ctx.frozenActions.findLast((a) => a.kind === 'unroll_xlate');
  if (last?.kind !== 'unroll_xlate' || last.table !== ctx.table || last.cookie !== ctx.ruleCookie) {
    ctx.frozenActions.push({
      kind: 'unroll_xlate',
      table: ctx.table,
      cookie: ctx.ruleCookie,
      hasRule: ctx.rule !== null,
    });
  }
  ctx.frozenActions.push(...rest);
}

function noteActionSet(ctx: Ctx, when: 'is' | 'was'): void {
  ctx.input.observer?.note({ type: 'action_set', when, actions: orderActionSet(ctx.actionSet) });
}
