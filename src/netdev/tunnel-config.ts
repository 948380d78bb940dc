/**
 * `Interface.options` of a tunnel: what they mean, and what is wrong with them in the original's words.
 * `ovs-vswitchd.conf.db(5)`, "Tunnel Options"
 *
 * Addresses are 16 bytes, IPv4 as `::ffff:a.b.c.d`; all zeros is "any".
 */
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from '../flow/address-text.ts';

export const TUNNEL_TYPES = ['geneve', 'gre', 'vxlan'] as const;
export type TunnelType = (typeof TUNNEL_TYPES)[number];

/** UDP ports, 0 for none. */
export const DEFAULT_DST_PORT: Readonly<Record<TunnelType, number>> = { geneve: 6081, gre: 0, vxlan: 4789 };
export const DEFAULT_TTL = 64;

/** `flow`: each packet's own. */
export type Key = { readonly flow: boolean; readonly present: boolean; readonly value: bigint };

/** What a tunnel carries, and how the switch sees it: as Ethernet frames, or, with `ptap`, as what each packet is. */
const PACKET_TYPES = ['legacy_l2', 'legacy_l3', 'ptap'] as const;
export type TunnelPacketType = (typeof PACKET_TYPES)[number];

export interface TunnelConfig {
  readonly type: TunnelType;
  readonly packetType: TunnelPacketType;
  readonly dstPort: number;
  readonly remote: Uint8Array;
  readonly remoteFlow: boolean;
  readonly local: Uint8Array;
  readonly localFlow: boolean;
  readonly inKey: Key;
  readonly outKey: Key;
  readonly tos: number;
  readonly tosInherit: boolean;
  readonly ttl: number;
  readonly ttlInherit: boolean;
  readonly csum: boolean;
  readonly dontFragment: boolean;
  readonly sequence: boolean;
  readonly egressMark: number;
}

export type TunnelConfigResult =
  | { readonly config: TunnelConfig; readonly warnings: readonly string[] }
  | { readonly error: string };

const ANY = new Uint8Array(16);

export function mapIpv4(address: Uint8Array): Uint8Array {
  const out = new Uint8Array(16);
  out[10] = 0xff;
  out[11] = 0xff;
  out.set(address, 12);
  return out;
}

export const isMapped = (a: Uint8Array): boolean =>
  a[10] === 0xff && a[11] === 0xff && a.subarray(0, 10).every((b) => b === 0);

export const isAny = (a: Uint8Array): boolean => a.every((b) => b === 0);

export function parseIp(text: string): Uint8Array | null {
  if (/^\d+(\.\d+){3}$/.test(text)) {
    const v4 = text.split('.').every((octet) => Number(octet) < 256) ? parseIpv4(text) : null;
    return v4 && mapIpv4(v4);
  }
  return parseIpv6(text);
}

export const formatIp = (a: Uint8Array): string => (isMapped(a) ? formatIpv4(a, 12) : formatIpv6(a));

/** As `strtoull` with base 0 reads it: what is no number is 0. */
function readNumber(text: string): bigint {
  const m = /^\s*(0x[0-9a-f]+|\d+)/i.exec(text);
  if (!m) return 0n;
  return /^0\d/.test(m[1]) && /^[0-7]+$/.test(m[1]) ? BigInt(`0o${m[1]}`) : BigInt(m[1]);
}

function readKey(options: ReadonlyMap<string, string>, name: 'in_key' | 'out_key'): Key {
  const text = options.get(name) ?? options.get('key');
  if (text === undefined) return { flow: false, present: false, value: 0n };
  return text === 'flow'
    ? { flow: true, present: true, value: 0n }
    : { flow: false, present: true, value: readNumber(text) };
}

const KNOWN = new Set([
  'remote_ip',
  'local_ip',
  'tos',
  'ttl',
  'df_default',
  'key',
  'in_key',
  'out_key',
  'csum',
  'egress_pkt_mark',
  'packet_type',
  'ipsec_cert',
  'psk',
  'remote_cert',
  'remote_name',
]);
/** Besides those that all tunnels have. */
const KNOWN_OF: Readonly<Record<TunnelType, readonly string[]>> = {
  geneve: ['dst_port'],
  gre: ['seq'],
  vxlan: ['dst_port', 'exts'],
};

export function parseTunnelConfig(
  name: string,
  type: TunnelType,
  options: ReadonlyMap<string, string>,
): TunnelConfigResult {
  const warnings: string[] = [];
  const warn = (text: string): void => void warnings.push(`${name}: ${text}`);
  const fail = (text: string): TunnelConfigResult => ({ error: [...warnings, `${name}: ${text}`].join('\n') });
  const address = (option: 'remote_ip' | 'local_ip'): Uint8Array => {
    const text = options.get(option);
    if (text === undefined || text === 'flow') return ANY;
    const parsed = parseIp(text);
    if (!parsed) warn(`bad ${type} '${option}'`);
    return parsed ?? ANY;
  };

  const remoteFlow = options.get('remote_ip') === 'flow';
  const localFlow = options.get('local_ip') === 'flow';
  const remoteText = options.get('remote_ip') ?? '';
  const remote = address('remote_ip');
  if (isMapped(remote) ? remote[12] >> 4 === 14 : remote[0] === 0xff) {
    return fail(`multicast remote_ip=${remoteText} not allowed`);
  }
  const local = address('local_ip');
  let tos = 0;
  const tosText = options.get('tos');
  if (tosText !== undefined && tosText !== 'inherit') {
    const value = readNumber(tosText);
    if (/^\s*(0x[0-9a-f]+|\d+)\s*$/i.test(tosText) && value === (value & 0xfcn)) tos = Number(value);
    else warn(`invalid TOS ${tosText}`);
  }
  const ttlText = options.get('ttl');
  const ttl = ttlText === undefined || ttlText === 'inherit' ? 0 : Number(readNumber(ttlText) & 0xffn);
  for (const option of options.keys()) {
    if (!KNOWN.has(option) && !KNOWN_OF[type].includes(option)) warn(`unknown ${type} argument '${option}'`);
  }
  for (const one of (options.get('exts') ?? '').split(',')) {
    if (type === 'vxlan' && one !== '') {
      if (one !== 'gbp' && one !== 'gpe') warn(`unknown extension '${one}'`);
      else return fail(`extension '${one}' is not supported`);
    }
  }
  const packetTypeText = options.get('packet_type') ?? 'legacy_l2';
  const packetType = PACKET_TYPES.find((one) => one === packetTypeText) ?? 'legacy_l2';
  // Of those that are here only GRE says what is inside.
  if (packetTypeText !== 'legacy_l2' && (type !== 'gre' || packetType !== packetTypeText)) {
    return fail(`packet_type=${packetTypeText} is not supported`);
  }

  if (isAny(remote) && !remoteFlow) return fail(`${type} type requires valid 'remote_ip' argument`);
  if (localFlow && !remoteFlow) return fail(`${type} type requires 'remote_ip=flow' with 'local_ip=flow'`);
  if (!isAny(local) && !isAny(remote) && isMapped(local) !== isMapped(remote)) {
    return fail("'remote_ip' and 'local_ip' has to be of the same address family");
  }
  const port = options.get('dst_port');
  return {
    warnings,
    config: {
      type,
      packetType,
      dstPort:
        KNOWN_OF[type].includes('dst_port') && port !== undefined
          ? Number(readNumber(port) & 0xffffn)
          : DEFAULT_DST_PORT[type],
      remote,
      remoteFlow,
      local,
      localFlow,
      inKey: readKey(options, 'in_key'),
      outKey: readKey(options, 'out_key'),
      tos,
      tosInherit: tosText === 'inherit',
      ttl: ttl === 0 ? DEFAULT_TTL : ttl,
      ttlInherit: ttlText === 'inherit',
      csum: options.get('csum') === 'true',
      dontFragment: options.get('df_default') !== 'false',
      sequence: type === 'gre' && options.get('seq') === 'true',
      egressMark: Number(readNumber(options.get('egress_pkt_mark') ?? '0') & 0xffffffffn),
    },
  };
}

/** The options as `dpif/show` prints them: what differs from the defaults, in order. */
export function tunnelOptionsText(c: TunnelConfig): string {
  const out = new Map<string, string>();
  const key = (k: Key): string => (k.flow ? 'flow' : k.value.toString());
  if (c.remoteFlow) out.set('remote_ip', 'flow');
  else if (!isAny(c.remote)) out.set('remote_ip', formatIp(c.remote));
  if (c.localFlow) out.set('local_ip', 'flow');
  else if (!isAny(c.local)) out.set('local_ip', formatIp(c.local));
  const { inKey, outKey } = c;
  if (inKey.flow === outKey.flow && inKey.present === outKey.present && inKey.value === outKey.value) {
    if (inKey.present) out.set('key', key(inKey));
  } else {
    if (inKey.present) out.set('in_key', key(inKey));
    if (outKey.present) out.set('out_key', key(outKey));
  }
  if (c.ttlInherit) out.set('ttl', 'inherit');
  else if (c.ttl !== DEFAULT_TTL) out.set('ttl', String(c.ttl));
  if (c.tosInherit) out.set('tos', 'inherit');
  else if (c.tos !== 0) out.set('tos', `0x${c.tos.toString(16)}`);
  if (c.dstPort !== DEFAULT_DST_PORT[c.type]) out.set('dst_port', String(c.dstPort));
  if (c.csum) out.set('csum', 'true');
  if (c.sequence) out.set('seq', 'true');
  if (!c.dontFragment) out.set('df_default', 'false');
  if (c.packetType !== 'legacy_l2') out.set('packet_type', c.packetType);
  if (c.egressMark !== 0) out.set('egress_pkt_mark', String(c.egressMark));
  return [...out.keys()]
    .sort()
    .map((name) => `${name}=${out.get(name)}`)
    .join(', ');
}
