/** `ct`: hands the packet to connection tracking, and with `table` meets it again when it comes back. */

import type { CtAction } from '../../flow/dp-actions.ts';
import { OFS } from '../../flow/layout.ts';
import type { NatSpec, OfpactOf } from '../../openflow/actions/types.ts';
import { commitActions } from './commit.ts';
import type { Ctx } from './ctx.ts';
import { readSubfield, setFieldAction } from './fields.ts';
import { clearConntrack } from './output.ts';
import { freezeRegisters } from './recirc.ts';

export function ct(ctx: Ctx, a: OfpactOf<'ct'>): void {
  const { flow, base, wc } = ctx;
  commitActions(ctx);
  // Only what the nested actions write goes to the connection; the packet's own mark and label stay as they are.
  const saved = { mark: flow.get32(OFS.ct_mark), label: flow.u8.slice(OFS.ct_label, OFS.ct_label + 16) };
  const wcMark = wc.get32(OFS.ct_mark);
  const wcLabel = wc.u8.slice(OFS.ct_label, OFS.ct_label + 16);
  wc.set32(OFS.ct_mark, 0);
  wc.u8.fill(0, OFS.ct_label, OFS.ct_label + 16);
  let nat: NatSpec | null = null;
  for (const nested of a.actions) {
    if (nested.kind === 'nat') nat = nested.nat;
    if (nested.kind !== 'set_field') continue;
    ctx.input.observer?.note({ type: 'action', action: nested });
    setFieldAction(ctx, nested);
  }
  const zone = typeof a.zone === 'number' ? a.zone : Number(readSubfield(ctx, a.zone) & 0xffffn);
  const markMask = wc.get32(OFS.ct_mark);
  const labelMask = wc.u8.slice(OFS.ct_label, OFS.ct_label + 16);
  const action: CtAction = {
    commit: a.commit,
    force: a.force,
    zone,
    mark: markMask === 0 ? null : { value: (flow.get32(OFS.ct_mark) & markMask) >>> 0, mask: markMask },
    label: labelMask.every((b) => b === 0)
      ? null
      : { value: flow.u8.slice(OFS.ct_label, OFS.ct_label + 16).map((b, i) => b & labelMask[i]), mask: labelMask },
    helper: HELPERS.get(a.alg) ?? null,
    timeout: null,
    nat: nat && natOf(nat),
  };
  flow.set32(OFS.ct_mark, saved.mark);
  flow.u8.set(saved.label, OFS.ct_label);
  wc.set32(OFS.ct_mark, wcMark);
  wc.u8.set(wcLabel, OFS.ct_label);
  ctx.actions.push({ kind: 'ct', ct: action });
  if (a.recircTable === null) {
    ctx.conntracked = true;
    return;
  }
  if (ctx.recirculatesTooOften()) return;
  const id = ctx.input.recirc.allocate({
    bridge: ctx.bridge,
    table: a.recircTable,
    cookie: ctx.ruleCookie,
    resume: a.recircTable,
    inPort: flow.get32(OFS.in_port),
    registers: freezeRegisters(flow),
    stack: [...ctx.stack],
    actions: [],
    actionSet: [...ctx.actionSet],
    conntracked: true,
    userdata: null,
    hops: ctx.hops + 1,
  });
  ctx.actions.push({ kind: 'recirc', id });
  ctx.note(
    'detail',
    `A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table ${a.recircTable}.`,
  );
  clearConntrack(ctx);
  ctx.note('detail', 'Sets the packet to an untracked state, and clears all the conntrack fields.');
  clearConntrackOf(base);
}

const HELPERS: ReadonlyMap<number, string> = new Map([
  [21, 'ftp'],
  [69, 'tftp'],
]);

function natOf(nat: NatSpec): NonNullable<CtAction['nat']> {
  return { ...nat, type: nat.type === 'none' ? null : nat.type };
}

function clearConntrackOf(flow: Ctx['base']): void {
  flow.set32(OFS.ct_state, 0);
  flow.set16(OFS.ct_zone, 0);
  flow.set32(OFS.ct_mark, 0);
  flow.w.fill(0, OFS.ct_label >> 2, (OFS.ct_nw_proto >> 2) + 1);
}
