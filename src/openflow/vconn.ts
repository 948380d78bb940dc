/**
 * One OpenFlow connection: framing and version negotiation over a `Stream`.
 *
 * Both sides send a hello at once; the connection's version is the highest that both sets hold. Nothing else is delivered
 * before that. A message that cannot be decoded does not end the connection: `onBad` sees it, or the peer gets the
 * error it deserves. What peers agree on by message (NXM, table ids in flow_mods, the form of packet-ins) is followed here,
 * whichever side says it, so that coding and decoding always fit.
 *
 * Messages written in one turn of the event loop leave in one write.
 */
import { coverage } from '../base/coverage.ts';
import { connectStream, type Listener, listenStreams, type Stream } from '../base/stream.ts';
import { vlog } from '../base/vlog.ts';
import type { WireOptions } from './codec.ts';
import type { OfErrorName } from './errors.ts';
import type { OfMessage, OfpVersion } from './messages.ts';
import { countMessage } from './metrics.ts';
import { type Decoded, decodeMessage, encodeMessage, OFP_HEADER_LEN } from './wire.ts';

const COUNT = {
  sent: coverage('vconn_sent'),
  received: coverage('vconn_received'),
};

const log = vlog('vconn');

/** Bit n is wire version n; this is 1.0 to 1.5. */
export const ALL_VERSIONS = 0x7e;
/** How much of a bad request goes back in an error. */
const ERROR_DATA = 64;
const FLUSH_BYTES = 65536;
export const OFP_DEFAULT_PORT = 6653;

export type DecodeFailure = Extract<Decoded, { ok: false }>;

/** The highest version in a set; 0 when it is empty. */
export function highestVersion(versions: number): number {
  return versions === 0 ? 0 : 31 - Math.clz32(versions);
}

/** `version 0x01`, `versions 0x01, 0x04`: as logs and errors write a set. */
export function formatVersions(versions: number): string {
  const list = [];
  for (let v = 0; v < 32; v++) if (versions & (2 ** v)) list.push(`0x${v.toString(16).padStart(2, '0')}`);
  if (list.length === 0) return 'no versions';
  if (list.length === 1) return `version ${list[0]}`;
  const last = highestVersion(versions);
  const all = 2 ** (last + 1) - 2;
  if (versions === all) return `version ${list[list.length - 1]} and earlier`;
  return `versions ${list.join(', ')}`;
}

/** `ovs(7)` targets leave the port out when it is OpenFlow's own. */
export function withDefaultPort(target: string): string {
  const colon = target.indexOf(':');
  const method = target.slice(0, colon);
  const rest = target.slice(colon + 1);
  if (method === 'tcp' || method === 'ssl') {
    const hasPort = rest.startsWith('[') ? /\]:\d+$/.test(rest) : /^[^:]*:\d+$/.test(rest);
    return hasPort ? target : `${target.replace(/:$/, '')}:${OFP_DEFAULT_PORT}`;
  }
  if (method === 'ptcp' || method === 'pssl') {
    if (rest === '') return `${method}:${OFP_DEFAULT_PORT}`;
    if (rest.startsWith(':')) return `${method}:${OFP_DEFAULT_PORT}${rest}`;
  }
  return target;
}

/** Transaction ids count through all connections of a process, as they appear in what `ovs-ofctl` prints. */
let nextXid = 1;

export class Vconn {
  readonly stream: Stream;
  readonly name: string;
  /** The versions offered. */
  readonly allowed: number;
  /** Versions of the peer's hello, 0 before it. */
  peerVersions = 0;
  /** What both speak; null until negotiated. */
  version: OfpVersion | null = null;
  options: WireOptions;
  private closed: string | null | undefined;
  private received: Uint8Array = new Uint8Array(0);
  private out: Uint8Array[] = [];
  private outBytes = 0;
  private early: [Decoded, Uint8Array][] = [];
  private messageCb: ((message: OfMessage, xid: number, raw: Uint8Array) => void) | null = null;
  private badCb: ((failure: DecodeFailure, raw: Uint8Array) => void) | null = null;
  private closeCb: ((error: string | null) => void) | null = null;
  private connectedCb: (() => void) | null = null;
  private sentCb: ((message: OfMessage, xid: number, raw: Uint8Array) => void) | null = null;
  /** Counters for whoever reports them. */
  readonly counters = { received: 0, sent: 0 };

  constructor(stream: Stream, versions: number = ALL_VERSIONS, name: string = stream.name) {
    this.stream = stream;
    this.name = name;
    this.allowed = versions;
    this.options = { tableId: false, flowFormat: 'openflow10', packetInFormat: 'standard' };
    this.raw(encodeMessage(highestVersion(versions) as OfpVersion, this.xid(), { type: 'hello', versions }));
    this.flush();
    stream.onData((bytes) => this.data(bytes));
    stream.onClose((error) => this.finish(error));
  }

  /** Connects and negotiates; rejects with the reason. */
  static async connect(target: string, versions: number = ALL_VERSIONS): Promise<Vconn> {
    const stream = await connectStream(withDefaultPort(target));
    const vconn = new Vconn(stream, versions, target);
    await vconn.connected();
    return vconn;
  }

  connected(): Promise<void> {
    if (this.version !== null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (this.closed !== undefined) return reject(new Error(this.closed ?? 'End of file'));
      this.connectedCb = resolve;
      const previous = this.closeCb;
      this.closeCb = (error) => {
        previous?.(error);
        reject(new Error(error ?? 'End of file'));
      };
    });
  }

  onConnected(cb: () => void): void {
    if (this.version !== null) cb();
    else this.connectedCb = cb;
  }
  onMessage(cb: (message: OfMessage, xid: number, raw: Uint8Array) => void): void {
    this.messageCb = cb;
    const early = this.early;
    this.early = [];
    for (const [decoded, raw] of early) this.deliver(decoded, raw);
  }
  /** Without it, what cannot be decoded is answered with its error. */
  onBad(cb: (failure: DecodeFailure, raw: Uint8Array) => void): void {
    this.badCb = cb;
  }
  /** Sees everything that is sent, for `snoop` and logs. */
  onSent(cb: (message: OfMessage, xid: number, raw: Uint8Array) => void): void {
    this.sentCb = cb;
  }
  /** `error` null is an orderly end. */
  onClose(cb: (error: string | null) => void): void {
    if (this.closed !== undefined) cb(this.closed);
    else this.closeCb = cb;
  }

  get isClosed(): boolean {
    return this.closed !== undefined;
  }
  get backlogBytes(): number {
    return this.outBytes + this.stream.bufferedBytes;
  }
  xid(): number {
    const xid = nextXid;
    nextXid = xid === 0xffffffff ? 1 : xid + 1;
    return xid;
  }

  /** Sends in the negotiated version; returns the transaction id. */
  send(message: OfMessage, xid: number = this.xid()): number {
    if (this.closed !== undefined) return xid;
    const bytes = encodeMessage(this.version ?? (1 as OfpVersion), xid, message, this.options);
    this.raw(bytes);
    this.follow(message);
    this.counters.sent++;
    COUNT.sent.inc();
    countMessage('tx', message.type);
    this.sentCb?.(message, xid, bytes);
    return xid;
  }

  /** Sends bytes that are whole messages already. */
  sendRaw(bytes: Uint8Array): void {
    this.raw(bytes);
    this.counters.sent++;
    COUNT.sent.inc();
  }

  /** Answers the request `raw` with an error. */
  sendError(name: OfErrorName, raw: Uint8Array): void {
    const xid = raw.length >= 8 ? ((raw[4] << 24) | (raw[5] << 16) | (raw[6] << 8) | raw[7]) >>> 0 : 0;
    this.send({ type: 'error', name, data: raw.subarray(0, ERROR_DATA) }, xid);
  }

  /** Writes what is pending now. */
  flush(): void {
    if (this.out.length === 0) return;
    const all = this.out.length === 1 ? this.out[0] : Buffer.concat(this.out, this.outBytes);
    this.out = [];
    this.outBytes = 0;
    if (this.closed === undefined) this.stream.write(all);
  }

  close(): void {
    if (this.closed !== undefined) return;
    this.flush();
    this.closed = null;
    this.stream.close();
  }

  private raw(bytes: Uint8Array): void {
    if (this.closed !== undefined) return;
    if (this.out.length === 0) queueMicrotask(() => this.flush());
    this.out.push(bytes);
    this.outBytes += bytes.length;
    if (this.outBytes >= FLUSH_BYTES) this.flush();
  }

  private finish(error: string | null): void {
    if (this.closed !== undefined) return;
    this.closed = error;
    this.out = [];
    this.closeCb?.(error);
  }

  private fail(error: string): void {
    if (this.closed !== undefined) return;
    this.flush();
    this.stream.close();
    this.finish(error);
  }

  private data(bytes: Uint8Array): void {
    const all = this.received.length === 0 ? bytes : Buffer.concat([this.received, bytes]);
    // Pieces of a `Buffer` are Buffers, which cost several times as much to make.
    const buffer = new Uint8Array(all.buffer, all.byteOffset, all.length);
    let at = 0;
    while (buffer.length - at >= OFP_HEADER_LEN && this.closed === undefined) {
      const length = (buffer[at + 2] << 8) | buffer[at + 3];
      if (length < OFP_HEADER_LEN) {
        log.err(`${this.name}: received too-short ofp_header (${length} bytes)`);
        this.fail('Protocol error');
        return;
      }
      if (buffer.length - at < length) break;
      this.message(buffer.subarray(at, at + length));
      at += length;
    }
    // What is kept must not pin the stream's buffer nor be changed by it.
    this.received = buffer.slice(at);
  }

  private message(raw: Uint8Array): void {
    this.counters.received++;
    COUNT.received.inc();
    const decoded = decodeMessage(raw, this.options);
    countMessage('rx', decoded.ok ? decoded.message.type : 'undecodable');
    if (this.version === null) {
      this.negotiate(decoded, raw);
      return;
    }
    const type = raw[1];
    // Hello, error and echo are understood whatever version they come in.
    if (raw[0] !== this.version && type > 3) {
      log.err(`${this.name}: received OpenFlow version 0x${hex2(raw[0])} != expected ${hex2(this.version)}`);
      this.sendError('OFPBRC_BAD_VERSION', raw);
      return;
    }
    if (this.messageCb === null) this.early.push([decoded, raw.slice()]);
    else this.deliver(decoded, raw);
  }

  private deliver(decoded: Decoded, raw: Uint8Array): void {
    if (decoded.ok) {
      this.follow(decoded.message);
      if (decoded.message.type !== 'hello') this.messageCb?.(decoded.message, decoded.xid, raw);
    } else if (this.badCb !== null) this.badCb(decoded, raw);
    else if (raw[1] !== 1) this.sendError(decoded.error, raw);
  }

  private negotiate(decoded: Decoded, raw: Uint8Array): void {
    if (!decoded.ok || decoded.message.type !== 'hello') {
      if (decoded.ok && decoded.message.type === 'error') {
        const text = new TextDecoder().decode(decoded.message.data);
        log.warn(`${this.name}: received error in place of hello: ${decoded.message.name} ${text}`);
        this.fail('Protocol error');
        return;
      }
      log.warn(
        `${this.name}: received message type ${raw[1]} while expecting hello (xid=0x${decoded.xid.toString(16)})`,
      );
      this.fail('Protocol error');
      return;
    }
    this.peerVersions = decoded.message.versions;
    const common = this.allowed & this.peerVersions;
    if (common === 0) {
      const ours = formatVersions(this.allowed);
      const theirs = formatVersions(this.peerVersions);
      log.warn(`${this.name}: version negotiation failed (we support ${ours}, peer supports ${theirs})`);
      const text = `We support ${ours}, you support ${theirs}, no common versions.`;
      const version = Math.min(highestVersion(this.allowed), Math.max(1, raw[0])) as OfpVersion;
      const data = new TextEncoder().encode(text);
      this.raw(encodeMessage(version, decoded.xid, { type: 'error', name: 'OFPHFC_INCOMPATIBLE', data }));
      this.fail('Protocol error');
      return;
    }
    this.version = highestVersion(common) as OfpVersion;
    const cb = this.connectedCb;
    this.connectedCb = null;
    cb?.();
  }

  private follow(message: OfMessage): void {
    if (message.type === 'nx_flow_mod_table_id') this.options = { ...this.options, tableId: message.set };
    else if (message.type === 'nx_set_flow_format') this.options = { ...this.options, flowFormat: message.format };
    else if (message.type === 'nx_set_packet_in_format')
      this.options = { ...this.options, packetInFormat: message.format };
  }
}

function hex2(v: number): string {
  return v.toString(16).padStart(2, '0');
}

/** Listens on `punix:`, `ptcp:`, `pssl:`; every connection becomes a `Vconn` that is still negotiating. */
export function listenVconns(target: string, versions: number, onVconn: (vconn: Vconn) => void): Promise<Listener> {
  return listenStreams(withDefaultPort(target), (stream) => onVconn(new Vconn(stream, versions)));
}
