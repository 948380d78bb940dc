/**
 * The control socket, its server: `ovs-appctl`'s JSON-RPC 1.0 over a Unix socket (`ovs-appctl(8)`), as the original
 * speaks it. A request is `{"method": COMMAND, "params": [ARG...], "id": …}`; the text of the answer is `result`, that
 * of a failure `error`.
 *
 * A client's requests are answered in order. One who sends something else is disconnected; the server goes on.
 */

import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { type CommandHandler, listCommands, registerCommand, runCommand, UnixctlError } from './commands.ts';
import { coverage } from './coverage.ts';
import { absInDir, ovsRundir } from './dirs.ts';
import { errorText } from './errno.ts';
import { keepAtExit, unlinkAtExit } from './fatal.ts';
import { JsonFramer } from './json-framing.ts';
import { shortUnixPath } from './unix-path.ts';
import { PROGRAM_VERSION_LINE } from './version.ts';
import { vlog } from './vlog.ts';

const COUNT = {
  received: coverage('unixctl_received'),
  replied: coverage('unixctl_replied'),
};

export { UnixctlError } from './commands.ts';
export { unixctlRequest, unixctlSocketPath } from './unixctl-client.ts';

const log = vlog('unixctl');

/** A command is at most so long; the longest in use name some flows or packets. */
const LIMITS = { maxBytes: 64 << 20, maxDepth: 1000 };

export class Unixctl implements Disposable {
  readonly path: string | null;
  private readonly server: Server | null;
  private readonly clients = new Set<Socket>();

  private constructor(path: string | null, server: Server | null) {
    this.path = path;
    this.server = server;
    server?.on('connection', (socket) => this.serve(socket));
  }

  /**
   * Opens the control socket: `RUNDIR/PROGRAM.PID.ctl` for null, none for `none`, else `path`, relative to RUNDIR. Registers
   * `list-commands` and `version`. Rejects with the error's text.
   */
  static async listen(path: string | null, program: string, pid = process.pid): Promise<Unixctl> {
    registerCommon(program);
    if (path === 'none') return new Unixctl(null, null);
    const where = path === null ? absInDir(ovsRundir(), `${program}.${pid}.ctl`) : absInDir(ovsRundir(), path);
    const server = createServer();
    try {
      await listenAt(server, where);
    } catch (error) {
      // The library says EACCES for a directory that is not there.
      const reason = existsSync(dirname(where)) ? errorText(error) : 'No such file or directory';
      throw new Error(`${where}: could not initialize control socket (${reason})`, { cause: error });
    }
    unlinkAtExit(where);
    return new Unixctl(where, server);
  }

  /** The process-wide `registerCommand`. */
  register(name: string, usage: string, minArgs: number, maxArgs: number, handler: CommandHandler): Disposable {
    return registerCommand(name, usage, minArgs, maxArgs, handler);
  }

  /** Closes the socket; answers already written still arrive. */
  close(): void {
    this.server?.close();
    for (const socket of this.clients) socket.destroySoon();
    if (this.path === null) return;
    try {
      unlinkSync(this.path);
    } catch {
      // `server.close` has done it.
    }
    keepAtExit(this.path);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private serve(socket: Socket): void {
    this.clients.add(socket);
    socket.on('close', () => this.clients.delete(socket));
    socket.on('error', () => socket.destroy());
    const framer = new JsonFramer(LIMITS);
    const context = { format: 'text' as 'text' | 'json' };
    let last: Promise<void> = Promise.resolve();
    socket.on('data', (chunk) => {
      const error = framer.push(chunk as Uint8Array, (bytes) => {
        const request = parseRequest(bytes);
        COUNT.received.inc();
        if (!request) return refuse('received a message that is no request');
        last = last.then(async () => {
          const reply = await answer(request, context);
          COUNT.replied.inc();
          if (!socket.destroyed) socket.write(reply);
        });
      });
      if (error) refuse(error);
    });
    const refuse = (text: string) => {
      log.rl(5).warn(`bad request on control socket: ${text}`);
      socket.destroy();
    };
  }
}

async function listenAt(server: Server, path: string): Promise<void> {
  using short = shortUnixPath(path);
  try {
    unlinkSync(path);
  } catch {
    // There was none.
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(short.path, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => log.rl(5).warn(`accept failed: ${errorText(error)}`));
  chmodSync(path, 0o750);
}

interface Request {
  readonly method: string;
  readonly params: string[];
  readonly id: unknown;
}

function parseRequest(bytes: Uint8Array): Request | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { method, params, id } = value as Record<string, unknown>;
  if (typeof method !== 'string' || !Array.isArray(params) || id === undefined || id === null) return null;
  return { method, params, id };
}

async function answer({ method, params, id }: Request, context: { format: 'text' | 'json' }): Promise<string> {
  const bad = params.findIndex((param) => typeof param !== 'string');
  try {
    if (bad >= 0) throw new UnixctlError(`"${method}" command has non-string argument`);
    log.dbg(`received request ${method}[${params.map((p) => JSON.stringify(p)).join(', ')}], id=${JSON.stringify(id)}`);
    if (method === 'set-options') return JSON.stringify({ error: null, id, result: setOptions(params, context) });
    const text = await runCommand(method, params, context);
    return JSON.stringify({ error: null, id, result: context.format === 'json' ? asJson(text) : endLine(text) });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return JSON.stringify({ error: endLine(text), id, result: null });
  }
}

/** A connection may ask for JSON instead of text. Commands without a JSON form have their text wrapped. */
function setOptions(params: string[], context: { format: 'text' | 'json' }): string {
  for (let i = 0; i < params.length; i++) {
    const value = params[i] === '--format' ? params[++i] : undefined;
    if (value !== 'text' && value !== 'json') throw new UnixctlError(`unrecognized option '${params[i] ?? ''}'`);
    context.format = value;
  }
  return '';
}

function asJson(text: string): unknown {
  if (/^\s*[[{]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // Text that only looks like JSON.
    }
  }
  return { 'reply-format': 'plain', reply: endLine(text) };
}

function endLine(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

function registerCommon(program: string): void {
  registerCommand('list-commands', '', 0, 0, (_args, { format }) => {
    const commands = listCommands();
    if (format === 'json') return JSON.stringify(Object.fromEntries(commands.map((c) => [c.name, c.usage])));
    return `The available commands are:\n${commands.map((c) => `  ${c.name.padEnd(23)} ${c.usage}\n`).join('')}`;
  });
  registerCommand('version', '', 0, 0, () => `${PROGRAM_VERSION_LINE(program)}\n`);
}
