/** Prints a match in the order and the forms of `ovs-ofctl dump-flows`: `tp_dst=80` for every transport, `dl_vlan` for a VLAN_VID, `nw_src` for IP_SRC. */
import { formatEthMasked, formatIpv4, formatIpv4Masked, formatIpv6Masked } from './address-text.ts';
import { F } from './fields.ts';
import { CT_STATE_FLAGS, DP_TUN_FLAG_SET, formatFlagsMasked, formatFrag, TCP_FLAG_SET } from './flags-text.ts';
import { OFS } from './layout.ts';
import type { Match } from './match.ts';
import { formatPort, type Names } from './names.ts';
import { formatFieldValue } from './value-text.ts';

const DEFAULT_PRIORITY = 32768;

const sharpHex = (v: number | bigint): string => (v === 0 || v === 0n ? '0' : `0x${v.toString(16)}`);

class MatchPrinter {
  readonly parts: string[] = [];
  readonly match: Match;
  readonly names: Names | undefined;

  constructor(match: Match, names: Names | undefined) {
    this.match = match;
    this.names = names;
  }

  add(name: string, value: string): void {
    this.parts.push(`${name}=${value}`);
  }

  /** Does the match say anything in these bytes, `ofs` and `end` being rounded out to words? */
  looksAt(ofs: number, end: number): boolean {
    const { w } = this.match.mask;
    for (let i = ofs >> 2; i << 2 < end; i++) if (w[i] !== 0) return true;
    return false;
  }

  /** `ofs` is that of a word, here and wherever a field has 32 bits. */
  hex32(name: string, ofs: number): void {
    if (this.match.mask.w[ofs >> 2] === 0) return;
    const mask = this.match.mask.get32(ofs);
    const value = sharpHex(this.match.key.get32(ofs));
    this.add(name, mask === 0xffffffff ? value : `${value}/${sharpHex(mask)}`);
  }

  hex64(name: string, ofs: number): void {
    if (!this.looksAt(ofs, ofs + 8)) return;
    const mask = this.match.mask.get64(ofs);
    const value = sharpHex(this.match.key.get64(ofs));
    this.add(name, mask === 0xffffffffffffffffn ? value : `${value}/${sharpHex(mask)}`);
  }

  /** A 16-bit number: decimal when exact, hexadecimal when masked. */
  dec16(name: string, ofs: number): void {
    const mask = this.match.mask.get16(ofs);
    if (mask === 0) return;
    const value = this.match.key.get16(ofs);
    this.add(name, mask === 0xffff ? String(value) : `0x${value.toString(16)}/0x${mask.toString(16)}`);
  }

  /** The low byte of a 16-bit place, as ICMP's type and code. */
  low8(name: string, ofs: number): void {
    const mask = this.match.mask.u8[ofs + 1];
    if (mask === 0) return;
    const value = this.match.key.u8[ofs + 1];
    this.add(name, mask === 0xff ? String(value) : `0x${value.toString(16)}/0x${mask.toString(16)}`);
  }

  dec8(name: string, ofs: number, bits = 0xff): void {
    if ((this.match.mask.u8[ofs] & bits) !== 0) this.add(name, String(this.match.key.u8[ofs] & bits));
  }

  masked8(name: string, ofs: number): void {
    const mask = this.match.mask.u8[ofs];
    if (mask === 0) return;
    const h = (v: number): string => `0x${v.toString(16).padStart(2, '0')}`;
    this.add(name, mask === 0xff ? String(this.match.key.u8[ofs]) : `${h(this.match.key.u8[ofs])}/${h(mask)}`);
  }

  bytes(name: string, ofs: number, length: number, format: (value: Uint8Array, mask: Uint8Array) => string): void {
    if (!this.looksAt(ofs, ofs + length)) return;
    const mask = this.match.mask.u8.subarray(ofs, ofs + length);
    if (mask.every((b) => b === 0)) return;
    this.add(name, format(this.match.key.u8.subarray(ofs, ofs + length), mask));
  }

  eth(name: string, ofs: number): void {
    this.bytes(name, ofs, 6, formatEthMasked);
  }
  ipv4(name: string, ofs: number): void {
    const mask = this.match.mask.w[ofs >> 2];
    if (mask === -1) this.add(name, formatIpv4(this.match.key.u8, ofs));
    else if (mask !== 0) this.bytes(name, ofs, 4, formatIpv4Masked);
  }
  ipv6(name: string, ofs: number): void {
    this.bytes(name, ofs, 16, formatIpv6Masked);
  }
}

function formatConntrack(p: MatchPrinter): void {
  const { key, mask } = p.match;
  const stateMask = mask.get32(OFS.ct_state);
  if (stateMask !== 0) {
    p.add('ct_state', formatFlagsMasked(key.get32(OFS.ct_state), stateMask & CT_STATE_FLAGS.allowed, CT_STATE_FLAGS));
  }
  if (mask.get16(OFS.ct_zone) !== 0) p.dec16('ct_zone', OFS.ct_zone);
  p.hex32('ct_mark', OFS.ct_mark);
  p.bytes('ct_label', OFS.ct_label, 16, (value, bits) =>
    formatFieldValue(F.ct_label, value, bits).replace(/^0x0(?=\/|$)/, '0'),
  );
  p.ipv4('ct_nw_src', OFS.ct_nw_src);
  p.ipv6('ct_ipv6_src', OFS.ct_ipv6_src);
  p.ipv4('ct_nw_dst', OFS.ct_nw_dst);
  p.ipv6('ct_ipv6_dst', OFS.ct_ipv6_dst);
  if (mask.u8[OFS.ct_nw_proto] === 0) return;
  p.dec8('ct_nw_proto', OFS.ct_nw_proto);
  p.dec16('ct_tp_src', OFS.ct_tp_src);
  p.dec16('ct_tp_dst', OFS.ct_tp_dst);
}

/** The protocol word of a match, and whether it says the IP protocol too. */
function protocolWord(p: MatchPrinter): { word: string; saysProto: boolean } | null {
  const { key, mask } = p.match;
  if (mask.get16(OFS.eth_type) !== 0xffff) return null;
  const proto = mask.u8[OFS.ip_proto] === 0xff ? key.u8[OFS.ip_proto] : -1;
  switch (key.get16(OFS.eth_type)) {
    case 0x0800:
      if (proto === 1) return { word: 'icmp', saysProto: true };
      if (proto === 6) return { word: 'tcp', saysProto: true };
      if (proto === 17) return { word: 'udp', saysProto: true };
      if (proto === 132) return { word: 'sctp', saysProto: true };
      return { word: 'ip', saysProto: false };
    case 0x86dd:
      if (proto === 58) return { word: 'icmp6', saysProto: true };
      if (proto === 6) return { word: 'tcp6', saysProto: true };
      if (proto === 17) return { word: 'udp6', saysProto: true };
      if (proto === 132) return { word: 'sctp6', saysProto: true };
      return { word: 'ipv6', saysProto: false };
    case 0x0806:
      return { word: 'arp', saysProto: false };
    case 0x8035:
      return { word: 'rarp', saysProto: false };
    case 0x8847:
      return { word: 'mpls', saysProto: false };
    case 0x8848:
      return { word: 'mplsm', saysProto: false };
  }
  return null;
}

function formatTunnel(p: MatchPrinter): void {
  const { key, mask } = p.match;
  p.hex64('tun_id', OFS.tun_id);
  p.ipv4('tun_src', OFS.tun_src);
  p.ipv4('tun_dst', OFS.tun_dst);
  p.ipv6('tun_ipv6_src', OFS.tun_ipv6_src);
  p.ipv6('tun_ipv6_dst', OFS.tun_ipv6_dst);
  p.dec16('tun_gbp_id', OFS.tun_gbp_id);
  const hex8 = (name: string, ofs: number): void => {
    if (mask.u8[ofs] !== 0) p.add(name, `0x${key.u8[ofs].toString(16)}`);
  };
  if (mask.u8[OFS.tun_gbp_flags] !== 0) p.add('tun_gbp_flags', sharpHex(key.u8[OFS.tun_gbp_flags]));
  if (mask.u8[OFS.tun_tos] !== 0) p.add('tun_tos', key.u8[OFS.tun_tos].toString(16));
  p.dec8('tun_ttl', OFS.tun_ttl);
  if (mask.u8[OFS.tun_erspan_ver] !== 0) {
    p.dec8('tun_erspan_ver', OFS.tun_erspan_ver);
    if (key.u8[OFS.tun_erspan_ver] === 1) p.hex32('tun_erspan_idx', OFS.tun_erspan_idx);
    if (key.u8[OFS.tun_erspan_ver] === 2) {
      p.dec8('tun_erspan_dir', OFS.tun_erspan_dir);
      hex8('tun_erspan_hwid', OFS.tun_erspan_hwid);
    }
  }
  if (mask.u8[OFS.tun_gtpu_flags] !== 0) p.add('gtpu_flags', sharpHex(key.u8[OFS.tun_gtpu_flags]));
  p.dec8('gtpu_msgtype', OFS.tun_gtpu_msgtype);
  const flagBits = mask.get16(OFS.tun_flags);
  if (flagBits !== 0) {
    // A flow has all flags, a match only those that OpenFlow knows.
    const value = key.get16(OFS.tun_flags);
    if (flagBits === 0xffff) p.add('tun_flags', formatFlagsMasked(value, DP_TUN_FLAG_SET.allowed, DP_TUN_FLAG_SET));
    else p.add('tun_flags', formatFlagsMasked(value, flagBits, DP_TUN_FLAG_SET, 0xffff));
  }
  for (let i = 0; i < 64; i++) p.hex32(`tun_metadata${i}`, OFS.tun_metadata + 4 * i);
}

function formatVlan(p: MatchPrinter, ofs: number, suffix: string): void {
  const mask = p.match.mask.get16(ofs);
  const tci = p.match.key.get16(ofs);
  if (mask === 0) return;
  const vid = mask & 0xfff;
  const pcp = mask & 0xe000;
  const cfi = (mask & tci & 0x1000) !== 0;
  if (cfi && (vid === 0 || vid === 0xfff) && (pcp === 0 || pcp === 0xe000) && (vid !== 0 || pcp !== 0)) {
    if (vid !== 0) p.add(`dl_vlan${suffix}`, String(tci & 0xfff));
    if (pcp !== 0) p.add(`dl_vlan_pcp${suffix}`, String(tci >> 13));
    return;
  }
  const h = (v: number): string => `0x${v.toString(16).padStart(4, '0')}`;
  p.add(`vlan_tci${suffix}`, mask === 0xffff ? h(tci) : `${h(tci)}/${h(mask)}`);
}

function formatMpls(p: MatchPrinter): void {
  const bits = p.match.mask.get32(OFS.mpls_lse0);
  const lse = p.match.key.get32(OFS.mpls_lse0);
  if ((bits & 0xfffff000) !== 0) p.add('mpls_label', String(lse >>> 12));
  if ((bits & 0xe00) !== 0) p.add('mpls_tc', String((lse >>> 9) & 7));
  if ((bits & 0xff) !== 0) p.add('mpls_ttl', String(lse & 0xff));
  if ((bits & 0x100) !== 0) p.add('mpls_bos', String((lse >>> 8) & 1));
  p.hex32('mpls_lse1', OFS.mpls_lse1);
  p.hex32('mpls_lse2', OFS.mpls_lse2);
}

function formatNsh(p: MatchPrinter): void {
  const { key, mask } = p.match;
  p.masked8('nsh_flags', OFS.nsh_flags);
  p.masked8('nsh_ttl', OFS.nsh_ttl);
  p.masked8('nsh_mdtype', OFS.nsh_mdtype);
  p.masked8('nsh_np', OFS.nsh_np);
  const spi = OFS.nsh_spi;
  if ((mask.get32(spi) & 0xffffff00) !== 0) p.add('nsh_spi', `0x${(key.get32(spi) >>> 8).toString(16)}`);
  p.masked8('nsh_si', OFS.nsh_si);
  [OFS.nsh_c1, OFS.nsh_c2, OFS.nsh_c3, OFS.nsh_c4].forEach((ofs, i) => {
    const bits = mask.get32(ofs);
    const h = (v: number): string => `0x${v.toString(16)}`;
    if (bits !== 0) p.add(`nsh_c${i + 1}`, bits === 0xffffffff ? h(key.get32(ofs)) : `${h(key.get32(ofs))}/${h(bits)}`);
  });
}

function formatTransport(p: MatchPrinter): void {
  const { key, mask } = p.match;
  const ethType = key.get16(OFS.eth_type);
  const proto = key.u8[OFS.ip_proto];
  if (ethType === 0x0800 && proto === 1) {
    p.low8('icmp_type', OFS.tp_src);
    p.low8('icmp_code', OFS.tp_dst);
  } else if (ethType === 0x86dd && proto === 58) {
    p.low8('icmp_type', OFS.tp_src);
    p.low8('icmp_code', OFS.tp_dst);
    p.ipv6('nd_target', OFS.nd_target);
    p.eth('nd_sll', OFS.arp_sha);
    p.eth('nd_tll', OFS.arp_tha);
    if (mask.get32(OFS.nd_reserved) !== 0) p.add('nd_reserved', String(key.get32(OFS.nd_reserved)));
    p.dec8('nd_options_type', OFS.nd_options_type);
  } else {
    p.dec16('tp_src', OFS.tp_src);
    p.dec16('tp_dst', OFS.tp_dst);
  }
  const flags = mask.get16(OFS.tcp_flags);
  if (flags !== 0 && proto === 6) {
    p.add(
      'tcp_flags',
      formatFlagsMasked(key.get16(OFS.tcp_flags), flags === 0xffff ? TCP_FLAG_SET.allowed : flags, TCP_FLAG_SET),
    );
  }
}

/** Does the match look at something that only Ethernet packets have? */
function isEthernet({ mask }: Match): boolean {
  if (mask.get32(OFS.packet_type) !== 0) return true;
  for (let i = OFS.eth_dst; i < OFS.l2_kind; i++) if (mask.u8[i] !== 0) return true;
  return false;
}

/** A match as `ovs-ofctl dump-flows` prints it; the priority only when it is not the default. Empty for a match of everything. */
export function formatMatch(match: Match, priority: number = DEFAULT_PRIORITY, names?: Names): string {
  const p = new MatchPrinter(match, names);
  const { key, mask } = match;
  if (priority !== DEFAULT_PRIORITY) p.add('priority', String(priority));
  p.hex32('pkt_mark', OFS.pkt_mark);
  p.hex32('recirc_id', OFS.recirc_id);
  p.hex32('dp_hash', OFS.dp_hash);
  if (mask.get32(OFS.conj_id) !== 0) p.add('conj_id', String(key.get32(OFS.conj_id)));
  p.hex32('skb_priority', OFS.skb_priority);
  if (mask.get32(OFS.actset_output) !== 0) p.add('actset_output', formatPort(key.get32(OFS.actset_output), names));
  if (p.looksAt(OFS.ct_zone, OFS.dp_hash) || p.looksAt(OFS.ct_label, OFS.nsh_flags)) formatConntrack(p);
  const packetType = mask.get32(OFS.packet_type) !== 0 && key.get32(OFS.packet_type) !== 0;
  if (packetType)
    p.add('packet_type', formatFieldValue(F.packet_type, key.u8.subarray(OFS.packet_type, OFS.packet_type + 4)));
  else if (mask.get32(OFS.recirc_id) !== 0 && isEthernet(match)) p.parts.push('eth');
  const word = packetType ? null : protocolWord(p);
  if (word) p.parts.push(word.word);
  if (p.looksAt(OFS.reg0, OFS.conj_id)) for (let i = 0; i < 32; i++) p.hex32(`reg${i}`, OFS.reg0 + 4 * i);
  if (p.looksAt(OFS.tun_id, OFS.metadata)) formatTunnel(p);
  p.hex64('metadata', OFS.metadata);
  if (mask.get32(OFS.in_port) !== 0) p.add('in_port', formatPort(key.get32(OFS.in_port), names));
  formatVlan(p, OFS.vlan_tci, '');
  formatVlan(p, OFS.vlan2_tci, '1');
  p.eth('dl_src', OFS.eth_src);
  p.eth('dl_dst', OFS.eth_dst);
  if (!word && !packetType && mask.get16(OFS.eth_type) !== 0) {
    p.add('dl_type', `0x${key.get16(OFS.eth_type).toString(16).padStart(4, '0')}`);
  }
  formatNetwork(p, word?.saysProto ?? false);
  formatTransport(p);
  return p.parts.join(',');
}

function formatNetwork(p: MatchPrinter, protoSaid: boolean): void {
  const { key, mask } = p.match;
  const ethType = key.get16(OFS.eth_type);
  const arp = ethType === 0x0806 || ethType === 0x8035;
  if (ethType === 0x86dd) {
    p.ipv6('ipv6_src', OFS.ipv6_src);
    p.ipv6('ipv6_dst', OFS.ipv6_dst);
    const label = mask.get32(OFS.ipv6_label);
    const h = (v: number): string => `0x${v.toString(16).padStart(5, '0')}`;
    if (label !== 0) {
      p.add(
        'ipv6_label',
        (label & 0xfffff) === 0xfffff ? h(key.get32(OFS.ipv6_label)) : `${h(key.get32(OFS.ipv6_label))}/${h(label)}`,
      );
    }
  } else {
    p.ipv4(arp ? 'arp_spa' : 'nw_src', OFS.ip_src);
    p.ipv4(arp ? 'arp_tpa' : 'nw_dst', OFS.ip_dst);
  }
  if (ethType === 0x894f) formatNsh(p);
  if (!protoSaid && mask.u8[OFS.ip_proto] !== 0) p.add(arp ? 'arp_op' : 'nw_proto', String(key.u8[OFS.ip_proto]));
  if (arp) {
    p.eth('arp_sha', OFS.arp_sha);
    p.eth('arp_tha', OFS.arp_tha);
  }
  p.dec8('nw_tos', OFS.ip_tos, 0xfc);
  p.dec8('nw_ecn', OFS.ip_tos, 0x03);
  p.dec8('nw_ttl', OFS.ip_ttl);
  if (p.looksAt(OFS.mpls_lse0, OFS.ipv6_src)) formatMpls(p);
  const frag = mask.u8[OFS.ip_frag] & 3;
  if (frag !== 0) p.add('nw_frag', formatFrag(key.u8[OFS.ip_frag] & 3, frag));
}
