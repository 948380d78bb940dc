/** Which connections a partial tuple means, for flushing by command and by OpenFlow. `ovs-dpctl(8)`, `flush-conntrack` */
import type { CtConnection, CtTuple } from '../datapath/ct/host.ts';
import type { CtTuple as OfCtTuple } from '../openflow/messages-ext.ts';

/** What is null says nothing. */
export type CtTupleFilter = OfCtTuple;

export const NO_TUPLE: CtTupleFilter = {
  src: null,
  dst: null,
  srcPort: null,
  dstPort: null,
  icmpId: null,
  icmpType: null,
  icmpCode: null,
};

const sameAddress = (wanted: Uint8Array | null, is: Uint8Array): boolean =>
  wanted === null || (wanted.length === is.length && wanted.every((b, i) => b === is[i]));
const same = (wanted: number | null, is: number | undefined): boolean => wanted === null || wanted === is;

function matchesTuple(f: CtTupleFilter, t: CtTuple): boolean {
  return (
    sameAddress(f.src, t.src) &&
    sameAddress(f.dst, t.dst) &&
    same(f.srcPort, t.srcPort) &&
    same(f.dstPort, t.dstPort) &&
    same(f.icmpId, t.icmp?.id) &&
    same(f.icmpType, t.icmp?.type) &&
    same(f.icmpCode, t.icmp?.code)
  );
}

/** `proto` 0 is any. */
export function connectionFilter(
  proto: number,
  original: CtTupleFilter,
  reply: CtTupleFilter,
): (c: CtConnection) => boolean {
  return (c) =>
    (proto === 0 || c.proto === proto) && matchesTuple(original, c.original) && matchesTuple(reply, c.reply);
}

/** Can only one connection be meant? */
export function isWhole(proto: number, f: CtTupleFilter): boolean {
  if (proto === 0 || f.src === null || f.dst === null) return false;
  if (proto === 1 || proto === 58) return f.icmpId !== null && f.icmpType !== null && f.icmpCode !== null;
  return f.srcPort !== null && f.dstPort !== null;
}
