/** Statistics and features of flow tables for people; tables that say the same are one entry, "ditto". */
import type { Field } from '../../flow/field.ts';
import { fieldByName } from '../../flow/fields.ts';
import type { OfMessageOf, TableStats } from '../messages.ts';
import type { TableCapability, TableFeatures } from '../messages-ext.ts';
import { hex, type TextContext, tableText } from './common.ts';
import { actionBitsText } from './family.ts';

const MISS = ['controller', 'continue', 'drop'];
const INSTRUCTIONS: readonly (readonly [number, string])[] = [
  [5, 'meter'],
  [3, 'apply_actions'],
  [4, 'clear_actions'],
  [2, 'write_actions'],
  [1, 'write_metadata'],
  [0, 'goto_table'],
];
const FIELDS_10 =
  'in_port eth_src eth_dst eth_type vlan_vid vlan_pcp ip_src ip_dst nw_proto nw_tos tcp_src tcp_dst'.split(' ');
const FIELDS_11 =
  'metadata in_port eth_src eth_dst eth_type vlan_vid vlan_pcp mpls_label mpls_tc ip_src ip_dst nw_proto nw_tos tcp_src tcp_dst'.split(
    ' ',
  );

/** `eth_{src,dst}` for names with a common stem, `reg0...reg15` for runs of numbers, in the registry's order. */
export function fieldNamesText(fields: readonly Field[]): string {
  const names = [...new Set(fields)].sort((a, b) => a.index - b.index).map((f) => f.name);
  return squash(runs(names)).join(' ');
}

function runs(names: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < names.length; ) {
    const first = /^(.*?)(\d+)$/.exec(names[i]);
    let end = i + 1;
    if (first !== null) {
      let n = Number(first[2]) + 1;
      while (end < names.length && names[end] === `${first[1]}${n}`) {
        end++;
        n++;
      }
    }
    if (end - i > 2) {
      out.push(`${names[i]}...${names[end - 1]}`);
      i = end;
    } else out.push(names[i++]);
  }
  return out;
}

/** Groups neighbours that share what stands before an underscore. */
function squash(names: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < names.length; ) {
    const stem = stemOf(names[i]);
    let end = i + 1;
    if (stem !== null) while (end < names.length && names[end].startsWith(stem)) end++;
    if (stem !== null && end - i > 1) {
      const members = names.slice(i, end).map((n) => n.slice(stem.length).replace(`...${stem}`, '...'));
      out.push(`${stem}{${squash(members).join(',')}}`);
      i = end;
    } else out.push(names[i++]);
  }
  return out;
}
function stemOf(name: string): string | null {
  const at = name.indexOf('_');
  return at < 0 ? null : name.slice(0, at + 1);
}

function capabilityText(c: TableCapability, indent: string, nextTables: readonly number[]): string {
  let out = '';
  if (nextTables.length > 0) out += `${indent}next tables: ${rangesText(nextTables)}\n`;
  const words = INSTRUCTIONS.filter(([n]) => (c.instructions >>> n) & 1).map(([, name]) => name);
  out += `${indent}instructions: ${words.length === 0 ? '(none)' : words.join(' ')}\n`;
  return out;
}
function rangesText(list: readonly number[]): string {
  const out: string[] = [];
  for (let i = 0; i < list.length; ) {
    let end = i;
    while (end + 1 < list.length && list[end + 1] === list[end] + 1) end++;
    out.push(end === i ? `${list[i]}` : `${list[i]}-${list[end]}`);
    i = end + 1;
  }
  return out.join(',');
}

function actionsText(c: TableCapability, indent: string): string {
  const set = (fields: readonly Field[]) => (fields.length === 0 ? '' : fieldNamesText(fields));
  const one = (title: string, actions: bigint, fields: readonly Field[]) => {
    let out = `${indent}${title} features:\n${indent}  actions: ${actionBitsText(actions)}\n`;
    if (set(fields) !== '') out += `${indent}  supported on Set-Field: ${set(fields)}\n`;
    return out;
  };
  if (c.writeActions === c.applyActions && set(c.writeSetFields) === set(c.applySetFields))
    return one('Write-Actions and Apply-Actions', c.writeActions, c.writeSetFields);
  return (
    one('Write-Actions', c.writeActions, c.writeSetFields) + one('Apply-Actions', c.applyActions, c.applySetFields)
  );
}

interface Matching {
  readonly masked: string;
  readonly exact: string;
  readonly must: string;
}
function matchingOf(t: TableFeatures): Matching {
  const mask = new Set(t.mask);
  const wildcard = new Set(t.wildcard);
  return {
    masked: fieldNamesText(t.match.filter((f) => mask.has(f))),
    exact: fieldNamesText(t.match.filter((f) => !mask.has(f) && wildcard.has(f))),
    must: fieldNamesText(t.match.filter((f) => !mask.has(f) && !wildcard.has(f))),
  };
}
function matchingText(m: Matching): string {
  let out = '    matching:\n';
  if (m.masked !== '') out += `      arbitrary mask: ${m.masked}\n`;
  if (m.exact !== '') out += `      exact match or wildcard: ${m.exact}\n`;
  if (m.must !== '') out += `      must exact match: ${m.must}\n`;
  return out;
}

const named = (names: readonly string[]): Field[] => names.flatMap((n) => fieldByName(n) ?? []);

/** OpenFlow 1.0 and 1.1 tell their fields by wildcard bits; these are all that they have. */
function withFields(t: TableStats, version: number): TableFeatures | null {
  if (t.features === undefined) return null;
  if (version === 1 || version === 2) {
    const fields = named(version === 1 ? FIELDS_10 : FIELDS_11);
    return { ...t.features, match: fields, wildcard: fields };
  }
  return t.features;
}

interface Entry {
  readonly table: number;
  readonly name: string;
  readonly stats: TableStats | null;
  readonly features: TableFeatures | null;
}

function entryText(e: Entry, previous: Entry | null, ctx: TextContext): string {
  let out = `\n  table ${tableText(e.table, ctx.names)}`;
  const f = e.features;
  if (e.name !== '' && e.name !== `table${e.table}` && e.name !== 'classifier') out += ` ("${e.name}")`;
  out += ':\n';
  if (e.stats !== null)
    out += `    active=${e.stats.activeCount}, lookup=${e.stats.lookupCount}, matched=${e.stats.matchedCount}\n`;
  if (f === null) return out;
  const before = previous?.features ?? null;
  if (previous !== null && e.stats !== null && featuresKey(previous) === featuresKey(e))
    return `${out}    (same features)\n`;
  if (f.metadataMatch !== 0n || f.metadataWrite !== 0n)
    out += `    metadata: match=${hex(f.metadataMatch)} write=${hex(f.metadataWrite)}\n`;
  if (e.stats !== null && e.stats.missConfig < 3) out += `    config=${MISS[e.stats.missConfig]}\n`;
  if (e.stats === null && ctx.version >= 5) {
    const supported = (bit: number) =>
      (ctx.version >= 6 ? f.capabilities : f.config) & bit ? 'supported' : 'not supported';
    out += `    eviction: ${supported(4)}\n    vacancy events: ${supported(8)}\n`;
  }
  out += `    max_entries=${f.maxEntries}\n`;
  if (f.nonmiss.instructions !== 0 || f.nonmiss.writeActions !== 0n || f.nonmiss.applyActions !== 0n) {
    const same = capabilityKey(f.nonmiss) === capabilityKey(f.miss);
    const unchanged =
      before !== null &&
      relativeKey(before, 'nonmiss') === relativeKey(f, 'nonmiss') &&
      relativeKey(before, 'miss') === relativeKey(f, 'miss');
    if (unchanged) out += '    (same instructions)\n';
    else
      for (const [title, c, other] of same
        ? ([['table miss and others', f.nonmiss, before?.nonmiss]] as const)
        : ([
            ['others', f.nonmiss, before?.nonmiss],
            ['table miss', f.miss, before?.miss],
          ] as const)) {
        out += `    instructions (${title}):\n`;
        out += capabilityText(c, '      ', c.nextTables);
        out +=
          other !== undefined && c.writeSetFields.length > 0 && actionsKey(other) === actionsKey(c)
            ? '      (same actions)\n'
            : actionsText(c, '      ');
      }
  }
  const matching = matchingOf(f);
  const isSame = before !== null && JSON.stringify(matchingOf(before)) === JSON.stringify(matching);
  return out + (isSame ? '    (same matching)\n' : matchingText(matching));
}

const fieldKey = (fields: readonly Field[]): string => fieldNamesText(fields);
const actionsKey = (c: TableCapability): string =>
  [c.writeActions, c.applyActions, fieldKey(c.writeSetFields), fieldKey(c.applySetFields)].join('|');
const capabilityKey = (c: TableCapability): string => `${c.instructions}|${c.nextTables.join()}|${actionsKey(c)}`;

/** Next tables count from the table itself: "all that follow" is the same everywhere. */
function relativeKey(f: TableFeatures, side: 'nonmiss' | 'miss'): string {
  const c = f[side];
  const isAllAfter = c.nextTables.length > 0 && c.nextTables[0] === f.table + 1;
  const next = isAllAfter ? `after to ${c.nextTables[c.nextTables.length - 1]}` : c.nextTables.join();
  return `${c.instructions}|${next}|${actionsKey(c)}`;
}
function featuresKey(e: Entry): string {
  const f = e.features;
  if (f === null) return '';
  const m = matchingOf(f);
  const sides = [relativeKey(f, 'nonmiss'), relativeKey(f, 'miss')];
  const facts = [f.metadataMatch, f.metadataWrite, f.config, f.capabilities, f.maxEntries, e.stats?.missConfig];
  return [...facts, ...sides, m.masked, m.exact, m.must].join(';');
}
/** Everything that makes an entry but its number. */
function sameKey(e: Entry): string {
  const s = e.stats;
  const stats = s === null ? '' : [s.activeCount, s.lookupCount, s.matchedCount].join();
  return `${stats} ${featuresKey(e)}`;
}

function entriesText(entries: readonly Entry[], ctx: TextContext): string {
  let out = '';
  for (let i = 0; i < entries.length; ) {
    out += entryText(entries[i], i === 0 ? null : entries[i - 1], ctx);
    const key = sameKey(entries[i]);
    let end = i + 1;
    while (end < entries.length && sameKey(entries[end]) === key) end++;
    if (end - i === 2) out += `\n  table ${entries[i + 1].table}: ditto\n`;
    else if (end - i > 2) out += `\n  tables ${entries[i + 1].table}...${entries[end - 1].table}: ditto\n`;
    i = end;
  }
  return out;
}

export function tableStatsText(m: OfMessageOf<'table_stats_reply'>, ctx: TextContext): string {
  return entriesText(
    m.tables.map((stats) => ({
      table: stats.table,
      name: stats.name,
      stats,
      features: withFields(stats, ctx.version),
    })),
    ctx,
  );
}

export function tableFeaturesText(tables: readonly TableFeatures[], ctx: TextContext): string {
  return entriesText(
    tables.map((features) => ({ table: features.table, name: features.name, stats: null, features })),
    ctx,
  );
}
