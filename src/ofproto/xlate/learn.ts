/** `learn`: a packet adds (or with `delete_learned` later takes) a rule made from its own headers. */

import type { Subfield } from '../../flow/field.ts';
import { FlowKey } from '../../flow/key.ts';
import { Match } from '../../flow/match.ts';
import { bytesOfBigint, getBits, setBits, setFieldMask } from '../../flow/subfield.ts';
import type { Ofpact, OfpactOf } from '../../openflow/actions/types.ts';
import type { FlowMod } from '../../openflow/messages.ts';
import type { Ctx } from './ctx.ts';
import { subfieldMask } from './ctx.ts';
import { readSubfield, writeSubfield } from './fields.ts';

export function learn(ctx: Ctx, a: OfpactOf<'learn'>): void {
  const mod = learnedFlow(ctx, a);
  const { spec } = a;
  if (spec.limit > 0 || spec.resultDst) {
    const { tables } = ctx.bridge;
    const known = tables.tables[spec.table]?.classifier.findExactly(mod.match, mod.priority) ?? null;
    let count = 0;
    if (!known && spec.limit > 0) {
      for (const rule of tables.tables[spec.table].classifier) if (rule.cookie === spec.cookie) count++;
    }
    const isAllowed = known !== null || spec.limit === 0 || count < spec.limit;
    if (spec.resultDst) writeSubfield(ctx, spec.resultDst, isAllowed ? 1n : 0n);
    if (!isAllowed) return;
  }
  ctx.effects.push({ kind: 'learn', bridge: ctx.bridge, mod });
  if (ctx.input.isTrace) ctx.note('warn', 'suppressing side effects, so learn action ignored');
  if (ctx.input.sideEffects) ctx.bridge.tables.flowMod(mod, ctx.input.nowMs);
}

function learnedFlow(ctx: Ctx, a: OfpactOf<'learn'>): FlowMod {
  const { spec } = a;
  const match = new Match();
  const actions: Ofpact[] = [];
  for (const s of spec.specs) {
    const value = s.src instanceof Uint8Array ? bitsOf(s.src, s.nBits) : readSubfield(ctx, s.src);
    if (s.dst.type === 'match') {
      const { subfield } = s.dst;
      setBits(match.key, subfield, value);
      setFieldMask(match.mask, subfield.field, subfieldMask(subfield));
    } else if (s.dst.type === 'load') {
      actions.push(load(s.dst.subfield, value));
    } else {
      actions.push({ kind: 'output', port: Number(value & 0xffffn), maxLen: 0 });
    }
  }
  if (spec.finIdleTimeout || spec.finHardTimeout) {
    actions.push({ kind: 'fin_timeout', idle: spec.finIdleTimeout, hard: spec.finHardTimeout });
  }
  return {
    type: 'flow_mod',
    command: 'modify_strict',
    match,
    priority: spec.priority,
    cookie: 0n,
    cookieMask: 0n,
    newCookie: spec.cookie,
    table: spec.table,
    idleTimeout: spec.idleTimeout,
    hardTimeout: spec.hardTimeout,
    importance: 0,
    bufferId: 0xffffffff,
    outPort: 0xffff,
    outGroup: 0xffffffff,
    flags: {
      sendFlowRem: spec.sendFlowRem,
      checkOverlap: false,
      resetCounts: false,
      noPacketCounts: false,
      noByteCounts: false,
    },
    actions,
  };
}

const bitsOf = (bytes: Uint8Array, nBits: number): bigint => {
  let v = 0n;
  for (const b of bytes) v = (v << 8n) | BigInt(b);
  return v & ((1n << BigInt(nBits)) - 1n);
};

function load(dst: Subfield, value: bigint): Ofpact {
  const scratch = new FlowKey();
  setBits(scratch, dst, value);
  const whole = getBits(scratch, { field: dst.field, ofs: 0, nBits: dst.field.nBits });
  return {
    kind: 'set_field',
    field: dst.field,
    value: bytesOfBigint(whole, dst.field.bytes),
    mask: dst.nBits === dst.field.nBits ? null : subfieldMask(dst),
    as: 'load',
  };
}
