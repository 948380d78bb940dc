/**
 * One OpenFlow connection as the bridge sees it: its role, its asynchronous configuration, and its requests in order.
 *
 * Requests of a connection are carried out one after the other. A handler that must wait (a barrier) holds up the later
 * requests of its own connection only.
 *
 * A peer that does not read costs bounded memory: asynchronous messages are dropped once `ASYNC_LIMIT` bytes wait to be
 * sent, requests are no longer taken up beyond `REPLY_LIMIT`, nothing more is read while `PAUSE_LIMIT` bytes of requests
 * wait, and where reading cannot be held up the connection is closed at `REQUEST_LIMIT`.
 */
import { clock } from '../base/clock.ts';
import { stayAwake } from '../base/stay-awake.ts';
import { vlog } from '../base/vlog.ts';
import type { OfErrorName } from '../openflow/errors.ts';
import type { OfMessage, OfMessageOf, OfMessageType, OfpVersion, PacketIn } from '../openflow/messages.ts';
import { decodeMessage } from '../openflow/wire.ts';
import { FlowMonitors } from './flow-monitor.ts';
import type { OpenBundle } from './handlers/bundle.ts';

const log = vlog('connmgr');

const ASYNC_LIMIT = 1 << 20;
const REPLY_LIMIT = 4 << 20;
const PAUSE_LIMIT = 1 << 20;
const REQUEST_LIMIT = 64 << 20;
const FLOW_MOD_LOG_MS = 10_000;
/** How long a batch of requests may keep the event loop. */
const SLICE_MS = 8;
const RETRY_MS = 5;

export type Role = 'equal' | 'primary' | 'secondary';
export type AsyncKind = 'packetIn' | 'portStatus' | 'flowRemoved' | 'roleStatus' | 'tableStatus' | 'requestForward';
/** Bit per reason: for primary and equal, for secondary controllers. */
export type AsyncConfig = Record<AsyncKind, readonly [number, number]>;

/** What a connection needs of its transport; a connected `Vconn` is one. */
export interface OfChannel {
  readonly version: OfpVersion | null;
  /** Bytes that the peer has not taken yet. */
  readonly backlogBytes: number;
  send(message: OfMessage, xid?: number): unknown;
  close(): void;
  /** Reading can be held up. */
  readonly stream?: { pause(): void; resume(): void };
}

/** A request with the bytes it came in, which go back with an error. */
export interface Request<T extends OfMessageType = OfMessageType> {
  readonly message: OfMessageOf<T>;
  readonly xid: number;
  readonly bytes: Uint8Array;
}

export type RequestHandler = (conn: OfConn, request: Request) => void | Promise<void>;

interface Failure {
  readonly failure: OfErrorName;
  readonly xid: number;
  readonly bytes: Uint8Array;
}

/** OpenFlow 1.3 A.3.10 and 1.4 7.3.10, defaults as Open vSwitch has them. */
export function defaultAsync(version: OfpVersion): AsyncConfig {
  const since14 = version >= 5;
  return {
    packetIn: [since14 ? 0x3b : 0x03, 0],
    portStatus: [0x07, 0x07],
    flowRemoved: [version >= 4 ? (since14 ? 0x3f : 0x0f) : 0x07, 0],
    roleStatus: [0, 0],
    tableStatus: [0, 0],
    requestForward: [0, 0],
  };
}

/** `OFP_DEFAULT_MISS_SEND_LEN`; service connections start with 0, which means that they get no asynchronous messages. */
const DEFAULT_MISS_SEND_LEN = 128;

export class OfConn {
  readonly channel: OfChannel;
  readonly version: OfpVersion;
  readonly isService: boolean;
  /** For logs: `br0<->unix#3`. */
  readonly name: string;
  role: Role = 'equal';
  async: AsyncConfig;
  missSendLen: number;
  packetInFormat: 'standard' | 'nxt_packet_in' | 'nxt_packet_in2' = 'standard';
  /** OpenFlow 1.0 only: NXM instead of the fixed match, table id in flow-mods. */
  flowFormat: 'openflow10' | 'nxm' = 'openflow10';
  flowModTableId = false;
  controllerId = 0;
  invalidTtlToController = false;
  isClosed = false;
  /** Called when this side closes: the transport does not tell of that. */
  onClosedHere: () => void = () => {};
  readonly connectedMs: number = clock.nowMs();
  /** Flow-mods since the last summary in the log. */
  readonly flowMods = { add: 0, modify: 0, delete: 0, sinceMs: 0 };
  /** Bundles that this connection has open, by id (the bundle handler owns them). */
  readonly bundles = new Map<number, OpenBundle>();
  readonly monitors = new FlowMonitors(this);

  private readonly handler: RequestHandler;
  private readonly queue: (Request | Failure)[] = [];
  private head = 0;
  private queuedBytes = 0;
  private isBusy = false;
  private isPaused = false;
  private timer: Disposable | null = null;
  private limiter: { perMs: number; most: number; tokens: number; atMs: number } | null = null;

  constructor(channel: OfChannel, name: string, isService: boolean, handler: RequestHandler) {
    this.channel = channel;
    this.name = name;
    this.isService = isService;
    this.handler = handler;
    this.version = channel.version as OfpVersion; // negotiated before there is an OfConn
    this.async = defaultAsync(this.version);
    this.missSendLen = isService ? 0 : DEFAULT_MISS_SEND_LEN;
  }

  /** Does this connection want the asynchronous message `kind` for `reason`? */
  wants(kind: AsyncKind, reason: number): boolean {
    // Who merely serves itself of the switch is not disturbed; news of tables have to be asked for anyway.
    const isLeftAlone = this.isService && this.missSendLen === 0 && kind !== 'tableStatus';
    if (this.isClosed || isLeftAlone) return false;
    return (this.async[kind][this.role === 'secondary' ? 1 : 0] & (1 << reason)) !== 0;
  }

  /** Sends a message nobody asked for; false when the peer is too slow and it was dropped. */
  sendAsync(message: OfMessage): boolean {
    if (this.isClosed || this.channel.backlogBytes > ASYNC_LIMIT) return false;
    this.channel.send(message, 0);
    return true;
  }

  /** `Controller.controller_rate_limit`: packet-ins a second, and how many may come at once. */
  limitPacketIns(perSecond: number, burst: number): void {
    const most = Math.max(burst, perSecond / 4, 1);
    this.limiter = { perMs: perSecond / 1000, most, tokens: most, atMs: clock.nowMs() };
  }

  sendPacketIn(message: PacketIn): boolean {
    const l = this.limiter;
    if (l) {
      const now = clock.nowMs();
      l.tokens = Math.min(l.most, l.tokens + (now - l.atMs) * l.perMs);
      l.atMs = now;
      if (l.tokens < 1) return false;
      l.tokens--;
    }
    return this.sendAsync(message);
  }

  countFlowMod(command: 'add' | 'modify' | 'delete'): void {
    const counts = this.flowMods;
    if (counts.sinceMs === 0) counts.sinceMs = clock.nowMs();
    counts[command]++;
  }

  /** Says in the log what a connection did to the flow table, at most once in ten seconds. */
  logFlowMods(nowMs: number): void {
    const c = this.flowMods;
    if (c.sinceMs === 0 || (nowMs < c.sinceMs + FLOW_MOD_LOG_MS && !this.isClosed)) return;
    const total = c.add + c.modify + c.delete;
    const parts = [
      [c.add, 'adds'],
      [c.delete, 'deletes'],
      [c.modify, 'modifications'],
    ].flatMap(([n, what]) => (n ? [`${n} ${what}`] : []));
    const seconds = Math.floor((nowMs - c.sinceMs) / 1000);
    log.info(`${this.name}: ${total} flow_mods in the last ${seconds} s (${parts.join(', ')})`);
    c.add = c.modify = c.delete = c.sinceMs = 0;
  }

  reply(request: { readonly xid: number }, message: OfMessage): void {
    if (!this.isClosed) this.channel.send(message, request.xid);
  }

  error(request: { readonly xid: number; readonly bytes: Uint8Array }, name: string): void {
    const decoded = decodeMessage(request.bytes);
    log.rl(10).info(`${this.name}: sending ${name} error reply to ${decoded.spot?.name ?? 'invalid'} message`);
    this.reply(request, { type: 'error', name, data: request.bytes });
  }

  /** Resolves when there is room for more of a long answer, at the earliest in the next turn of the event loop. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.isClosed || this.channel.backlogBytes < REPLY_LIMIT) resolve();
        else setTimeout(look, RETRY_MS);
      };
      setImmediate(look);
    });
  }

  /** A message came in. `bytes` must not change afterwards. */
  receive(message: OfMessage, xid: number, bytes: Uint8Array): void {
    this.take({ message, xid, bytes });
  }

  /** What came in could not be understood. */
  receiveBad(failure: OfErrorName, xid: number, bytes: Uint8Array): void {
    this.take({ failure, xid, bytes });
  }

  private take(item: Request | Failure): void {
    if (this.isClosed) return;
    this.queue.push(item);
    this.queuedBytes += item.bytes.length;
    if (this.queuedBytes > REQUEST_LIMIT) {
      log.warn(`${this.name}: too many requests outstanding, closing connection`);
      this.close();
      return;
    }
    if (this.queuedBytes > PAUSE_LIMIT && !this.isPaused) {
      this.isPaused = true;
      this.channel.stream?.pause();
    }
    if (!this.isBusy && !this.timer) this.run();
    stayAwake();
  }

  close(): void {
    if (this.isClosed) return;
    this.closed();
    this.channel.close();
    this.onClosedHere();
  }

  /** The transport is gone. */
  closed(): void {
    this.isClosed = true;
    this.logFlowMods(clock.nowMs());
    this.queue.length = 0;
    this.head = 0;
    this.queuedBytes = 0;
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    this.bundles.clear();
  }

  private run(): void {
    const deadline = performance.now() + SLICE_MS;
    while (!this.isClosed && this.head < this.queue.length) {
      if (this.channel.backlogBytes > REPLY_LIMIT) {
        this.later(RETRY_MS);
        return;
      }
      if (performance.now() > deadline) {
        this.later(0);
        return;
      }
      const request = this.queue[this.head++];
      this.queuedBytes -= request.bytes.length;
      if (this.head === this.queue.length) {
        this.queue.length = 0;
        this.head = 0;
      }
      if (this.isPaused && this.queuedBytes < PAUSE_LIMIT / 2) {
        this.isPaused = false;
        this.channel.stream?.resume();
      }
      if ('failure' in request) {
        this.error(request, request.failure);
        continue;
      }
      let pending: void | Promise<void>;
      try {
        pending = this.handler(this, request);
      } catch (cause) {
        this.failed(request, cause);
        continue;
      }
      if (pending) {
        this.isBusy = true;
        pending
          .catch((cause) => this.failed(request, cause))
          .finally(() => {
            this.isBusy = false;
            if (!this.isClosed) this.run();
          });
        return;
      }
    }
  }

  private later(ms: number): void {
    if (ms === 0) {
      this.isBusy = true;
      setImmediate(() => {
        this.isBusy = false;
        if (!this.isClosed) this.run();
      });
      return;
    }
    // Real time: a socket drains whatever the simulated clock says.
    const handle = setTimeout(() => {
      this.timer = null;
      if (!this.isClosed) this.run();
    }, ms);
    this.timer = { [Symbol.dispose]: () => clearTimeout(handle) };
  }

  /** A handler must not throw; when one does, the peer hears of it and the switch goes on. */
  private failed(request: Request, cause: unknown): void {
    const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    log.err(`${this.name}: ${request.message.type} failed: ${text}`);
    this.error(request, 'OFPBRC_EPERM');
  }
}
