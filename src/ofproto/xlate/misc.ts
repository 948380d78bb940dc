/** Smaller actions: `clone`, `check_pkt_larger`, `fin_timeout`. */
import { OFS } from '../../flow/layout.ts';
import type { Ofpact, OfpactKind, OfpactOf } from '../../openflow/actions/types.ts';
import { runActions } from './actions.ts';
import { commitActions } from './commit.ts';
import { type Ctx, onCopy } from './ctx.ts';
import { writeSubfield } from './fields.ts';
import { IPPROTO, isIpAny } from './prereq.ts';
import { finishFreezing } from './table.ts';

/** Runs actions on a copy: whatever they do to flow, stack and action set is forgotten; `base` is what they left. */
export function runAside(ctx: Ctx, actions: readonly Ofpact[], isLast: boolean): void {
  const flow = ctx.flow.clone();
  const { stack, actionSet, exit, conntracked, wasMpls } = ctx;
  ctx.stack = [...stack];
  onCopy(ctx, () => {
    runActions(ctx, actions, isLast);
    if (ctx.freezing) finishFreezing(ctx);
  });
  ctx.flow.copyFrom(flow);
  ctx.stack = stack;
  ctx.actionSet = actionSet;
  if (ctx.error === 'OK') ctx.exit = exit;
  ctx.conntracked = conntracked;
  ctx.wasMpls = wasMpls;
}

/** What the datapath does after these cannot be undone by setting fields back. */
const IRREVERSIBLE: ReadonlySet<OfpactKind> = new Set([
  'ct',
  'nat',
  'meter',
  'output_trunc',
  'encap',
  'decap',
  'dec_nsh_ttl',
  'push_mpls',
  'pop_mpls',
  'debug_recirc',
]);

const isReversible = (actions: readonly Ofpact[]): boolean => actions.every((a) => !IRREVERSIBLE.has(a.kind));

export function clone(ctx: Ctx, actions: readonly Ofpact[], isLast: boolean): void {
  if (isLast || isReversible(actions)) {
    runAside(ctx, actions, isLast);
    return;
  }
  commitActions(ctx);
  const nested = nest(ctx, () => runAside(ctx, actions, true));
  if (nested.length > 0) ctx.actions.push({ kind: 'clone', actions: nested });
}

/** Collects the datapath actions of `run`, which the datapath will do on a copy of the packet. */
function nest(ctx: Ctx, run: () => void): Ctx['actions'] {
  const outer = ctx.actions;
  const base = ctx.base.clone();
  ctx.actions = [];
  run();
  const nested = ctx.actions;
  ctx.actions = outer;
  ctx.base.copyFrom(base);
  // A copy of the copy would be one too many.
  const [only] = nested;
  return nested.length === 1 && only.kind === 'clone' ? [...only.actions] : nested;
}

/** The rest of the list is translated twice, for longer packets and for the others. True: nothing is left of it. */
export function checkPktLarger(ctx: Ctx, a: OfpactOf<'check_pkt_larger'>, rest: readonly Ofpact[]): boolean {
  if (rest.length === 0) return true;
  commitActions(ctx);
  const branch = (bit: bigint): Ctx['actions'] =>
    nest(ctx, () => {
      const flow = ctx.flow.clone();
      writeSubfield(ctx, a.dst, bit);
      runAside(ctx, rest, true);
      ctx.flow.copyFrom(flow);
    });
  const greater = branch(1n);
  const lessOrEqual = branch(0n);
  ctx.actions.push({ kind: 'check_pkt_len', size: a.pktLen, greater, lessOrEqual });
  return true;
}

const TCP_FIN_RST = 5;

/** Acts on packets that end a connection; every one of them must be seen. */
export function finTimeout(ctx: Ctx, a: OfpactOf<'fin_timeout'>): void {
  const { flow, wc, rule } = ctx;
  if (!isIpAny(flow)) return;
  wc.set8(OFS.ip_proto, 0xff);
  if (flow.get8(OFS.ip_proto) !== IPPROTO.tcp) return;
  wc.set16(OFS.tcp_flags, wc.get16(OFS.tcp_flags) | TCP_FIN_RST);
  if (rule) ctx.effects.push({ kind: 'fin_timeout', rule, idle: a.idle, hard: a.hard });
}

/** A packet reached a rule with conjunctions as if it had actions: it has none. */
export function conjunctionOnly(): void {}
