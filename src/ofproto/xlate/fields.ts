/** Actions that read and write fields: `set_field` in all its spellings, `move`, `push` and `pop`, `dec_ttl`, metadata. */
import type { Field, Subfield } from '../../flow/field.ts';
import { F } from '../../flow/fields.ts';
import { OFS } from '../../flow/layout.ts';
import {
  bigintOfBytes,
  bytesOfBigint,
  formatSubfield,
  getBits,
  getField,
  setBits,
  setField,
  setFieldMask,
} from '../../flow/subfield.ts';
import { formatFieldValue } from '../../flow/value-text.ts';
import type { OfpactOf } from '../../openflow/actions/types.ts';
import { PacketInReason } from '../../openflow/messages.ts';
import { controller } from './controller.ts';
import { type Ctx, maskSubfield } from './ctx.ts';
import { hasVlan, isIpAny, prereqMet, VLAN_CFI } from './prereq.ts';
import { noTag } from './tags.ts';

/** Whoever sets one of these is shown only packets of one protocol, or one ARP operation, as the original has it. */
const NETWORK_FIELDS: ReadonlySet<string> = new Set([
  ...['ip_src', 'ip_dst', 'ipv6_src', 'ipv6_dst', 'ipv6_label', 'nw_tos', 'nw_ecn', 'nw_ttl'],
  ...['arp_op', 'arp_spa', 'arp_tpa', 'arp_sha', 'arp_tha'],
]);

export function setFieldAction(ctx: Ctx, a: OfpactOf<'set_field'>): void {
  const { flow, wc } = ctx;
  const { field } = a;
  if (!(isPortForm(a) ? hasPorts(ctx) : prereqMet(field.prereq, flow, wc))) {
    ctx.note('warn', `unmet prerequisites for ${field.name}, set_field ignored`);
    return;
  }
  lookAtTag(ctx, field);
  if (NETWORK_FIELDS.has(field.name)) wc.set8(OFS.ip_proto, 0xff);
  setFieldMask(wc, field, a.mask);
  if (a.mask) {
    const value = getField(flow, field);
    for (let i = 0; i < value.length; i++) value[i] = (value[i] & ~a.mask[i]) | (a.value[i] & a.mask[i]);
    setField(flow, field, value);
  } else {
    setField(flow, field, a.value);
  }
  fixTag(ctx, field);
}

/** OpenFlow 1.0's port actions mean the ports of whatever protocol the packet has. */
const isPortForm = (a: OfpactOf<'set_field'>): boolean => a.as === 'mod_tp_src' || a.as === 'mod_tp_dst';

function hasPorts({ flow, wc }: Ctx): boolean {
  return prereqMet('tcp', flow, wc) || prereqMet('udp', flow, wc) || prereqMet('sctp', flow, wc);
}

export function regMove(ctx: Ctx, a: OfpactOf<'reg_move'>): void {
  copySubfield(ctx, a.src, a.dst);
  noteSubfield(ctx, a.dst);
}

function copySubfield(ctx: Ctx, src: Subfield, dst: Subfield): void {
  const { flow, wc } = ctx;
  if (!prereqMet(dst.field.prereq, flow, wc) || !prereqMet(src.field.prereq, flow, wc)) return;
  maskSubfield(wc, src);
  writeSubfield(ctx, dst, getBits(flow, src));
}

/** Writes part of a field if the packet has it. */
export function writeSubfield(ctx: Ctx, dst: Subfield, value: bigint): void {
  const { flow, wc } = ctx;
  if (!prereqMet(dst.field.prereq, flow, wc)) return;
  lookAtTag(ctx, dst.field);
  maskSubfield(wc, dst);
  setBits(flow, dst, value);
  fixTag(ctx, dst.field);
}

export function readSubfield(ctx: Ctx, src: Subfield): bigint {
  if (!prereqMet(src.field.prereq, ctx.flow, ctx.wc)) return 0n;
  maskSubfield(ctx.wc, src);
  return getBits(ctx.flow, src);
}

export function noteSubfield(ctx: Ctx, sf: Subfield): void {
  if (!ctx.input.observer) return;
  const isWhole = sf.nBits === sf.field.nBits;
  const bits = getBits(ctx.flow, sf);
  const isNumber = !isWhole || sf.field.format === 'hex';
  const value = isNumber ? hex(bits) : formatFieldValue(sf.field, getField(ctx.flow, sf.field));
  ctx.note('detail', `${formatSubfield(sf)} is now ${value}`);
}

const hex = (v: bigint): string => (v === 0n ? '0' : `0x${v.toString(16)}`);

const isTagField = (field: Field): boolean => field.bit >> 5 === OFS.vlan_tci >> 2;

/** Writing a tag depends on whether there is one, and pushes one if not: that too has been looked at. */
function lookAtTag(ctx: Ctx, field: Field): void {
  if (!isTagField(field)) return;
  ctx.wc.set16(OFS.vlan_tci, ctx.wc.get16(OFS.vlan_tci) | VLAN_CFI);
  if (!hasVlan(ctx.flow)) noTag(ctx);
}

/** A tag that a write made or unmade gets or loses its TPID. */
export function fixTag(ctx: Ctx, field: Field): void {
  if (!isTagField(field)) return;
  const { flow } = ctx;
  if (hasVlan(flow)) {
    if (flow.get16(OFS.vlan_tpid) === 0) flow.set16(OFS.vlan_tpid, 0x8100);
  } else if (flow.get16(OFS.vlan_tci) === 0) {
    flow.set16(OFS.vlan_tpid, 0);
  }
}

export function stackPush(ctx: Ctx, a: OfpactOf<'stack_push'>): void {
  const value = readSubfield(ctx, a.subfield);
  ctx.stack.push(bytesOfBigint(value, Math.ceil(a.subfield.nBits / 8)));
}

export function stackPop(ctx: Ctx, a: OfpactOf<'stack_pop'>): void {
  const value = ctx.stack.pop();
  if (!value) {
    ctx.note('error', 'stack underflow');
    return;
  }
  const bits = BigInt(a.subfield.nBits);
  writeSubfield(ctx, a.subfield, bigintOfBytes(value) & ((1n << bits) - 1n));
  noteSubfield(ctx, a.subfield);
}

/** True when the packet ends here: TTL has run out. */
export function decTtl(ctx: Ctx, a: OfpactOf<'dec_ttl'>): boolean {
  const { flow, wc } = ctx;
  if (!isIpAny(flow)) return false;
  wc.set8(OFS.ip_ttl, 0xff);
  wc.set8(OFS.ip_proto, 0xff);
  const ttl = flow.get8(OFS.ip_ttl);
  if (ttl > 1) {
    flow.set8(OFS.ip_ttl, ttl - 1);
    return false;
  }
  for (const id of a.ids) controller(ctx, { maxLen: 0xffff, reason: PacketInReason.invalid_ttl, controllerId: id });
  ctx.note('warn', 'IPv4 decrement TTL exception');
  return true;
}

export function writeMetadata(ctx: Ctx, a: OfpactOf<'write_metadata'>): void {
  const metadata = F.metadata;
  setFieldMask(ctx.wc, metadata, bytesOfBigint(a.mask, 8));
  const old = ctx.flow.get64(OFS.metadata);
  ctx.flow.set64(OFS.metadata, (old & ~a.mask) | (a.metadata & a.mask));
}

export function setQueue(ctx: Ctx, queue: number): void {
  const { flow, wc } = ctx;
  const priority = ctx.bridge.port(flow.get32(OFS.in_port))?.queuePriority(queue) ?? null;
  if (priority === null) return;
  wc.set32(OFS.skb_priority, 0xffffffff);
  flow.set32(OFS.skb_priority, priority);
}

export function popQueue(ctx: Ctx): void {
  ctx.wc.set32(OFS.skb_priority, 0xffffffff);
  if (ctx.flow.get32(OFS.skb_priority) === ctx.origPriority) return;
  ctx.flow.set32(OFS.skb_priority, ctx.origPriority);
  ctx.note('detail', `queue = ${ctx.origPriority === 0 ? '0' : `0x${ctx.origPriority.toString(16)}`}`);
}
