/** `signalbox journey`: packets as they pass, each told as a story. A client of the switch's `journey/…` commands. */
import { writeSync } from 'node:fs';
import { ovsFatal } from '../../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../../base/getopt.ts';
import { unixctlRequest } from '../../base/unixctl-client.ts';
import type { Counts } from '../../ofproto/journey/commands.ts';
import type { Story } from '../../ofproto/journey/story.ts';
import { storyText } from '../../ofproto/journey/text.ts';
import { PcapngWriter } from '../../packet/pcapng.ts';

const PROGRAM = 'signalbox';
const SWITCH = 'ovs-vswitchd';
const POLL_MS = 1000;

export const JOURNEY_HELP = `signalbox journey: packets as they pass, each told as a story
usage: signalbox journey [FILTER] [OPTIONS]
FILTER is a match as in ovs-fields(7): 'icmp,nw_dst=10.0.0.2'. Without one, any packet.

Options:
  -n, --count=N            end after N packets
  --bridge=BR              only packets that this bridge receives
  --in-port=PORT           only packets of this port (name or number)
  --only=drops             only packets that are dropped
  --only=upcalls           only packets that need the slow path
  --only=slow              only packets that take long (see --slow-us)
  --slow-us=N              from N microseconds on, 1000 by default
  --format=text|json|pcapng
                           text for people, JSON lines, or a capture with each
                           story as the packet's comment
  -w, --write=FILE         write there instead of to standard output
  -t, --target=TARGET      pidfile or socket of the switch
  --timeout=SECS           end after so many seconds
`;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'count', short: 'n', arg: 'required' },
  { long: 'bridge', arg: 'required' },
  { long: 'in-port', arg: 'required' },
  { long: 'only', arg: 'required' },
  { long: 'slow-us', arg: 'required' },
  { long: 'format', arg: 'required' },
  { long: 'write', short: 'w', arg: 'required' },
  { long: 'target', short: 't', arg: 'required' },
  { long: 'timeout', arg: 'required' },
  { long: 'help', short: 'h' },
];

export async function journey(args: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  const given = new Map(options.map((o) => [o.id, o.value ?? '']));
  if (given.has('help')) {
    process.stdout.write(JOURNEY_HELP);
    return;
  }
  const format = given.get('format') ?? 'text';
  if (!['text', 'json', 'pcapng'].includes(format)) ovsFatal(PROGRAM, `--format: ${format}: not text, json or pcapng`);
  const target = given.get('target') ?? SWITCH;
  const ask = async (command: string, ...rest: string[]): Promise<string> => {
    const reply = await unixctlRequest(target, command, rest).catch((error: Error) => ovsFatal(PROGRAM, error.message));
    if (!reply.ok) ovsFatal(PROGRAM, reply.text.trimEnd());
    return reply.text;
  };
  const passed = ['count', 'bridge', 'in-port', 'only', 'slow-us'].flatMap((name) =>
    given.has(name) ? [`--${name}=${given.get(name)}`] : [],
  );
  const session = (await ask('journey/start', ...operands, ...passed)).trim();
  const out = await output(given.get('write'));
  const write = writerFor(format, out);
  const count = Number(given.get('count') ?? Number.POSITIVE_INFINITY);
  const deadline = given.has('timeout')
    ? performance.now() + Number(given.get('timeout')) * 1000
    : Number.POSITIVE_INFINITY;
  let isEnding = false;
  const end = (): void => {
    isEnding = true;
  };
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  if (process.stderr.isTTY && format === 'text') process.stderr.write('Looking for packets; Ctrl-C ends it.\n\n');
  let seen = 0;
  let counts: Counts = { told: 0, lost: 0, untold: 0, is_open: true };
  while (!isEnding && seen < count && performance.now() < deadline) {
    const wait = Math.max(1, Math.round(Math.min(POLL_MS, deadline - performance.now())));
    const text = await ask('journey/show', session, '--format=json', `--wait=${wait}`);
    const [first, ...stories] = text.split('\n').filter((line) => line !== '');
    counts = JSON.parse(first) as Counts;
    for (const line of stories) write(JSON.parse(line) as Story, line);
    seen += stories.length;
  }
  await ask('journey/stop', session);
  if (counts.lost > 0) process.stderr.write(`${counts.lost} journeys came faster than they were read, and are lost\n`);
  if (counts.untold > 0)
    process.stderr.write(`${counts.untold} packets matched but passed untold: too many at a time\n`);
}

type Sink = (bytes: string | Uint8Array) => void;

async function output(path: string | undefined): Promise<{ write: Sink; isTty: boolean; columns: number }> {
  let fd = 1;
  if (path !== undefined && path !== '-') {
    const { openSync } = await import('node:fs');
    try {
      fd = openSync(path, 'w');
    } catch (error) {
      ovsFatal(PROGRAM, `${path}: ${(error as Error).message}`);
    }
  }
  const write: Sink = (data) => {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    for (let at = 0; at < bytes.length; ) {
      try {
        at += writeSync(fd, bytes, at);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') process.exit(0);
        if (code !== 'EAGAIN') throw error;
      }
    }
  };
  const isTty = fd === 1 && process.stdout.isTTY === true;
  return { write, isTty, columns: isTty ? (process.stdout.columns ?? 0) : 0 };
}

function writerFor(
  format: string,
  out: { write: Sink; isTty: boolean; columns: number },
): (story: Story, line: string) => void {
  if (format === 'json') return (_story, line) => out.write(`${line}\n`);
  if (format === 'text') {
    const style = { color: out.isTty && process.env['NO_COLOR'] === undefined, width: out.columns };
    return (story) => out.write(`${storyText(story, style)}\n`);
  }
  const capture = new PcapngWriter();
  out.write(capture.header('signalbox journey'));
  return (story) => {
    const ns =
      BigInt(Date.parse(`${story.time.slice(0, 23)}Z`)) * 1_000_000n + BigInt(story.time.slice(23, 26)) * 1000n;
    out.write(capture.packet(story.in_port.name, ns, Buffer.from(story.packet, 'hex'), storyText(story)));
  };
}
