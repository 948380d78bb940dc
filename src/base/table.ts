/**
 * Tables for people and for scripts, as `ovs-vsctl`, `ovsdb-client` and `ovs-appctl` print them: `--format`, `--data`,
 * `--no-headings`, `--pretty`, `--max-column-width` (ovs-vsctl(8), "Table Formatting Options").
 *
 * A cell is plain text or something that can show itself in three ways (a database value). This room knows nothing of
 * databases, so such a value brings its own formatting.
 */

export const TABLE_FORMATS = ['table', 'list', 'html', 'csv', 'json'] as const;
export type TableFormat = (typeof TABLE_FORMATS)[number];

export const CELL_FORMATS = ['string', 'bare', 'json'] as const;
export type CellFormat = (typeof CELL_FORMATS)[number];

export interface TableStyle {
  format: TableFormat;
  data: CellFormat;
  headings: boolean;
  pretty: boolean;
  /** 0 for no limit. */
  maxColumnWidth: number;
}

/** A cell that is a value: `text` for people, `json()` for `--format=json` (as JSON text, so that 64-bit integers keep). */
export interface ValueCell {
  text(style: 'string' | 'bare'): string;
  json(): string;
  /** A UUID becomes a link target or a link in HTML. */
  readonly isUuid?: boolean;
  /** Shown without JSON's quotes even where cells are JSON. */
  readonly isPlain?: boolean;
}

export type TableCell = string | ValueCell;

export interface Table {
  readonly caption?: string;
  /** Printed as a comment behind the caption where the format has room for it. */
  readonly timestampMs?: number;
  readonly headings: readonly string[];
  readonly rows: readonly (readonly TableCell[])[];
}

export function defaultTableStyle(format: TableFormat = 'table'): TableStyle {
  return { format, data: 'string', headings: true, pretty: false, maxColumnWidth: 0 };
}

/** Prints tables one after the other; all but JSON are separated by an empty line. */
export class TablePrinter {
  readonly style: TableStyle;
  private first = true;

  constructor(style: TableStyle) {
    this.style = style;
  }

  print(table: Table): string {
    const separator = this.first || this.style.format === 'json' || this.style.format === 'html' ? '' : '\n';
    this.first = false;
    return separator + formatTable(table, this.style);
  }
}

/** One table with its trailing newline. */
export function formatTable(table: Table, style: TableStyle): string {
  switch (style.format) {
    case 'table':
      return formatAligned(table, style);
    case 'list':
      return formatList(table, style);
    case 'html':
      return formatHtml(table, style);
    case 'csv':
      return formatCsv(table, style);
    case 'json':
      return formatJson(table, style);
  }
}

function cellText(cell: TableCell, style: TableStyle): string {
  if (typeof cell === 'string') return cell;
  if (style.data !== 'json') return cell.text(style.data);
  return cell.isPlain ? cell.text('string') : cell.json();
}

/** When, and what it is, each on a line of its own. */
function headLines(table: Table): string {
  const time = table.timestampMs === undefined ? '' : `${formatTimestamp(table.timestampMs)}\n`;
  return time + (table.caption === undefined ? '' : `${table.caption}\n`);
}

function formatTimestamp(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
}

function formatAligned(table: Table, style: TableStyle): string {
  const rows = table.rows.map((row) => row.map((cell) => cellText(cell, style)));
  const widths = table.headings.map((heading, column) => {
    let width = 0;
    for (const row of rows) width = Math.max(width, displayWidth(row[column]));
    if (style.maxColumnWidth > 0) width = Math.min(width, style.maxColumnWidth);
    return style.headings ? Math.max(width, displayWidth(heading)) : width;
  });
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const shown = style.maxColumnWidth > 0 ? truncate(cell, widths[column]) : cell;
        return column === cells.length - 1 ? shown : shown + ' '.repeat(widths[column] - displayWidth(shown));
      })
      .join(' ') + '\n';

  let out = headLines(table);
  if (style.headings) out += line(table.headings) + line(widths.map((width) => '-'.repeat(width)));
  for (const row of rows) out += line(row);
  return out;
}

/** As in the original, columns are counted in bytes of UTF-8. */
function displayWidth(text: string): number {
  return Buffer.byteLength(text);
}

function truncate(text: string, width: number): string {
  return displayWidth(text) <= width ? text : Buffer.from(text).subarray(0, width).toString();
}

function formatList(table: Table, style: TableStyle): string {
  let out = headLines(table);
  out += table.rows
    .map((row) =>
      row
        .map((cell, column) => {
          const text = cellText(cell, style);
          return style.headings ? `${table.headings[column].padEnd(20)}: ${text}\n` : `${text}\n`;
        })
        .join(''),
    )
    .join('\n');
  return out;
}

function formatCsv(table: Table, style: TableStyle): string {
  let out = headLines(table);
  if (style.headings) out += table.headings.map(csvCell).join(',') + '\n';
  for (const row of table.rows) out += row.map((cell) => csvCell(cellText(cell, style))).join(',') + '\n';
  return out;
}

/** RFC 4180: quoted where the text contains what has a meaning. */
function csvCell(text: string): string {
  return /[\r\n,"]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const HTML_ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => HTML_ESCAPES[c]);
}

function formatHtml(table: Table, style: TableStyle): string {
  let out = table.timestampMs === undefined ? '' : `${formatTimestamp(table.timestampMs)}\n`;
  out += '<table border=1>\n';
  if (table.caption !== undefined) out += `    <caption>${escapeHtml(table.caption)}</caption>\n`;
  if (style.headings) {
    out += '  <tr>\n' + table.headings.map((heading) => `    <th>${escapeHtml(heading)}</th>\n`).join('') + '  </tr>\n';
  }
  for (const row of table.rows) {
    out += '  <tr>\n';
    row.forEach((cell, column) => {
      const text = cellText(cell, style);
      out += `    <td>${htmlCell(cell, text, table.headings[column])}</td>\n`;
    });
    out += '  </tr>\n';
  }
  return out + '</table>\n';
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/** A row's own UUID is an anchor, a reference to another row a link to it; both are shown shortened. */
function htmlCell(cell: TableCell, text: string, heading: string): string {
  const escaped = escapeHtml(text);
  if (typeof cell === 'string' || !cell.isUuid) return escaped;
  if (heading === '_uuid') return `<a name="${escaped}">${escapeHtml(text.slice(0, 8))}</a>`;
  return escaped.replace(UUID, (uuid) => `<a href="#${uuid}">${uuid.slice(0, 8)}</a>`);
}

function formatJson(table: Table, style: TableStyle): string {
  const members: string[] = [];
  if (table.caption !== undefined) members.push(`"caption":${JSON.stringify(table.caption)}`);
  const rows = table.rows.map(
    (row) => `[${row.map((cell) => (typeof cell === 'string' ? JSON.stringify(cell) : cell.json())).join(',')}]`,
  );
  members.push(`"data":[${rows.join(',')}]`);
  members.push(`"headings":${JSON.stringify(table.headings)}`);
  if (table.timestampMs !== undefined) members.push(`"time":${JSON.stringify(formatTimestamp(table.timestampMs))}`);
  const compact = `{${members.join(',')}}`;
  return (style.pretty ? prettyJson(compact) : compact) + '\n';
}

/**
 * JSON text re-laid with one member or element a line, two spaces for each level, and closing brackets behind the last
 * element. Works on text so that numbers keep every digit.
 */
export function prettyJson(compact: string): string {
  let out = '';
  let depth = 0;
  let inString = false;
  for (let i = 0; i < compact.length; i++) {
    const c = compact[i];
    if (inString) {
      out += c;
      if (c === '\\') out += compact[++i];
      else if (c === '"') inString = false;
    } else if (c === '"') {
      inString = true;
      out += c;
    } else if (c === '{' || c === '[') {
      out += c;
      depth++;
      if (compact[i + 1] !== '}' && compact[i + 1] !== ']') out += '\n' + '  '.repeat(depth);
    } else if (c === '}' || c === ']') {
      depth--;
      out += c;
    } else if (c === ',') {
      out += ',\n' + '  '.repeat(depth);
    } else if (c === ':') {
      out += ': ';
    } else {
      out += c;
    }
  }
  return out;
}

/** `--oneline`: newlines become `\n`, backslashes are doubled, one final newline is dropped. */
export function onelineText(text: string): string {
  const body = text.endsWith('\n') ? text.slice(0, -1) : text;
  return body.replaceAll('\\', '\\\\').replaceAll('\n', '\\n') + '\n';
}
