/** Flow tables: statistics, changes, descriptions, features. */
import type { Field } from '../../flow/field.ts';
import { fieldByHeader, headerByNumber } from '../../flow/fields.ts';
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { OfpVersion, TableStats } from '../messages.ts';
import type { TableCapability, TableDesc, TableFeatures } from '../messages-ext.ts';
import { entry } from './entry.ts';
import { writeFieldHeader } from './parts.ts';
import { properties, property } from './phy-port.ts';

const OFPTMPT_EVICTION = 2;
const OFPTMPT_VACANCY = 3;
const EVICTION_UNKNOWN = -1;
const MAX_ENTRIES_BYTES = 32;

const NO_CAPABILITY: TableCapability = {
  nextTables: [],
  instructions: 0,
  writeActions: 0n,
  applyActions: 0n,
  writeSetFields: [],
  applySetFields: [],
};

/** What OpenFlow 1.0 and 1.1 can match, as wildcard bits; 1.0's come in `wildcards`. */
const noFeatures = (table: number, name: string): TableFeatures => ({
  table,
  name,
  metadataMatch: 0n,
  metadataWrite: 0n,
  config: 0,
  capabilities: 0,
  maxEntries: 0,
  nonmiss: NO_CAPABILITY,
  miss: NO_CAPABILITY,
  match: [],
  mask: [],
  wildcard: [],
});

const statsRequest = codec(
  'table_stats_request',
  [spot('req', 1, 1, 3, 'OFPST_TABLE request', 12), spot('req', 2, 6, 3, 'OFPST_TABLE request', 16)],
  () => {},
  () => ({ type: 'table_stats_request' }),
);

/** Fields of 1.2 tables are 64-bit sets of OXM basic field numbers. */
const OXM_BASIC = 0x8000;
function fieldsOf(bits: bigint): Field[] {
  const list: Field[] = [];
  for (let n = 0; n < 64; n++) {
    if (((bits >> BigInt(n)) & 1n) === 0n) continue;
    const found = headerByNumber(OXM_BASIC, n);
    // Only 1.2 has these sets.
    if (found !== undefined && found.header.since <= 3) list.push(found.field);
  }
  return list;
}
function bitsOf(fields: readonly Field[], version: OfpVersion): bigint {
  let bits = 0n;
  for (const field of fields)
    for (const h of field.headers) if (h.class === OXM_BASIC && h.since <= version) bits |= 1n << BigInt(h.field);
  return bits;
}

/** OFPFW_ALL without the parts that Open vSwitch does not offer, and its like for 1.1. */
const WILDCARDS_10 = 0x003fffff;
const WILDCARDS_11 = 0x0000fbff;
const MATCH_11 = 0x0000fbff;

function encodeStats(w: Writer, t: TableStats, version: OfpVersion): void {
  const f = t.features ?? noFeatures(t.table, t.name);
  w.u8(t.table);
  if (version >= 4) {
    w.zero(3).u32(t.activeCount).count64(t.lookupCount).count64(t.matchedCount);
    return;
  }
  w.zero(version === 1 ? 3 : 7).text(t.name, MAX_ENTRIES_BYTES);
  if (version === 1) w.u32(WILDCARDS_10);
  else if (version === 2) {
    w.u32(WILDCARDS_11)
      .u32(MATCH_11)
      .u32(f.nonmiss.instructions << 1);
    w.u32(Number(f.nonmiss.writeActions)).u32(Number(f.nonmiss.applyActions)).u32(t.missConfig);
  } else {
    w.u64(bitsOf(f.match, version)).u64(bitsOf(f.wildcard, version));
    w.u32(Number(f.nonmiss.writeActions & 0xffffffffn)).u32(Number(f.nonmiss.applyActions & 0xffffffffn));
    w.u64(bitsOf(f.nonmiss.writeSetFields, version)).u64(bitsOf(f.nonmiss.applySetFields, version));
    w.u64(f.metadataMatch)
      .u64(f.metadataWrite)
      .u32(f.nonmiss.instructions << 1)
      .u32(t.missConfig);
  }
  w.u32(t.maxEntries).u32(t.activeCount).count64(t.lookupCount).count64(t.matchedCount);
}

/** A switch may say "default" where only three behaviours exist; the first of them is the default of 1.1 and 1.2. */
const missOf = (config: number): number => ((config & 3) === 3 ? 0 : config & 3);

function decodeStats(r: Reader, version: OfpVersion): TableStats {
  const table = r.u8();
  if (version >= 4) {
    r.skip(3);
    const counts = { activeCount: r.u32(), lookupCount: r.count64(), matchedCount: r.count64() };
    return { table, name: '', maxEntries: 0, ...counts, missConfig: 3 };
  }
  r.skip(version === 1 ? 3 : 7);
  const name = r.text(MAX_ENTRIES_BYTES);
  const base = noFeatures(table, name);
  let features = base;
  let missConfig = 3;
  if (version === 1) features = { ...base, capabilities: r.u32() };
  else if (version === 2) {
    const capabilities = r.u32();
    r.skip(4);
    const instructions = r.u32() >>> 1;
    const nonmiss = { ...NO_CAPABILITY, instructions, writeActions: BigInt(r.u32()), applyActions: BigInt(r.u32()) };
    missConfig = missOf(r.u32());
    features = { ...base, capabilities, nonmiss, miss: nonmiss };
  } else {
    const match = fieldsOf(r.u64());
    const wildcard = fieldsOf(r.u64());
    const actions = { writeActions: BigInt(r.u32()), applyActions: BigInt(r.u32()) };
    const sets = { writeSetFields: fieldsOf(r.u64()), applySetFields: fieldsOf(r.u64()) };
    const metadata = { metadataMatch: r.u64(), metadataWrite: r.u64() };
    const nonmiss = { ...NO_CAPABILITY, ...actions, ...sets, instructions: r.u32() >>> 1 };
    missConfig = missOf(r.u32());
    features = { ...base, ...metadata, match, wildcard, nonmiss, miss: nonmiss };
  }
  const maxEntries = r.u32();
  const counts = { activeCount: r.u32(), lookupCount: r.count64(), matchedCount: r.count64() };
  return { table, name, maxEntries, ...counts, missConfig, features: { ...features, maxEntries } };
}

const statsReply = codec(
  'table_stats_reply',
  [spot('rep', 1, 6, 3, 'OFPST_TABLE reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const t of m.tables) {
      encodeStats(w, t, version);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    const tables: TableStats[] = [];
    while (r.left > 0) tables.push(decodeStats(r, version));
    return { type: 'table_stats_reply', more, tables };
  },
);

interface TableProps {
  evictionFlags: number;
  vacancyDown: number;
  vacancyUp: number;
  vacancy: number;
}
function readProps(r: Reader): TableProps {
  const props = { evictionFlags: EVICTION_UNKNOWN, vacancyDown: 0, vacancyUp: 0, vacancy: 0 };
  for (const [type, p] of properties(r)) {
    if (type === OFPTMPT_EVICTION) {
      if (p.left !== 4) p.fail('OFPBPC_BAD_LEN');
      props.evictionFlags = p.u32();
    } else if (type === OFPTMPT_VACANCY) {
      if (p.left !== 4) p.fail('OFPBPC_BAD_LEN');
      props.vacancyDown = p.u8();
      props.vacancyUp = p.u8();
      props.vacancy = p.u8();
      if (props.vacancyDown > 100 || props.vacancyUp > 100 || props.vacancyDown > props.vacancyUp)
        p.fail('OFPBPC_BAD_VALUE');
    } else p.fail('OFPBPC_BAD_TYPE');
  }
  return props;
}

const tableMod = codec(
  'table_mod',
  [spot('of', 2, 4, 17, 'OFPT_TABLE_MOD', 16), spot('of', 5, 6, 17, 'OFPT_TABLE_MOD')],
  (w, m, { version }) => {
    w.u8(m.table).zero(3).u32(m.config);
    if (version < 5) return;
    if (m.evictionFlags !== undefined && m.evictionFlags >= 0)
      property(w, OFPTMPT_EVICTION, () => w.u32(m.evictionFlags!));
    if (m.vacancyUp !== undefined)
      property(w, OFPTMPT_VACANCY, () =>
        w
          .u8(m.vacancyDown ?? 0)
          .u8(m.vacancyUp!)
          .zero(2),
      );
  },
  (r, { version }) => {
    const table = r.u8();
    r.skip(3);
    const config = r.u32();
    if (version < 5) return { type: 'table_mod', table, config };
    const props = readProps(r);
    return {
      type: 'table_mod',
      table,
      config,
      ...(props.evictionFlags < 0 ? {} : { evictionFlags: props.evictionFlags }),
      ...(config & 8 ? { vacancyDown: props.vacancyDown, vacancyUp: props.vacancyUp } : {}),
    };
  },
);

const VACANCY_EVENTS = 8;

function writeDesc(w: Writer, t: TableDesc): void {
  const start = w.len;
  w.u16(0).u8(t.table).zero(1).u32(t.config);
  if (t.evictionFlags >= 0) property(w, OFPTMPT_EVICTION, () => w.u32(t.evictionFlags));
  if (t.config & VACANCY_EVENTS)
    property(w, OFPTMPT_VACANCY, () => w.u8(t.vacancyDown).u8(t.vacancyUp).u8(t.vacancy).zero(1));
  w.length16(start, start);
}
function readDesc(r: Reader): TableDesc {
  const e = entry(r, 8);
  const table = e.u8();
  const config = e.skip(1).u32();
  return { table, config, ...readProps(e) };
}

const descRequest = codec(
  'table_desc_request',
  [spot('req', 5, 6, 14, 'OFPST_TABLE_DESC request', 16)],
  () => {},
  () => ({ type: 'table_desc_request' }),
);
const descReply = codec(
  'table_desc_reply',
  [spot('rep', 5, 6, 14, 'OFPST_TABLE_DESC reply')],
  (w, m) => {
    w.boundary();
    for (const t of m.tables) {
      writeDesc(w, t);
      w.boundary();
    }
  },
  (r, { more }) => {
    const tables: TableDesc[] = [];
    while (r.left > 0) tables.push(readDesc(r));
    return { type: 'table_desc_reply', more, tables };
  },
);
const tableStatus = codec(
  'table_status',
  [spot('of', 5, 6, 31, 'OFPT_TABLE_STATUS')],
  (w, m) => {
    w.u8(m.reason).zero(7);
    writeDesc(w, m.desc);
  },
  (r) => {
    const reason = r.u8();
    if (reason !== 3 && reason !== 4) r.fail('OFPBRC_BAD_LEN');
    return { type: 'table_status', reason, desc: readDesc(r.skip(7)) };
  },
);

const PROP = {
  INSTRUCTIONS: 0,
  NEXT_TABLES: 2,
  WRITE_ACTIONS: 4,
  APPLY_ACTIONS: 6,
  MATCH: 8,
  WILDCARDS: 10,
  WRITE_SETFIELD: 12,
  APPLY_SETFIELD: 14,
} as const;
const EXPERIMENTER = 0xffff;

function writeIds(w: Writer, bits: bigint, first: number): void {
  for (let n = 0; n < 64; n++) if ((bits >> BigInt(n)) & 1n) w.u16(n + first).u16(4);
}
function readIds(r: Reader, first: number): bigint {
  let bits = 0n;
  while (r.left > 0) {
    const type = r.u16();
    const length = r.u16();
    if (length < 4 || length - 4 > r.left) r.fail('OFPBPC_BAD_LEN');
    r.skip(length - 4);
    if (type !== EXPERIMENTER && type - first >= 0 && type - first < 64) bits |= 1n << BigInt(type - first);
  }
  return bits;
}
/** Instructions count from 1 (goto_table) on the wire and from bit 0 here. */
const FIRST_INSTRUCTION = 1;

function writeFields(
  w: Writer,
  fields: readonly Field[],
  version: OfpVersion,
  maskable: ReadonlySet<Field> | null,
): void {
  for (const field of fields) {
    const masked = maskable?.has(field) ?? false;
    writeFieldHeader(w, field, version, field.bytes * (masked ? 2 : 1), masked);
  }
}
function readFieldList(r: Reader): { fields: Field[]; masked: Field[] } {
  const fields: Field[] = [];
  const masked: Field[] = [];
  while (r.left > 0) {
    const oxmClass = r.u16();
    const number = r.u8();
    r.skip(1);
    const experimenter = oxmClass === 0xffff ? r.u32() : undefined;
    const field = fieldByHeader(oxmClass, number >> 1, experimenter);
    if (field === undefined) continue;
    fields.push(field);
    if (number & 1) masked.push(field);
  }
  return { fields, masked };
}

function writeFeatures(w: Writer, t: TableFeatures, version: OfpVersion): void {
  const start = w.len;
  w.u16(0).u8(t.table);
  if (version >= 6) w.u8(0).u32(0);
  else w.zero(5);
  w.text(t.name, 32).u64(t.metadataMatch).u64(t.metadataWrite);
  w.u32(version >= 6 ? t.capabilities : t.config).u32(t.maxEntries);
  for (const [miss, c] of [
    [0, t.nonmiss],
    [1, t.miss],
  ] as const) {
    property(w, PROP.INSTRUCTIONS + miss, () => writeIds(w, BigInt(c.instructions), FIRST_INSTRUCTION));
    property(w, PROP.NEXT_TABLES + miss, () => w.bytes(Uint8Array.from(c.nextTables)));
    property(w, PROP.WRITE_ACTIONS + miss, () => writeIds(w, c.writeActions, 0));
    property(w, PROP.WRITE_SETFIELD + miss, () => writeFields(w, c.writeSetFields, version, null));
    property(w, PROP.APPLY_ACTIONS + miss, () => writeIds(w, c.applyActions, 0));
    property(w, PROP.APPLY_SETFIELD + miss, () => writeFields(w, c.applySetFields, version, null));
  }
  property(w, PROP.MATCH, () => writeFields(w, t.match, version, new Set(t.mask)));
  property(w, PROP.WILDCARDS, () => writeFields(w, t.wildcard, version, null));
  w.length16(start, start);
}

function readFeatures(r: Reader, version: OfpVersion): TableFeatures {
  const e = entry(r, 64);
  const table = e.u8();
  const name = e.skip(5).text(32);
  const metadata = { metadataMatch: e.u64(), metadataWrite: e.u64() };
  const word = e.u32();
  const maxEntries = e.u32();
  const sides = [{ ...NO_CAPABILITY }, { ...NO_CAPABILITY }];
  let match: Field[] = [];
  let mask: Field[] = [];
  let wildcard: Field[] = [];
  const missSeen = new Set<number>();
  for (const [type, p] of properties(e, 'OFPBPC_BAD_LEN')) {
    const side = sides[type & 1];
    if (type < 16) missSeen.add(type);
    const kind = type < 16 ? type & ~1 : type;
    if (kind === PROP.INSTRUCTIONS) Object.assign(side, { instructions: Number(readIds(p, FIRST_INSTRUCTION)) });
    else if (kind === PROP.NEXT_TABLES) Object.assign(side, { nextTables: [...p.rest()] });
    else if (kind === PROP.WRITE_ACTIONS) Object.assign(side, { writeActions: readIds(p, 0) });
    else if (kind === PROP.APPLY_ACTIONS) Object.assign(side, { applyActions: readIds(p, 0) });
    else if (kind === PROP.WRITE_SETFIELD) Object.assign(side, { writeSetFields: readFieldList(p).fields });
    else if (kind === PROP.APPLY_SETFIELD) Object.assign(side, { applySetFields: readFieldList(p).fields });
    else if (kind === PROP.MATCH) ({ fields: match, masked: mask } = readFieldList(p));
    else if (kind === PROP.WILDCARDS) wildcard = readFieldList(p).fields;
    else if (type !== 0xfffe && type !== EXPERIMENTER && type < 0xff00) p.fail('OFPBPC_BAD_TYPE');
  }
  // A property that is left out for misses is the same as for matches (OpenFlow 1.3.5 7.3.5.5.2).
  const keys = [
    'instructions',
    'nextTables',
    'writeActions',
    'applyActions',
    'writeSetFields',
    'applySetFields',
  ] as const;
  const kinds = [
    PROP.INSTRUCTIONS,
    PROP.NEXT_TABLES,
    PROP.WRITE_ACTIONS,
    PROP.APPLY_ACTIONS,
    PROP.WRITE_SETFIELD,
    PROP.APPLY_SETFIELD,
  ];
  keys.forEach((key, i) => {
    if (!missSeen.has(kinds[i] + 1)) Object.assign(sides[1], { [key]: sides[0][key] });
  });
  const config = version >= 6 ? 0 : word;
  const capabilities = version >= 6 ? word : 0;
  return {
    table,
    name,
    ...metadata,
    config,
    capabilities,
    maxEntries,
    nonmiss: sides[0],
    miss: sides[1],
    match,
    mask,
    wildcard,
  };
}

const featuresRequest = codec(
  'table_features_request',
  [spot('req', 4, 6, 12, 'OFPST_TABLE_FEATURES request')],
  (w, m, { version }) => {
    w.boundary();
    for (const t of m.tables) {
      writeFeatures(w, t, version);
      w.boundary();
    }
  },
  (r, { version }) => {
    const tables: TableFeatures[] = [];
    while (r.left > 0) tables.push(readFeatures(r, version));
    return { type: 'table_features_request', tables };
  },
);
const featuresReply = codec(
  'table_features_reply',
  [spot('rep', 4, 6, 12, 'OFPST_TABLE_FEATURES reply')],
  (w, m, { version }) => {
    w.boundary();
    for (const t of m.tables) {
      writeFeatures(w, t, version);
      w.boundary();
    }
  },
  (r, { version, more }) => {
    const tables: TableFeatures[] = [];
    while (r.left > 0) tables.push(readFeatures(r, version));
    return { type: 'table_features_reply', more, tables };
  },
);

export const tableCodecs = [
  statsRequest,
  statsReply,
  tableMod,
  descRequest,
  descReply,
  tableStatus,
  featuresRequest,
  featuresReply,
];
