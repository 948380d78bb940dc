/**
 * `why-drop/show`: what is dropped, where and why, with rates, and a recent journey of each kind. Counters are read at both
 * ends of an interval, during which dropped packets tell their journeys.
 */
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { DROP, DROP_REASON } from '../../datapath/drop-reason.ts';
import type { Backer } from '../backer.ts';
import type { Backers } from '../commands/find.ts';
import type { DropRow } from './drop-row.ts';
import type { Story } from './story.ts';
import { storyText } from './text.ts';

type Count = Omit<DropRow, 'per_second' | 'journey'>;

const MAX_SECONDS = 60;
const KEPT = 256;

export function registerWhyDrop(backers: Backers): void {
  const usage = '[--bridge=BR] [--seconds=N] [--format=text|json] [--width=N] [--color] [--brief]';
  registerCommand('why-drop/show', usage, 0, 6, async (args) => {
    const options = new Map<string, string>();
    for (const arg of args) {
      const found = /^--(bridge|seconds|format|width|color|brief)(?:=(.*))?$/.exec(arg);
      if (!found) throw new UnixctlError(`${arg}: unknown option`);
      options.set(found[1], found[2] ?? '');
    }
    const seconds = Number(options.get('seconds') ?? 1);
    if (!(seconds >= 0 && seconds <= MAX_SECONDS))
      throw new UnixctlError(`--seconds: not between 0 and ${MAX_SECONDS}`);
    const bridge = options.get('bridge');
    const known = [...backers()].flatMap((b) => [...b.bridges]).some((b) => b.name === bridge);
    if (bridge !== undefined && !known) throw new UnixctlError(`${bridge}: unknown bridge`);
    const rows = (await Promise.all([...backers()].map((b) => whyDrop(b, seconds * 1000)))).flat();
    const shown = rows.filter((r) => bridge === undefined || r.bridge === null || r.bridge === bridge);
    shown.sort((a, b) => b.per_second - a.per_second || b.packets - a.packets);
    if (options.get('format') === 'json') return JSON.stringify(shown);
    const width = Number(options.get('width') ?? 0) || 0;
    return dropsText(shown, { color: options.has('color'), width, isBrief: options.has('brief') });
  });
}

/** Rows for all that was ever dropped; rates and journeys are those of the next `ms` milliseconds. */
export async function whyDrop(backer: Backer, ms: number): Promise<DropRow[]> {
  const before = new Map(counts(backer).map((c) => [nameOf(c), c.packets]));
  const started = performance.now();
  const stories: Story[] = [];
  if (ms > 0) {
    using session = backer.journeys?.start({ only: 'drops', keep: KEPT }) ?? null;
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (session) stories.push(...session.fetch());
  }
  const seconds = Math.max((performance.now() - started) / 1000, 1e-3);
  return counts(backer).map((c) => {
    const fresh = c.packets - (before.get(nameOf(c)) ?? 0);
    const journey = stories.find((s) => isOf(s, c)) ?? null;
    return { ...c, per_second: ms > 0 ? Math.max(0, fresh) / seconds : 0, journey };
  });
}

const nameOf = (c: Count): string => `${c.at} ${c.reason} ${c.bridge} ${c.port} ${c.text}`;

function isOf(story: Story, c: Count): boolean {
  if (c.at === 'rule')
    return story.drop?.name === c.reason && story.in_port.name === c.port && story.drop.text.includes(c.text);
  const reasons = c.reason === 'tx-failed' ? ['tx-failed', 'port-down', 'mtu'] : [c.reason];
  return story.steps.some(
    (s) => s.step === 'drop' && reasons.includes(s.reason) && (c.at !== 'port' || s.port === c.port),
  );
}

function counts(backer: Backer): Count[] {
  backer.revalidator.pushStats();
  const out: Count[] = [];
  for (const d of backer.drops.list()) {
    const bridge = backer.bridge(d.bridge);
    const port = bridge?.port(d.inPort)?.name ?? String(d.inPort);
    const cookie = d.cookie === null ? null : `0x${d.cookie.toString(16)}`;
    const where = { bridge: d.bridge, port, table: d.table, cookie };
    out.push({ reason: d.name, text: d.text, at: 'rule', ...where, packets: d.packets });
  }
  const nowhere = { bridge: null, port: null, table: null, cookie: null };
  for (const { reason, packets } of backer.dpif.journeys?.drops() ?? []) {
    // Those are the tables' own.
    if (reason === DROP.NO_ACTIONS || packets === 0) continue;
    const { name, text } = DROP_REASON[reason] ?? { name: `reason-${reason}`, text: '' };
    out.push({ reason: name, text, at: 'datapath', ...nowhere, packets });
  }
  if (backer.upcalls.overflows > 0) {
    const text = 'too many upcalls of a port waited';
    out.push({ reason: 'upcall-queue-full', text, at: 'upcall', ...nowhere, packets: backer.upcalls.overflows });
  }
  if (backer.upcalls.withheld > 0) {
    const text = 'no flow yet, and flows are being restored';
    out.push({ reason: 'flow-restore-wait', text, at: 'upcall', ...nowhere, packets: backer.upcalls.withheld });
  }
  for (const { no, netdev } of backer.dpif.ports()) {
    const stats = netdev.stats();
    const bridge = backer.owner(no)?.bridge.name ?? null;
    const row = (reason: string, text: string, packets: number): void => {
      if (packets > 0) out.push({ ...nowhere, reason, text, at: 'port', bridge, port: netdev.name, packets });
    };
    const isDown = !netdev.isUp() || !netdev.carrier();
    row(
      'tx-failed',
      `the device did not take them to send${isDown ? ': it is down' : ''}`,
      (stats.tx_dropped ?? 0) + (stats.tx_errors ?? 0),
    );
    const mtu = `longer than its MTU of ${netdev.mtu()}, or its queue is full`;
    row('tx-failed', `the device refused them: ${isDown ? 'it is down' : mtu}`, netdev.refused?.() ?? 0);
    row('rx-dropped', 'the device dropped them before the switch saw them', stats.rx_dropped ?? 0);
    row('rx-errors', 'the device received them broken', stats.rx_errors ?? 0);
  }
  return out;
}

interface TextStyle {
  readonly color: boolean;
  readonly width: number;
  readonly isBrief: boolean;
}

export function dropsText(rows: readonly DropRow[], style: TextStyle): string {
  if (rows.length === 0) return 'nothing has been dropped\n';
  const cells = rows.map((r) => [
    r.reason,
    `${r.per_second < 10 ? r.per_second.toFixed(1) : Math.round(r.per_second)}/s`,
    String(r.packets),
    r.bridge ?? '-',
    r.port ?? '-',
    r.text,
  ]);
  const table = [['REASON', 'RATE', 'PACKETS', 'BRIDGE', 'PORT', 'WHERE AND WHY'], ...cells];
  const widths = [0, 1, 2, 3, 4].map((c) => Math.max(...table.map((row) => row[c].length)));
  const isNumber = (c: number): boolean => c === 1 || c === 2;
  const paint = (text: string, code: number): string => (style.color ? `\x1b[${code}m${text}\x1b[0m` : text);
  let text = '';
  table.forEach((row, i) => {
    const line = row
      .map((cell, c) => (c === 5 ? cell : isNumber(c) ? cell.padStart(widths[c]) : cell.padEnd(widths[c])))
      .join('  ');
    const isHot = i > 0 && rows[i - 1].per_second > 0;
    text += `${i === 0 ? paint(line, 1) : isHot ? paint(line, 31) : line}\n`;
  });
  if (style.isBrief) return text;
  for (const { journey } of rows) if (journey) text += `\n${storyText(journey, style)}`;
  return text;
}
