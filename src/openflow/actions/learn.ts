/** `learn`: a flow that writes flows. `ovs-actions(7)`, "The learn action" */

import type { Subfield } from '../../flow/field.ts';
import { fieldByName } from '../../flow/fields.ts';
import { formatTable, parseTable } from '../../flow/names.ts';
import {
  bigintOfBytes,
  bytesOfBigint,
  fieldMaskBytes,
  formatSubfield,
  parseSubfieldPrefix,
  wholeField,
} from '../../flow/subfield.ts';
import { formatFieldValue, parseFieldValue } from '../../flow/value-text.ts';
import {
  type AnyActionDef,
  bad,
  checkSubfield,
  def,
  getFieldHeader,
  hex,
  nx,
  parseNumber,
  parseU16,
  parseU32,
  parseU64,
  putFieldHeader,
  putNx,
  type Reader,
  splitKeyValues,
  subfield,
  subfieldPrefix,
  syntax,
  type Writer,
} from './def.ts';
import type { LearnFlowSpec, LearnSpec } from './types.ts';

const FLAG = { SEND_FLOW_REM: 1, DELETE_LEARNED: 2, WRITE_RESULT: 4 } as const;
const SPEC = {
  N_BITS: 0x7ff,
  DST_LOAD: 1 << 11,
  DST_OUTPUT: 2 << 11,
  DST_MASK: 3 << 11,
  SRC_IMMEDIATE: 1 << 13,
} as const;
const DEFAULT_PRIORITY = 32768;

const bytesFor = (nBits: number): number => Math.ceil(nBits / 8);

// ---- text ---------------------------------------------------------------------------------------------------------

function parseSpec(key: string, value: string): LearnFlowSpec {
  if (key === 'load') {
    const arrow = value.indexOf('->');
    const immediate = arrow >= 0 ? parseNumber(value.slice(0, arrow)) : null;
    if (immediate !== null) {
      const dst = subfield(value.slice(arrow + 2));
      if (immediate >> BigInt(dst.nBits) !== 0n) {
        syntax(`${value}: value ${hex(immediate)} does not fit into ${dst.nBits} bits`);
      }
      const src = bytesOfBigint(immediate, bytesFor(dst.nBits));
      return { nBits: dst.nBits, src, dst: { type: 'load', subfield: dst } };
    }
    const { subfield: src, rest } = subfieldPrefix(value);
    if (!rest.startsWith('->')) syntax(`${value}: missing \`->' following source`);
    const dst = subfield(rest.slice(2));
    if (src.nBits !== dst.nBits) {
      syntax(`${value}: source field is ${src.nBits} bits wide but destination is ${dst.nBits} bits wide`);
    }
    return { nBits: src.nBits, src, dst: { type: 'load', subfield: dst } };
  }
  if (key === 'output') {
    const src = subfield(value);
    return { nBits: src.nBits, src, dst: { type: 'output' } };
  }
  const parsed = parseSubfieldPrefix(key);
  const wholeName = fieldByName(key);
  if (!wholeName && (!parsed.ok || parsed.rest !== ''))
    syntax(`${value === '' ? key : `${key}=${value}`}: unknown keyword ${key}`);
  const dst: Subfield = wholeName ? wholeField(wholeName) : parsed.ok ? parsed.subfield : syntax(parsed.error);
  if (value === '') return { nBits: dst.nBits, src: dst, dst: { type: 'match', subfield: dst } };
  const source = parseSubfieldPrefix(value);
  if (source.ok && source.rest === '' && !/^(0x)?\d/.test(value)) {
    const src = source.subfield;
    if (src.nBits !== dst.nBits) {
      syntax(`${key}=${value}: bit widths of ${key} (${src.nBits}) and ${value} (${dst.nBits}) differ`);
    }
    return { nBits: src.nBits, src, dst: { type: 'match', subfield: dst } };
  }
  // A constant: in the field's own format where it is the whole field, else a number.
  if (dst.ofs === 0 && dst.nBits === dst.field.nBits) {
    const v = parseFieldValue(dst.field, value);
    if (!v.ok) syntax(v.error);
    const exact = fieldMaskBytes(dst.field);
    if (!v.mask.every((b, i) => (b & exact[i]) === exact[i])) {
      syntax(`${key}=${value}: masks are not supported in learn action`);
    }
    const src = bytesOfBigint(bigintOfBytes(v.value), bytesFor(dst.nBits));
    return { nBits: dst.nBits, src, dst: { type: 'match', subfield: dst } };
  }
  const number = parseNumber(value) ?? syntax(`${key}=${value}: cannot parse integer value`);
  if (number >> BigInt(dst.nBits) !== 0n)
    syntax(`${key}=${value}: value ${hex(number)} does not fit into ${dst.nBits} bits`);
  return { nBits: dst.nBits, src: bytesOfBigint(number, bytesFor(dst.nBits)), dst: { type: 'match', subfield: dst } };
}

function formatSpec(s: LearnFlowSpec): string {
  const constant = s.src instanceof Uint8Array ? bigintOfBytes(s.src) : null;
  if (s.dst.type === 'output') return `output:${s.src instanceof Uint8Array ? hex(constant!) : formatSubfield(s.src)}`;
  const { subfield: dst } = s.dst;
  if (s.dst.type === 'load') {
    const src = s.src instanceof Uint8Array ? hex(constant!) : formatSubfield(s.src);
    return `load:${src}->${formatSubfield(dst)}`;
  }
  if (s.src instanceof Uint8Array) {
    if (dst.ofs === 0 && dst.nBits === dst.field.nBits) {
      return `${dst.field.name}=${formatFieldValue(dst.field, bytesOfBigint(constant!, dst.field.bytes))}`;
    }
    return `${formatSubfield(dst)}=${hex(constant!)}`;
  }
  const same = s.src.field === dst.field && s.src.ofs === dst.ofs;
  return same ? formatSubfield(dst) : `${formatSubfield(dst)}=${formatSubfield(s.src)}`;
}

// ---- wire ---------------------------------------------------------------------------------------------------------

function putSpec(w: Writer, s: LearnFlowSpec): void {
  let header = s.nBits;
  if (s.dst.type === 'load') header |= SPEC.DST_LOAD;
  else if (s.dst.type === 'output') header |= SPEC.DST_OUTPUT;
  if (s.src instanceof Uint8Array) header |= SPEC.SRC_IMMEDIATE;
  w.u16(header);
  if (s.src instanceof Uint8Array) {
    const room = Math.ceil(s.nBits / 16) * 2;
    w.bytes(bytesOfBigint(bigintOfBytes(s.src), room));
  } else {
    putFieldHeader(w, s.src.field, 0);
    w.u16(s.src.ofs);
  }
  if (s.dst.type !== 'output') {
    putFieldHeader(w, s.dst.subfield.field, 0);
    w.u16(s.dst.subfield.ofs);
  }
}

function getSubfield(r: Reader, nBits: number): Subfield {
  const field = getFieldHeader(r);
  return checkSubfield({ field, ofs: r.u16(), nBits });
}

function getSpec(r: Reader, header: number): LearnFlowSpec {
  const nBits = header & SPEC.N_BITS;
  const way = header & SPEC.DST_MASK;
  if (way === SPEC.DST_MASK || header & 0xc000 || nBits === 0) bad('OFPBAC_BAD_ARGUMENT');
  let src: Subfield | Uint8Array;
  if (header & SPEC.SRC_IMMEDIATE) {
    const v = bigintOfBytes(r.take(Math.ceil(nBits / 16) * 2));
    if (v >> BigInt(nBits) !== 0n) bad('OFPBAC_BAD_ARGUMENT');
    src = bytesOfBigint(v, bytesFor(nBits));
  } else src = getSubfield(r, nBits);
  if (way === SPEC.DST_OUTPUT) return { nBits, src, dst: { type: 'output' } };
  const dst = getSubfield(r, nBits);
  if (way === SPEC.DST_LOAD && !dst.field.writable) bad('OFPBAC_BAD_SET_ARGUMENT');
  return { nBits, src, dst: { type: way === SPEC.DST_LOAD ? 'load' : 'match', subfield: dst } };
}

function getLearn(r: Reader, second: boolean): LearnSpec {
  const idleTimeout = r.u16();
  const hardTimeout = r.u16();
  const priority = r.u16();
  const cookie = r.u64();
  const flags = r.u16();
  const table = r.u8();
  r.skip(1);
  const finIdleTimeout = r.u16();
  const finHardTimeout = r.u16();
  if (table === 255) bad('OFPBAC_BAD_ARGUMENT');
  if (flags & ~(second ? 7 : 3)) bad('OFPBAC_BAD_ARGUMENT');
  let limit = 0;
  let resultDst: Subfield | null = null;
  if (second) {
    limit = r.u32();
    const ofs = r.u16();
    r.skip(2);
    if (flags & FLAG.WRITE_RESULT) resultDst = checkSubfield({ field: getFieldHeader(r), ofs, nBits: 1 });
    else if (ofs !== 0) bad('OFPBAC_BAD_ARGUMENT');
  }
  const specs: LearnFlowSpec[] = [];
  while (r.left >= 2) {
    const header = r.u16();
    if (header === 0) break;
    specs.push(getSpec(r, header));
  }
  return {
    idleTimeout,
    hardTimeout,
    priority,
    cookie,
    table,
    finIdleTimeout,
    finHardTimeout,
    sendFlowRem: (flags & FLAG.SEND_FLOW_REM) !== 0,
    deleteLearned: (flags & FLAG.DELETE_LEARNED) !== 0,
    limit,
    resultDst,
    specs,
  };
}

const learn = def({
  kind: 'learn',
  words: ['learn'],
  parse(text, { names }) {
    const spec = {
      idleTimeout: 0,
      hardTimeout: 0,
      priority: DEFAULT_PRIORITY,
      cookie: 0n,
      table: 1,
      finIdleTimeout: 0,
      finHardTimeout: 0,
      sendFlowRem: false,
      deleteLearned: false,
      limit: 0,
      resultDst: null as Subfield | null,
      specs: [] as LearnFlowSpec[],
    };
    for (const { key, value } of splitKeyValues(text)) {
      if (key === 'table') {
        spec.table = parseTable(value, names);
        if (spec.table < 0) syntax(`unknown table "${value}"`);
        if (spec.table === 255) syntax(`${text}: table id 255 not valid for \`learn' action`);
      } else if (key === 'priority') spec.priority = parseU16(value, key);
      else if (key === 'idle_timeout') spec.idleTimeout = parseU16(value, key);
      else if (key === 'hard_timeout') spec.hardTimeout = parseU16(value, key);
      else if (key === 'fin_idle_timeout') spec.finIdleTimeout = parseU16(value, key);
      else if (key === 'fin_hard_timeout') spec.finHardTimeout = parseU16(value, key);
      else if (key === 'cookie') spec.cookie = parseU64(value);
      else if (key === 'send_flow_rem') spec.sendFlowRem = true;
      else if (key === 'delete_learned') spec.deleteLearned = true;
      else if (key === 'limit') spec.limit = parseU32(value);
      else if (key === 'result_dst') {
        const dst = subfield(value);
        if (!dst.field.writable) syntax(`${value} is read-only`);
        if (dst.nBits !== 1) syntax("result_dst in 'learn' action must be a single bit");
        spec.resultDst = dst;
      } else {
        try {
          spec.specs.push(parseSpec(key, value));
        } catch (e) {
          // An unknown keyword is told of with the whole argument.
          if (e instanceof Error && e.message.includes('unknown keyword')) syntax(`${text}: unknown keyword ${key}`);
          throw e;
        }
      }
    }
    return { kind: 'learn', spec };
  },
  format({ spec: s }, names) {
    let out = `learn(table=${formatTable(s.table, names)}`;
    if (s.idleTimeout) out += `,idle_timeout=${s.idleTimeout}`;
    if (s.hardTimeout) out += `,hard_timeout=${s.hardTimeout}`;
    if (s.finIdleTimeout) out += `,fin_idle_timeout=${s.finIdleTimeout}`;
    if (s.finHardTimeout) out += `,fin_hard_timeout=${s.finHardTimeout}`;
    if (s.priority !== DEFAULT_PRIORITY) out += `,priority=${s.priority}`;
    if (s.sendFlowRem) out += ',send_flow_rem';
    if (s.deleteLearned) out += ',delete_learned';
    if (s.cookie !== 0n) out += `,cookie=${hex(s.cookie)}`;
    if (s.limit) out += `,limit=${s.limit}`;
    if (s.resultDst) out += `,result_dst=${formatSubfield(s.resultDst)}`;
    return `${out}${s.specs.map((x) => `,${formatSpec(x)}`).join('')})`;
  },
  encode(w, { spec: s }) {
    const second = s.limit !== 0 || s.resultDst !== null;
    putNx(w, second ? 45 : 16, () => {
      w.u16(s.idleTimeout).u16(s.hardTimeout).u16(s.priority).u64(s.cookie);
      let flags = 0;
      if (s.sendFlowRem) flags |= FLAG.SEND_FLOW_REM;
      if (s.deleteLearned) flags |= FLAG.DELETE_LEARNED;
      if (s.resultDst) flags |= FLAG.WRITE_RESULT;
      w.u16(flags).u8(s.table).zero(1).u16(s.finIdleTimeout).u16(s.finHardTimeout);
      if (second) {
        w.u32(s.limit)
          .u16(s.resultDst?.ofs ?? 0)
          .zero(2);
        if (s.resultDst) putFieldHeader(w, s.resultDst.field, 0);
      }
      for (const x of s.specs) putSpec(w, x);
    });
  },
  spots: [
    nx(16, (r) => ({ kind: 'learn', spec: getLearn(r, false) })),
    nx(45, (r) => ({ kind: 'learn', spec: getLearn(r, true) })),
  ],
});

export const LEARN_ACTIONS: readonly AnyActionDef[] = [learn];
