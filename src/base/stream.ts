/**
 * Byte streams between programs: `unix: tcp: ssl:` and their passive forms, and pairs in memory, all with one face, so that
 * JSON-RPC and OpenFlow never ask what carries them.
 *
 * A stream delivers nothing before `onData` is called and forgets nothing until then, its end included. `onClose` is called exactly once,
 * with null when the peer (or we) closed in order, else with the error's text.
 */
import { chmodSync, existsSync, lstatSync, unlinkSync, writeSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { absInDir, ovsRundir } from './dirs.ts';
import { errorText } from './errno.ts';
import { keepAtExit, unlinkAtExit } from './fatal.ts';
import { formatHost, parseActiveAddress, parsePassiveAddress, parseRemote } from './remote.ts';
import { shortUnixPath } from './unix-path.ts';
import { vlog } from './vlog.ts';

const log = vlog('stream');

export interface Stream {
  /** The remote it was opened with, or for accepted ones the peer: `tcp:10.0.0.1:5000`, `unix#3`. */
  readonly name: string;
  /** The peer's address without its port, empty for local streams. */
  readonly peer: string;
  /** The common name of the certificate that the peer showed. */
  readonly peerId?: string | null;
  /** Bytes accepted by `write` but not yet by the system. */
  readonly bufferedBytes: number;
  /** Sends `bytes`, which must not change afterwards. False when the caller had better wait for `onDrain`. */
  write(bytes: Uint8Array): boolean;
  onData(cb: (bytes: Uint8Array) => void): void;
  onClose(cb: (error: string | null) => void): void;
  onDrain(cb: () => void): void;
  /** Stops and continues delivery, for a reader that can't keep up. */
  pause(): void;
  resume(): void;
  /** Closes after what was written has been sent. */
  close(): void;
}

export interface StreamOptions {
  /** For `tcp:` and `ssl:` without a port. */
  readonly defaultPort?: number;
  readonly signal?: AbortSignal;
}

export interface Listener extends Disposable {
  /** The remote with the port that was bound. */
  readonly name: string;
  readonly port: number;
  close(): void;
}

/** Why a stream could not be opened; the message is the C library's text for it. */
export class StreamError extends Error {
  readonly code: string;
  constructor(text: string, code: string, cause?: unknown) {
    super(text, { cause });
    this.code = code;
  }
}

/** Opens an active remote. Rejects with a `StreamError`. */
export async function connectStream(remote: string, options: StreamOptions = {}): Promise<Stream> {
  const r = parseRemote(remote);
  if (!r || r.passive) throw new StreamError('Address family not supported by protocol', 'EAFNOSUPPORT');
  if (r.kind === 'unix') {
    const path = absInDir(ovsRundir(), r.rest);
    return opened(
      () => {
        using short = shortUnixPath(path);
        return connect({ path: short.path });
      },
      'connect',
      remote,
      '',
      options,
    );
  }
  const at = parseActiveAddress(r.rest, options.defaultPort ?? 0);
  if (!at) throw new StreamError('Address family not supported by protocol', 'EAFNOSUPPORT');
  if (r.kind === 'ssl') {
    const { connectTls } = await import('./stream-ssl.ts');
    return opened(() => connectTls(at), 'secureConnect', remote, at.host, options);
  }
  return opened(() => connect({ host: at.host, port: at.port, noDelay: true }), 'connect', remote, at.host, options);
}

function opened(
  open: () => Socket,
  event: string,
  name: string,
  peer: string,
  options: StreamOptions,
): Promise<Stream> {
  return new Promise((resolve, reject) => {
    let socket: Socket;
    const fail = (error: unknown) => {
      socket?.destroy();
      reject(new StreamError(errorText(error), (error as NodeJS.ErrnoException).code ?? 'EPROTO', error));
    };
    try {
      socket = open();
    } catch (error) {
      return fail(error);
    }
    const aborted = () => fail(Object.assign(new Error(), { code: 'ECANCELED' }));
    options.signal?.addEventListener('abort', aborted, { once: true });
    socket.once('error', fail);
    socket.once('close', () => fail(Object.assign(new Error(), { code: 'EPROTO' })));
    socket.once(event, () => {
      if (socket.destroyed) return; // given up by an earlier listener
      options.signal?.removeEventListener('abort', aborted);
      socket.removeAllListeners('error');
      socket.removeAllListeners('close');
      resolve(new SocketStream(socket, name, peer));
    });
  });
}

const sockets = vlog('socket_util');
let unixSerial = 0;

/** Listens at a passive remote. Rejects with a `StreamError`. */
export async function listenStreams(
  remote: string,
  onStream: (stream: Stream) => void,
  options: StreamOptions = {},
): Promise<Listener> {
  const r = parseRemote(remote);
  if (!r?.passive) throw new StreamError('Address family not supported by protocol', 'EAFNOSUPPORT');
  if (r.kind === 'punix') return listenUnix(remote, absInDir(ovsRundir(), r.rest), onStream);
  const at = parsePassiveAddress(r.rest, options.defaultPort ?? 0);
  if (!at) throw new StreamError('Address family not supported by protocol', 'EAFNOSUPPORT');
  const kind = r.kind === 'pssl' ? 'ssl' : 'tcp';
  const accept = (socket: Socket) => {
    socket.setNoDelay(true);
    const host = formatHost(socket.remoteAddress ?? '');
    onStream(new SocketStream(socket, `${kind}:${host}:${socket.remotePort ?? 0}`, host));
  };
  const server = kind === 'tcp' ? createServer(accept) : (await import('./stream-ssl.ts')).createTlsServer(accept);
  await listening(server, () => server.listen({ port: at.port, host: at.host ?? '0.0.0.0' }));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : at.port;
  if (at.port === 0) sockets.info(`${r.rest}: listening on port ${port}`);
  return listener(server, `p${kind}:${port}${at.host ? `:${formatHost(at.host)}` : ''}`, port, () => {});
}

async function listenUnix(remote: string, path: string, onStream: (stream: Stream) => void): Promise<Listener> {
  const server = createServer((socket) => onStream(new SocketStream(socket, `unix#${unixSerial++}`, '')));
  if (!existsSync(dirname(path))) throw new StreamError('No such file or directory', 'ENOENT'); // libuv says EACCES
  using short = openShort(path);
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path);
  } catch {
    // There was none.
  }
  await listening(server, () => server.listen({ path: short.path }));
  chmodSync(path, 0o750);
  unlinkAtExit(path);
  return listener(server, remote, 0, () => {
    try {
      unlinkSync(path);
    } catch {
      // Closing the server has done it.
    }
    keepAtExit(path);
  });
}

function openShort(path: string): ReturnType<typeof shortUnixPath> {
  try {
    return shortUnixPath(path);
  } catch (error) {
    throw new StreamError(errorText(error), (error as NodeJS.ErrnoException).code ?? 'EIO', error);
  }
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(new StreamError(errorText(error), error.code ?? 'EIO', error));
    });
    server.once('listening', () => {
      server.removeAllListeners('error');
      server.on('error', (error) => log.rl(5).warn(`accept failed: ${errorText(error)}`));
      resolve();
    });
    listen();
  });
}

function listener(server: Server, name: string, port: number, onClosed: () => void): Listener {
  const close = () => {
    server.close();
    onClosed();
  };
  return { name, port, close, [Symbol.dispose]: close };
}

/** Nothing larger is worth the attempt. */
const DIRECT_BYTES = 64 * 1024;

/** The descriptor of a socket that sends bytes as they are, or -1. */
function plainFd(socket: Socket): number {
  if ('encrypted' in socket) return -1;
  // Node shows the descriptor of a socket nowhere else.
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  return handle?.fd ?? -1;
}

/**
 * Writes to a socket with nothing else to send what it takes at once, and gives how much that was: half of what the way through its queue
 * costs. Whatever is wrong shows when the rest goes that way.
 */
function writeNow(fd: number, bytes: Uint8Array): number {
  if (fd < 0 || bytes.length > DIRECT_BYTES) return 0;
  try {
    return writeSync(fd, bytes);
  } catch {
    return 0;
  }
}

class SocketStream implements Stream {
  readonly name: string;
  readonly peer: string;
  private readonly socket: Socket;
  private dataCb: ((bytes: Uint8Array) => void) | null = null;
  private closeCb: ((error: string | null) => void) | null = null;
  private closed: { error: string | null } | null = null;
  private error: string | null = null;
  private readonly fd: number;

  constructor(socket: Socket, name: string, peer: string) {
    this.socket = socket;
    this.fd = plainFd(socket);
    this.name = name;
    this.peer = peer;
    socket.on('error', (error) => {
      this.error ??= errorText(error);
    });
    socket.on('close', () => {
      if (this.closed) return;
      this.closed = { error: this.error };
      this.closeCb?.(this.error);
    });
  }

  get bufferedBytes(): number {
    return this.socket.writableLength;
  }

  get peerId(): string | null {
    // Only a TLS socket can be asked; without its module loaded there is no class to test for.
    const { getPeerCertificate } = this.socket as Partial<TLSSocket>;
    const name = getPeerCertificate?.call(this.socket as TLSSocket)?.subject?.CN;
    return typeof name === 'string' ? name : (name?.[0] ?? null);
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed || this.socket.writableEnded || this.socket.destroyed) return false;
    const written = this.socket.writableLength === 0 ? writeNow(this.fd, bytes) : 0;
    return written === bytes.length || this.socket.write(written === 0 ? bytes : bytes.subarray(written));
  }

  onData(cb: (bytes: Uint8Array) => void): void {
    const first = this.dataCb === null;
    this.dataCb = cb;
    if (first) this.socket.on('data', (bytes) => this.dataCb?.(bytes as Uint8Array));
  }

  onClose(cb: (error: string | null) => void): void {
    this.closeCb = cb;
    if (this.closed) queueMicrotask(() => cb(this.closed?.error ?? null));
  }

  onDrain(cb: () => void): void {
    this.socket.on('drain', cb);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  close(): void {
    // What the peer still sends has no reader any more.
    this.dataCb = () => {};
    this.socket.resume();
    this.socket.destroySoon();
  }
}

/** Two ends of a stream in memory. Bytes arrive in a later microtask, in order, never within `write`. */
export function streamPair(name = 'memory'): [Stream, Stream] {
  const a = new MemoryStream(name);
  const b = new MemoryStream(name);
  a.other = b;
  b.other = a;
  return [a, b];
}

class MemoryStream implements Stream {
  readonly name: string;
  readonly peer = '';
  other: MemoryStream | null = null;
  private queue: Uint8Array[] = [];
  private queuedBytes = 0;
  private dataCb: ((bytes: Uint8Array) => void) | null = null;
  private closeCb: ((error: string | null) => void) | null = null;
  private drainCb: (() => void) | null = null;
  private ended = false;
  private closed = false;
  private told = false;
  private paused = false;
  private scheduled = false;

  constructor(name: string) {
    this.name = name;
  }

  get bufferedBytes(): number {
    return this.other?.queuedBytes ?? 0;
  }

  write(bytes: Uint8Array): boolean {
    const { other } = this;
    if (this.closed || !other || other.closed || other.ended) return false;
    other.queue.push(bytes);
    other.queuedBytes += bytes.length;
    other.schedule();
    return other.queuedBytes < 1 << 16;
  }

  onData(cb: (bytes: Uint8Array) => void): void {
    this.dataCb = cb;
    this.schedule();
  }

  onClose(cb: (error: string | null) => void): void {
    this.closeCb = cb;
    this.schedule();
  }

  onDrain(cb: () => void): void {
    this.drainCb = cb;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.schedule();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.queue = [];
    this.queuedBytes = 0;
    if (this.other) {
      this.other.ended = true;
      this.other.schedule();
    }
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.deliver();
    });
  }

  private deliver(): void {
    const had = this.queuedBytes > 0;
    while (this.queue.length > 0 && this.dataCb && !this.paused && !this.closed) {
      const batch = this.queue;
      this.queue = [];
      for (let i = 0; i < batch.length; i++) {
        if (this.paused || this.closed) {
          if (!this.closed) this.queue = [...batch.slice(i), ...this.queue];
          break;
        }
        this.queuedBytes -= batch[i].length;
        this.dataCb(batch[i]);
      }
    }
    if (had && this.queuedBytes === 0) this.other?.drainCb?.();
    if (this.ended && this.queue.length === 0) this.closed = true;
    if (this.closed && !this.told && this.closeCb) {
      this.told = true;
      this.closeCb(null);
    }
  }
}
