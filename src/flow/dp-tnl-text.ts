/**
 * `tnl_push(…)` as text: the outer headers that a packet gets, printed from their bytes and read back into bytes, as
 * `ovs-dpctl dump-flows` shows them.
 */
import { formatEth, formatIpv4, formatIpv6, parseEth, parseIpv4, parseIpv6 } from './address-text.ts';
import type { DpActionOf } from './dp-actions.ts';
import { TnlType } from './dp-actions.ts';
import { sharpHex, splitArguments, splitCall } from './dp-groups.ts';

type TnlPush = DpActionOf<'tnl_push'>;

const ETH = 14;
const IP4 = 20;
const IP6 = 40;
const UDP = 8;
const GRE_CSUM = 0x8000;
const GRE_KEY = 0x2000;
const GRE_SEQ = 0x1000;

const hex = (n: number): string => `0x${n.toString(16)}`;

export function formatTnlPush(a: TnlPush, port: (no: number) => string): string {
  return `tnl_push(tnl_port(${port(a.port)}),header(size=${a.header.length},type=${a.type},${formatHeader(a)}),out_port(${port(a.outPort)}))`;
}

function formatHeader({ header: h, type }: TnlPush): string {
  const v = new DataView(h.buffer, h.byteOffset, h.byteLength);
  const ethType = v.getUint16(12);
  const parts = [
    `eth(dst=${formatEth(h, 0)},src=${formatEth(h, 6)},dl_type=0x${ethType.toString(16).padStart(4, '0')})`,
  ];
  let at = ETH;
  if (ethType === 0x0800) {
    parts.push(
      `ipv4(src=${formatIpv4(h, 26)},dst=${formatIpv4(h, 30)},proto=${h[23]},tos=${sharpHex(h[15])},ttl=${h[22]},frag=${hex(v.getUint16(20))})`,
    );
    at += IP4;
  } else {
    const tclass = (v.getUint16(14) >> 4) & 0xff;
    const label = v.getUint32(14) & 0xfffff;
    parts.push(
      `ipv6(src=${formatIpv6(h, 22)},dst=${formatIpv6(h, 38)},label=${label},proto=${h[20]},tclass=${hex(tclass)},hlimit=${h[21]})`,
    );
    at += IP6;
  }
  if (type === TnlType.vxlan || type === TnlType.geneve) {
    parts.push(`udp(src=${v.getUint16(at)},dst=${v.getUint16(at + 2)},csum=${hex(v.getUint16(at + 6))})`);
    at += UDP;
  }
  if (type === TnlType.vxlan) parts.push(`vxlan(flags=${hex(v.getUint32(at))},vni=${hex(v.getUint32(at + 4) >>> 8)})`);
  else if (type === TnlType.geneve) parts.push(formatGeneve(h, v, at));
  else if (type === TnlType.gre) parts.push(formatGre(v, at));
  return parts.join(',');
}

function formatGeneve(h: Uint8Array, v: DataView, at: number): string {
  const flags = `${h[at + 1] & 0x80 ? 'oam,' : ''}${h[at + 1] & 0x40 ? 'crit,' : ''}`;
  let options = '';
  const end = at + 8 + (h[at] & 0x3f) * 4;
  for (let o = at + 8; o + 4 <= end; ) {
    const length = (h[o + 3] & 0x1f) * 4;
    options += `{class=${sharpHex(v.getUint16(o))},type=${sharpHex(h[o + 2])},len=${length}`;
    if (length > 0) options += `,${hexBytes(h.subarray(o + 4, o + 4 + length))}`;
    options += '}';
    o += 4 + length;
  }
  return `geneve(${flags}vni=${hex(v.getUint32(at + 4) >>> 8)}${options === '' ? '' : `,options(${options})`})`;
}

/** Without leading zeros, as the original prints options. */
export function hexBytes(b: Uint8Array): string {
  return `0x${Buffer.from(b)
    .toString('hex')
    .replace(/^0+(?=.)/, '')}`;
}

function formatGre(v: DataView, at: number): string {
  const flags = v.getUint16(at);
  let text = `gre((flags=${hex(flags)},proto=${hex(v.getUint16(at + 2))})`;
  let o = at + 4;
  if (flags & GRE_CSUM) {
    text += `,csum=${hex(v.getUint16(o))}`;
    o += 4;
  }
  if (flags & GRE_KEY) {
    text += `,key=${hex(v.getUint32(o))}`;
    o += 4;
  }
  if (flags & GRE_SEQ) text += `,seq=${hex(v.getUint32(o))}`;
  return `${text})`;
}

// ---- reading ----

class Bad extends Error {}

const need = <T>(value: T | null | undefined): T => {
  if (value === null || value === undefined) throw new Bad();
  return value;
};

/** `a=1,(b=2,c=3)` as a record. */
function fields(text: string): Map<string, string> {
  const out = new Map<string, string>();
  for (const part of splitArguments(text.replace(/^\(([^)]*)\)/, '$1'))) {
    const [, name, value] = need(/^([a-z_]+)(?:=(.*))?$/s.exec(part));
    out.set(name, value ?? '');
  }
  return out;
}

function number(map: ReadonlyMap<string, string>, name: string): number {
  const text = need(map.get(name));
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) throw new Bad();
  return Number(text);
}

/** Reads the arguments of `tnl_push`; null when something is wrong with them. */
export function parseTnlPush(args: string, port: (text: string) => number | null): TnlPush | null {
  try {
    const calls = new Map(
      splitArguments(args)
        .map((part) => need(splitCall(part)))
        .map((c) => [c.name, c.args]),
    );
    const parts = splitArguments(need(calls.get('header')));
    const sizes = fields(parts.slice(0, 2).join(','));
    const header = new Uint8Array(number(sizes, 'size'));
    const type = number(sizes, 'type');
    const end = writeHeaders(header, parts.slice(2));
    if (end !== header.length) return null;
    return {
      kind: 'tnl_push',
      port: need(port(need(calls.get('tnl_port')))),
      outPort: need(port(need(calls.get('out_port')))),
      type,
      header,
    };
  } catch (error) {
    if (error instanceof Bad || error instanceof RangeError) return null;
    throw error;
  }
}

function writeHeaders(h: Uint8Array, parts: readonly string[]): number {
  const v = new DataView(h.buffer);
  let at = 0;
  for (const part of parts) {
    const call = need(splitCall(part));
    switch (call.name) {
      case 'eth': {
        const f = fields(call.args);
        h.set(need(parseEth(f.get('dst') ?? '')), 0);
        h.set(need(parseEth(f.get('src') ?? '')), 6);
        v.setUint16(12, number(f, 'dl_type'));
        at = ETH;
        break;
      }
      case 'ipv4': {
        const f = fields(call.args);
        h[at] = 0x45;
        h[at + 1] = number(f, 'tos');
        v.setUint16(at + 6, number(f, 'frag'));
        h[at + 8] = number(f, 'ttl');
        h[at + 9] = number(f, 'proto');
        h.set(need(parseIpv4(f.get('src') ?? '')), at + 12);
        h.set(need(parseIpv4(f.get('dst') ?? '')), at + 16);
        at += IP4;
        break;
      }
      case 'ipv6': {
        const f = fields(call.args);
        v.setUint32(at, ((6 << 28) | (number(f, 'tclass') << 20) | number(f, 'label')) >>> 0);
        h[at + 6] = number(f, 'proto');
        h[at + 7] = number(f, 'hlimit');
        h.set(need(parseIpv6(f.get('src') ?? '')), at + 8);
        h.set(need(parseIpv6(f.get('dst') ?? '')), at + 24);
        at += IP6;
        break;
      }
      case 'udp': {
        const f = fields(call.args);
        v.setUint16(at, number(f, 'src'));
        v.setUint16(at + 2, number(f, 'dst'));
        v.setUint16(at + 6, number(f, 'csum'));
        at += UDP;
        break;
      }
      case 'vxlan': {
        const f = fields(call.args);
        v.setUint32(at, number(f, 'flags'));
        v.setUint32(at + 4, (number(f, 'vni') << 8) >>> 0);
        at += 8;
        break;
      }
      case 'geneve':
        at = writeGeneve(h, v, at, call.args);
        break;
      case 'gre': {
        const f = fields(call.args);
        const flags = number(f, 'flags');
        v.setUint16(at, flags);
        v.setUint16(at + 2, number(f, 'proto'));
        at += 4;
        if (flags & GRE_CSUM) {
          v.setUint16(at, number(f, 'csum'));
          at += 4;
        }
        for (const [bit, name] of [
          [GRE_KEY, 'key'],
          [GRE_SEQ, 'seq'],
        ] as const) {
          if (!(flags & bit)) continue;
          v.setUint32(at, number(f, name));
          at += 4;
        }
        break;
      }
      default:
        throw new Bad();
    }
  }
  return at;
}

function writeGeneve(h: Uint8Array, v: DataView, at: number, args: string): number {
  let o = at + 8;
  v.setUint16(at + 2, 0x6558);
  for (const part of splitArguments(args)) {
    const options = splitCall(part);
    if (options) {
      if (options.name !== 'options') throw new Bad();
      for (const [, body] of options.args.matchAll(/\{([^}]*)\}/g)) {
        const data = /,0x([0-9a-f]+)$/i.exec(body)?.[1] ?? '';
        const f = fields(body.replace(/,0x[0-9a-f]+$/i, ''));
        const length = number(f, 'len');
        if (length % 4 !== 0 || length > 124 || data.length > length * 2) throw new Bad();
        v.setUint16(o, number(f, 'class'));
        h[o + 2] = number(f, 'type');
        h[o + 3] = length / 4;
        h.set(Buffer.from(data.padStart(length * 2, '0'), 'hex'), o + 4);
        o += 4 + length;
      }
    } else if (part === 'oam') h[at + 1] |= 0x80;
    else if (part === 'crit') h[at + 1] |= 0x40;
    else v.setUint32(at + 4, (number(fields(part), 'vni') << 8) >>> 0);
  }
  h[at] = (o - at - 8) / 4;
  return o;
}
