/**
 * When to connect, probe and give up: the state machine that keeps a connection alive. It does no input or output and
 * has no timer of its own; whoever owns the connection reports what happened, asks `run` what to do, and asks again
 * after `timeoutMs`.
 *
 *     VOID ── enable ──► BACKOFF ──► CONNECTING ──► ACTIVE ◄──► IDLE
 *                           ▲            │ failed      │ dropped   │ probe unanswered
 *                           └────────────┴─────────────┴───────────┘
 *
 * Back-off doubles from `minBackoffMs` to `maxBackoffMs` with every failure. A connection that lasted is made again at once;
 * one that was dropped soon, or that turned out to be of no use, counts as a failure, so that a peer who refuses late is not
 * hammered. Where there are several peers, the next is tried at once, and only a round of them without success makes us wait.
 */
import { vlog } from './vlog.ts';

export type ReconnectState = 'VOID' | 'LISTENING' | 'BACKOFF' | 'CONNECTING' | 'ACTIVE' | 'IDLE' | 'RECONNECT';
export type ReconnectAction = 'connect' | 'disconnect' | 'probe' | null;

const log = vlog('reconnect');

/** Connection attempts that fail are logged up to this back-off, then no more. */
const QUIET_BACKOFF_MS = 8000;

export interface ReconnectOptions {
  readonly name: string;
  readonly minBackoffMs?: number;
  readonly maxBackoffMs?: number;
  /** 0 turns probes off. */
  readonly probeIntervalMs?: number;
  readonly quiet?: boolean;
  /** How many peers are tried in turn. Default 1. */
  readonly peers?: number;
  /** How many attempts there are. Default: without end. */
  readonly tries?: number;
}

export class Reconnect {
  name: string;
  state: ReconnectState = 'VOID';
  /** Text of the last error, for status columns. */
  lastError: string | null = null;
  lastConnectedMs: number | null = null;
  lastDisconnectedMs: number | null = null;
  attempts = 0;
  successes = 0;
  private minBackoffMs: number;
  private maxBackoffMs: number;
  private probeIntervalMs: number;
  private backoffMs = 0;
  private enteredMs: number;
  private activityMs: number;
  private passive = false;
  private quiet: boolean;
  private readonly peers: number;
  private readonly tries: number;
  /** Failures since a connection lasted. */
  private failures = 0;
  /** Of the present back-off; shorter than `backoffMs` while other peers have not been tried. */
  private waitMs = 0;

  constructor(options: ReconnectOptions, now: number) {
    this.name = options.name;
    this.minBackoffMs = options.minBackoffMs ?? 1000;
    this.maxBackoffMs = Math.max(options.maxBackoffMs ?? 8000, this.minBackoffMs);
    this.probeIntervalMs = options.probeIntervalMs ?? 5000;
    this.quiet = options.quiet ?? false;
    this.peers = options.peers ?? 1;
    this.tries = options.tries ?? Number.POSITIVE_INFINITY;
    this.enteredMs = now;
    this.activityMs = now;
  }

  get isConnected(): boolean {
    return this.state === 'ACTIVE' || this.state === 'IDLE';
  }

  setBackoff(minMs: number, maxMs: number): void {
    this.minBackoffMs = Math.max(minMs, 1);
    this.maxBackoffMs = Math.max(maxMs, this.minBackoffMs);
    this.backoffMs = Math.min(this.backoffMs, this.maxBackoffMs);
    this.waitMs = Math.min(this.waitMs, this.backoffMs);
  }

  setProbeInterval(ms: number): void {
    this.probeIntervalMs = ms > 0 ? Math.max(ms, 1000) : 0;
  }

  get probeInterval(): number {
    return this.probeIntervalMs;
  }

  /** A passive connection listens instead of connecting and does not back off. */
  setPassive(passive: boolean): void {
    this.passive = passive;
  }

  enable(now: number): void {
    if (this.state !== 'VOID') return;
    this.calm();
    this.enter('BACKOFF', now);
  }

  disable(now: number): void {
    this.enter('VOID', now);
  }

  /** Drops the connection, if there is one, and makes it anew at once. */
  force(now: number): void {
    if (this.state === 'CONNECTING' || this.isConnected) this.enter('RECONNECT', now);
  }

  /** What to do now. The owner does it and reports the outcome. */
  run(now: number): ReconnectAction {
    if (now < this.deadline()) return null;
    switch (this.state) {
      case 'BACKOFF':
        return 'connect';
      case 'CONNECTING':
      case 'RECONNECT':
        return 'disconnect';
      case 'ACTIVE':
        log.dbg(
          `${this.name}: idle ${Math.round(now - Math.max(this.activityMs, this.enteredMs))} ms, sending inactivity probe`,
        );
        this.enter('IDLE', now);
        return 'probe';
      case 'IDLE':
        log.err(
          `${this.name}: no response to inactivity probe after ${seconds(now - this.enteredMs)} seconds, disconnecting`,
        );
        return 'disconnect';
      default:
        return null;
    }
  }

  /** How long until `run` may have something to say; Infinity when only events matter. */
  timeoutMs(now: number): number {
    return Math.max(this.deadline() - now, 0);
  }

  /** An attempt began (or, passive, we listen). */
  connecting(now: number): void {
    if (this.state === 'CONNECTING') return;
    if (this.passive) {
      this.listening(now);
      return;
    }
    this.attempts++;
    this.note(this.backoffMs < QUIET_BACKOFF_MS, 'connecting...');
    this.enter('CONNECTING', now);
  }

  listening(now: number): void {
    if (this.state === 'LISTENING') return;
    this.note(true, 'listening...');
    this.enter('LISTENING', now);
  }

  connected(now: number): void {
    if (this.isConnected) return;
    this.successes++;
    this.note(true, 'connected');
    this.lastConnectedMs = now;
    this.lastError = null;
    this.enter('ACTIVE', now);
  }

  /** Bytes arrived: the peer lives. */
  activity(now: number): void {
    this.activityMs = now;
    if (this.state === 'IDLE') this.enter('ACTIVE', now);
  }

  /** An attempt failed, or the connection ended; null when the peer closed it. */
  disconnected(now: number, error: string | null): void {
    if (this.state === 'VOID' || this.state === 'BACKOFF') return;
    const was = this.state;
    this.lastError = error;
    if (was === 'ACTIVE' || was === 'IDLE') {
      this.lastDisconnectedMs = now;
      if (error) this.warn(`connection dropped (${error})`);
      else this.note(true, 'connection closed by peer');
      const lasted = now - (this.lastConnectedMs ?? now) >= Math.max(this.backoffMs, this.minBackoffMs);
      if (lasted) this.calm();
      else this.backOff();
    } else if (was === 'RECONNECT') {
      this.note(true, 'connection attempt timed out');
      this.calm();
      if (this.lastConnectedMs !== null) this.lastDisconnectedMs = now;
    } else {
      const listening = was === 'LISTENING';
      if (this.backoffMs < QUIET_BACKOFF_MS) {
        const what = listening ? 'error listening for connections' : 'connection attempt failed';
        this.note(true, `${what} (${error ?? 'closed'})`);
      }
      this.backOff();
    }
    this.enter('BACKOFF', now);
  }

  /** The connection is of no use to its owner, who has ended it, and the next peer may be. */
  refused(now: number): void {
    if (!this.isConnected) return;
    this.note(true, 'connection attempt timed out');
    this.lastDisconnectedMs = now;
    this.backOff();
    this.enter('BACKOFF', now);
  }

  private calm(): void {
    this.failures = 0;
    this.backoffMs = 0;
    this.waitMs = 0;
  }

  /** Lengthens the wait before the next attempt. */
  private backOff(): void {
    if (++this.failures % this.peers !== 0 || this.attempts >= this.tries) {
      this.waitMs = 0;
      return;
    }
    const before = this.backoffMs;
    this.backoffMs = before === 0 ? this.minBackoffMs : Math.min(before * 2, this.maxBackoffMs);
    this.waitMs = this.backoffMs;
    if (this.backoffMs < this.maxBackoffMs) {
      if (before > 0) this.note(true, `waiting ${seconds(this.backoffMs)} seconds before reconnect`);
    } else if (!this.saidQuiet) {
      this.saidQuiet = true;
      this.note(true, 'continuing to reconnect in the background but suppressing further logging');
    }
  }

  private saidQuiet = false;

  private deadline(): number {
    switch (this.state) {
      case 'BACKOFF':
        return this.enteredMs + this.waitMs;
      case 'CONNECTING':
        return this.enteredMs + Math.max(1000, this.backoffMs);
      case 'ACTIVE':
        if (this.probeIntervalMs === 0) return Number.POSITIVE_INFINITY;
        return Math.max(this.activityMs, this.enteredMs) + this.probeIntervalMs;
      case 'IDLE':
        return this.probeIntervalMs === 0 ? Number.POSITIVE_INFINITY : this.enteredMs + this.probeIntervalMs;
      case 'RECONNECT':
        return this.enteredMs;
      default:
        return Number.POSITIVE_INFINITY;
    }
  }

  private enter(state: ReconnectState, now: number): void {
    log.dbg(`${this.name}: entering ${state}`);
    if (state === 'ACTIVE') this.saidQuiet = false;
    this.state = state;
    this.enteredMs = now;
  }

  private note(loud: boolean, text: string): void {
    if (loud && !this.quiet) log.info(`${this.name}: ${text}`);
    else log.dbg(`${this.name}: ${text}`);
  }

  private warn(text: string): void {
    if (this.quiet) log.dbg(`${this.name}: ${text}`);
    else log.warn(`${this.name}: ${text}`);
  }
}

function seconds(ms: number): string {
  return String(Number((ms / 1000).toPrecision(3)));
}
