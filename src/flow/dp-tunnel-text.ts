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
  const flags = key.get16(OFS.tun_flags);
  if (mask === null) parts.push(`flags(${flags === 0 ? '' : formatFlags(flags, DP_TUN_FLAG_SET)})`);
  else if (mask.get16(OFS.tun_flags) !== 0) {
    parts.push(`flags(${formatFlagsMasked(flags, mask.get16(OFS.tun_flags), DP_TUN_FLAG_SET, 0x10000)})`);
  }
  return parts.join(',');
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
  for (let i = OFS.tun_gbp_id; i < OFS.tun_erspan_idx + 4; i++) if (key.u8[i] !== 0) mask.u8[i] = 0xff;
  return mask;
}

/** Reads what `formatTunnel` writes; false when something is wrong with it. Geneve options are not carried by name here. */
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
