/** `monitor` and `snoop`: print what a switch sends, with the commands of their control socket. */
import { writeAll } from '../../base/fatal.ts';
import { Unixctl, UnixctlError } from '../../base/unixctl.ts';
import { Match } from '../../flow/match.ts';
import { parseMatchField, parseProtocol, splitKeyValues } from '../../flow/match-text.ts';
import type { Names } from '../../flow/names.ts';
import { parsePort } from '../../flow/names.ts';
import type { OfMessage } from '../../openflow/messages.ts';
import { FLOW_MONITOR_FLAGS, OFPG_ANY } from '../../openflow/messages-ext.ts';
import { OFPP } from '../../openflow/ports.ts';
import { formatBytes } from '../../openflow/text.ts';
import type { Command } from './command.ts';
import { type Connection, connect, fatal, namesToAccept, namesToShow, PROGRAM, settings } from './context.ts';
import { completeDaemon, startDaemon } from './detach.ts';

function timestamp(): string {
  const now = new Date();
  const two = (n: number, w = 2) => String(n).padStart(w, '0');
  return (
    `${now.getUTCFullYear()}-${two(now.getUTCMonth() + 1)}-${two(now.getUTCDate())} ` +
    `${two(now.getUTCHours())}:${two(now.getUTCMinutes())}:${two(now.getUTCSeconds())}.${two(now.getUTCMilliseconds(), 3)}: `
  );
}

function parseWatch(text: string, names: Names | undefined): OfMessage {
  let flags: number =
    FLOW_MONITOR_FLAGS.initial |
    FLOW_MONITOR_FLAGS.add |
    FLOW_MONITOR_FLAGS.delete |
    FLOW_MONITOR_FLAGS.modify |
    FLOW_MONITOR_FLAGS.own |
    FLOW_MONITOR_FLAGS.actions;
  let outPort: number = OFPP.NONE;
  let outGroup = OFPG_ANY;
  let table = 255;
  const match = new Match();
  for (const { key, value, hasValue } of splitKeyValues(text)) {
    const off = /^!(initial|add|delete|modify|actions|own)$/.exec(key);
    if (off !== null) {
      flags &= ~FLOW_MONITOR_FLAGS[off[1] as keyof typeof FLOW_MONITOR_FLAGS];
      continue;
    }
    if (!hasValue && parseProtocol(match, key)) continue;
    if (value === '') return fatal(`${text}: field ${key} missing value`);
    if (key === 'table') {
      table = /^\d+$/.test(value) ? Number(value) : (names?.tableByName?.(value) ?? fatal(`unknown table "${value}"`));
    } else if (key === 'out_port') {
      outPort = parsePort(value, names);
      if (outPort < 0) return fatal(`${value} is not a valid OpenFlow port`);
    } else if (key === 'out_group') outGroup = Number(value);
    else {
      const error = parseMatchField(match, key, value, { names });
      if (error === undefined) return fatal(`${text}: unknown keyword ${key}`);
      if (error !== null) return fatal(error);
    }
  }
  return { type: 'flow_monitor_request', id: nextMonitorId++, command: 'add', flags, outPort, outGroup, table, match };
}
let nextMonitorId = 0;

async function setPacketIns(c: Connection): Promise<void> {
  const wanted = settings.packetInFormat;
  for (const format of wanted === null ? (['nxt_packet_in2', 'nxt_packet_in'] as const) : [wanted]) {
    if (wanted === 'standard') return;
    c.send({ type: 'nx_set_packet_in_format', format });
    let ok = true;
    await c.barrier(() => {
      ok = false;
    });
    if (ok) return;
    if (wanted !== null)
      fatal(`${c.vconn.name}: failed to set packet in format to nx_packet_in (${'Operation not supported'})`);
  }
}

async function monitor(args: readonly string[]): Promise<void> {
  const [target, ...rest] = args;
  const names = rest.some((a) => a.startsWith('watch:')) ? await namesToAccept(target) : undefined;
  const shown = await namesToShow(target);
  const c = await connect(target);
  let missSendLen: number | null = null;
  let invalidTtl = false;
  const watches: OfMessage[] = [];
  for (const arg of rest) {
    if (/^\d+$/.test(arg)) missSendLen = Number(arg);
    else if (arg === 'invalid_ttl') invalidTtl = true;
    else if (arg.startsWith('watch:')) watches.push(parseWatch(arg.slice(6), names));
    else if (arg === 'resume') continue;
    else fatal(`${arg}: unsupported "monitor" argument`);
  }
  if (missSendLen !== null || invalidTtl) {
    const now = (await c.collect({ type: 'get_config_request' }, 'get_config_reply'))[0];
    const flags = invalidTtl ? now.flags | 4 : now.flags;
    await c.transactNoreply([{ type: 'set_config', flags, missSendLen: missSendLen ?? now.missSendLen }]);
  }
  for (const watch of watches) c.send(watch);
  await setPacketIns(c);
  const resume = rest.includes('resume');
  await follow(c, true, resume, shown);
}

async function snoop([target]: readonly string[]): Promise<void> {
  const c = await connect(target, 'snoop');
  await follow(c, false, false, undefined);
}

const EXIT_DELAY_MS = 20;

/** Prints until the connection ends or `exit` is asked for. */
async function follow(c: Connection, answerEchoes: boolean, resume: boolean, names: Names | undefined): Promise<void> {
  let blocked = false;
  let exiting = false;
  let output = 2;
  let stop: () => void = () => {};
  const stopped = new Promise<null>((resolve) => {
    stop = () => resolve(null);
  });
  let unblock: () => void = () => {};
  startDaemon();
  const server = await Unixctl.listen(settings.unixctl, PROGRAM);
  server.register('exit', '', 0, 0, () => {
    exiting = true;
    // The answer leaves first.
    setTimeout(stop, EXIT_DELAY_MS);
    return '';
  });
  server.register('ofctl/send', 'OFMSG...', 1, 1000, (messages) => {
    let text = '';
    for (const hex of messages) {
      if (!/^([0-9a-f]{2})+$/i.test(hex)) throw new UnixctlError('bad hex bytes\n');
      const bytes = Buffer.from(hex, 'hex');
      if (bytes.length < 8) throw new UnixctlError('missing header');
      text += `send: ${formatBytes(bytes, settings.verbosity)}`;
      c.vconn.sendRaw(bytes);
    }
    return text;
  });
  server.register('ofctl/barrier', '', 0, 0, async () => {
    c.send({ type: 'barrier_request' });
    return '';
  });
  server.register('ofctl/set-output-file', 'FILE', 1, 1, async ([path]) => {
    const { openSync } = await import('node:fs');
    output = openSync(path, 'w');
    return '';
  });
  server.register('ofctl/block', '', 0, 0, () => {
    if (blocked) throw new UnixctlError('already blocking');
    blocked = true;
    return '';
  });
  server.register('ofctl/unblock', '', 0, 0, () => {
    if (!blocked) throw new UnixctlError('already unblocked');
    blocked = false;
    unblock();
    return '';
  });
  output = completeDaemon();
  while (!exiting) {
    if (blocked)
      await new Promise<void>((resolve) => {
        unblock = resolve;
      });
    const item = await Promise.race([c.next(), stopped]);
    if (item === null) break;
    const type = item.message.type;
    if (answerEchoes && type === 'echo_request') continue;
    const stamp = settings.timestamp ? timestamp() : '';
    writeAll(output, stamp + formatBytes(item.raw, settings.verbosity + 1, { names }));
    if (resume && item.message.type === 'packet_in' && item.message.continuation !== null) {
      const reply: OfMessage = { type: 'nx_resume', packetIn: { ...item.message, bufferId: 0xffffffff } };
      c.send(reply);
      writeAll(output, `send: ${formatBytes(item.raw, settings.verbosity)}`);
    }
  }
  c.close();
  process.exit(0);
}

export const MONITOR_COMMANDS: readonly Command[] = [
  { name: 'monitor', min: 1, max: Number.POSITIVE_INFINITY, run: monitor },
  { name: 'snoop', min: 1, max: 1, run: snoop },
];
