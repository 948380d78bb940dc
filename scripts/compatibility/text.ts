/** What all parts of the compatibility page use: its tables, and what Open vSwitch 3.1 has. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

export interface Original {
  readonly version: string;
  readonly programs: readonly string[];
  readonly interfaceTypes: readonly string[];
  readonly datapathTypes: readonly string[];
  /** Usage by command by program. */
  readonly commands: Readonly<Record<string, Readonly<Record<string, string>>>>;
}
export const ORIGINAL: Original = JSON.parse(readFileSync(join(ROOT, 'docs/original-commands.json'), 'utf8'));

export type Line = readonly string[];

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
export const code = (text: string): string => (text === '' ? '' : `\`${text}\``);
const line = (cells: Line): string => `| ${cells.map(cell).join(' | ')} |`;

export function table(head: Line, lines: readonly Line[]): string {
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...lines.map(line)].join('\n');
}

export const yes = (is: boolean): string => (is ? 'yes' : 'not yet');

export function sources(...patterns: string[]): string {
  return patterns
    .flatMap((pattern) => globSync(pattern, { cwd: ROOT }))
    .filter((file) => !file.endsWith('.test.ts'))
    .map((file) => readFileSync(join(ROOT, file), 'utf8'))
    .join('\n');
}
