/**
 * Counters of events in the program, for those who ask what it has been doing: `coverage/show`, `coverage/read-counter`.
 *
 * Rates come from a sample every five seconds into a ring of the last minute, and one a minute into a ring of the last hour.
 */

import { clock } from './clock.ts';
import { registerCommand, UnixctlError } from './commands.ts';

export interface Coverage {
  inc(n?: number): void;
  readonly total: number;
}

class Counter implements Coverage {
  readonly name: string;
  total = 0;
  lastSample = 0;
  readonly last5s: number[] = new Array(12).fill(0);
  readonly lastMinutes: number[] = new Array(60).fill(0);

  constructor(name: string) {
    this.name = name;
  }

  inc(n = 1): void {
    this.total += n;
  }
}

const counters = new Map<string, Counter>();
let samples = 0;

/** The counter of that name; made when first asked for. */
export function coverage(name: string): Coverage {
  let counter = counters.get(name);
  if (!counter) counters.set(name, (counter = new Counter(name)));
  return counter;
}

/** How often each event has happened, of those that have. */
export function* coverageTotals(): Iterable<readonly [name: string, total: number]> {
  for (const c of counters.values()) if (c.total > 0) yield [c.name, c.total];
}

function sample(): void {
  const slot = samples % 12;
  const minute = Math.floor(samples / 12) % 60;
  for (const c of counters.values()) {
    const delta = c.total - c.lastSample;
    c.lastSample = c.total;
    c.last5s[slot] = delta;
    if (slot === 0) c.lastMinutes[minute] = 0;
    c.lastMinutes[minute] += delta;
  }
  samples++;
}

/** Starts sampling and offers the commands; a daemon does it once. */
export function registerCoverageCommands(): void {
  clock.setInterval(sample, 5000, { keepAlive: false });
  registerCommand('coverage/show', '', 0, 0, coverageShow);
  registerCommand('coverage/read-counter', 'COUNTER', 1, 1, ([name]) => {
    const counter = counters.get(name);
    if (!counter) throw new UnixctlError('No such counter');
    return `${counter.total}\n`;
  });
}

function coverageShow(): string {
  const all = [...counters.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const hit = all.filter((c) => c.total > 0);
  const slot = (samples + 11) % 12;
  const lines = hit.map((c) => {
    const minute = sum(c.last5s);
    const rate5 = (c.last5s[slot] / 5).toFixed(1).padStart(5);
    const rateMinute = (minute / 60).toFixed(3).padStart(9);
    const rateHour = (sum(c.lastMinutes) / 3600).toFixed(4).padStart(13);
    return `${c.name.padEnd(24)} ${rate5}/sec ${rateMinute}/sec ${rateHour}/sec   total: ${c.total}\n`;
  });
  const head = `Event coverage, avg rate over last: 5 seconds, last minute, last hour,  hash=${hash(hit)}:\n`;
  return `${head}${lines.join('')}${all.length - hit.length} events never hit\n`;
}

/** Tells one set of events from another at a glance: names and orders of magnitude. */
function hash(hit: readonly Counter[]): string {
  let h = 0x811c9dc5;
  for (const c of hit) {
    for (const ch of `${c.name}\0${Math.floor(Math.log2(c.total))}`) {
      h = Math.imul(h ^ ch.charCodeAt(0), 0x01000193) >>> 0;
    }
  }
  return h.toString(16).padStart(8, '0');
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
