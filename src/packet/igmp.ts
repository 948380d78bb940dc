/** Group membership: IGMP (RFC 2236, 3376) and MLD (RFC 2710, 3810), as far as a snooping switch looks at it. */
import { get16 } from './bytes.ts';
import { checksum, finishSum, pseudoHeaderSum, sumBytes } from './checksum.ts';
import { isVlanType, readEthertype } from './ethernet.ts';
import { checkIpv4, IPPROTO, IPV4 } from './ipv4.ts';
import { checkIpv6, IPV6, walkIpv6Extensions } from './ipv6.ts';

export const IGMP_TYPE = { query: 0x11, reportV1: 0x12, reportV2: 0x16, leave: 0x17, reportV3: 0x22 } as const;
export const MLD_TYPE = { query: 130, report: 131, done: 132, reportV2: 143 } as const;
/** Record types that begin with no sources wanted or not wanted. RFC 3376 4.2.12 */
const RECORD = { modeInclude: 1, modeExclude: 2, toInclude: 3, toExclude: 4 } as const;
const RECORD_LENGTH = { ipv4: 8, ipv6: 20 } as const;

export interface GroupChange {
  readonly joins: boolean;
  /** 4 or 16 bytes. */
  readonly group: Uint8Array;
}

export type GroupMessage =
  | { readonly type: 'query'; readonly source: Uint8Array }
  /** Of a version that speaks of one group. */
  | { readonly type: 'report' | 'leave'; readonly group: Uint8Array }
  | { readonly type: 'records'; readonly changes: readonly GroupChange[] }
  | { readonly type: 'bad checksum' };

/** The message of a whole Ethernet frame; null when it is none. */
export function readGroupMessage(frame: Uint8Array): GroupMessage | null {
  let at = 12;
  while (frame.length - at >= 6 && isVlanType(get16(frame, at))) at += 4;
  if (frame.length - at < 2) return null;
  const { type, next } = readEthertype(frame, at, frame.length);
  return type === 0x0800 ? readIgmp(frame, next) : type === 0x86dd ? readMld(frame, next) : null;
}

function readIgmp(b: Uint8Array, l3: number): GroupMessage | null {
  const lengths = checkIpv4(b, l3, b.length);
  if (!lengths || b[l3 + IPV4.proto] !== IPPROTO.igmp) return null;
  const at = l3 + lengths.headerLength;
  const size = lengths.totalLength - lengths.headerLength;
  if (size < 8) return null;
  if (checksum(b, at, size) !== 0) return { type: 'bad checksum' };
  const group = b.slice(at + 4, at + 8);
  switch (b[at]) {
    case IGMP_TYPE.query:
      return { type: 'query', source: b.slice(l3 + IPV4.src, l3 + IPV4.src + 4) };
    case IGMP_TYPE.reportV1:
    case IGMP_TYPE.reportV2:
      return { type: 'report', group };
    case IGMP_TYPE.leave:
      return { type: 'leave', group };
    case IGMP_TYPE.reportV3:
      return { type: 'records', changes: readRecords(b, at, at + size, RECORD_LENGTH.ipv4) };
    default:
      return null;
  }
}

function readMld(b: Uint8Array, l3: number): GroupMessage | null {
  const total = checkIpv6(b, l3, b.length);
  if (total < 0) return null;
  const chain = walkIpv6Extensions(b, l3 + IPV6.length, l3 + total, b[l3 + IPV6.nextHeader]);
  if (!chain || chain.proto !== IPPROTO.icmpv6 || chain.frag !== 0) return null;
  const { at } = chain;
  const size = l3 + total - at;
  if (size < 8) return null;
  const sum = pseudoHeaderSum(b, l3 + IPV6.src, 16, IPPROTO.icmpv6, size);
  if (finishSum(sumBytes(b, at, size, sum)) !== 0) return { type: 'bad checksum' };
  if (b[at] === MLD_TYPE.reportV2) {
    return { type: 'records', changes: readRecords(b, at, at + size, RECORD_LENGTH.ipv6) };
  }
  if (size < 24) return null;
  const group = b.slice(at + 8, at + 24);
  switch (b[at]) {
    case MLD_TYPE.query:
      return { type: 'query', source: b.slice(l3 + IPV6.src, l3 + IPV6.src + 16) };
    case MLD_TYPE.report:
      return { type: 'report', group };
    case MLD_TYPE.done:
      return { type: 'leave', group };
    default:
      return null;
  }
}

/** Group records: who wants to hear from nobody leaves, anyone else joins. */
function readRecords(b: Uint8Array, message: number, end: number, length: number): GroupChange[] {
  const changes: GroupChange[] = [];
  const addressBytes = length - 4;
  let at = message + 8;
  for (let left = get16(b, message + 6); left > 0 && end - at >= length; left--) {
    const sources = get16(b, at + 2);
    const group = b.slice(at + 4, at + length);
    const type = b[at];
    const wantsNobody = sources === 0 && (type === RECORD.modeInclude || type === RECORD.toInclude);
    changes.push({ joins: !wantsNobody, group });
    at += length + sources * addressBytes + b[at + 1] * 4;
  }
  return changes;
}
