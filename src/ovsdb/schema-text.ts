/**
 * Schemas in a notation short enough to read, from which tools know a database's tables without having spoken to any server.
 *
 * A column is `KEY [= VALUE] [COUNT] [const] [ephemeral]`. KEY and VALUE are an atomic type, with `[min..max]` for integers or
 * `(a|b)` for enumerations, or a reference: `->Table` strong, `~>Table` weak. COUNT is `?` (0 or 1), `*`, `+` or `{min,max}`;
 * without it the column holds exactly one.
 */
import type { Json } from './json.ts';
import { type TableSchema, tableFromJson } from './schema.ts';

export interface TableText {
  readonly isRoot?: true;
  readonly maxRows?: number;
  readonly indexes?: readonly (readonly string[])[];
  readonly columns: Readonly<Record<string, string>>;
}

export type TableTexts = Readonly<Record<string, TableText>>;

/** A table as RFC 7047 3.2 writes it. */
function tableJson({ columns, ...rest }: TableText): Record<string, unknown> {
  return {
    ...rest,
    columns: Object.fromEntries(Object.entries(columns).map(([column, text]) => [column, columnJson(text)])),
  };
}

/** `tables` of a schema as RFC 7047 3.2 writes it. */
export function tablesJson(texts: TableTexts): Record<string, unknown> {
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, tableJson(text)]));
}

/** Looks tables up, each parsed when first asked for: a command needs few of them, and is gone before the rest were parsed. */
export function lazyTables(texts: TableTexts): (name: string) => TableSchema | undefined {
  const parsed = new Map<string, TableSchema>();
  return (name) => {
    let table = parsed.get(name);
    if (table === undefined && Object.hasOwn(texts, name)) {
      table = tableFromJson(name, tableJson(texts[name]) as Json);
      parsed.set(name, table);
    }
    return table;
  };
}

type JsonBase = string | Record<string, unknown>;

const COLUMN = /^(.*?)(?: = (.*?))?( \?| \*| \+| \{(\d+),(\d+)\})?( const)?( ephemeral)?$/;
const BASE = /^(?:(->|~>)(\w+)|(\w+)(?:\[(-?\d*)\.\.(\d*)\])?(?:\((.*)\))?)$/;

function baseJson(text: string): JsonBase {
  const [, arrow, table, type, min, max, words] = BASE.exec(text) ?? [];
  if (arrow === '->') return { type: 'uuid', refTable: table };
  if (arrow === '~>') return { type: 'uuid', refTable: table, refType: 'weak' };
  const base: Record<string, unknown> = { type };
  if (min) base['minInteger'] = Number(min);
  if (max) base['maxInteger'] = Number(max);
  if (words) base['enum'] = ['set', words.split('|')];
  return Object.keys(base).length === 1 ? type : base;
}

function columnJson(text: string): Record<string, unknown> {
  const [, key, value, count, least, most, isConst, isEphemeral] = COLUMN.exec(text) ?? [];
  const type: Record<string, unknown> = { key: baseJson(key) };
  if (value !== undefined) type['value'] = baseJson(value);
  if (count !== undefined) {
    const sign = count.trim();
    type['min'] = sign === '+' ? 1 : least !== undefined ? Number(least) : 0;
    type['max'] = sign === '?' ? 1 : most !== undefined ? Number(most) : 'unlimited';
  }
  const isPlain = value === undefined && count === undefined && typeof type['key'] === 'string';
  const column: Record<string, unknown> = { type: isPlain ? type['key'] : type };
  if (isConst !== undefined) column['mutable'] = false;
  if (isEphemeral !== undefined) column['ephemeral'] = true;
  return column;
}
