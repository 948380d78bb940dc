/** Requests and their replies on a connection: whoever asks gets the answer, or learns that the connection ended before it. */
import type { JsonRpcReply } from '../base/jsonrpc.ts';
import { type Json, stringifyJson } from './json.ts';

/** An `error` of null: the connection ended, or there was none. */
export type Reply = { readonly ok: true; readonly result: Json } | { readonly ok: false; readonly error: Json };

const NO_REPLY: Reply = { ok: false, error: null };

export class Calls {
  private readonly send: (text: string) => boolean;
  private readonly waiting = new Map<number, (reply: Reply) => void>();
  private nextId = 0;

  /** `send` says whether there is a connection. */
  constructor(send: (text: string) => boolean) {
    this.send = send;
  }

  /** Calls `settle` as soon as the reply is there, before whatever follows it on the connection. */
  ask(method: string, params: readonly Json[], settle: (reply: Reply) => void): void {
    const id = this.nextId++;
    this.waiting.set(id, settle);
    const text = `{"id":${id},"method":${JSON.stringify(method)},"params":${stringifyJson(params as Json[])}}`;
    if (!this.send(text)) this.settle(id, NO_REPLY);
  }

  /** Never rejects. */
  request(method: string, params: readonly Json[]): Promise<Reply> {
    return new Promise((resolve) => this.ask(method, params, resolve));
  }

  /** Takes a reply; what nobody waits for is nobody's. */
  receive(message: JsonRpcReply): void {
    // The parser makes only JSON values.
    const error = message.error as Json;
    this.settle(
      message.id,
      error === null ? { ok: true, result: (message.result ?? null) as Json } : { ok: false, error },
    );
  }

  /** The connection has ended. */
  fail(): void {
    for (const id of [...this.waiting.keys()]) this.settle(id, NO_REPLY);
  }

  private settle(id: unknown, reply: Reply): void {
    const settle = this.waiting.get(id as number);
    this.waiting.delete(id as number);
    settle?.(reply);
  }
}
