/** Datapath flow keys and masks as text, both ways. `ovs-dpctl(8)`, `ovs-actions(7)` */
import {
  DP_GROUPS,
  DP_SCALARS,
  type DpField,
  type DpGroup,
  formatDpFields,
  formatDpValue,
  isZero,
  parseDpFields,
  parseDpValue,
  sharpHex,
  splitCall,
} from './dp-groups.ts';
import { formatTunnel, hasTunnel, parseTunnel } from './dp-tunnel-text.ts';
import { CT_STATE_FLAGS, formatFlagsMasked, parseFlags, TCP_FLAG_SET } from './flags-text.ts';
import { FlowKey, type FlowMask } from './key.ts';
import { OFS } from './layout.ts';
import { unquote } from './names.ts';
import { parseInteger } from './value-text.ts';

const VLAN_CFI = 0x1000;
const ETH_TYPE_NONE = 0x05ff;

export type PortNamer = (port: number) => string | undefined;

export interface DpKeyOptions {
  /** Shows fields that are wildcarded, too. */
  readonly verbose?: boolean;
  readonly names?: PortNamer;
}

export function formatDpPort(port: number, names?: PortNamer): string {
  return names?.(port) ?? String(port);
}

/** A key with its mask; without one (null) everything is exact. */
export function formatDpKey(key: FlowKey, mask: FlowMask | null = null, options: DpKeyOptions = {}): string {
  const all = options.verbose === true || mask === null;
  const parts: string[] = [];
  const scalar = (name: string, f: DpField): void => {
    if (all || (mask && !isZero(mask, f))) parts.push(`${name}(${formatDpValue(f, key, mask)})`);
  };
  scalar('skb_priority', DP_SCALARS.skb_priority);
  if (mask === null ? hasTunnel(key) : hasTunnel(mask)) parts.push(`tunnel(${formatTunnel(key, mask)})`);
  scalar('skb_mark', DP_SCALARS.skb_mark);
  formatCtState(key, mask, all, parts);
  scalar('ct_zone', DP_SCALARS.ct_zone);
  scalar('ct_mark', DP_SCALARS.ct_mark);
  scalar('ct_label', DP_SCALARS.ct_label);
  for (const group of [DP_GROUPS.ct_tuple4, DP_GROUPS.ct_tuple6]) {
    const seen = mask ?? key;
    const own = group.fields.slice(0, 2);
    if (own.some((f) => !isZero(seen, f)))
      parts.push(`${group.name}(${formatDpFields(group, key, mask, false).join(',')})`);
  }
  // A datapath always tells recirculations apart.
  parts.push(`recirc_id(${sharpHex(key.get32(OFS.recirc_id))})`);
  scalar('dp_hash', DP_SCALARS.dp_hash);
  if (all || (mask && mask.get32(OFS.in_port) !== 0)) {
    parts.push(`in_port(${formatDpPort(key.get32(OFS.in_port), options.names)})`);
  }
  const packetType = formatDpFields(DP_GROUPS.packet_type, key, mask, all);
  const hasPacketType = packetType.length > 0 || (mask !== null && mask.get32(OFS.packet_type) !== 0);
  if (mask !== null && mask.get32(OFS.packet_type) === 0xffffffff) {
    parts.push(`packet_type(${formatDpFields(DP_GROUPS.packet_type, key, null, true).join(',')})`);
  } else if (hasPacketType) parts.push(`packet_type(${packetType.join(',')})`);
  if (key.get32(OFS.packet_type) === 0) {
    const eth = formatDpFields(DP_GROUPS.eth, key, mask, all);
    if (eth.length > 0 || !hasPacketType) parts.push(`eth(${eth.join(',')})`);
  }
  return parts.concat(formatVlans(key, mask, all, 0)).join(',');
}

function formatCtState(key: FlowKey, mask: FlowMask | null, all: boolean, parts: string[]): void {
  const value = key.get32(OFS.ct_state);
  const bits = mask ? mask.get32(OFS.ct_state) : 0xffffffff;
  if (all) {
    parts.push(`ct_state(${sharpHex((value & bits) >>> 0)}${bits === 0xffffffff ? '' : `/${sharpHex(bits)}`})`);
  } else if (bits !== 0) {
    parts.push(`ct_state(${formatFlagsMasked(value, bits & CT_STATE_FLAGS.allowed, CT_STATE_FLAGS, -1)})`);
  }
}

/** `eth_type(0x8100),vlan(…),encap(…)` for each tag, then what the innermost carries. */
function formatVlans(key: FlowKey, mask: FlowMask | null, all: boolean, tag: number): string[] {
  const ofs = tag === 0 ? OFS.vlan_tci : OFS.vlan2_tci;
  const tci = key.get16(ofs);
  if (tag > 1 || (tci & VLAN_CFI) === 0) return formatEthType(key, mask).concat(formatNetwork(key, mask, all));
  const bits = mask ? mask.get16(ofs) : 0xffff;
  const tpid = key.get16(ofs - 2) || 0x8100;
  const parts = [`eth_type(0x${tpid.toString(16).padStart(4, '0')})`];
  if (all || bits !== 0) {
    const vid = bits & 0xfff;
    const pcp = bits >> 13;
    const fields = [
      `vid=${tci & 0xfff}${vid === 0xfff ? '' : `/0x${vid.toString(16)}`}`,
      `pcp=${tci >> 13}${pcp === 7 ? '' : `/0x${pcp.toString(16)}`}`,
    ];
    parts.push(`vlan(${fields.join(',')})`);
  }
  parts.push(`encap(${formatVlans(key, mask, all, tag + 1).join(',')})`);
  return parts;
}

function formatEthType(key: FlowKey, mask: FlowMask | null): string[] {
  const type = key.get16(OFS.eth_type);
  if (mask && mask.get16(OFS.eth_type) === 0) return [];
  if (type === 0) return [];
  if (type === ETH_TYPE_NONE) return mask ? ['eth_type(0/0xffff)'] : [];
  return [`eth_type(0x${type.toString(16).padStart(4, '0')})`];
}

function formatNetwork(key: FlowKey, mask: FlowMask | null, all: boolean): string[] {
  const parts: string[] = [];
  const group = (g: DpGroup, always: boolean): void => {
    const fields = formatDpFields(g, key, mask, all && always);
    if (fields.length > 0) parts.push(`${g.name}(${fields.join(',')})`);
  };
  const type = key.get16(OFS.eth_type);
  if (type === 0x0800) {
    group(DP_GROUPS.ipv4, true);
    formatTransport(key, mask, all, parts, false);
  } else if (type === 0x86dd) {
    group(DP_GROUPS.ipv6, true);
    formatTransport(key, mask, all, parts, true);
  } else if (type === 0x0806 || type === 0x8035) group(DP_GROUPS.arp, true);
  else if (type === 0x8847 || type === 0x8848) {
    const labels = formatMplsLabels(key, mask);
    if (labels !== '') parts.push(`mpls(${labels})`);
  } else if (type === 0x894f) group(DP_GROUPS.nsh, mask === null);
  return parts;
}

function formatTransport(key: FlowKey, mask: FlowMask | null, all: boolean, parts: string[], v6: boolean): void {
  if ((key.u8[OFS.ip_frag] & 2) !== 0) return;
  const proto = key.u8[OFS.ip_proto];
  const name =
    proto === 6
      ? 'tcp'
      : proto === 17
        ? 'udp'
        : proto === 132
          ? 'sctp'
          : proto === 1 && !v6
            ? 'icmp'
            : proto === 58 && v6
              ? 'icmpv6'
              : null;
  if (name === null) return;
  const fields = formatDpFields(DP_GROUPS[name], key, mask, all);
  if (fields.length > 0) parts.push(`${name}(${fields.join(',')})`);
  const type = key.get16(OFS.tp_src);
  if (name === 'icmpv6' && key.get16(OFS.tp_dst) === 0 && (type === 135 || type === 136)) {
    for (const g of [DP_GROUPS.nd, DP_GROUPS.nd_ext]) {
      const nd = formatDpFields(g, key, mask, all && g === DP_GROUPS.nd);
      const useful = mask !== null || g.fields.some((f) => !isZero(key, f));
      if (nd.length > 0 && useful) parts.push(`${g.name}(${nd.join(',')})`);
    }
  }
  const flagBits = mask ? mask.get16(OFS.tcp_flags) : 0xffff;
  if (name !== 'tcp') return;
  if (flagBits !== 0) {
    const full = (flagBits & TCP_FLAG_SET.allowed) === TCP_FLAG_SET.allowed ? TCP_FLAG_SET.allowed : flagBits;
    parts.push(`tcp_flags(${formatFlagsMasked(key.get16(OFS.tcp_flags), full, TCP_FLAG_SET)})`);
  } else if (all && key.get16(OFS.tcp_flags) !== 0) parts.push('tcp_flags(0/0)');
}

/** Every label of the stack, with masks as the original writes them. */
export function formatMplsLabels(key: FlowKey, mask: FlowMask | null): string {
  const out: string[] = [];
  for (const ofs of [OFS.mpls_lse0, OFS.mpls_lse1, OFS.mpls_lse2]) {
    const lse = key.get32(ofs);
    const bits = mask ? mask.get32(ofs) : 0xffffffff;
    if (bits === 0) break;
    const label = lse >>> 12;
    const tc = (lse >>> 9) & 7;
    const ttl = lse & 0xff;
    const bos = (lse >>> 8) & 1;
    if (bits === 0xffffffff) out.push(`label=${label},tc=${tc},ttl=${ttl},bos=${bos}`);
    else {
      const m = [bits >>> 12, (bits >>> 9) & 7, bits & 0xff, (bits >>> 8) & 1].map((v) => v.toString(16));
      out.push(`label=${label}/0x${m[0]},tc=${tc}/${m[1]},ttl=${ttl}/0x${m[2]},bos=${bos}/${m[3]}`);
    }
    if (bos === 1) break;
  }
  return out.join(',');
}

// ---- reading ----

export type DpKeyResult =
  | { readonly ok: true; readonly key: FlowKey; readonly mask: FlowMask }
  | { readonly ok: false; readonly error: string };

class SyntaxAt extends Error {
  readonly rest: string;

  constructor(rest: string) {
    super(`syntax error at ${rest}`);
    this.rest = rest;
  }
}

/**
 * Reads what `formatDpKey` writes. A value without a mask is exact; what is not named is wildcarded. `exact` refuses masks, as `netdev-dummy/receive` does.
 */
export function parseDpKey(
  text: string,
  portByName?: (name: string) => number | undefined,
  options: { readonly exact?: boolean } = {},
): DpKeyResult {
  const key = new FlowKey();
  const mask = new FlowKey();
  try {
    const reader = new KeyReader(key, mask, portByName, options.exact === true);
    reader.groups(text);
    reader.finish();
    return { ok: true, key, mask };
  } catch (error) {
    if (error instanceof SyntaxAt) return { ok: false, error: error.message };
    throw error;
  }
}

class KeyReader {
  private tags = 0;
  private hasType = false;
  private hasEth = false;
  private labels = 0;
  private readonly key: FlowKey;
  private readonly mask: FlowMask;
  private readonly portByName: ((name: string) => number | undefined) | undefined;
  private readonly exact: boolean;

  constructor(
    key: FlowKey,
    mask: FlowMask,
    portByName: ((name: string) => number | undefined) | undefined,
    exact: boolean,
  ) {
    this.exact = exact;
    this.key = key;
    this.mask = mask;
    this.portByName = portByName;
  }

  groups(text: string): void {
    for (let i = 0; i < text.length; ) {
      if (/[\s,]/.test(text[i])) {
        i++;
        continue;
      }
      const end = endOfGroup(text, i);
      const call = end < 0 ? null : splitCall(text.slice(i, end));
      if (
        !call ||
        (this.exact && call.name !== 'encap' && call.args.includes('/')) ||
        !this.group(call.name, call.args)
      )
        throw new SyntaxAt(text.slice(i));
      i = end;
    }
  }

  private group(name: string, args: string): boolean {
    const { key, mask } = this;
    if (Object.hasOwn(DP_SCALARS, name)) {
      return parseDpValue(DP_SCALARS[name as keyof typeof DP_SCALARS], args, key, mask);
    }
    switch (name) {
      case 'in_port':
        return this.inPort(args);
      case 'ct_state':
        return this.flags(args, OFS.ct_state, 4);
      case 'tcp_flags':
        return this.flags(args, OFS.tcp_flags, 2);
      case 'tunnel':
        return parseTunnel(args, key, mask);
      case 'eth_type':
        return this.ethType(args);
      case 'vlan':
        return this.vlan(args);
      case 'encap':
        this.groups(args);
        return true;
      case 'mpls':
        return this.mpls(args);
      case 'eth':
        this.hasEth = true;
        break;
    }
    if (!Object.hasOwn(DP_GROUPS, name)) return false;
    if (!parseDpFields(DP_GROUPS[name as keyof typeof DP_GROUPS], args, key, mask)) return false;
    // The key has 16 bits for ICMP's type and code.
    if (name === 'icmp' || name === 'icmpv6') {
      if (mask.u8[OFS.tp_src + 1] === 0xff) mask.u8[OFS.tp_src] = 0xff;
      if (mask.u8[OFS.tp_dst + 1] === 0xff) mask.u8[OFS.tp_dst] = 0xff;
    }
    return true;
  }

  private inPort(text: string): boolean {
    const port = /^\d+$/.test(text) ? Number(text) : (this.portByName?.(unquote(text)) ?? -1);
    if (port < 0 || port > 0xffffffff) return false;
    this.key.set32(OFS.in_port, port);
    this.mask.set32(OFS.in_port, 0xffffffff);
    return true;
  }

  private flags(text: string, ofs: number, bytes: 2 | 4): boolean {
    const set = ofs === OFS.ct_state ? CT_STATE_FLAGS : TCP_FLAG_SET;
    const r = parseFlags(text, set);
    if (!r.ok) return false;
    const isExact = !/[+\-/]/.test(text);
    if (bytes === 2) {
      this.key.set16(ofs, r.value);
      this.mask.set16(ofs, isExact ? 0xffff : r.mask);
    } else {
      this.key.set32(ofs, r.value);
      this.mask.set32(ofs, isExact ? 0xffffffff : r.mask);
    }
    return true;
  }

  private ethType(text: string): boolean {
    if (text === '0/0xffff') {
      this.key.set16(OFS.eth_type, ETH_TYPE_NONE);
      this.mask.set16(OFS.eth_type, 0xffff);
      this.hasType = true;
      return true;
    }
    const f: DpField = { name: 'eth_type', ofs: OFS.eth_type, bytes: 2, format: 'hex' };
    this.hasType = true;
    return parseDpValue(f, text, this.key, this.mask);
  }

  /** The Ethertype read last is the tag's; the one that follows within `encap` replaces it. */
  private vlan(text: string): boolean {
    if (this.tags >= 2) return false;
    const ofs = this.tags === 0 ? OFS.vlan_tpid : OFS.vlan2_tpid;
    this.tags++;
    let tci = VLAN_CFI;
    let bits = VLAN_CFI;
    for (const part of text.split(',').filter((p) => p !== '')) {
      const m = /^(vid|pcp|cfi)=([^/]+)(?:\/(.+))?$/.exec(part);
      if (!m) return false;
      const [limit, shift] = m[1] === 'vid' ? [0xfff, 0] : m[1] === 'pcp' ? [7, 13] : [1, 12];
      const value = parseInteger(m[2], 2)?.value;
      const mask = m[3] === undefined ? BigInt(limit) : parseInteger(m[3], 2)?.value;
      if (value === undefined || value === null || mask === undefined || mask === null) return false;
      if (value > BigInt(limit) || mask > BigInt(limit)) return false;
      tci = (tci & ~(limit << shift)) | (Number(value) << shift);
      bits |= Number(mask) << shift;
    }
    this.key.set16(ofs, this.hasType ? this.key.get16(OFS.eth_type) : 0x8100);
    this.mask.set16(ofs, 0xffff);
    this.key.set16(ofs + 2, tci);
    this.mask.set16(ofs + 2, bits);
    this.key.set16(OFS.eth_type, 0);
    this.mask.set16(OFS.eth_type, 0);
    this.hasType = false;
    return true;
  }

  private mpls(text: string): boolean {
    for (const one of text.split(/,(?=label=)/)) {
      if (this.labels >= 3) return false;
      const r = parseMplsLse(one);
      if (!r) return false;
      const ofs = OFS.mpls_lse0 + 4 * this.labels++;
      this.key.set32(ofs, r.lse);
      this.mask.set32(ofs, r.mask);
    }
    return true;
  }

  finish(): void {
    const { key, mask } = this;
    mask.set32(OFS.recirc_id, 0xffffffff);
    const packetType = key.get32(OFS.packet_type);
    if (packetType !== 0) key.set16(OFS.l2_kind, (((packetType >>> 16) & 0xff) << 8) | 1);
    if (!this.hasType && (this.hasEth || this.tags > 0)) {
      key.set16(OFS.eth_type, ETH_TYPE_NONE);
      mask.set16(OFS.eth_type, 0xffff);
    }
  }
}

/** `label=5,tc=1,ttl=64,bos=1`, each with a mask or without. */
export function parseMplsLse(text: string): { lse: number; mask: number } | null {
  const places: Readonly<Record<string, readonly [limit: number, scale: number]>> = {
    label: [0xfffff, 4096],
    tc: [7, 512],
    bos: [1, 256],
    ttl: [255, 1],
  };
  let lse = 0;
  let mask = 0;
  for (const part of text.split(',')) {
    const m = /^([a-z]+)=([^/]+)(?:\/(.+))?$/.exec(part);
    const place = m && Object.hasOwn(places, m[1]) ? places[m[1]] : undefined;
    if (!m || !place) return null;
    const [limit, scale] = place;
    const value = parseInteger(m[2], 4)?.value;
    const bits = m[3] === undefined ? BigInt(limit) : parseInteger(m[3].replace(/^(?!0x)/, '0x'), 4)?.value;
    if (value === undefined || value === null || bits === undefined || bits === null || value > BigInt(limit))
      return null;
    lse += Number(value) * scale;
    mask += Number(bits & BigInt(limit)) * scale;
  }
  return { lse, mask };
}

/** Index behind the parenthesis that closes the group beginning at `at`, or -1. */
function endOfGroup(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')' && --depth <= 0) return depth === 0 ? i + 1 : -1;
    else if (depth === 0 && /[\s,]/.test(text[i])) return -1;
  }
  return -1;
}
