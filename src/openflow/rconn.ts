/**
 * A connection to a controller that comes back: connects, probes an idle peer with echo requests, gives up a silent one, and
 * tries again after a pause that doubles up to a limit.
 *
 * States and their names are those that `ovs-vsctl list controller` shows: VOID, BACKOFF, CONNECTING, ACTIVE, IDLE.
 */
import { clock } from '../base/clock.ts';
import { connectStream } from '../base/stream.ts';
import { vlog } from '../base/vlog.ts';
import type { OfMessage } from './messages.ts';
import { ALL_VERSIONS, type DecodeFailure, Vconn, withDefaultPort } from './vconn.ts';

const log = vlog('rconn');

export type RconnState = 'VOID' | 'BACKOFF' | 'CONNECTING' | 'ACTIVE' | 'IDLE';

export interface RconnOptions {
  readonly versions?: number;
  readonly maxBackoffMs?: number;
  /** 0 never probes. */
  readonly probeIntervalMs?: number;
}

const FIRST_BACKOFF_MS = 1000;
const DEFAULT_MAX_BACKOFF_MS = 8000;
const DEFAULT_PROBE_MS = 5000;
const LEAST_PROBE_MS = 5000;

export class Rconn implements Disposable {
  readonly target: string;
  private readonly versions: number;
  private maxBackoffMs: number;
  private probeIntervalMs: number;
  private state: RconnState = 'VOID';
  private vconn: Vconn | null = null;
  private backoffMs = 0;
  private timer: Disposable | null = null;
  private isClosed = false;
  private lastActivityMs = 0;
  private stateSinceMs = clock.nowMs();
  /** Why the last connection ended, null while none has. */
  lastError: string | null = null;
  /** Wall clock, null when it never was. */
  lastConnectedMs: number | null = null;
  lastDisconnectedMs: number | null = null;
  private connectedCb: ((vconn: Vconn) => void) | null = null;
  private disconnectedCb: ((error: string | null) => void) | null = null;
  private messageCb: ((message: OfMessage, xid: number, raw: Uint8Array) => void) | null = null;
  private badCb: ((failure: DecodeFailure, raw: Uint8Array) => void) | null = null;
  private stateCb: (() => void) | null = null;

  constructor(target: string, options: RconnOptions = {}) {
    this.target = target;
    this.versions = options.versions ?? ALL_VERSIONS;
    this.maxBackoffMs = options.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS;
    this.probeIntervalMs = probeInterval(options.probeIntervalMs ?? DEFAULT_PROBE_MS);
  }

  onConnected(cb: (vconn: Vconn) => void): void {
    this.connectedCb = cb;
  }
  onDisconnected(cb: (error: string | null) => void): void {
    this.disconnectedCb = cb;
  }
  onMessage(cb: (message: OfMessage, xid: number, raw: Uint8Array) => void): void {
    this.messageCb = cb;
  }
  onBad(cb: (failure: DecodeFailure, raw: Uint8Array) => void): void {
    this.badCb = cb;
  }
  onState(cb: () => void): void {
    this.stateCb = cb;
  }

  get stateName(): RconnState {
    return this.state;
  }
  get isConnected(): boolean {
    return this.state === 'ACTIVE' || this.state === 'IDLE';
  }
  get secondsInState(): number {
    return Math.floor((clock.nowMs() - this.stateSinceMs) / 1000);
  }
  get connection(): Vconn | null {
    return this.isConnected ? this.vconn : null;
  }

  start(): void {
    if (this.state === 'VOID' && !this.isClosed) this.connect();
  }
  configure(options: RconnOptions): void {
    if (options.maxBackoffMs !== undefined) this.maxBackoffMs = Math.max(FIRST_BACKOFF_MS, options.maxBackoffMs);
    if (options.probeIntervalMs !== undefined) this.probeIntervalMs = probeInterval(options.probeIntervalMs);
    if (this.isConnected) this.watch();
  }
  /** Null while not connected. */
  send(message: OfMessage, xid?: number): number | null {
    return this.isConnected ? this.vconn!.send(message, xid) : null;
  }
  /** Drops the connection and begins anew. */
  reconnect(): void {
    if (this.vconn !== null) {
      this.vconn.close();
      this.lost('reconnect requested');
    }
  }
  close(): void {
    this.isClosed = true;
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    this.vconn?.close();
    this.vconn = null;
    this.enter('VOID');
  }
  [Symbol.dispose](): void {
    this.close();
  }

  private enter(state: RconnState): void {
    if (this.state === state) return;
    this.state = state;
    this.stateSinceMs = clock.nowMs();
    this.stateCb?.();
  }
  private later(ms: number, fn: () => void): void {
    this.timer?.[Symbol.dispose]();
    this.timer = clock.setTimeout(fn, ms);
  }

  private connect(): void {
    this.enter('CONNECTING');
    log.info(`${this.target}: connecting...`);
    const attempt = this.dial();
    // As long as the back-off allows; a peer that never answers is as good as none.
    this.later(Math.max(FIRST_BACKOFF_MS, this.backoffMs), () => {
      if (this.state !== 'CONNECTING') return;
      log.info(`${this.target}: connection timed out`);
      const vconn = this.vconn;
      this.vconn = null;
      vconn?.close();
      attempt.abort();
      this.lost('Connection timed out');
    });
  }

  private dial(): AbortController {
    const abort = new AbortController();
    connectStream(withDefaultPort(this.target), { signal: abort.signal }).then(
      (stream) => {
        if (abort.signal.aborted || this.isClosed || this.state !== 'CONNECTING') return stream.close();
        const vconn = new Vconn(stream, this.versions, this.target);
        this.vconn = vconn;
        vconn.onClose((error) => {
          if (this.vconn === vconn) this.lost(error);
        });
        vconn.onConnected(() => this.up(vconn));
      },
      (error: Error) => {
        if (abort.signal.aborted || this.isClosed || this.state !== 'CONNECTING') return;
        log.warn(`${this.target}: connection failed (${error.message})`);
        this.lost(error.message);
      },
    );
    return abort;
  }

  private up(vconn: Vconn): void {
    log.info(`${this.target}: connected`);
    this.backoffMs = 0;
    this.lastConnectedMs = clock.wallMs();
    this.lastActivityMs = clock.nowMs();
    this.enter('ACTIVE');
    this.watch();
    vconn.onBad((failure, raw) => {
      this.active();
      if (this.badCb !== null) this.badCb(failure, raw);
      else vconn.sendError(failure.error, raw);
    });
    this.connectedCb?.(vconn);
    vconn.onMessage((message, xid, raw) => {
      this.active();
      if (message.type === 'echo_request') vconn.send({ type: 'echo_reply', data: message.data }, xid);
      else if (message.type !== 'echo_reply' || xid !== PROBE_XID) this.messageCb?.(message, xid, raw);
    });
  }

  private active(): void {
    this.lastActivityMs = clock.nowMs();
    if (this.state !== 'IDLE') return;
    this.enter('ACTIVE');
    this.watch();
  }

  /** One timer for the next moment that silence would matter. */
  private watch(): void {
    if (this.probeIntervalMs === 0) {
      this.timer?.[Symbol.dispose]();
      this.timer = null;
      return;
    }
    const silent = clock.nowMs() - this.lastActivityMs;
    this.later(Math.max(1, this.probeIntervalMs - silent), () => this.silence());
  }

  private silence(): void {
    if (!this.isConnected) return;
    if (clock.nowMs() - this.lastActivityMs < this.probeIntervalMs) {
      this.watch();
      return;
    }
    if (this.state === 'ACTIVE') {
      log.dbg(`${this.target}: idle ${Math.floor(this.probeIntervalMs / 1000)} seconds, sending inactivity probe`);
      this.vconn!.send({ type: 'echo_request', data: new Uint8Array(0) }, PROBE_XID);
      this.enter('IDLE');
      this.later(this.probeIntervalMs, () => this.silence());
      return;
    }
    log.err(`${this.target}: no response to inactivity probe after ${this.secondsInState} seconds, disconnecting`);
    const vconn = this.vconn!;
    this.vconn = null;
    vconn.close();
    this.lost('Connection timed out');
  }

  private lost(error: string | null): void {
    const wasConnected = this.isConnected;
    this.vconn = null;
    this.lastError = error;
    if (wasConnected) {
      this.lastDisconnectedMs = clock.wallMs();
      log.info(`${this.target}: connection ${error === null ? 'closed by peer' : `dropped (${error})`}`);
    }
    if (this.isClosed) return;
    this.backoffMs = this.backoffMs === 0 ? FIRST_BACKOFF_MS : Math.min(this.backoffMs * 2, this.maxBackoffMs);
    this.enter('BACKOFF');
    if (wasConnected) this.disconnectedCb?.(error);
    log.info(`${this.target}: waiting ${Math.floor(this.backoffMs / 1000)} seconds before reconnect`);
    this.later(this.backoffMs, () => this.connect());
  }
}

/** Echo requests of our own carry this, so that nobody else sees their replies. */
const PROBE_XID = 0;

function probeInterval(ms: number): number {
  return ms === 0 ? 0 : Math.max(LEAST_PROBE_MS, ms);
}
