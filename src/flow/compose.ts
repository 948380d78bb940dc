/**
 * Makes a packet that would be extracted as a given flow: for `ofproto/trace --generate`, `netdev-dummy/receive` and tests. Lengths and checksums are
 * right. Fields that no packet can carry together are dropped as the headers before them say.
 */
import { ARP, writeArp } from '../packet/arp.ts';
import { set16, set32 } from '../packet/bytes.ts';
import { checksum, finishSum, pseudoHeaderSum, sumBytes } from '../packet/checksum.ts';
import { crc32c } from '../packet/crc32c.ts';
import { ETH, ETH_TYPE, ETH_TYPE_MIN, ETH_TYPE_NONE, isMplsType, writeEthernet } from '../packet/ethernet.ts';
import { IP_MORE_FRAGMENTS, IPPROTO, IPV4, writeIpv4 } from '../packet/ipv4.ts';
import { IPV6, IPV6_EXT, writeIpv6 } from '../packet/ipv6.ts';
import { ICMPV6_LENGTH, ND, ND_ADVERT, ND_OPTION, ND_SOLICIT } from '../packet/nd.ts';
import { NSH } from '../packet/nsh.ts';
import { ICMP, IGMP, SCTP, TCP, UDP } from '../packet/transport.ts';
import type { FlowKey } from './key.ts';
import { OFS } from './layout.ts';

const VLAN_CFI = 0x1000;
/** Any offset says "not the first fragment". */
const LATER_OFFSET = 100;
/** Longest headers there are, with room to spare. */
const HEADROOM = 256;

const NOTHING = new Uint8Array(0);

const TCP_OPENS_OR_CLOSES = 0x007;

/**
 * What the original puts behind the transport header where nobody says otherwise: counted bytes in UDP, in TCP segments without SYN, FIN and RST, and in
 * echo requests and replies.
 */
export function defaultPayload(key: FlowKey, length = 64): Uint8Array {
  const type = key.get16(OFS.eth_type);
  const proto = key.u8[OFS.ip_proto];
  if ((type !== ETH_TYPE.ip && type !== ETH_TYPE.ipv6) || (key.u8[OFS.ip_frag] & 2) !== 0) return NOTHING;
  const icmp = `${key.get16(OFS.tp_src)}.${key.get16(OFS.tp_dst)}`;
  const takes =
    proto === IPPROTO.udp ||
    (proto === IPPROTO.tcp && (key.get16(OFS.tcp_flags) & TCP_OPENS_OR_CLOSES) === 0) ||
    (proto === IPPROTO.icmp && type === ETH_TYPE.ip && (icmp === '8.0' || icmp === '0.0')) ||
    (proto === IPPROTO.icmpv6 && type === ETH_TYPE.ipv6 && (icmp === '128.0' || icmp === '129.0'));
  return takes ? Uint8Array.from({ length }, (_, i) => i) : NOTHING;
}

/** The packet, with `payload` behind a TCP, UDP, SCTP or ICMP header. */
export function composePacket(key: FlowKey, payload: Uint8Array = NOTHING): Uint8Array {
  const b = new Uint8Array(HEADROOM + payload.length);
  const type = key.get16(OFS.eth_type);
  let at = 0;
  if (key.get32(OFS.packet_type) === 0) {
    at = writeEthernet(b, 0, bytes(key, OFS.eth_dst, 6), bytes(key, OFS.eth_src, 6), type);
    for (const ofs of [OFS.vlan_tpid, OFS.vlan2_tpid]) {
      const tci = key.get16(ofs + 2);
      if ((tci & VLAN_CFI) === 0) break;
      set16(b, at - 2, key.get16(ofs) || ETH_TYPE.vlan);
      set16(b, at, tci & ~VLAN_CFI);
      at += 4;
      set16(b, at - 2, type);
    }
    if (type < ETH_TYPE_MIN) {
      // 802.3: a length stands there; the original writes that of the whole frame.
      set16(b, at - 2, type === ETH_TYPE_NONE ? Math.max(at, ETH.length) : type);
      return b.slice(0, Math.max(at, ETH.length));
    }
  }
  const end = writeLayer3(b, at, type, key, payload);
  return b.slice(0, end);
}

function bytes(key: FlowKey, ofs: number, length: number): Uint8Array {
  return key.u8.subarray(ofs, ofs + length);
}

function writeLayer3(b: Uint8Array, at: number, type: number, key: FlowKey, payload: Uint8Array): number {
  if (type === ETH_TYPE.ip) return writeIp4(b, at, key, payload);
  if (type === ETH_TYPE.ipv6) return writeIp6(b, at, key, payload);
  if (type === ETH_TYPE.arp || type === ETH_TYPE.rarp) {
    const op = key.u8[OFS.ip_proto];
    writeArp(b, at, {
      op,
      sha: bytes(key, OFS.arp_sha, 6),
      spa: bytes(key, OFS.ip_src, 4),
      tha: bytes(key, OFS.arp_tha, 6),
      tpa: bytes(key, OFS.ip_dst, 4),
    });
    return at + ARP.length;
  }
  if (isMplsType(type)) {
    for (const ofs of [OFS.mpls_lse0, OFS.mpls_lse1, OFS.mpls_lse2]) {
      set32(b, at, key.get32(ofs));
      at += 4;
      if ((key.get32(ofs) & 0x100) !== 0) break;
    }
    return at;
  }
  if (type === ETH_TYPE.nsh) {
    const isMd1 = key.u8[OFS.nsh_mdtype] === 1;
    const length = isMd1 ? NSH.md1Length : NSH.baseLength;
    const ttl = key.u8[OFS.nsh_ttl] & 0x3f;
    set16(b, at, ((key.u8[OFS.nsh_flags] & 3) << 12) | (ttl << 6) | (length / 4));
    b[at + NSH.mdType] = key.u8[OFS.nsh_mdtype];
    b[at + NSH.np] = key.u8[OFS.nsh_np];
    b.set(bytes(key, OFS.nsh_spi, 4), at + NSH.path);
    if (isMd1) b.set(bytes(key, OFS.nsh_c1, 16), at + NSH.context);
    return at + length;
  }
  return at;
}

function writeIp4(b: Uint8Array, at: number, key: FlowKey, payload: Uint8Array): number {
  const proto = key.u8[OFS.ip_proto];
  const frag = key.u8[OFS.ip_frag];
  const l4 = at + IPV4.length;
  const end = frag & 2 ? l4 : writeTransport(b, l4, proto, false, key, payload);
  writeIpv4(
    b,
    at,
    {
      tos: key.u8[OFS.ip_tos],
      ttl: key.u8[OFS.ip_ttl],
      proto,
      frag: (frag & 1 ? IP_MORE_FRAGMENTS : 0) | (frag & 2 ? LATER_OFFSET : 0),
      src: bytes(key, OFS.ip_src, 4),
      dst: bytes(key, OFS.ip_dst, 4),
    },
    end - at,
  );
  finishChecksum(b, at + IPV4.src, 4, l4, end, proto);
  return end;
}

function writeIp6(b: Uint8Array, at: number, key: FlowKey, payload: Uint8Array): number {
  const proto = key.u8[OFS.ip_proto];
  const frag = key.u8[OFS.ip_frag];
  let l4 = at + IPV6.length;
  if (frag !== 0) {
    b[l4] = proto === IPV6_EXT.fragment ? IPPROTO.udp : proto;
    set16(b, l4 + 2, frag & 2 ? (LATER_OFFSET << 3) | 1 : 1);
    l4 += 8;
  }
  const end = frag & 2 ? l4 : writeTransport(b, l4, proto, true, key, payload);
  writeIpv6(
    b,
    at,
    {
      tos: key.u8[OFS.ip_tos],
      label: key.get32(OFS.ipv6_label),
      hopLimit: key.u8[OFS.ip_ttl],
      nextHeader: frag !== 0 ? IPV6_EXT.fragment : proto,
      src: bytes(key, OFS.ipv6_src, 16),
      dst: bytes(key, OFS.ipv6_dst, 16),
    },
    end - at - IPV6.length,
  );
  if ((frag & 2) === 0) finishChecksum(b, at + IPV6.src, 16, l4, end, proto);
  return end;
}

/** Writes a transport header and its payload; returns where they end. Checksums follow when the addresses are there. */
function writeTransport(
  b: Uint8Array,
  at: number,
  proto: number,
  v6: boolean,
  key: FlowKey,
  payload: Uint8Array,
): number {
  const withPayload = (length: number): number => {
    b.set(payload, at + length);
    return at + length + payload.length;
  };
  switch (proto) {
    case IPPROTO.tcp:
      set32(b, at + TCP.src, key.get32(OFS.tp_src));
      set16(b, at + TCP.offsetFlags, 0x5000 | (key.get16(OFS.tcp_flags) & 0x0fff));
      return withPayload(TCP.length);
    case IPPROTO.udp: {
      set32(b, at + UDP.src, key.get32(OFS.tp_src));
      const end = withPayload(UDP.length);
      set16(b, at + UDP.size, end - at);
      return end;
    }
    case IPPROTO.sctp:
      set32(b, at + SCTP.src, key.get32(OFS.tp_src));
      return withPayload(SCTP.length);
    case IPPROTO.icmp:
      if (v6) break;
      b[at + ICMP.type] = key.get16(OFS.tp_src);
      b[at + ICMP.code] = key.get16(OFS.tp_dst);
      return withPayload(ICMP.length);
    case IPPROTO.igmp:
      if (v6) break;
      b[at + IGMP.type] = key.get16(OFS.tp_src);
      b[at + IGMP.code] = key.get16(OFS.tp_dst);
      set32(b, at + IGMP.group, key.get32(OFS.igmp_group));
      return at + IGMP.length;
    case IPPROTO.icmpv6:
      if (v6) return writeIcmpv6(b, at, key, withPayload);
      break;
  }
  b.set(payload, at);
  return at + payload.length;
}

function writeIcmpv6(b: Uint8Array, at: number, key: FlowKey, withPayload: (length: number) => number): number {
  const type = key.get16(OFS.tp_src);
  const code = key.get16(OFS.tp_dst);
  b[at + ND.type] = type;
  b[at + ND.code] = code;
  if (code !== 0 || (type !== ND_SOLICIT && type !== ND_ADVERT)) return withPayload(ICMPV6_LENGTH);
  set32(b, at + ND.reserved, key.get32(OFS.nd_reserved));
  b.set(bytes(key, OFS.nd_target, 16), at + ND.target);
  let end = at + ND.options;
  const options = [
    [ND_OPTION.sourceLla, OFS.arp_sha],
    [ND_OPTION.targetLla, OFS.arp_tha],
  ] as const;
  // The type that the flow names comes first.
  const ordered = key.u8[OFS.nd_options_type] === ND_OPTION.targetLla ? [options[1], options[0]] : options;
  for (const [option, ofs] of ordered) {
    const address = bytes(key, ofs, 6);
    if (address.every((octet) => octet === 0) && key.u8[OFS.nd_options_type] !== option) continue;
    b[end] = option;
    b[end + 1] = 1;
    b.set(address, end + 2);
    end += 8;
  }
  return end;
}

function finishChecksum(
  b: Uint8Array,
  addresses: number,
  addressBytes: 4 | 16,
  at: number,
  end: number,
  proto: number,
): void {
  const length = end - at;
  const transport = (): number =>
    finishSum(sumBytes(b, at, length) + pseudoHeaderSum(b, addresses, addressBytes, proto, length));
  if (length < 8) return;
  if (proto === IPPROTO.tcp) set16(b, at + TCP.checksum, transport());
  else if (proto === IPPROTO.udp) set16(b, at + UDP.checksum, transport() || 0xffff);
  else if (proto === IPPROTO.icmpv6 && addressBytes === 16) set16(b, at + ND.checksum, transport());
  else if (proto === IPPROTO.icmp && addressBytes === 4) set16(b, at + ICMP.checksum, checksum(b, at, length));
  else if (proto === IPPROTO.igmp && addressBytes === 4) set16(b, at + IGMP.checksum, checksum(b, at, length));
  else if (proto === IPPROTO.sctp)
    new DataView(b.buffer, b.byteOffset).setUint32(at + SCTP.checksum, crc32c(b, at, length), true);
}
