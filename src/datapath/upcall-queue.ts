/**
 * The way up, shared by all ports of a PMD so that none can keep another's first packets waiting.
 *
 * There are two rings. A port that has little on its way goes up by the short one, which the main thread always empties
 * first; one that floods goes by the long one, and there it may take no more room than is left free, so that another always
 * finds some. A port comes back to the short ring when nothing of it is left in the long one: its packets stay in order.
 *
 * What of each port is on its way stands in the arena: the PMD adds, the main thread subtracts.
 */
import type { ArenaViews } from '../base/arena.ts';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import { UPCALL_KEY, UPCALL_PACKET } from './commands.ts';
import { byteSwap32 } from './extract.ts';

/** Ports are told apart by the low bits of their number. */
const PORTS = 1024;
/** Records that a port may have in the short ring. */
const FEW = 32;
const FEW_AT = 0;
const LONG_AT = PORTS;
/** Words of all ports in the long ring. */
const TOTAL_AT = 2 * PORTS;
const COUNTS_BYTES = (2 * PORTS + 16) * 4;
const SHORT_SHIFT = 3;

/** Where the queue's parts are: byte offsets in the arena. */
export interface UpcallPlaces {
  readonly longAt: number;
  readonly shortAt: number;
  readonly countsAt: number;
  readonly words: number;
}

const shortWords = (words: number): number => words >> SHORT_SHIFT;

/** `words` is a power of two. */
export function allocUpcalls(alloc: (bytes: number) => number, words: number): UpcallPlaces {
  return {
    longAt: alloc(ringBytes(words)),
    shortAt: alloc(ringBytes(shortWords(words))),
    countsAt: alloc(COUNTS_BYTES),
    words,
  };
}

export function freeUpcalls(free: (at: number, bytes: number) => void, places: UpcallPlaces): void {
  free(places.longAt, ringBytes(places.words));
  free(places.shortAt, ringBytes(shortWords(places.words)));
  free(places.countsAt, COUNTS_BYTES);
}

/** The PMD's end. */
export class UpcallProducer {
  private readonly i32: Int32Array;
  private readonly long: RecordRing;
  private readonly short: RecordRing;
  private readonly counts: number;
  private readonly capacity: number;
  private port = 0;
  private words = 0;
  private isShort = false;

  constructor(views: ArenaViews, places: UpcallPlaces) {
    this.i32 = views.i32;
    this.long = new RecordRing(views, places.longAt, places.words, 'producer');
    this.short = new RecordRing(views, places.shortAt, shortWords(places.words), 'producer');
    this.counts = places.countsAt >> 2;
    this.capacity = places.words;
  }

  /** Word index of room for a record of `words` from port `port`, or -1 when it has none. Follow with `commit`. */
  reserve(port: number, words: number): number {
    const { i32, counts } = this;
    this.port = port & (PORTS - 1);
    this.words = words;
    const inLong = Atomics.load(i32, counts + LONG_AT + this.port);
    if (inLong === 0 && Atomics.load(i32, counts + FEW_AT + this.port) < FEW) {
      const at = this.short.reserve(words);
      if (at >= 0) {
        this.isShort = true;
        return at;
      }
    }
    this.isShort = false;
    if (inLong + words > this.capacity - Atomics.load(i32, counts + TOTAL_AT)) return -1;
    return this.long.reserve(words);
  }

  commit(): void {
    const { i32, counts } = this;
    // Counted before it can be seen: who takes it subtracts.
    if (this.isShort) {
      Atomics.add(i32, counts + FEW_AT + this.port, 1);
      this.short.commit();
      return;
    }
    Atomics.add(i32, counts + LONG_AT + this.port, this.words);
    Atomics.add(i32, counts + TOTAL_AT, this.words);
    this.long.commit();
  }
}

/** The main thread's end: a ring of records to whoever uses it. */
export class UpcallConsumer {
  private readonly i32: Int32Array;
  private readonly long: RecordRing;
  private readonly short: RecordRing;
  private readonly counts: number;
  /** Of the short ring, when the next record of the long one was first seen: what is before it goes first. */
  private mark = 0;
  private hasMark = false;
  private at = -1;
  private isLong = false;

  constructor(views: ArenaViews, places: UpcallPlaces) {
    this.i32 = views.i32;
    this.long = new RecordRing(views, places.longAt, places.words, 'consumer');
    this.short = new RecordRing(views, places.shortAt, shortWords(places.words), 'consumer');
    this.counts = places.countsAt >> 2;
  }

  /** Word index of the next record, or -1. It stays valid until `release`. */
  peek(): number {
    const next = this.long.peek();
    if (next >= 0 && !this.hasMark) {
      this.mark = this.short.mark();
      this.hasMark = true;
    }
    this.isLong = next >= 0 && !this.short.isBefore(this.mark);
    this.at = this.isLong ? next : this.short.peek();
    return this.at;
  }

  release(): void {
    const { i32, counts, at } = this;
    const port = byteSwap32(i32[at + UPCALL_KEY]) & (PORTS - 1);
    if (!this.isLong) {
      this.short.release();
      Atomics.sub(i32, counts + FEW_AT + port, 1);
      return;
    }
    const words = UPCALL_PACKET + ((i32[at + 2] + 3) >> 2);
    this.hasMark = false;
    this.long.release();
    Atomics.sub(i32, counts + LONG_AT + port, words);
    Atomics.sub(i32, counts + TOTAL_AT, words);
  }
}
