/**
 * A story for people: one screen. Times on the left, whose thread it was beside them, what happened on the right.
 * With colour where the reader has a terminal.
 */
import type { MegaflowStory, Replay, Step, Story, TranslationStory } from './story.ts';

export interface StoryTextOptions {
  readonly color: boolean;
  /** Columns that long lines are folded at; 0 for never. */
  readonly width: number;
}

type Paint = (text: string) => string;

interface Style {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly good: Paint;
  readonly bad: Paint;
  readonly note: Paint;
}

const plain: Paint = (text) => text;
const PLAIN: Style = { bold: plain, dim: plain, good: plain, bad: plain, note: plain };
const sgr =
  (code: number): Paint =>
  (text) =>
    `\x1b[${code}m${text}\x1b[0m`;
const COLORED: Style = { bold: sgr(1), dim: sgr(2), good: sgr(32), bad: sgr(31), note: sgr(36) };

const TIME = 11;
const THREAD = 6;
/** Where what happened begins. */
const INDENT = TIME + THREAD + 4;

export function duration(ns: number): string {
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(2)} ms`;
  return `${(ns / 1e9).toFixed(2)} s`;
}

export const threadName = (pmd: number): string => (pmd < 0 ? 'main' : `pmd ${pmd}`);

function age(ms: number): string {
  return ms < 1000 ? `${ms} ms` : ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

/** What became of the packet, in a few words. */
export function verdictText(story: Story): string {
  switch (story.verdict) {
    case 'forwarded':
      return `to ${[...new Set(story.outputs.map((p) => p.name))].join(', ')}`;
    case 'controller':
      return 'to a controller';
    case 'dropped':
      return `dropped: ${story.drop?.name ?? ''}`;
    case 'consumed':
      return 'ended in the switch';
  }
}

export function storyText(story: Story, options: StoryTextOptions = { color: false, width: 0 }): string {
  const style = options.color ? COLORED : PLAIN;
  const out: string[] = [];
  const mark = story.verdict === 'dropped' ? style.bad('✗') : story.verdict === 'forwarded' ? style.good('✓') : '•';
  const verdict = story.verdict === 'dropped' ? style.bad(verdictText(story)) : style.good(verdictText(story));
  const clock = story.time.slice(11, -1);
  const where = `${story.bridge === null ? '' : `${story.bridge}: `}${story.in_port.name}`;
  out.push(
    `${mark} ${style.bold(`journey ${story.journey}`)}  ${clock}  ${style.bold(where)} ${verdict}  ${style.dim(`in ${duration(story.ns)}`)}`,
  );
  const fold = (text: string, indent: number): string => folded(text, indent, options.width);
  out.push(`  ${fold(story.flow, 2)}`);
  const no = story.in_port.of_port;
  const port = `${story.in_port.name}${no === null ? '' : ` (port ${no})`}`;
  out.push(head(style, 0, story.pmd) + `received on ${port}, queue ${story.queue}, ${story.length} bytes`);
  out.push(...steps(story.steps, story.verdict, style, options.width));
  if (story.drop && story.verdict === 'dropped') {
    out.push(
      `${' '.repeat(INDENT - 2)}${style.bad('✗')} ${fold(`${style.bad(story.drop.name)}: ${story.drop.text}`, INDENT)}`,
    );
  }
  if (story.is_incomplete) out.push(style.note('  (incomplete: a part of this story was lost or is still on its way)'));
  return `${out.join('\n')}\n`;
}

/** Steps of a journey that may not be over yet. */
export function stepsText(list: readonly Step[], options: StoryTextOptions): string {
  const lines = steps(list, 'consumed', options.color ? COLORED : PLAIN, options.width);
  return lines.map((line) => `${line}\n`).join('');
}

function steps(list: readonly Step[], verdict: Story['verdict'], style: Style, width: number): string[] {
  const out: string[] = [];
  for (const step of list) {
    const [first, ...rest] = stepLines(step, style, verdict);
    if (first === undefined) continue;
    out.push(head(style, step.ns, step.pmd) + folded(first, INDENT, width));
    for (const line of rest) {
      const inner = /^ */.exec(line)?.[0].length ?? 0;
      out.push(' '.repeat(INDENT) + folded(line, INDENT + inner + 2, width));
    }
  }
  return out;
}

const head = (style: Style, ns: number, pmd: number): string =>
  style.dim(`${`+${duration(ns)}`.padStart(TIME)}  ${threadName(pmd).padEnd(THREAD)}  `);

/** Breaks at commas, under the place where the text begins. */
function folded(text: string, indent: number, width: number): string {
  const room = width - indent;
  if (width === 0 || room < 30 || text.length <= room) return text;
  const lines: string[] = [];
  let line = '';
  for (const piece of text.split(/(?<=[, ])/)) {
    if (line !== '' && line.length + piece.length > room) {
      lines.push(line);
      line = '';
    }
    line += piece;
  }
  lines.push(line);
  return lines.join(`\n${' '.repeat(indent)}`);
}

function stepLines(step: Step, style: Style, verdict: Story['verdict']): string[] {
  switch (step.step) {
    case 'lookup':
      return lookupLines(step, style);
    case 'upcall': {
      const why = step.reason === 'miss' ? 'no megaflow' : 'its actions say so';
      return [step.is_sent ? `${style.note('upcall')}: ${why}` : style.bad(`upcall lost: ${why}`)];
    }
    case 'translation': {
      const lines = [`${style.note('translation')} by ${step.bridge}`];
      lines.push(...translationLines(step.translation, style));
      lines.push(
        step.installed === null
          ? '  megaflow   not installed'
          : `  installed  as ${style.dim(`ufid:${step.installed}`)}`,
      );
      return lines;
    }
    case 'overtaken':
      return [
        'a packet of the same megaflow was faster: its translation serves this one too',
        ...(step.megaflow ? [`  megaflow   ${step.megaflow.match}`, `  actions    ${step.megaflow.actions}`] : []),
      ];
    case 'controller':
      return [`${style.good('handed to the controllers')}${step.table === null ? '' : ` by table ${step.table}`}`];
    case 'actions':
      return [`${'  '.repeat(step.level)}actions: ${style.bold(step.actions)}`];
    case 'action': {
      const changes = step.changes.map((change) => `  ${style.note(change)}`);
      return [step.action, ...changes].map((line) => '  '.repeat(step.level + 1) + line);
    }
    case 'recirculated': {
      const what = step.recirc_id === 0 ? '' : `${style.note('recirculated')} (id 0x${step.recirc_id.toString(16)}), `;
      return [`${what}looked up again as`, `  ${step.flow}`];
    }
    case 'held':
      return [`${style.note('waits')} before ${step.stage}, at a breakpoint`];
    case 'released': {
      const how = step.how === 'deleted' ? 'the breakpoint is gone' : step.how;
      return [`${style.note('goes on')}: ${how}`, ...step.edits.map((e) => `  edited: ${e}`)];
    }
    case 'handed':
      return [`handed over to ${threadName(step.by_pmd)}, which sends to ${step.port.name}`];
    case 'sent': {
      const no = step.port.of_port;
      const port = `${step.port.name}${no === null ? '' : ` (port ${no})`}`;
      const by = step.by_pmd === step.pmd ? '' : `, by ${threadName(step.by_pmd)}`;
      const queue = step.queue === 0 ? '' : `, QoS queue ${step.queue}`;
      return [`${style.good('sent')} to ${style.bold(port)}${queue}, ${step.length} bytes${by}`];
    }
    case 'drop': {
      const where = step.port === null ? '' : ` at ${step.port}`;
      // Where the whole packet is dropped, the last line says why.
      const why = verdict === 'dropped' ? '' : `: ${step.text}`;
      return [`${style.bad('dropped')}${where}: ${style.bad(step.reason)}${why}`];
    }
  }
}

const cacheName = (cache: string): string => (cache === 'simple' ? 'simple match cache' : cache.toUpperCase());

function lookupLines(step: Extract<Step, { step: 'lookup' }>, style: Style): string[] {
  const { megaflow, replay } = step;
  const tables = step.subtables === 1 ? '1 subtable' : `${step.subtables} subtables`;
  const caches = step.asked.map((cache) => `not in the ${cacheName(cache)}, `).join('');
  if (step.cache === 'none') {
    const megaflows = step.subtables === 0 ? 'any subtable' : step.is_indexed ? `the index over ${tables}` : tables;
    return [caches === '' ? `not in ${megaflows}` : `${caches}nor in ${megaflows}`];
  }
  const where =
    step.cache !== 'megaflow'
      ? style.good(`${cacheName(step.cache)} hit`)
      : step.is_indexed
        ? `${caches}${style.good('megaflow hit')} by the index over ${tables}, after ${step.tried} ${step.tried === 1 ? 'step' : 'steps'}`
        : `${caches}${style.good('megaflow hit')} in subtable ${step.tried} of ${step.subtables}`;
  if (!megaflow) return [`${where} (the megaflow is gone by now)`];
  const lines = [where, ...megaflowLines(megaflow)];
  if (replay) {
    lines.push(...replayLines(replay, style));
  } else if (step.replayed_in !== null && step.replayed_in !== megaflow.made_by_journey) {
    lines.push(style.dim(`  translated in journey ${step.replayed_in}`));
  }
  return lines;
}

function megaflowLines(m: MegaflowStory): string[] {
  const by = m.made_by_journey === null ? '' : ` in journey ${m.made_by_journey}`;
  const packets = m.packets === 1 ? '1 packet' : `${m.packets} packets`;
  const lines = [`  megaflow   ${m.match}`, `  made       ${age(m.age_ms)} ago${by}, ${packets} so far`];
  if (m.made_for !== null && by === '') lines.push(`  made for   ${m.made_for}`);
  return lines;
}

function replayLines(replay: Replay, style: Style): string[] {
  const head = replay.is_current
    ? '  the tables still say so:'
    : style.bad('  the tables have changed since, and say now:');
  return [head, ...translationLines(replay, style)];
}

/** A megaflow, and what the tables say of it. */
export function explanationText(
  { megaflow, replay }: { readonly megaflow: MegaflowStory; readonly replay: Replay | null },
  options: StoryTextOptions,
): string {
  const style = options.color ? COLORED : PLAIN;
  const lines = [
    `ufid:${megaflow.ufid}`,
    ...megaflowLines(megaflow),
    `  actions    ${megaflow.actions || 'drop'}`,
    ...(replay ? replayLines(replay, style) : ['  it was made by no upcall of this switch']),
  ];
  return `${lines.map((line) => folded(line, (/^ */.exec(line)?.[0].length ?? 0) + 2, options.width)).join('\n')}\n`;
}

function translationLines(t: TranslationStory, style: Style): string[] {
  const lines = t.trace
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^\s*-+$/.test(line))
    .map((line) => `  ${/^\s*bridge\(/.test(line) ? style.bold(line) : line}`);
  lines.push(`  actions    ${style.bold(t.actions)}`);
  if (t.error !== null) lines.push(`  ${style.bad(`translation failed: ${t.error}`)}`);
  lines.push(`  megaflow   ${t.megaflow}`);
  const widest = Math.min(28, Math.max(0, ...t.why.map((w) => w.because.length)));
  const label = 'because of ';
  t.why.forEach(({ bits, because }, i) => {
    const head = i === 0 ? label : ' '.repeat(label.length);
    lines.push(style.dim(`  ${head}${because.padEnd(widest)}  ${bits}`));
  });
  return lines;
}
