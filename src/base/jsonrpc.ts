/**
 * JSON-RPC 1.0 over a byte stream, as RFC 7047 section 4 uses it: one JSON object after another, no separators.
 *
 * What is received is checked to be a request, notification, reply or error before anybody sees it. Malformed input closes
 * the connection with `Protocol error` and a warning that says what was wrong.
 */
import { JsonFramer } from './json-framing.ts';
import type { Stream } from './stream.ts';
import { vlog } from './vlog.ts';

const log = vlog('jsonrpc');

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

export interface JsonRpcRequest {
  readonly method: string;
  readonly params: readonly unknown[];
  readonly id: unknown;
}
export interface JsonRpcNotification {
  readonly method: string;
  readonly params: readonly unknown[];
  readonly id: null;
}
export interface JsonRpcReply {
  readonly result: unknown;
  readonly error: unknown;
  readonly id: unknown;
}
export type JsonRpcMessage = JsonRpcRequest | JsonRpcNotification | JsonRpcReply;

export interface JsonRpcOptions {
  /** Turns the text of one message into its value; `JSON.parse` unless given. */
  readonly parse?: (text: string) => unknown;
  /** The other way; `JSON.stringify` unless given. */
  readonly stringify?: (value: unknown) => string;
  readonly maxBytes?: number;
  readonly maxDepth?: number;
}

/** Whether it is a request or a notification. */
export function isRequest(m: JsonRpcMessage): m is JsonRpcRequest | JsonRpcNotification {
  return 'method' in m;
}

export class JsonRpc implements Disposable {
  readonly stream: Stream;
  private readonly framer: JsonFramer;
  private readonly parse: (text: string) => unknown;
  private readonly stringify: (value: unknown) => string;
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  private messageCb: ((m: JsonRpcMessage) => void) | null = null;
  private closeCb: ((error: string | null) => void) | null = null;
  private dead: { error: string | null } | null = null;
  /** Bytes received so far; a session that sees it change knows that the peer lives. */
  receivedBytes = 0;

  constructor(stream: Stream, options: JsonRpcOptions = {}) {
    this.stream = stream;
    this.parse = options.parse ?? JSON.parse;
    this.stringify = options.stringify ?? JSON.stringify;
    this.framer = new JsonFramer({ maxBytes: options.maxBytes ?? 0x1fffffff, maxDepth: options.maxDepth ?? 1000 });
    stream.onClose((error) => this.die(error));
  }

  get name(): string {
    return this.stream.name;
  }

  /** Bytes sent but not yet taken by the system. */
  get backlog(): number {
    return this.stream.bufferedBytes;
  }

  get closed(): boolean {
    return this.dead !== null;
  }

  send(message: JsonRpcMessage): boolean {
    return this.sendText(this.stringify(message));
  }

  /** Sends a message that is text already, e.g. one update to many peers. */
  sendText(text: string): boolean {
    return this.sendBytes(Buffer.from(text));
  }

  sendBytes(bytes: Uint8Array): boolean {
    return this.dead === null && this.stream.write(bytes);
  }

  /** Starts delivery. */
  onMessage(cb: (m: JsonRpcMessage) => void): void {
    const first = this.messageCb === null;
    this.messageCb = cb;
    if (first) this.stream.onData((bytes) => this.receive(bytes));
  }

  /** Called once, with null when it was closed in order. */
  onClose(cb: (error: string | null) => void): void {
    this.closeCb = cb;
    if (this.dead) queueMicrotask(() => cb(this.dead?.error ?? null));
  }

  close(): void {
    this.stream.close();
    this.die(null);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private receive(bytes: Uint8Array): void {
    if (this.dead) return;
    this.receivedBytes += bytes.length;
    const error = this.framer.push(bytes, (value) => this.deliver(value));
    if (error) this.protocolError(`error parsing stream: ${error}`);
  }

  private deliver(bytes: Uint8Array): void {
    if (this.dead) return;
    let value: unknown;
    try {
      value = this.parse(this.decoder.decode(bytes));
    } catch (error) {
      return this.protocolError(`error parsing stream: ${(error as Error).message}`);
    }
    const message = checkMessage(value);
    if (typeof message === 'string') return this.protocolError(`received bad JSON-RPC message: ${message}`);
    this.messageCb?.(message);
  }

  private protocolError(text: string): void {
    log.rl(5).warn(`${this.name}: ${text}`);
    this.stream.close();
    this.die('Protocol error');
  }

  private die(error: string | null): void {
    if (this.dead) return;
    this.dead = { error };
    this.closeCb?.(error);
  }
}

/** The message, or what is wrong with it. */
export function checkMessage(value: unknown): JsonRpcMessage | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'message is not a JSON object';
  const m = value as Record<string, unknown>;
  for (const name in m) {
    if (!FIELDS.has(name)) return `message has unexpected member "${name}"`;
  }
  if (m['method'] !== undefined && m['method'] !== null) {
    if (typeof m['method'] !== 'string') return 'method is not JSON string';
    if (!Array.isArray(m['params'])) return `${m['id'] == null ? 'notification' : 'request'} must have "params"`;
    if (m['result'] !== undefined && m['result'] !== null) return 'request must not have "result"';
    if (m['error'] !== undefined && m['error'] !== null) return 'request must not have "error"';
    return { method: m['method'], params: m['params'], id: m['id'] ?? null };
  }
  if (m['params'] !== undefined && m['params'] !== null) return 'reply must not have "params"';
  if (m['id'] === undefined || m['id'] === null) return 'reply must have "id"';
  const hasError = m['error'] !== undefined && m['error'] !== null;
  if (hasError && m['result'] !== undefined && m['result'] !== null) return 'reply must not have "error"';
  if (!hasError && m['result'] === undefined) return 'reply must have "result"';
  return { result: hasError ? null : m['result'], error: m['error'] ?? null, id: m['id'] };
}

const FIELDS = new Set(['method', 'params', 'id', 'result', 'error']);
