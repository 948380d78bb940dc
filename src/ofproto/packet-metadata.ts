/**
 * What a packet-in says of its packet beyond the bytes: the port it came in by and, where they are set, tunnel,
 * conntrack, mark, metadata and registers.
 */
import type { FlowKey } from '../flow/key.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { type FrozenState, thawRegisters } from './xlate/recirc.ts';

/** Ranges of words, `[first, end)`. */
const METADATA_WORDS: readonly (readonly [number, number])[] = [
  [OFS.ct_state >> 2, (OFS.ct_mark >> 2) + 1],
  [OFS.pkt_mark >> 2, (OFS.pkt_mark >> 2) + 1],
  [OFS.ct_label >> 2, OFS.ct_nw_src >> 2],
  [OFS.tun_id >> 2, DP_WORDS],
  [OFS.metadata >> 2, OFS.conj_id >> 2],
];

export function packetMetadata(key: FlowKey, state: FrozenState): Match {
  const flow = key.clone();
  thawRegisters(state, flow);
  const match = new Match();
  for (const [first, end] of METADATA_WORDS) {
    for (let i = first; i < end; i++) {
      if (flow.w[i] === 0) continue;
      match.key.w[i] = flow.w[i];
      match.mask.w[i] = -1;
    }
  }
  // Fields wider than a word, or sharing one, are told whole.
  for (const [ofs, bytes] of [
    [OFS.ct_label, 16],
    [OFS.metadata, 8],
    [OFS.tun_id, 8],
    [OFS.tun_ipv6_src, 16],
    [OFS.tun_ipv6_dst, 16],
  ] as const) {
    if (match.mask.u8.subarray(ofs, ofs + bytes).some((b) => b !== 0)) match.mask.u8.fill(0xff, ofs, ofs + bytes);
  }
  if (flow.get16(OFS.ct_zone) !== 0) {
    match.key.set16(OFS.ct_zone, flow.get16(OFS.ct_zone));
    match.mask.set16(OFS.ct_zone, 0xffff);
  }
  if (flow.get32(OFS.ct_state) !== 0) tellConntrack(flow, match);
  match.key.set32(OFS.in_port, state.inPort);
  match.mask.set32(OFS.in_port, 0xffffffff);
  return match;
}

/** Bits of `ct_state` with one of which the tuple means something: new, est, rpl. */
const HAS_TUPLE = 0x0b;

/** Which sort of packet it is, for it says how to read the rest; and the original tuple, where there is one. */
function tellConntrack(flow: FlowKey, match: Match): void {
  const tell = (ofs: number, bytes: number): void => {
    match.key.u8.set(flow.u8.subarray(ofs, ofs + bytes), ofs);
    match.mask.u8.fill(0xff, ofs, ofs + bytes);
  };
  tell(OFS.eth_type, 2);
  if (flow.get8(OFS.ct_nw_proto) === 0 || (flow.get32(OFS.ct_state) & HAS_TUPLE) === 0) return;
  tell(OFS.ct_nw_proto, 1);
  tell(OFS.ct_tp_src, 4);
  if (flow.get16(OFS.eth_type) === 0x0800) tell(OFS.ct_nw_src, 8);
  else tell(OFS.ct_ipv6_src, 32);
}
