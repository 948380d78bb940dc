/** `signalbox top`: a live view of a running switch, for any terminal. A client of `top/show`. */
import { ovsFatal, writeAll } from '../../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../../base/getopt.ts';
import { unixctlRequest } from '../../base/unixctl-client.ts';
import type { TopDatapath, TopView } from '../../ofproto/top.ts';

const PROGRAM = 'signalbox';

const HELP = `signalbox top: ports, caches, PMDs, upcalls, and the busiest megaflows and rules
usage: signalbox top [OPTIONS]
Ends with q or Ctrl-C.

Options:
  -d, --delay=SECONDS      between two looks, 1 by default
  -n, --lines=N            megaflows and rules to show
  --once                   one look, to standard output
  --format=text|json       json: one line a look
  -t, --target=TARGET      pidfile or socket of the switch
`;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'delay', short: 'd', arg: 'required' },
  { long: 'lines', short: 'n', arg: 'required' },
  { long: 'once' },
  { long: 'format', arg: 'required' },
  { long: 'target', short: 't', arg: 'required' },
  { long: 'help', short: 'h' },
];

export async function top(args: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  const given = new Map(options.map((o) => [o.id, o.value ?? '']));
  if (given.has('help')) return void writeAll(1, HELP);
  if (operands.length > 0) ovsFatal(PROGRAM, `'top' command takes at most 0 arguments`);
  const format = given.get('format') ?? 'text';
  if (format !== 'text' && format !== 'json') ovsFatal(PROGRAM, `--format: ${format}: not text or json`);
  const delay = given.get('delay') ?? '1';
  const isLive = process.stdout.isTTY === true && format === 'text' && !given.has('once');
  const isOnce = given.has('once') || (!isLive && format === 'text');
  const look = async (seconds: string): Promise<string> => {
    const lines = given.get('lines') ?? String(isLive ? Math.max(5, Math.floor((process.stdout.rows ?? 40) / 5)) : 10);
    const request = unixctlRequest(given.get('target') ?? 'ovs-vswitchd', 'top/show', [
      `--seconds=${seconds}`,
      `--lines=${lines}`,
    ]);
    const reply = await request.catch((error: Error) => {
      leave();
      ovsFatal(PROGRAM, error.message);
    });
    if (!reply.ok) {
      leave();
      ovsFatal(PROGRAM, reply.text.trimEnd());
    }
    return reply.text;
  };
  if (isLive) enter();
  for (let isFirst = true; ; isFirst = false) {
    // The first picture comes soon.
    const text = await look(isLive && isFirst ? '0.3' : delay);
    if (format === 'json') writeAll(1, text);
    else draw(JSON.parse(text) as TopView, isLive);
    if (isOnce) return;
  }
}

let isInside = false;

function leave(): void {
  if (!isInside) return;
  isInside = false;
  if (process.stdin.isTTY) process.stdin.setRawMode(false);
  writeAll(1, '\x1b[?25h\x1b[?1049l');
}

/** The terminal's other screen, without a cursor. */
function enter(): void {
  isInside = true;
  writeAll(1, '\x1b[?1049h\x1b[?25l');
  const end = (): never => {
    leave();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end);
  if (!process.stdin.isTTY) return;
  process.stdin.setRawMode(true);
  process.stdin.on('data', (bytes) => {
    // q, Q, Ctrl-C, Ctrl-D.
    if ([...bytes].some((b) => b === 113 || b === 81 || b === 3 || b === 4)) end();
  });
}

function draw(view: TopView, isLive: boolean): void {
  const color = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
  const columns = isLive ? (process.stdout.columns ?? 80) : 0;
  const lines = topLines(view, color).map((line) => (columns > 0 ? clip(line, columns) : line));
  if (!isLive) return writeAll(1, `${lines.join('\n')}\n`);
  const rows = process.stdout.rows ?? 24;
  // Line by line over what was there: nothing flickers.
  writeAll(
    1,
    `\x1b[H${lines
      .slice(0, rows - 1)
      .map((line) => `${line}\x1b[K`)
      .join('\n')}\x1b[J`,
  );
}

/** At most so many columns; escape sequences take none. */
function clip(line: string, columns: number): string {
  let width = 0;
  let out = '';
  // The control character is what an escape sequence begins with.
  for (const [piece] of line.matchAll(/\x1b\[\d+m|./gu)) {
    if (piece.length > 1 && piece.startsWith('\x1b')) out += piece;
    else if (width < columns) {
      out += piece;
      width++;
    }
  }
  return out;
}

export function count(n: number): string {
  if (n < 9.95) return n === 0 ? '0' : n.toFixed(1);
  if (n < 9999.5) return String(Math.round(n));
  const units = ['k', 'M', 'G', 'T'];
  let value = n / 1000;
  let unit = 0;
  for (; value >= 999.95 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(value < 99.95 ? 1 : 0)}${units[unit]}`;
}

const percent = (part: number, of: number): string => (of > 0 ? `${((part / of) * 100).toFixed(1)}%` : '-');

/** Columns under their heads; those named in `left` begin at the left, all others end at the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[], left: readonly number[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, c) => Math.max(...all.map((row) => row[c].length)));
  const isLast = (c: number): boolean => c === head.length - 1;
  return all.map((row) =>
    row
      .map((cell, c) => (left.includes(c) ? (isLast(c) ? cell : cell.padEnd(widths[c])) : cell.padStart(widths[c])))
      .join('  '),
  );
}

export function topLines(view: TopView, color: boolean): string[] {
  const paint = (text: string, code: number): string => (color ? `\x1b[${code}m${text}\x1b[0m` : text);
  const out: string[] = [];
  const section = (lines: readonly string[]): void => {
    out.push('', paint(lines[0], 7), ...lines.slice(1));
  };
  for (const dp of view.datapaths) {
    const sum = (f: (p: TopDatapath['pmds'][number]) => number): number => dp.pmds.reduce((n, p) => n + f(p), 0);
    const lookups = sum((p) => p.lookups);
    const caches = `simple match ${percent(
      sum((p) => p.simple),
      lookups,
    )}, EMC ${percent(
      sum((p) => p.emc),
      lookups,
    )}, SMC ${percent(
      sum((p) => p.smc),
      lookups,
    )}, megaflows ${percent(
      sum((p) => p.megaflow),
      lookups,
    )}, upcalls ${percent(
      sum((p) => p.upcall),
      lookups,
    )}`;
    out.push(
      `${paint(dp.name, 1)}  ${view.time.slice(11, 19)}  ${count(sum((p) => p.packets))} packets/s  ${caches}  ${dp.n_megaflows} megaflows, ${dp.n_rules} rules`,
    );
    section(
      table(
        [
          'THREAD',
          'LOAD',
          'PACKETS/s',
          'SIMPLE',
          'EMC',
          'SMC',
          'MEGAFLOW',
          'SUBTABLES',
          'UPCALLS/s',
          'LOST/s',
          'DROPPED/s',
        ],
        dp.pmds.map((p) => [
          p.pmd < 0 ? 'main' : `pmd ${p.pmd}`,
          p.load === null ? '-' : percent(p.load, 1),
          count(p.packets),
          percent(p.simple, p.lookups),
          percent(p.emc, p.lookups),
          percent(p.smc, p.lookups),
          percent(p.megaflow, p.lookups),
          p.subtables_per_hit > 0 ? p.subtables_per_hit.toFixed(1) : '-',
          count(p.upcall),
          count(p.lost),
          count(p.dropped),
        ]),
        [0],
      ),
    );
    const ports = [...dp.ports].sort((a, b) => b.rx_packets + b.tx_packets - a.rx_packets - a.tx_packets);
    section(
      table(
        ['PORT', 'BRIDGE', 'RX PACKETS/s', 'RX BITS/s', 'TX PACKETS/s', 'TX BITS/s', 'DROPS/s'],
        ports.map((p) => [
          p.name,
          p.bridge ?? '-',
          count(p.rx_packets),
          count(p.rx_bytes * 8),
          count(p.tx_packets),
          count(p.tx_bytes * 8),
          count(p.drops),
        ]),
        [0, 1],
      ),
    );
    const flows = dp.megaflows.map((f) => [count(f.packets), count(f.bytes * 8), `${f.match} -> ${f.actions}`]);
    section(table(['PACKETS/s', 'BITS/s', 'BUSIEST MEGAFLOWS'], flows, [2]));
    const rules = dp.rules.map((r) => [
      count(r.packets),
      count(r.bytes * 8),
      r.bridge,
      String(r.table),
      `${r.rule} actions=${r.actions}`,
    ]);
    section(table(['PACKETS/s', 'BITS/s', 'BRIDGE', 'TABLE', 'BUSIEST RULES'], rules, [2, 4]));
    out.push('');
  }
  if (view.datapaths.length === 0) out.push('no bridges');
  return out;
}
