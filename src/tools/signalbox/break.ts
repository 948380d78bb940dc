/**
 * `signalbox break`: packets wait before a stage of their way until somebody says how they go on. A client of the switch's
 * `journey/break-…` commands; when it ends, however it ends, its breakpoint goes and what waited goes on.
 */
import { createInterface } from 'node:readline';
import { ovsFatal } from '../../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../../base/getopt.ts';
import { unixctlRequest } from '../../base/unixctl-client.ts';
import { heldText } from '../../ofproto/journey/break-state.ts';
import type { BreakpointState, HeldState } from '../../ofproto/journey/held.ts';
import type { Story } from '../../ofproto/journey/story.ts';
import { storyText } from '../../ofproto/journey/text.ts';

const PROGRAM = 'signalbox';
const SWITCH = 'ovs-vswitchd';
const POLL_MS = 1000;
/** A client that is gone is noticed after so many seconds without a question. */
const LEASE_S = 5;

export const BREAK_HELP = `signalbox break: packets wait before a stage of their way
usage: signalbox break STAGE[,STAGE...] [FILTER] [OPTIONS]
STAGE is one of rx, extract, emc, smc, dpcls, upcall, xlate, action, ct, tx, drop.
FILTER is a match as in ovs-fields(7): 'icmp,nw_dst=10.0.0.2'. Without one, any packet.

Options:
  --bridge=BR              only packets that this bridge receives
  --in-port=PORT           only packets of this port (name or number)
  --limit=SECS             let a packet go after so long, 60 s by default
  --stories                tell each packet's whole journey when it is over
  --format=text|json       for people, or JSON lines (docs/schema/break.json)
  -t, --target=TARGET      pidfile or socket of the switch

Commands, while packets wait (the first letter is enough):
  continue [PACKET|all]    on to the next stage of the breakpoint
  step [PACKET]            on to the next stage there is
  drop [PACKET]            drop it
  edit [PACKET] FIELD=VALUE...
                           change it; checksums are made right
  show [PACKET]            all of its state
  list                     what waits
  quit                     let everything go
`;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'bridge', arg: 'required' },
  { long: 'in-port', arg: 'required' },
  { long: 'limit', arg: 'required' },
  { long: 'stories' },
  { long: 'format', arg: 'required' },
  { long: 'target', short: 't', arg: 'required' },
  { long: 'help', short: 'h' },
];

type Head = { readonly type: 'breaks'; readonly serial: number; readonly overflows: number; readonly passed: number };
type Line = Head | BreakpointState | HeldState | (Story & { readonly type: 'story' });

const COMMANDS = ['continue', 'step', 'drop', 'edit', 'show', 'list', 'quit', 'help'] as const;
type Command = (typeof COMMANDS)[number];

export async function breakAt(args: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  const given = new Map(options.map((o) => [o.id, o.value ?? '']));
  if (given.has('help')) {
    process.stdout.write(BREAK_HELP);
    return;
  }
  if (operands.length === 0) ovsFatal(PROGRAM, "'break' command requires at least 1 arguments");
  const format = given.get('format') ?? 'text';
  if (format !== 'text' && format !== 'json') ovsFatal(PROGRAM, `--format: ${format}: not text or json`);
  const passed = ['bridge', 'in-port', 'limit'].flatMap((name) =>
    given.has(name) ? [`--${name}=${given.get(name)}`] : [],
  );
  const client = new Client(given.get('target') ?? SWITCH, format === 'json', given.has('stories'));
  await client.run([...operands, ...passed]);
}

class Client {
  private readonly target: string;
  private readonly isJson: boolean;
  private readonly wantsStories: boolean;
  private readonly style = { color: process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined, width: 0 };
  private readonly isTty = process.stdin.isTTY === true;
  private name = '';
  private serial = -1;
  private waiting: readonly HeldState[] = [];
  /** The packet that commands without a number mean, 0 for none. */
  private current = 0;
  /** What has been shown already: a packet at a place of its way. */
  private readonly shown = new Map<number, string>();
  /** Steps of its journey that have been told. */
  private readonly told = new Map<number, number>();
  private isEnding = false;
  private warned = 0;

  constructor(target: string, isJson: boolean, wantsStories: boolean) {
    this.target = target;
    this.isJson = isJson;
    this.wantsStories = wantsStories;
  }

  private async ask(command: string, ...args: string[]): Promise<{ ok: boolean; text: string }> {
    return unixctlRequest(this.target, `journey/break-${command}`, args).catch((error: Error) =>
      ovsFatal(PROGRAM, error.message),
    );
  }

  async run(words: readonly string[]): Promise<void> {
    const set = await this.ask('set', ...words, `--lease=${LEASE_S}`);
    if (!set.ok) ovsFatal(PROGRAM, set.text.trimEnd());
    this.name = set.text.trim();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void this.end(1));
    if (!this.isJson)
      process.stderr.write(`${this.name} is set; help says what you can do, quit lets everything go.\n`);
    const input = createInterface({
      input: process.stdin,
      terminal: this.isTty,
      prompt: '(break) ',
      output: process.stdout,
    });
    let last: Promise<unknown> = Promise.resolve();
    input.on('line', (line) => {
      last = last.then(() => this.command(line.trim())).then(() => this.isTty && !this.isEnding && input.prompt());
    });
    input.on('close', () => {
      last = last.then(() => this.end(0));
    });
    if (this.isTty) input.prompt();
    while (!this.isEnding) {
      await this.look(POLL_MS);
      if (this.isTty && !this.isEnding) input.prompt(true);
    }
  }

  private async end(status: number): Promise<void> {
    if (this.isEnding) return;
    this.isEnding = true;
    await this.ask('delete', this.name);
    process.exit(status);
  }

  // ---- what waits ----

  private async look(waitMs: number): Promise<void> {
    const since = this.serial < 0 ? [] : [`--since=${this.serial}`, `--wait=${waitMs}`];
    const stories = this.wantsStories ? ['--stories'] : [];
    const reply = await this.ask('show', '--format=json', ...since, ...stories);
    if (this.isEnding) return;
    if (!reply.ok) ovsFatal(PROGRAM, reply.text.trimEnd());
    const lines = reply.text.split('\n').filter((l) => l !== '');
    const parsed = lines.map((l) => JSON.parse(l) as Line);
    const head = parsed[0] as Head;
    const isNew = head.serial !== this.serial;
    this.serial = head.serial;
    if (this.isJson) {
      lines.forEach((line, i) => {
        if (isNew || parsed[i].type === 'story') process.stdout.write(`${line}\n`);
      });
    }
    this.waiting = parsed.filter((l): l is HeldState => l.type === 'held' && l.breakpoints.includes(this.name));
    if (!this.waiting.some((h) => h.packet === this.current)) this.current = this.waiting[0]?.packet ?? 0;
    if (!this.isJson) {
      for (const h of this.waiting) this.tell(h);
      for (const l of parsed) if (l.type === 'story') process.stdout.write(`${storyText(l, this.style)}\n`);
      this.warn(head);
    }
    if (!parsed.some((l) => l.type === 'breakpoint' && l.name === this.name)) {
      process.stderr.write(`${this.name} is gone\n`);
      this.isEnding = true;
      process.exit(1);
    }
  }

  private tell(h: HeldState): void {
    const place = `${h.stage} ${h.steps.length} ${h.bytes}`;
    if (this.shown.get(h.packet) === place) return;
    this.shown.set(h.packet, place);
    if (h.packet === this.current) {
      process.stdout.write(`${heldText(h, this.style, this.told.get(h.packet) ?? 0)}\n`);
      this.told.set(h.packet, h.steps.length);
    } else process.stdout.write(`■ packet ${h.packet}  before ${h.stage}  ${h.flow}\n`);
  }

  private warn(head: Head): void {
    const n = head.overflows + head.passed;
    if (n === this.warned) return;
    this.warned = n;
    process.stderr.write(
      `${head.overflows} packets behind one that waits found no room and were dropped; ${head.passed} did not stop: too many wait\n`,
    );
  }

  // ---- commands ----

  private async command(line: string): Promise<void> {
    if (line === '') return;
    const [word, ...rest] = line.split(/\s+/);
    const command = COMMANDS.find((c) => c.startsWith(word));
    if (!command) {
      process.stderr.write(`${word}: not one of ${COMMANDS.join(', ')}\n`);
      return;
    }
    await this.carryOut(command, rest);
  }

  private async carryOut(command: Command, rest: readonly string[]): Promise<void> {
    const isNumbered = rest[0] !== undefined && (/^\d+$/.test(rest[0]) || rest[0] === 'all');
    switch (command) {
      case 'help':
        process.stdout.write(BREAK_HELP.slice(BREAK_HELP.indexOf('Commands')));
        return;
      case 'quit':
        return this.end(0);
      case 'list': {
        const reply = await this.ask('list');
        process.stdout.write(reply.text);
        return;
      }
      default: {
        // A script's command may come before the packet that it is for.
        for (let n = 0; this.current === 0 && !isNumbered && n < 5 && !this.isEnding; n++) await this.look(POLL_MS);
        const packet = isNumbered ? rest[0] : String(this.current);
        const others = isNumbered ? rest.slice(1) : rest;
        if (packet === '0') {
          process.stderr.write('no packet waits\n');
          return;
        }
        if (packet !== 'all') this.current = Number(packet);
        if (command === 'show') {
          this.shown.delete(this.current);
          this.told.delete(this.current);
        }
        const reply = command === 'show' ? { ok: true, text: '' } : await this.ask(command, packet, ...others);
        if (!reply.ok) process.stderr.write(`${reply.text.trimEnd()}\n`);
        await this.look(0);
      }
    }
  }
}
