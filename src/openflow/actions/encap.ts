/** Changing what a packet is: `encap`, `decap`. `ovs-actions(7)`, "The encap action" */
import {
  type AnyActionDef,
  bad,
  def,
  hex,
  nx,
  parseNumber,
  parseU8,
  parseU16,
  putNx,
  type Reader,
  splitKeyValues,
  syntax,
  Writer,
} from './def.ts';

const PT = { ethernet: 0x00000000, nsh: 0x0001894f, mpls: 0x00018847, mpls_mc: 0x00018848 } as const;
const PT_USE_NEXT_PROTO = 0x0000fffe;
/** Class and types of properties of the NSH header. */
/** OpenFlow 1.3, by its wire number: before it there were no packet types. */
const SINCE = 4;
const PPC_NSH = 0x0004;
const PPT_NSH = { MDTYPE: 1, TLV: 2 } as const;

function property(type: number, body: (w: Writer) => void): Uint8Array {
  const w = new Writer(16);
  w.u16(PPC_NSH).u8(type).u8(0);
  body(w);
  const length = w.len;
  w.align(8);
  // The length of a TLV counts its padding, that of an MD type does not.
  w.buf[3] = type === PPT_NSH.TLV ? w.len : length;
  return w.finish().slice();
}

function nshProperties(text: string): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (const { key, value } of splitKeyValues(text)) {
    if (key === 'md_type') {
      const type = parseU8(value, 'md_type');
      if (type < 1 || type > 2) syntax('invalid md_type');
      out.push(property(PPT_NSH.MDTYPE, (w) => w.u8(type)));
    } else if (key === 'tlv') {
      const [cls, type, data] = value.split(',');
      const v = data === undefined ? null : /^0x[0-9a-f]+$/i.test(data) ? data.slice(2) : null;
      if (parseNumber(cls) === null || parseNumber(type ?? '') === null || v === null)
        syntax('Invalid NSH TLV header: ' + value);
      const bytes = Buffer.from(v.length % 2 ? `0${v}` : v, 'hex');
      out.push(
        property(PPT_NSH.TLV, (w) =>
          w.u16(parseU16(cls, 'tlv_class')).u8(parseU8(type, 'tlv_type')).u8(bytes.length).bytes(bytes),
        ),
      );
    } else syntax(`Invalid property: ${key}`);
  }
  return out;
}

function formatProperty(p: Uint8Array): string {
  if (p[2] === PPT_NSH.MDTYPE) return `md_type=${p[4]}`;
  const data = Buffer.from(p.subarray(8, 8 + p[7])).toString('hex');
  return `tlv(0x${((p[4] << 8) | p[5]).toString(16).padStart(4, '0')},${p[6]},0x${data})`;
}

const encap = def({
  kind: 'encap',
  words: ['encap'],
  parse(text) {
    const [first, ...more] = splitKeyValues(text);
    if (!first) syntax('Missing encap hdr: ');
    if (!(first.key in PT)) syntax(`Encap hdr not supported: ${first.key}`);
    if (more.length > 0) syntax(`Invalid encap header: ${text}`);
    const packetType = PT[first.key as keyof typeof PT];
    const props = packetType === PT.nsh && first.value !== '' ? nshProperties(first.value) : [];
    return { kind: 'encap', packetType, props };
  },
  format({ packetType, props }) {
    const name = Object.entries(PT).find(([, n]) => n === packetType)?.[0];
    if (!name) return `encap(packet_type=(${packetType >>> 16},0x${(packetType & 0xffff).toString(16)}))`;
    return `encap(${name}${props.length > 0 ? `(${props.map(formatProperty).join(',')})` : ''})`;
  },
  encode: (w, { packetType, props }) =>
    putNx(w, 46, () => {
      w.u16(0).u32(packetType);
      for (const p of props) w.bytes(p);
    }),
  spots: [
    nx(
      46,
      (r) => {
        r.u16();
        const packetType = r.u32();
        if (!Object.values(PT).includes(packetType as never)) bad('NXBAC_BAD_HEADER_TYPE');
        const props: Uint8Array[] = [];
        while (r.left > 0) props.push(readProperty(r));
        return { kind: 'encap', packetType, props };
      },
      SINCE,
    ),
  ],
});

function readProperty(r: Reader): Uint8Array {
  if (r.left < 4) bad('OFPBAC_BAD_LEN');
  const length = r.bytes[r.pos + 3];
  const room = Math.ceil(length / 8) * 8;
  if (length < 5 || room > r.left) bad('OFPBAC_BAD_LEN');
  const p = r.copy(room);
  if (p[0] !== 0 || p[1] !== PPC_NSH) bad('NXBAC_UNKNOWN_ED_PROP');
  if (p[2] === PPT_NSH.MDTYPE) {
    if (length !== 5 || p[4] < 1 || p[4] > 2) bad('NXBAC_BAD_ED_PROP');
  } else if (p[2] === PPT_NSH.TLV) {
    if (length < 8 || 8 + p[7] > length || length - 8 - p[7] >= 8) bad('NXBAC_BAD_ED_PROP');
  } else bad('NXBAC_UNKNOWN_ED_PROP');
  return p;
}

const decap = def({
  kind: 'decap',
  words: ['decap'],
  parse(text) {
    if (text === '') return { kind: 'decap', packetType: null };
    const [only] = splitKeyValues(text);
    if (only?.key !== 'packet_type') syntax(`Invalid decap argument: ${text}`);
    let ns = 0;
    let type = 0;
    for (const { key, value } of splitKeyValues(only.value)) {
      if (key === 'ns') ns = parseU16(value, 'namespace');
      else if (key === 'type') type = parseU16(value, 'type');
      else syntax(`Invalid packet_type: ${only.value}`);
    }
    return { kind: 'decap', packetType: ((ns << 16) | type) >>> 0 };
  },
  format: ({ packetType }) =>
    packetType === null ? 'decap()' : `decap(packet_type(ns=${packetType >>> 16},type=${hex(packetType & 0xffff)}))`,
  encode: (w, { packetType }) => putNx(w, 47, () => w.zero(2).u32(packetType ?? PT_USE_NEXT_PROTO)),
  spots: [
    nx(
      47,
      (r) => {
        r.skip(2);
        const type = r.u32();
        return { kind: 'decap', packetType: type === PT_USE_NEXT_PROTO ? null : type };
      },
      SINCE,
    ),
  ],
});

export const ENCAP_ACTIONS: readonly AnyActionDef[] = [encap, decap];
