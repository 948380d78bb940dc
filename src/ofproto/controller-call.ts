/**
 * Keeps calling an active controller (`tcp:`, `ssl:`, `unix:`): connects, negotiates the version, probes when nothing is heard,
 * and calls again with growing pauses when the connection is lost.
 */
import { clock } from '../base/clock.ts';
import { errorText } from '../base/errno.ts';
import { Reconnect } from '../base/reconnect.ts';
import { connectStream } from '../base/stream.ts';
import { Vconn, withDefaultPort } from '../openflow/vconn.ts';

export interface ControllerCallOptions {
  /** For logs. */
  readonly name: string;
  /** Bits of the wire versions to offer. */
  readonly versions: number;
  readonly maxBackoffMs: number;
  /** 0 for never. */
  readonly probeIntervalMs: number;
  /** A connection stands. Its `onMessage` and `onBad` are the caller's, `onClose` is not. */
  readonly onConnected: (vconn: Vconn) => void;
  readonly onClosed: (vconn: Vconn) => void;
}

export class ControllerCall {
  private readonly target: string;
  private readonly options: ControllerCallOptions;
  private readonly reconnect: Reconnect;
  private vconn: Vconn | null = null;
  private isConnected = false;
  private heard = 0;
  private attempt: AbortController | null = null;
  private timer: Disposable | null = null;
  private isClosed = false;

  constructor(target: string, options: ControllerCallOptions) {
    this.target = withDefaultPort(target);
    this.options = options;
    const { name, maxBackoffMs, probeIntervalMs } = options;
    this.reconnect = new Reconnect({ name, maxBackoffMs, probeIntervalMs }, clock.nowMs());
    this.reconnect.enable(clock.nowMs());
    this.run();
  }

  /** For `Controller.status`. */
  status(): Map<string, string> {
    const { state, lastError, lastConnectedMs, lastDisconnectedMs } = this.reconnect;
    const now = clock.nowMs();
    const since = (ms: number): string => String(Math.floor((now - ms) / 1000));
    const status = new Map<string, string>();
    if (lastError !== null) status.set('last_error', lastError);
    status.set('state', state);
    if (lastConnectedMs !== null) status.set('sec_since_connect', since(lastConnectedMs));
    if (lastDisconnectedMs !== null && lastDisconnectedMs !== lastConnectedMs) {
      status.set('sec_since_disconnect', since(lastDisconnectedMs));
    }
    return status;
  }

  /** Hangs up and calls again at once. */
  again(): void {
    this.reconnect.force(clock.nowMs());
    this.run();
  }

  /** The caller closed the connection: call again later. */
  hungUp(vconn: Vconn): void {
    if (this.vconn !== vconn) return;
    this.lost(null);
    this.arm();
  }

  close(): void {
    this.isClosed = true;
    this.timer?.[Symbol.dispose]();
    this.attempt?.abort();
    this.vconn?.close();
    this.lost(null);
    this.reconnect.disable(clock.nowMs());
  }

  private run(): void {
    if (this.isClosed) return;
    const now = clock.nowMs();
    const { vconn } = this;
    if (vconn && vconn.counters.received !== this.heard) {
      this.heard = vconn.counters.received;
      this.reconnect.activity(now);
    }
    switch (this.reconnect.run(now)) {
      case 'connect':
        void this.call();
        break;
      case 'probe':
        vconn?.send({ type: 'echo_request', data: new Uint8Array(0) });
        break;
      case 'disconnect':
        this.attempt?.abort();
        vconn?.close();
        this.lost('Connection timed out');
        break;
    }
    this.arm();
  }

  private arm(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    if (this.isClosed) return;
    const ms = this.reconnect.timeoutMs(clock.nowMs());
    if (Number.isFinite(ms)) this.timer = clock.setTimeout(() => this.run(), Math.max(ms, 1));
  }

  private async call(): Promise<void> {
    this.reconnect.connecting(clock.nowMs());
    const attempt = new AbortController();
    this.attempt = attempt;
    try {
      const stream = await connectStream(this.target, { signal: attempt.signal });
      if (this.isClosed || attempt.signal.aborted) {
        stream.close();
        return;
      }
      const vconn = new Vconn(stream, this.options.versions, this.options.name);
      this.vconn = vconn;
      this.heard = 0;
      vconn.onClose((error) => {
        if (this.vconn === vconn) this.lost(error);
        this.arm();
      });
      vconn.onConnected(() => {
        this.reconnect.connected(clock.nowMs());
        this.isConnected = true;
        this.arm();
        this.options.onConnected(vconn);
      });
    } catch (error) {
      if (attempt.signal.aborted || this.isClosed) return;
      this.lost(errorText(error));
      this.arm();
    }
  }

  private lost(error: string | null): void {
    const { vconn } = this;
    this.vconn = null;
    this.attempt = null;
    this.reconnect.disconnected(clock.nowMs(), error);
    if (vconn && this.isConnected) this.options.onClosed(vconn);
    this.isConnected = false;
  }
}
