/** The client's end of the control socket: what `ovs-appctl` does, for any program. See `unixctl.ts`. */
import { readFileSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { isAbsolute } from 'node:path';
import { absInDir, ovsRundir } from './dirs.ts';
import { errorText } from './errno.ts';
import { JsonFramer } from './json-framing.ts';
import { checkMessage, isRequest } from './jsonrpc.ts';
import { shortUnixPath } from './unix-path.ts';
import { vlog } from './vlog.ts';

const log = vlog('unixctl');

/** Where a target's socket is. Throws with the text that the user reads. */
export function unixctlSocketPath(target: string): string {
  if (isAbsolute(target)) return target;
  const pidfile = absInDir(ovsRundir(), `${target}.pid`);
  let pid: number;
  try {
    pid = Number.parseInt(readFileSync(pidfile, 'latin1'), 10);
  } catch (error) {
    vlog('daemon_unix').warn(`${pidfile}: open: ${errorText(error)}`);
    throw new Error(`cannot read pidfile "${pidfile}" (${errorText(error)})`, { cause: error });
  }
  if (!(pid > 0) || !isLocked(pidfile)) throw new Error(`cannot read pidfile "${pidfile}" (No such process)`);
  return absInDir(ovsRundir(), `${target}.${pid}.ctl`);
}

/** A daemon holds a lock on its pidfile as long as it lives. The kernel's list of locks tells without a system call of ours. */
function isLocked(path: string): boolean {
  try {
    const { ino } = statSync(path, { bigint: true });
    const locks = readFileSync('/proc/locks', 'latin1');
    return new RegExp(`POSIX\\s+ADVISORY\\s+WRITE .*:${ino} `).test(locks);
  } catch {
    return true; // no such list here: the connection will tell
  }
}

/**
 * Sends one command to a running program, named or by the path of its socket. Rejects when it can't be reached or goes
 * away; `ok` says whether it answered or refused.
 */
export async function unixctlRequest(
  target: string,
  command: string,
  args: readonly string[],
  { format = 'text', pretty = false }: { format?: 'text' | 'json'; pretty?: boolean } = {},
): Promise<{ ok: boolean; text: string }> {
  const path = unixctlSocketPath(target);
  const socket = await connectTo(path);
  try {
    if (format !== 'text') {
      const set = await roundTrip(socket, target, 'set-options', ['--format', format], 'text', 0);
      if (!set.ok) return set;
    }
    return await roundTrip(socket, target, command, args, format, pretty ? 2 : 0);
  } finally {
    socket.destroy();
  }
}

function connectTo(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      log.warn(`failed to connect to ${path}`);
      reject(new Error(`cannot connect to "${path}" (${errorText(error)})`, { cause: error }));
    };
    try {
      const short = shortUnixPath(path);
      const socket = connect(short.path);
      socket.once('close', () => short[Symbol.dispose]());
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.removeListener('error', fail);
        resolve(socket);
      });
    } catch (error) {
      fail(error);
    }
  });
}

function roundTrip(
  socket: Socket,
  target: string,
  method: string,
  params: readonly string[],
  format: 'text' | 'json',
  indent: number,
): Promise<{ ok: boolean; text: string }> {
  return new Promise((resolve, reject) => {
    const framer = new JsonFramer();
    const finish = (act: () => void) => {
      socket.removeAllListeners();
      socket.on('error', () => {});
      act();
    };
    const failed = (why: string) =>
      finish(() => {
        if (why !== 'Invalid argument') log.warn(`error communicating with unix:${target}: ${why}`);
        reject(new Error(`${target}: transaction error (${why})`));
      });
    const bad = (why: string) => {
      vlog('jsonrpc').warn(`unix:${target}: ${why}`);
      failed('Protocol error');
    };
    const received = (bytes: Uint8Array) => {
      let value: unknown;
      try {
        value = JSON.parse(new TextDecoder().decode(bytes));
      } catch (error) {
        return bad(`error parsing stream: ${(error as Error).message}`);
      }
      const message = checkMessage(value);
      if (typeof message === 'string') return bad(`received bad JSON-RPC message: ${message}`);
      if (isRequest(message) || message.id !== 0) return; // not for us
      const ok = message.error === null;
      const reply = ok ? message.result : message.error;
      if (typeof reply === 'string') return finish(() => resolve({ ok, text: reply }));
      if (format === 'json') return finish(() => resolve({ ok, text: `${JSON.stringify(reply, null, indent)}\n` }));
      const what = ok ? 'result type in JSON rpc' : 'error type in JSON RPC';
      log.warn(`unix:${target}: unexpected ${what} reply: ${typeof reply}`);
      failed('Invalid argument');
    };
    socket.on('error', (error) => failed(errorText(error)));
    socket.once('close', () => failed('End of file'));
    socket.on('data', (chunk) => {
      const error = framer.push(chunk as Uint8Array, received);
      if (error) bad(`error parsing stream: ${error}`);
    });
    socket.write(JSON.stringify({ id: 0, method, params }));
  });
}
