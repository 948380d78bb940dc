/** The header of `push_nsh` as text, both ways. */
import { get32 } from '../packet/bytes.ts';
import { buildNsh, NSH, readNsh } from '../packet/nsh.ts';
import { wholeNumber as number, splitArguments } from './dp-groups.ts';

const hex = (v: number): string => `0x${v.toString(16)}`;

export function formatNshHeader(h: Uint8Array): string {
  const nsh = readNsh(h, 0, h.length);
  if (!nsh) return '';
  const path = get32(h, NSH.path);
  const base =
    `flags=${nsh.flags},ttl=${nsh.ttl},mdtype=${nsh.mdType},np=${nsh.np}` + `,spi=${hex(path >>> 8)},si=${path & 0xff}`;
  if (nsh.mdType === 1) {
    return `${base}${[0, 1, 2, 3].map((i) => `,c${i + 1}=${hex(get32(h, NSH.context + 4 * i))}`).join('')}`;
  }
  if (h.length === NSH.baseLength) return base;
  return `${base},md2=0x${Buffer.from(h.subarray(NSH.context)).toString('hex')}`;
}

/** Null when it is no header. */
export function parseNshHeader(text: string): Uint8Array | null {
  const fields = new Map<string, string>();
  for (const part of splitArguments(text)) {
    const m = /^([a-z0-9]+)=(.+)$/.exec(part);
    if (!m) return null;
    fields.set(m[1], m[2]);
  }
  const get = (name: string, bytes: number, fallback: number): number =>
    fields.has(name) ? (number(fields.get(name), bytes) ?? Number.NaN) : fallback;
  const mdType = get('mdtype', 1, 1);
  const values = [get('flags', 1, 0), get('ttl', 1, 63), get('np', 1, 3), get('spi', 3, 0), get('si', 1, 255)];
  if (values.some(Number.isNaN) || (mdType !== 1 && mdType !== 2)) return null;
  const [flags, ttl, np, spi, si] = values;
  let metadata = new Uint8Array(mdType === 1 ? 16 : 0);
  if (mdType === 1) {
    const view = new DataView(metadata.buffer);
    for (let i = 0; i < 4; i++) {
      const c = get(`c${i + 1}`, 4, 0);
      if (Number.isNaN(c)) return null;
      view.setUint32(4 * i, c);
    }
  } else if (fields.has('md2')) {
    const m = /^0x((?:[0-9a-f]{8})+)$/i.exec(fields.get('md2') ?? '');
    if (!m || m[1].length > 2 * 240) return null;
    metadata = Uint8Array.from(Buffer.from(m[1], 'hex'));
  }
  return buildNsh({ flags, ttl, np, spi, si, mdType, metadata });
}
