/**
 * The one registry of match fields. Parser, printer, wire codecs, set-field, megaflow masks and documentation all derive from it.
 *
 * Wire numbers (`ovs-fields(7)`, "Header"): classes 0x0000 and 0x0001 are Nicira's NXM, 0x8000 is the standard's OXM, 0x1000
 * Ericsson's, 0xffff an experimenter's, with its id behind the header.
 */
import type { Field, OxmHeader } from './field.ts';
import { FIELD_ROWS, type FieldRow } from './field-table.ts';

/** Class and experimenter by the prefix of a header's name; the longest prefix decides. */
const OXM_CLASSES = [
  { prefix: 'NXM_OF_', class: 0x0000, experimenter: 0 },
  { prefix: 'NXM_NX_', class: 0x0001, experimenter: 0 },
  { prefix: 'NXOXM_NSH_', class: 0xffff, experimenter: 0x005ad650 },
  { prefix: 'NXOXM_ET_', class: 0xffff, experimenter: 0x00002320 },
  { prefix: 'OXM_OF_PKT_REG', class: 0x8001, experimenter: 0 },
  { prefix: 'OXM_OF_', class: 0x8000, experimenter: 0 },
  { prefix: 'ONFOXM_ET_', class: 0xffff, experimenter: 0x4f4e4600 },
  { prefix: 'ERICOXM_OF_', class: 0x1000, experimenter: 0 },
] as const;

const OPENFLOW_VERSIONS: Readonly<Record<string, number>> = {
  '1.0': 1,
  '1.1': 2,
  '1.2': 3,
  '1.3': 4,
  '1.4': 5,
  '1.5': 6,
};

function parseHeader(text: string): OxmHeader {
  const m = /^([A-Z0-9_]+)\((\d+)\) (?:(1\.\d) )?(\d+\.\d+)$/.exec(text);
  const cls = OXM_CLASSES.find((c) => text.startsWith(c.prefix));
  if (!m || !cls) throw new Error(`field table: bad header ${text}`);
  return {
    name: m[1],
    class: cls.class,
    field: Number(m[2]),
    ...(cls.class === 0xffff ? { experimenter: cls.experimenter } : {}),
    since: m[3] ? OPENFLOW_VERSIONS[m[3]] : 1,
    ovs: m[4],
  };
}

function makeField(row: FieldRow, index: number): Field {
  const [name, aliases] = row.names.replace(')', '').split('(');
  return {
    name,
    aliases: aliases ? aliases.split(',') : [],
    bit: row.bit,
    width: row.width,
    bytes: row.bytes,
    nBits: row.nBits ?? row.width,
    masking: row.masking,
    format: row.format,
    prereq: row.prereq,
    writable: row.access === 'rw',
    headers: row.headers === '' ? [] : row.headers.split('; ').map(parseHeader),
    index,
  };
}

export const FIELDS: readonly Field[] = FIELD_ROWS.map(makeField);

/** Every field by its own name: `F.eth_src`. */
export const F: Readonly<Record<string, Field>> = Object.fromEntries(FIELDS.map((f) => [f.name, f]));

const byName = new Map<string, Field>();
for (const f of FIELDS) {
  byName.set(f.name, f);
  for (const alias of f.aliases) byName.set(alias, f);
}

const byHeaderName = new Map<string, { field: Field; header: OxmHeader }>();
const byHeaderNumber = new Map<number, { field: Field; header: OxmHeader }[]>();
for (const field of FIELDS) {
  for (const header of field.headers) {
    byHeaderName.set(header.name, { field, header });
    const key = header.class * 128 + header.field;
    const list = byHeaderNumber.get(key);
    if (list) list.push({ field, header });
    else byHeaderNumber.set(key, [{ field, header }]);
  }
}

/** A field by the name or alias that `ovs-ofctl` takes: `eth_src`, `dl_src`. */
export function fieldByName(name: string): Field | undefined {
  return byName.get(name);
}

/** A field and its number by a header's name: `NXM_OF_ETH_SRC`. */
export function fieldByHeaderName(name: string): { field: Field; header: OxmHeader } | undefined {
  return byHeaderName.get(name);
}

/** A field by its number on the wire. */
export function fieldByHeader(oxmClass: number, field: number, experimenter = 0): Field | undefined {
  return headerByNumber(oxmClass, field, experimenter)?.field;
}

export function headerByNumber(
  oxmClass: number,
  field: number,
  experimenter = 0,
): { field: Field; header: OxmHeader } | undefined {
  const list = byHeaderNumber.get(oxmClass * 128 + field);
  if (list) for (const e of list) if ((e.header.experimenter ?? 0) === experimenter) return e;
  return undefined;
}

/**
 * The number under which a field travels in OpenFlow `version` (wire number; 0 asks for NXM, as OpenFlow 1.0 and the Nicira actions
 * of every version prefer). Undefined for fields that have no number.
 */
export function fieldHeader(field: Field, version: number): OxmHeader | undefined {
  const isNxm = (h: OxmHeader): boolean => h.class <= 1;
  if (version < 3) return field.headers.find(isNxm) ?? field.headers[0];
  let best: OxmHeader | undefined;
  for (const h of field.headers) if (!isNxm(h) && h.since <= version && (!best || h.since >= best.since)) best = h;
  return best ?? field.headers.find(isNxm) ?? field.headers[0];
}
