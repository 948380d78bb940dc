/**
 * What a session sends, in its order: a message may have to wait for the disk or to be made in slices, and later ones queue behind it.
 *
 * Messages of one turn of the event loop go out together, since a write is the dearest part of a small transaction. A long message goes out as
 * its reader takes it, a little at a time, so that neither memory nor the others feel it. A client that leaves too much unread is
 * given up: `onOverflow`.
 */
import type { JsonRpc } from '../base/jsonrpc.ts';

/** JSON, as text, or as bytes that others send too. */
export type Message = string | Uint8Array;

/** A place in the queue; its message is null until it is known. */
export interface Place {
  message: Message | null;
  /** A long message, in the place of the other. */
  parts: readonly Uint8Array[] | null;
}

/** So much of a long message is given to the system before it asks for more. */
const AHEAD_BYTES = 256 * 1024;

export class Outbox {
  private readonly rpc: JsonRpc;
  private readonly maxBacklog: number;
  private readonly onOverflow: (bytes: number) => void;
  private readonly queue: Place[] = [];
  /** In the queue, without long messages. */
  private queuedBytes = 0;
  /** How many parts of the long message at the head of the queue are sent. */
  private sentParts = 0;
  private outgoing: Message[] = [];
  private outgoingSize = 0;
  private largest = 0;
  private closed = false;

  constructor(rpc: JsonRpc, maxBacklog: number, onOverflow: (bytes: number) => void) {
    this.rpc = rpc;
    this.maxBacklog = maxBacklog;
    this.onOverflow = onOverflow;
    rpc.stream.onDrain(() => this.flush());
  }

  send(message: Message): void {
    if (this.closed) return;
    if (this.queue.length === 0) return this.write(message);
    this.queue.push({ message, parts: null });
    this.queuedBytes += message.length;
    this.checkBacklog();
  }

  /** The same, for what the client asked for: it may take its time over that. */
  reply(text: string): void {
    this.largest = Math.max(this.largest, text.length);
    this.send(text);
  }

  /** What is sent from now on waits for the message of this place. */
  reserve(): Place {
    const place = { message: null, parts: null };
    this.queue.push(place);
    return place;
  }

  fill(place: Place, text: string): void {
    if (this.closed) return;
    place.message = text;
    this.queuedBytes += text.length;
    this.flush();
  }

  fillLong(place: Place, parts: readonly Uint8Array[]): void {
    if (this.closed) return;
    place.parts = parts;
    this.largest = Math.max(
      this.largest,
      parts.reduce((sum, part) => sum + part.length, 0),
    );
    this.flush();
  }

  /** Sends what is ready, up to the first that is not. */
  private flush(): void {
    for (let place = this.queue[0]; place !== undefined && !this.closed; place = this.queue[0]) {
      if (place.parts !== null) {
        if (!this.writeParts(place.parts)) return;
      } else if (place.message !== null) {
        this.queuedBytes -= place.message.length;
        this.write(place.message);
      } else return;
      this.queue.shift();
    }
  }

  private write(message: Message): void {
    this.outgoing.push(message);
    this.outgoingSize += message.length;
    if (this.outgoingSize >= AHEAD_BYTES) this.writeOut();
    else if (this.outgoing.length === 1) queueMicrotask(() => this.writeOut());
  }

  /** True when all is written; else `flush` comes again when the system has taken some. */
  private writeParts(parts: readonly Uint8Array[]): boolean {
    this.writeOut();
    while (this.sentParts < parts.length && !this.closed) {
      if (this.rpc.backlog >= AHEAD_BYTES) return false;
      this.rpc.sendBytes(parts[this.sentParts++]!);
    }
    this.sentParts = 0;
    return true;
  }

  /** Gives what was to be sent to the system now. */
  writeOut(): void {
    if (this.closed || this.outgoing.length === 0) return;
    const bytes = joined(this.outgoing);
    this.outgoing = [];
    this.outgoingSize = 0;
    this.rpc.sendBytes(bytes);
    this.checkBacklog();
  }

  private checkBacklog(): void {
    const bytes = this.rpc.backlog + this.queuedBytes;
    if (bytes > this.maxBacklog + this.largest) this.onOverflow(bytes);
  }

  close(): void {
    this.closed = true;
    this.queue.length = 0;
    this.outgoing = [];
  }
}

function joined(messages: readonly Message[]): Uint8Array {
  const [first] = messages;
  if (messages.length === 1 && typeof first !== 'string') return first!;
  if (messages.every((message) => typeof message === 'string')) return Buffer.from(messages.join(''));
  return Buffer.concat(messages.map((message) => (typeof message === 'string' ? Buffer.from(message) : message)));
}
