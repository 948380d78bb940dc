/** What the printers of messages share: names of ports and tables, bit sets, durations, counters. */
import { formatPort, formatTable, type Names } from '../../flow/names.ts';
import type { OfpVersion } from '../messages.ts';

export interface TextContext {
  readonly version: OfpVersion;
  readonly xid: number;
  /** 0 prints least; each `-m` adds one. */
  readonly verbosity: number;
  readonly names: Names;
  /** Multipart replies: more follow. */
  readonly more: boolean;
}

export const portText = formatPort;

export function tableText(table: number, names?: Names): string {
  return table === 255 ? 'ALL' : formatTable(table, names);
}

const MAX32 = 0xffffffff;
export function groupText(group: number): string {
  return group === MAX32 ? 'ANY' : group === 0xfffffffc ? 'ALL' : `${group}`;
}
export function meterText(meter: number): string {
  if (meter === 0xffffffff) return 'all';
  if (meter === 0xfffffffe) return 'controller';
  return meter === 0xfffffffd ? 'slowpath' : `${meter}`;
}

/** `table` names bit by bit from bit 0; bits without a name print as one hexadecimal number. */
export function bitNames(bits: number, table: readonly (string | null)[], separator: string, none = '0'): string {
  if (bits === 0) return none;
  const words: string[] = [];
  let rest = bits >>> 0;
  table.forEach((name, n) => {
    const bit = 2 ** n;
    if (name === null || Math.floor(rest / bit) % 2 === 0) return;
    words.push(name);
    rest -= bit;
  });
  if (rest !== 0) words.push(`0x${rest.toString(16)}`);
  return words.join(separator);
}

/** Seconds with as many decimals as needed. */
export function durationText(ms: number): string {
  if (ms < 0) return '?';
  const ns = Math.round(ms * 1e6);
  const seconds = Math.floor(ns / 1e9);
  const fraction = ns - seconds * 1e9;
  if (fraction === 0) return `${seconds}s`;
  let digits = fraction;
  let places = 9;
  for (; digits % 10 === 0; places--) digits /= 10;
  return `${seconds}.${String(digits).padStart(places, '0')}s`;
}

export const hex = (v: number | bigint): string => `0x${v.toString(16)}`;
export const counter = (v: number): string => (v < 0 ? '?' : `${v}`);
export const macText = (a: Uint8Array): string => Array.from(a, (b) => b.toString(16).padStart(2, '0')).join(':');

const PRINTABLE_FIRST = 0x20;
const PRINTABLE_LAST = 0x7e;
/** Sixteen bytes a line with their offsets, as a message that nobody understands is shown. */
export function hexDump(bytes: Uint8Array, start = 0): string {
  let out = '';
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    let line = `${(start + at).toString(16).padStart(8, '0')}  `;
    for (let i = 0; i < 16; i++)
      line += i < row.length ? `${row[i].toString(16).padStart(2, '0')}${i === 7 ? '-' : ' '}` : '   ';
    const text = Array.from(row, (b) =>
      b >= PRINTABLE_FIRST && b <= PRINTABLE_LAST ? String.fromCharCode(b) : '.',
    ).join('');
    out += `${line}|${text.padEnd(16)}|\n`;
  }
  return out;
}
