/**
 * Encapsulation and decapsulation: `tnl_push` puts prepared outer headers before a packet and fills in what differs from
 * packet to packet; `tnl_pop` checks outer headers, takes them off and leaves what they said in the key's tunnel words.
 *
 * RFC 7348 (VXLAN), RFC 8926 (Geneve), RFC 2784 and RFC 2890 (GRE). The code words are those of `actions-code.ts`:
 *
 * ```
 * push | op | type | in_port afterwards | sequence | port min | ports | bytes | header …
 * pop  | op | type | in_port afterwards | options |
 * ```
 *
 * `sequence` is the word of a GRE tunnel's counter. `options` is the word of a table of Geneve options (see
 * `tunnel-options.ts`), 0 for none.
 */
import type { ArenaViews } from '../base/arena.ts';
import { TnlType } from '../flow/dp-actions.ts';
import { TUN_FLAG } from '../flow/flags-text.ts';
import { OFS } from '../flow/layout.ts';
import { FRAME_DATA, FRAME_GSO, FRAME_INNER, FRAME_LEN, type FramePool } from '../packet/frame.ts';
import { type PacketBatch, SLOT_WORDS } from './batch.ts';
import type { Extractor } from './extract.ts';
import { clearShape, SHAPE } from './shape.ts';
import { OPTION_ENTRY_WORDS } from './tunnel-options.ts';

/** Where in the words of a push the header begins, and a pop's options. */
export const PUSH_HEADER = 7;

const ETH_HEADER = 14;
const ETH_IP = 0x0008;
const ETH_IPV6 = 0xdd86;
const UDP = 17;
const GRE = 47;
/** Transparent Ethernet bridging. */
const PROTO_TEB = 0x5865;
const VXLAN_I = 0x00000008;
const GRE_CSUM = 0x80;
const GRE_KEY = 0x20;
const GRE_SEQ = 0x10;

const TUN = {
  id: OFS.tun_id >> 2,
  src: OFS.tun_src >> 2,
  dst: OFS.tun_dst >> 2,
  src6: OFS.tun_ipv6_src >> 2,
  dst6: OFS.tun_ipv6_dst >> 2,
  flags: OFS.tun_flags >> 2,
  ports: OFS.tun_tp_src >> 2,
  metadata: OFS.tun_metadata >> 2,
  present: OFS.tun_metadata_present >> 2,
} as const;

export interface Tunnels {
  /** False when the packet has no room for the headers; it is as it was then. */
  push(b: PacketBatch, i: number, pc: number): boolean;
  /** False when it is not a packet of that tunnel; what it is then is undefined. */
  pop(b: PacketBatch, i: number, pc: number): boolean;
}

export function makeTunnels(arena: ArenaViews, extractor: Extractor, pool: FramePool | null = null): Tunnels {
  const { u8, u16, i32 } = arena;

  /** RFC 1071 over memory that begins at an even place, folded to 16 bits, in the byte order of loads. */
  function sum(at: number, end: number, start: number): number {
    let s = start;
    const last = end >> 1;
    for (let h = at >> 1; h < last; h++) s += u16[h];
    if (end & 1) s += u8[end - 1];
    s = (s & 0xffff) + (s >>> 16);
    return (s & 0xffff) + (s >>> 16);
  }

  const swap16 = (v: number): number => ((v & 0xff) << 8) | (v >>> 8);

  /** Sum over the pseudo header. */
  function pseudo(l3: number, isIpv4: boolean, length: number): number {
    const addresses = isIpv4 ? l3 + 12 : l3 + 8;
    return sum(addresses, addresses + (isIpv4 ? 8 : 32), swap16(length & 0xffff) + (UDP << 8));
  }

  function push(b: PacketBatch, i: number, pc: number): boolean {
    const frame = b.frames[i];
    const f = frame >> 2;
    const size = i32[pc + 6];
    const p = i32[f + FRAME_DATA] - size;
    if (p < frame + 16 || p & 1) return false;
    if (pool?.isLarge(frame) === true && i32[f + FRAME_GSO] !== 0) {
      // One tunnel in another cannot be cut.
      if (i32[f + FRAME_INNER] !== 0) return false;
      i32[f + FRAME_INNER] = p + size;
    }
    const from = (pc + PUSH_HEADER) << 1;
    for (let h = 0, to = p >> 1; h < size >> 1; h++) u16[to + h] = u16[from + h];
    const total = i32[f + FRAME_LEN] + size;
    i32[f + FRAME_DATA] = p;
    i32[f + FRAME_LEN] = total;
    const end = p + total;
    const l3 = p + ETH_HEADER;
    const isIpv4 = u16[(p + 12) >> 1] === ETH_IP;
    const l4 = l3 + (isIpv4 ? 20 : 40);
    if (isIpv4) {
      u16[(l3 + 2) >> 1] = swap16(total - ETH_HEADER);
      u16[(l3 + 10) >> 1] = 0;
      u16[(l3 + 10) >> 1] = ~sum(l3, l4, 0);
    } else u16[(l3 + 4) >> 1] = swap16(total - ETH_HEADER - 40);
    if ((isIpv4 ? u8[l3 + 9] : u8[l3 + 6]) === UDP) pushUdp(b.hash[i], pc, l3, l4, end, isIpv4);
    else pushGre(pc, l4, end);
    const k = b.slots + i * SLOT_WORDS;
    clearShape(i32, k, b.shape[i]);
    b.shape[i] = 0;
    i32[k] = i32[pc + 2];
    return true;
  }

  function pushUdp(hash: number, pc: number, l3: number, l4: number, end: number, isIpv4: boolean): void {
    const entropy = (hash ^ (hash >>> 16)) & 0xffff;
    u16[l4 >> 1] = swap16(i32[pc + 4] + ((entropy * i32[pc + 5]) >>> 16));
    u16[(l4 + 4) >> 1] = swap16((end - l4) & 0xffff);
    if (u16[(l4 + 6) >> 1] === 0) return;
    u16[(l4 + 6) >> 1] = 0;
    const csum = ~sum(l4, end, pseudo(l3, isIpv4, end - l4)) & 0xffff;
    u16[(l4 + 6) >> 1] = csum === 0 ? 0xffff : csum;
  }

  function pushGre(pc: number, l4: number, end: number): void {
    const flags = u8[l4];
    if (flags & GRE_SEQ) {
      const at = l4 + 4 + (flags & GRE_CSUM ? 4 : 0) + (flags & GRE_KEY ? 4 : 0);
      const n = i32[pc + 3] === 0 ? 0 : Atomics.add(i32, i32[pc + 3], 1);
      u16[at >> 1] = swap16(n >>> 16);
      u16[(at >> 1) + 1] = swap16(n & 0xffff);
    }
    if (flags & GRE_CSUM) {
      u16[(l4 + 4) >> 1] = 0;
      u16[(l4 + 4) >> 1] = ~sum(l4, end, 0);
    }
  }

  // What `pop` has found of the packet at hand.
  let flags = 0;
  let keyHigh = 0;
  let optionsFrom = 0;
  let optionsEnd = 0;
  /** What GRE says is inside. */
  let inner = PROTO_TEB;

  function pop(b: PacketBatch, i: number, pc: number): boolean {
    const f = b.frames[i] >> 2;
    const k = b.slots + i * SLOT_WORDS;
    const l3 = b.l3[i];
    const p = i32[f + FRAME_DATA];
    let end = p + i32[f + FRAME_LEN];
    const ethType = i32[k + 6] & 0xffff;
    const isIpv4 = ethType === ETH_IP;
    if (l3 === 0 || l3 & 1 || (!isIpv4 && ethType !== ETH_IPV6) || l3 + (isIpv4 ? 20 : 40) > end) return false;
    let l4: number;
    let proto: number;
    if (isIpv4) {
      l4 = l3 + (u8[l3] & 15) * 4;
      const total = swap16(u16[(l3 + 2) >> 1]);
      if (u8[l3] >> 4 !== 4 || l4 < l3 + 20 || l3 + total > end || l3 + total < l4) return false;
      if (sum(l3, l4, 0) !== 0xffff || u16[(l3 + 6) >> 1] & 0xff3f) return false;
      end = l3 + total;
      proto = u8[l3 + 9];
    } else {
      l4 = l3 + 40;
      const length = swap16(u16[(l3 + 4) >> 1]);
      if (l4 + length > end) return false;
      end = l4 + length;
      proto = u8[l3 + 6];
    }
    flags = 0;
    keyHigh = 0;
    optionsFrom = 0;
    optionsEnd = 0;
    inner = PROTO_TEB;
    const type = i32[pc + 1];
    const at =
      type === TnlType.gre || type === TnlType.ip6gre
        ? popGre(l4, end, proto)
        : popUdp(l3, l4, end, proto, type, isIpv4);
    if (at === 0 || at + ETH_HEADER > end) return false;
    const key = keyHigh;
    clearShape(i32, k, b.shape[i]);
    i32[k] = i32[pc + 2];
    i32[k + TUN.id + 1] = key;
    if (isIpv4) {
      i32[k + TUN.src] = u16[(l3 + 12) >> 1] | (u16[(l3 + 14) >> 1] << 16);
      i32[k + TUN.dst] = u16[(l3 + 16) >> 1] | (u16[(l3 + 18) >> 1] << 16);
    } else {
      for (let w = 0; w < 8; w++)
        i32[k + TUN.src6 + w] = u16[(l3 + 8 + w * 4) >> 1] | (u16[(l3 + 10 + w * 4) >> 1] << 16);
    }
    const tos = isIpv4 ? u8[l3 + 1] : ((u8[l3] & 15) << 4) | (u8[l3 + 1] >> 4);
    const ttl = isIpv4 ? u8[l3 + 8] : u8[l3 + 7];
    i32[k + TUN.flags] = (flags << 8) | (tos << 16) | (ttl << 24);
    i32[k + TUN.ports] = proto === UDP ? u16[l4 >> 1] | (u16[(l4 + 2) >> 1] << 16) : 0;
    b.shape[i] = SHAPE.TUNNEL;
    if (optionsEnd > optionsFrom) {
      if (i32[pc + 3] !== 0 && !readOptions(k, i32[pc + 3])) return false;
      b.shape[i] |= SHAPE.TUN_OPTIONS;
    }
    if (inner !== PROTO_TEB) {
      // Namespace 1 (Ethernet types) in network order.
      i32[k + (OFS.packet_type >> 2)] = 0x0100 | (inner << 16);
      b.shape[i] |= SHAPE.PACKET_TYPE;
    }
    if (pool?.isLarge(b.frames[i]) === true) i32[f + FRAME_INNER] = 0;
    i32[f + FRAME_DATA] = at;
    i32[f + FRAME_LEN] = end - at;
    extractor.again(b, i);
    return true;
  }

  /** Returns where the inner packet begins, 0 when this is none of ours. */
  function popUdp(l3: number, l4: number, end: number, proto: number, type: number, isIpv4: boolean): number {
    if (proto !== UDP || l4 + 16 > end) return 0;
    const length = swap16(u16[(l4 + 4) >> 1]);
    if (length < 16 || l4 + length > end) return 0;
    if (u16[(l4 + 6) >> 1] !== 0) {
      if (sum(l4, l4 + length, pseudo(l3, isIpv4, length)) !== 0xffff) return 0;
      flags |= TUN_FLAG.csum;
    }
    const at = l4 + 8;
    flags |= TUN_FLAG.key;
    keyHigh = (u8[at + 4] << 8) | (u8[at + 5] << 16) | (u8[at + 6] << 24);
    if (type === TnlType.vxlan) {
      const isPlain = (u16[at >> 1] | (u16[(at >> 1) + 1] << 16)) === VXLAN_I;
      return isPlain && u8[at + 7] === 0 ? at + 8 : 0;
    }
    if (type !== TnlType.geneve || u8[at] >> 6 !== 0 || u16[(at + 2) >> 1] !== PROTO_TEB) return 0;
    if (u8[at + 1] & 0x80) flags |= TUN_FLAG.oam;
    optionsFrom = at + 8;
    optionsEnd = optionsFrom + (u8[at] & 0x3f) * 4;
    return optionsEnd > end ? 0 : optionsEnd;
  }

  function popGre(l4: number, end: number, proto: number): number {
    if (proto !== GRE || l4 + 4 > end) return 0;
    const bits = u8[l4];
    // Routing and other versions are of the past.
    if (bits & 0x4f || u8[l4 + 1] !== 0) return 0;
    inner = u16[(l4 + 2) >> 1];
    let at = l4 + 4;
    if (bits & GRE_CSUM) {
      if (sum(l4, end, 0) !== 0xffff) return 0;
      flags |= TUN_FLAG.csum;
      at += 4;
    }
    if (bits & GRE_KEY) {
      if (at + 4 > end) return 0;
      keyHigh = u16[at >> 1] | (u16[(at >> 1) + 1] << 16);
      flags |= TUN_FLAG.key;
      at += 4;
    }
    return bits & GRE_SEQ ? at + 4 : at;
  }

  /** Known options into their fields. False when one is not as long as it should be. */
  function readOptions(k: number, table: number): boolean {
    const n = i32[table];
    for (let at = optionsFrom; at + 4 <= optionsEnd; ) {
      const id = (u8[at] << 16) | (u8[at + 1] << 8) | u8[at + 2];
      const words = u8[at + 3] & 0x1f;
      at += 4;
      if (at + words * 4 > optionsEnd) return false;
      for (let e = table + 1, x = 0; x < n; x++, e += OPTION_ENTRY_WORDS) {
        if (i32[e] !== id) continue;
        if (i32[e + 1] !== words) return false;
        const field = i32[e + 2];
        for (let w = 0; w < words; w++) {
          i32[k + TUN.metadata + field + w] = u16[(at >> 1) + w * 2] | (u16[(at >> 1) + w * 2 + 1] << 16);
        }
        // Bit `field` of 64, the least significant last in network order.
        u8[((k + TUN.present) << 2) + 7 - (field >> 3)] |= 1 << (field & 7);
      }
      at += words * 4;
    }
    return true;
  }

  return { push, pop };
}
