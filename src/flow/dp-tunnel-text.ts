/** `tunnel(…)` in datapath flows and `set` actions: the plain fields, the protocol's own options, and the flags. */
import { DP_GROUPS, formatDpFields, parseDpFields, sharpHex, splitArguments, splitCall } from './dp-groups.ts';
import { DP_TUN_FLAG_SET, formatFlags, formatFlagsMasked, parseFlags } from './flags-text.ts';
import type { FlowKey, FlowMask } from './key.ts';
import { OFS } from './layout.ts';

const TUNNEL_BYTES = OFS.metadata - OFS.tun_id;

/** Does the key say that the packet came out of a tunnel (or the mask look at that)? */
export function hasTunnel(key: FlowKey): boolean {
  return key.u8.subarray(OFS.tun_id, OFS.tun_id + TUNNEL_BYTES).some((b) => b !== 0);
}

/** What stands within the parentheses. With a null mask, fields that are zero are left out. */
export function formatTunnel(key: FlowKey, mask: FlowMask | null): string {
  const shown = mask ?? nonZero(key);
  const parts = formatDpFields(DP_GROUPS.tunnel, key, mask === null ? shown : mask, false);
  const gbp = shown.get16(OFS.tun_gbp_id) !== 0 || shown.u8[OFS.tun_gbp_flags] !== 0;
  if (gbp) {
    const args: string[] = [];
    if (shown.get16(OFS.tun_gbp_id) !== 0)
      args.push(`id=${key.get16(OFS.tun_gbp_id)}${suffix16(mask, OFS.tun_gbp_id)}`);
    if (shown.u8[OFS.tun_gbp_flags] !== 0) args.push(`flags=${sharpHex(key.u8[OFS.tun_gbp_flags])}`);
    parts.push(`vxlan(gbp(${args.join(',')}))`);
  }
  if (shown.u8[OFS.tun_gtpu_flags] !== 0 || shown.u8[OFS.tun_gtpu_msgtype] !== 0) {
    parts.push(`gtpu(flags=${sharpHex(key.u8[OFS.tun_gtpu_flags])},msgtype=${key.u8[OFS.tun_gtpu_msgtype]})`);
  }
  if (shown.u8[OFS.tun_erspan_ver] !== 0) parts.push(formatErspan(key));
  const options = formatOptions(key, shown, mask);
  if (options !== '') parts.push(`geneve(${options})`);
  const flags = key.get16(OFS.tun_flags);
  if (mask === null) parts.push(`flags(${flags === 0 ? '' : formatFlags(flags, DP_TUN_FLAG_SET)})`);
  else if (mask.get16(OFS.tun_flags) !== 0) {
    parts.push(`flags(${formatFlagsMasked(flags, mask.get16(OFS.tun_flags), DP_TUN_FLAG_SET, 0x10000)})`);
  }
  return parts.join(',');
}

/** Which Geneve option stands for a `tun_metadata` field. */
export interface DpTunnelOption {
  readonly optionClass: number;
  readonly type: number;
  readonly length: number;
  readonly field: number;
}

let geneveOptions: readonly DpTunnelOption[] = [];

/** The options that texts may name: those that the process's datapaths decode. */
export function setDpTunnelOptions(options: readonly DpTunnelOption[]): void {
  geneveOptions = options;
}

/** `{class=0x102,type=0x80,len=4,0x7}…`, with a mask behind the value where it is not all ones. */
function formatOptions(key: FlowKey, shown: FlowMask, mask: FlowMask | null): string {
  let text = '';
  for (const o of geneveOptions) {
    const at = OFS.tun_metadata + 4 * o.field;
    const bits = shown.u8.subarray(at, at + o.length);
    if (!bits.some((b) => b !== 0)) continue;
    const isExact = mask === null || bits.every((b) => b === 0xff);
    const value = `,${optionHex(key.u8.subarray(at, at + o.length))}${isExact ? '' : `/${optionHex(bits)}`}`;
    text += `{class=${sharpHex(o.optionClass)},type=${sharpHex(o.type)},len=${o.length}${value}}`;
  }
  return text;
}

const optionHex = (b: Uint8Array): string =>
  `0x${Buffer.from(b)
    .toString('hex')
    .replace(/^0+(?=.)/, '')}`;

/** False when an option is unknown, or not as long as it should be. */
function parseOptionList(text: string, key: FlowKey, mask: FlowMask): boolean {
  if (!/^(\{[^{}]*\})*$/.test(text)) return false;
  for (const [, body] of text.matchAll(/\{([^{}]*)\}/g)) {
    const m =
      /^class=(0x[0-9a-f]+|\d+),type=(0x[0-9a-f]+|\d+),len=(0x[0-9a-f]+|\d+)(?:,0x([0-9a-f]+)(?:\/0x([0-9a-f]+))?)?$/i.exec(
        body,
      );
    const o = m && geneveOptions.find((one) => one.optionClass === Number(m[1]) && one.type === Number(m[2]));
    if (!m || !o || o.length !== Number(m[3])) return false;
    const ones = 'f'.repeat(o.length * 2);
    for (const [into, digits] of [
      [key, m[4] ?? ''],
      [mask, m[5] ?? ones],
    ] as const) {
      if (digits.length > o.length * 2) return false;
      into.u8.set(Buffer.from(digits.padStart(o.length * 2, '0'), 'hex'), OFS.tun_metadata + 4 * o.field);
      into.u8[OFS.tun_metadata_present + 7 - (o.field >> 3)] |= 1 << (o.field & 7);
    }
  }
  return true;
}

function formatErspan(key: FlowKey): string {
  const version = key.u8[OFS.tun_erspan_ver];
  return version === 1
    ? `erspan(ver=1,idx=${sharpHex(key.get32(OFS.tun_erspan_idx))})`
    : `erspan(ver=${version},dir=${key.u8[OFS.tun_erspan_dir]},hwid=${sharpHex(key.u8[OFS.tun_erspan_hwid])})`;
}

function suffix16(mask: FlowMask | null, ofs: number): string {
  const bits = mask?.get16(ofs) ?? 0xffff;
  return bits === 0xffff ? '' : `/${sharpHex(bits)}`;
}

/** A mask of ones where the key is not zero, byte by byte and then field by field. */
function nonZero(key: FlowKey): FlowMask {
  const mask = key.clone();
  mask.clear();
  for (const f of DP_GROUPS.tunnel.fields) {
    const value = key.u8.subarray(f.ofs, f.ofs + f.bytes);
    if (value.some((b) => b !== 0)) mask.u8.fill(0xff, f.ofs, f.ofs + f.bytes);
  }
  for (let i = OFS.tun_gbp_id; i < OFS.tun_metadata_present; i++) if (key.u8[i] !== 0) mask.u8[i] = 0xff;
  return mask;
}

/** Reads what `formatTunnel` writes; false when something is wrong with it. */
export function parseTunnel(text: string, key: FlowKey, mask: FlowMask): boolean {
  for (const part of splitArguments(text)) {
    const call = splitCall(part);
    if (!call) {
      if (!parseDpFields(DP_GROUPS.tunnel, part, key, mask)) return false;
    } else if (call.name === 'flags') {
      const r = parseFlags(call.args, DP_TUN_FLAG_SET);
      if (!r.ok) return false;
      key.set16(OFS.tun_flags, r.value);
      mask.set16(OFS.tun_flags, r.mask);
    } else if (!parseOptions(call.name, call.args, key, mask)) return false;
  }
  return true;
}

/** Where the numbers of the protocols' options live. */
const OPTIONS: Readonly<Record<string, Readonly<Record<string, readonly [ofs: number, bytes: number]>>>> = {
  gbp: { id: [OFS.tun_gbp_id, 2], flags: [OFS.tun_gbp_flags, 1] },
  gtpu: { flags: [OFS.tun_gtpu_flags, 1], msgtype: [OFS.tun_gtpu_msgtype, 1] },
  erspan: {
    ver: [OFS.tun_erspan_ver, 1],
    idx: [OFS.tun_erspan_idx, 4],
    dir: [OFS.tun_erspan_dir, 1],
    hwid: [OFS.tun_erspan_hwid, 1],
  },
};

function parseOptions(name: string, args: string, key: FlowKey, mask: FlowMask): boolean {
  if (name === 'geneve') return parseOptionList(args, key, mask);
  if (name === 'vxlan') {
    const gbp = splitCall(args);
    return gbp?.name === 'gbp' && parseOptions('gbp', gbp.args, key, mask);
  }
  const places = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
  if (!places) return false;
  const fields = Object.entries(places).map(([field, [ofs, bytes]]) => ({
    name: field,
    ofs,
    bytes,
    format: 'dec' as const,
  }));
  return parseDpFields({ name, fields }, args, key, mask);
}
