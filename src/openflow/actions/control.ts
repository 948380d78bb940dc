/** Where translation goes on: resubmit, clone, conjunction, exit, note, sample, fin_timeout … `ovs-actions(7)`, "Control" */
import { formatPort, formatTable, parsePort, parseTable } from '../../flow/names.ts';
import { OFPP } from '../ports.ts';
import {
  type AnyActionDef,
  bad,
  def,
  nx,
  parseU8,
  parseU16,
  parseU32,
  putNx,
  type Reader,
  splitKeyValues,
  syntax,
  zeros,
} from './def.ts';
import { dottedHex } from './output.ts';
import type { Ofpact } from './types.ts';

const THIS_TABLE = 255;

const resubmit = def({
  kind: 'resubmit',
  words: ['resubmit'],
  parse(text, { names, warn }) {
    const [portText, tableText, ctText] = text.split(',');
    let inPort: number = OFPP.IN_PORT;
    let table = THIS_TABLE;
    if (portText !== '') {
      inPort = parsePort(portText, names, warn);
      if (inPort < 0) syntax(`${portText}: resubmit to unknown port`);
    }
    if (tableText) {
      table = parseTable(tableText, names);
      if (table < 0) syntax(`${tableText}: resubmit to unknown table`);
    }
    if (ctText !== undefined && ctText !== 'ct') syntax(`${ctText}: unknown parameter`);
    if (inPort === OFPP.IN_PORT && table === THIS_TABLE) {
      syntax('at least one "in_port" or "table" must be specified on resubmit');
    }
    return { kind: 'resubmit', inPort, table, ct: ctText === 'ct' };
  },
  format({ inPort, table, ct }, names) {
    if (inPort !== OFPP.IN_PORT && table === THIS_TABLE) return `resubmit:${formatPort(inPort, names)}`;
    const port = inPort === OFPP.IN_PORT ? '' : formatPort(inPort, names);
    return `resubmit(${port},${table === THIS_TABLE ? '' : formatTable(table, names)}${ct ? ',ct' : ''})`;
  },
  encode(w, { inPort, table, ct }) {
    putNx(w, ct ? 44 : 14, () => w.u16(inPort).u8(table).zero(3));
  },
  spots: [
    nx(1, (r) => ({ kind: 'resubmit', inPort: r.u16(), table: THIS_TABLE, ct: false })),
    nx(14, (r) => readResubmit(r, false)),
    nx(44, (r) => readResubmit(r, true)),
  ],
});

function readResubmit(r: Reader, ct: boolean): Ofpact {
  const inPort = r.u16();
  const table = r.u8();
  zeros(r, 3);
  return { kind: 'resubmit', inPort, table, ct };
}

const clone = def({
  kind: 'clone',
  words: ['clone'],
  parse: (text, { nested }) => ({ kind: 'clone', actions: nested(text, 'clone') }),
  format: () => syntax('formatted by the list'),
  encode: (w, { actions }, context) =>
    putNx(w, 42, () => {
      w.zero(6);
      context.actions(w, actions);
    }),
  spots: [
    nx(42, (r, context) => {
      zeros(r, 6);
      return { kind: 'clone', actions: context.actions(r) };
    }),
  ],
});

const conjunction = def({
  kind: 'conjunction',
  words: ['conjunction'],
  parse(text) {
    const m = /^(\d+|0x[0-9a-f]+)\s*,\s*(\d+)\/(\d+)$/i.exec(text.trim());
    if (!m) syntax('"conjunction" syntax is "conjunction(id,i/n)"');
    const id = parseU32(m[1]);
    const clause = parseU8(m[2], 'clause');
    const nClauses = parseU8(m[3], 'n_clauses');
    if (nClauses < 2) syntax('conjunction must have at least 2 clauses');
    if (nClauses > 64) syntax('conjunction must have at most 64 clauses');
    if (clause < 1) syntax('clause index must be positive');
    if (clause > nClauses) syntax('clause index must be less than or equal to number of clauses');
    return { kind: 'conjunction', id, clause: clause - 1, nClauses };
  },
  format: ({ id, clause, nClauses }) => `conjunction(${id},${clause + 1}/${nClauses})`,
  encode: (w, { id, clause, nClauses }) => putNx(w, 34, () => w.u8(clause).u8(nClauses).u32(id)),
  spots: [
    nx(34, (r) => {
      const clause = r.u8();
      const nClauses = r.u8();
      if (nClauses < 2 || nClauses > 64 || clause >= nClauses) bad('NXBAC_BAD_CONJUNCTION');
      return { kind: 'conjunction', id: r.u32(), clause, nClauses };
    }),
  ],
});

const note = def({
  kind: 'note',
  words: ['note'],
  parse(text) {
    const digits = text.replaceAll('.', '');
    if (!/^([0-9a-f]{2})*$/i.test(digits)) syntax("bad hex digit in `note' argument");
    return { kind: 'note', data: padNote(Uint8Array.from(Buffer.from(digits, 'hex'))) };
  },
  format: ({ data }) => `note:${dottedHex(data)}`,
  encode: (w, { data }) => putNx(w, 8, () => w.bytes(data)),
  spots: [nx(8, (r) => ({ kind: 'note', data: r.copy(r.left) }))],
});

/** A note fills its action to a multiple of 8 bytes; 6 come with the header. */
function padNote(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.max(6, Math.ceil((data.length - 6) / 8) * 8 + 6));
  out.set(data);
  return out;
}

const WITHOUT_ARGUMENT = [
  ['exit', 17],
  ['debug_recirc', 255],
  ['debug_slow', 254],
  ['ct_clear', 43],
] as const;

const bareActions = WITHOUT_ARGUMENT.map(([kind, subtype]) =>
  def({
    kind,
    words: [kind],
    parse: () => ({ kind }),
    format: () => kind,
    encode: (w) => putNx(w, subtype, () => w.zero(6)),
    spots: [nx(subtype, () => ({ kind }))],
  }),
);

const finTimeout = def({
  kind: 'fin_timeout',
  words: ['fin_timeout'],
  parse(text) {
    let idle = 0;
    let hard = 0;
    for (const { key, value } of splitKeyValues(text)) {
      if (key === 'idle_timeout') idle = parseU16(value, key);
      else if (key === 'hard_timeout') hard = parseU16(value, key);
      else syntax(`invalid key '${key}' in 'fin_timeout' argument`);
    }
    return { kind: 'fin_timeout', idle, hard };
  },
  format({ idle, hard }) {
    const parts: string[] = [];
    if (idle) parts.push(`idle_timeout=${idle}`);
    if (hard) parts.push(`hard_timeout=${hard}`);
    return `fin_timeout(${parts.join(',')})`;
  },
  encode: (w, { idle, hard }) => putNx(w, 19, () => w.u16(idle).u16(hard).zero(2)),
  spots: [nx(19, (r) => ({ kind: 'fin_timeout', idle: r.u16(), hard: r.u16() }))],
});

const DIRECTIONS = ['default', 'ingress', 'egress'] as const;

const sample = def({
  kind: 'sample',
  words: ['sample'],
  parse(text, { names, warn }) {
    let probability = 0;
    let collectorSetId = 0;
    let obsDomainId = 0;
    let obsPointId = 0;
    let samplingPort: number = OFPP.NONE;
    let direction: (typeof DIRECTIONS)[number] = 'default';
    for (const { key, value } of splitKeyValues(text)) {
      if (key === 'probability') {
        probability = parseU16(value, 'probability');
        if (probability === 0) syntax(`invalid probability value "${value}"`);
      } else if (key === 'collector_set_id') collectorSetId = parseU32(value);
      else if (key === 'obs_domain_id') obsDomainId = parseU32(value);
      else if (key === 'obs_point_id') obsPointId = parseU32(value);
      else if (key === 'sampling_port') {
        samplingPort = parsePort(value, names, warn);
        if (samplingPort < 0) syntax(`${value}: unknown port`);
      } else if (key === 'ingress' || key === 'egress') direction = key;
      else syntax(`invalid key "${key}" in "sample" argument`);
    }
    if (probability === 0) syntax('non-zero "probability" must be specified on sample');
    return { kind: 'sample', probability, collectorSetId, obsDomainId, obsPointId, samplingPort, direction };
  },
  format(a, names) {
    let out = `sample(probability=${a.probability},collector_set_id=${a.collectorSetId}`;
    out += `,obs_domain_id=${a.obsDomainId},obs_point_id=${a.obsPointId}`;
    if (a.samplingPort !== OFPP.NONE) out += `,sampling_port=${formatPort(a.samplingPort, names)}`;
    if (a.direction !== 'default') out += `,${a.direction}`;
    return `${out})`;
  },
  encode(w, a) {
    if (typeof a.obsDomainId !== 'number' || typeof a.obsPointId !== 'number') {
      throw new Error('sample: observation ids from fields have no encoding');
    }
    const [domain, point] = [a.obsDomainId, a.obsPointId];
    const subtype = a.direction !== 'default' ? 41 : a.samplingPort !== OFPP.NONE ? 38 : 29;
    putNx(w, subtype, () => {
      w.u16(a.probability).u32(a.collectorSetId).u32(domain).u32(point);
      if (subtype !== 29) w.u16(a.samplingPort).u8(DIRECTIONS.indexOf(a.direction)).zero(5);
    });
  },
  spots: [29, 38, 41].map((subtype) =>
    nx(subtype, (r) => {
      const probability = r.u16();
      const collectorSetId = r.u32();
      const obsDomainId = r.u32();
      const obsPointId = r.u32();
      if (probability === 0) bad('OFPBAC_BAD_ARGUMENT');
      const samplingPort = subtype === 29 ? OFPP.NONE : r.u16();
      const way = subtype === 29 ? 0 : r.u8();
      if (way > 2) bad('OFPBAC_BAD_ARGUMENT');
      const direction = DIRECTIONS[way];
      return { kind: 'sample', probability, collectorSetId, obsDomainId, obsPointId, samplingPort, direction };
    }),
  ),
});

/** Only ever made by translation, when it freezes what it is doing. */
const unroll = def({
  kind: 'unroll_xlate',
  words: [],
  parse: () => syntax("UNROLL is an internal action that shouldn't be used via OpenFlow"),
  format: ({ table, cookie, hasRule }) => `unroll_xlate(${hasRule ? `table=${table}, cookie=${cookie}` : 'no rule'})`,
  encode: () => {},
  spots: [],
});

export const CONTROL_ACTIONS: readonly AnyActionDef[] = [
  resubmit,
  clone,
  conjunction,
  note,
  ...bareActions,
  finTimeout,
  sample,
  unroll,
];
