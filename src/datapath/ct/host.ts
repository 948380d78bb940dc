/**
 * The main thread's side of connection tracking: it makes the table, hands out memory ahead of need, lets connections go when
 * their time is over, and looks at, counts and removes them for whoever asks.
 */
import type { Arena } from '../../base/arena.ts';
import { clock } from '../../base/clock.ts';
import {
  E_EXPIRES,
  E_HELPER,
  E_KIND,
  E_LABEL,
  E_MARK,
  E_NEXT,
  E_STATE,
  ENTRY_BYTES,
  ENTRY_WORDS,
  KIND_EXPECTED,
  kindIsV6,
  kindProto,
  kindZone,
  PROTO,
  portDst,
  portSrc,
  T_DST,
  T_KIND,
  T_PORTS,
  T_SRC,
} from './entry.ts';
import { lock, unlock } from './lock.ts';
import { CT, CT_WORDS, makeCtTable, PARTITIONS, partitionOf, WHEEL_SLOTS, ZONES } from './table.ts';

export interface CtTuple {
  /** 4 or 16 bytes. */
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly srcPort: number;
  readonly dstPort: number;
  /** Only of ICMP. */
  readonly icmp: { readonly id: number; readonly type: number; readonly code: number } | null;
}

/** A connection, as it was when it was looked at. */
export interface CtConnection {
  readonly zone: number;
  readonly proto: number;
  readonly original: CtTuple;
  readonly reply: CtTuple;
  readonly mark: number;
  readonly label: Uint8Array;
  /** Places in `TCP_STATES` of the peer that began and of the other; null when it is not TCP. */
  readonly tcp: readonly [number, number] | null;
  /** The peers' window scales as the entry has them: `SCALE_SEEN` and the scale, `SCALE_UNKNOWN`, or 0. */
  readonly scales: readonly [number, number];
  readonly expiresInMs: number;
  readonly helper: number;
}

/** The original's. */
const DEFAULT_MAX = 3_000_000;
const SWEEP_MS = 500;
/** Entries looked at under one lock. */
const SLICE = 64;
/** Slices of one turn of the event loop. */
const SLICES = 64;

export class Conntrack {
  /** Word index of the control block: what a PMD needs. */
  readonly at: number;
  private readonly arena: Arena;
  private readonly now: () => number;
  private readonly table: ReturnType<typeof makeCtTable>;
  /** Float64 index of our own clock. */
  private readonly clockAt: number;
  private readonly tuple: number;
  private readonly regions: { readonly at: number; readonly bytes: number }[] = [];
  /** Word ranges of entries. */
  private readonly extents: { readonly first: number; readonly end: number }[] = [];
  private readonly maxExtent: number;
  private nextExtent: number;
  /** The second up to which each partition's wheel has been looked at. */
  private readonly swept = new Float64Array(PARTITIONS);
  private readonly timer: Disposable;
  private isClosed = false;
  private readonly limitedZones = new Set<number>();

  /** `now`: milliseconds of the clock that the PMDs have. */
  constructor(arena: Arena, now: () => number = () => clock.nowMs()) {
    this.arena = arena;
    this.now = now;
    const { i32 } = arena;
    const isLarge = arena.size >= 256 << 20;
    const buckets = isLarge ? 1 << 17 : 1 << 11;
    this.nextExtent = isLarge ? 8192 : 1024;
    this.maxExtent = isLarge ? 65536 : 8192;
    this.at = this.region(CT_WORDS * 4) >> 2;
    i32[this.at + CT.MAX] = DEFAULT_MAX;
    i32[this.at + CT.BUCKETS] = this.region(buckets * PARTITIONS * 4) >> 2;
    i32[this.at + CT.BUCKET_MASK] = buckets - 1;
    i32[this.at + CT.WHEELS] = this.region(WHEEL_SLOTS * PARTITIONS * 4) >> 2;
    const zones = this.region(ZONES * 8) >> 2;
    i32[this.at + CT.ZONES] = zones;
    for (let z = 0; z < ZONES; z++) i32[zones + z * 2] = -1;
    const own = this.region(128);
    this.clockAt = own >> 3;
    this.tuple = (own >> 2) + 2;
    this.table = makeCtTable(arena, this.at);
    const [fresh, freshEnd] = this.extent() ?? [0, 0];
    i32[this.at + CT.FRESH] = fresh;
    i32[this.at + CT.FRESH_END] = freshEnd;
    i32[this.at + CT.WANTS] = 1;
    this.supply();
    this.swept.fill(Math.floor(now() / 1000) - 1);
    this.timer = clock.setInterval(() => this.sweepSome(), SWEEP_MS, { keepAlive: false });
    this.listen();
  }

  private region(bytes: number, align = 64): number {
    const at = this.arena.alloc(bytes, align);
    if (at < 0) throw new Error('out of packet memory');
    this.regions.push({ at, bytes });
    return at;
  }

  /** Memory for more entries: first and end word; null when the arena is full. */
  private extent(): [number, number] | null {
    for (let entries = this.nextExtent; entries >= 64; entries >>= 1) {
      const bytes = entries * ENTRY_BYTES;
      const at = this.arena.alloc(bytes, ENTRY_BYTES);
      if (at < 0) continue;
      this.regions.push({ at, bytes });
      this.nextExtent = Math.min(entries * 2, this.maxExtent);
      const first = at >> 2;
      this.extents.push({ first, end: first + entries * ENTRY_WORDS });
      return [first, first + entries * ENTRY_WORDS];
    }
    return null;
  }

  /** Puts the next extent in its place if the last one was taken. */
  supply(): void {
    const { i32 } = this.arena;
    if (this.isClosed || Atomics.load(i32, this.at + CT.WANTS) === 0) return;
    Atomics.store(i32, this.at + CT.WANTS, 0);
    const next = this.extent();
    if (next === null) return;
    const pool = this.at + CT.POOL_LOCK;
    lock(i32, pool);
    i32[this.at + CT.NEXT_END] = next[1];
    i32[this.at + CT.NEXT] = next[0];
    unlock(i32, pool);
  }

  private listen(): void {
    if (this.isClosed) return;
    this.supply();
    const wait = Atomics.waitAsync(this.arena.i32, this.at + CT.WANTS, 0);
    if (wait.async) void wait.value.then(() => this.listen());
    else setImmediate(() => this.listen());
  }

  /** PMDs were ended, perhaps while they held locks: nothing of what they had in hand can be trusted. */
  recover(): void {
    const { i32 } = this.arena;
    let wasHeld = i32[this.at + CT.POOL_LOCK] !== 0;
    for (let p = 0; p < PARTITIONS; p++) wasHeld ||= i32[this.at + CT.LOCKS + p * 16] !== 0;
    if (!wasHeld) return;
    i32[this.at + CT.POOL_LOCK] = 0;
    for (let p = 0; p < PARTITIONS; p++) i32[this.at + CT.LOCKS + p * 16] = 0;
    const zones = i32[this.at + CT.ZONES];
    i32.fill(
      0,
      i32[this.at + CT.BUCKETS],
      i32[this.at + CT.BUCKETS] + (i32[this.at + CT.BUCKET_MASK] + 1) * PARTITIONS,
    );
    i32.fill(0, i32[this.at + CT.WHEELS], i32[this.at + CT.WHEELS] + WHEEL_SLOTS * PARTITIONS);
    for (let z = 0; z < ZONES; z++) i32[zones + z * 2 + 1] = 0;
    i32[this.at + CT.COUNT] = 0;
    i32[this.at + CT.EXPECTED] = 0;
    let free = 0;
    for (const { first, end } of this.extents)
      for (let e = first; e < end; e += ENTRY_WORDS) {
        i32[e + E_KIND] = 0;
        i32[e + E_NEXT] = free;
        free = e;
      }
    i32[this.at + CT.FREE] = free;
    i32[this.at + CT.FRESH] = 0;
    i32[this.at + CT.FRESH_END] = 0;
    i32[this.at + CT.NEXT] = 0;
    i32[this.at + CT.WANTS] = 1;
    this.supply();
  }

  // ---- time ----

  private sweepSome(): void {
    if (!this.isClosed && !this.sweep(SLICES)) setImmediate(() => this.sweepSome());
  }

  /** Removes what has expired, in at most `slices` slices; true when all of it is gone. */
  sweep(slices = Number.POSITIVE_INFINITY): boolean {
    const { i32, f64 } = this.arena;
    f64[this.clockAt] = this.now();
    const now = Math.floor(f64[this.clockAt] / 1000);
    let left = slices;
    for (let p = 0; p < PARTITIONS; p++) {
      // Nothing lies further ahead of where we were than half the wheel.
      const last = Math.min(now, this.swept[p] + WHEEL_SLOTS / 2);
      for (let second = this.swept[p] + 1; second <= last; second++) {
        for (let isDone = false; !isDone; ) {
          if (left-- <= 0) return false;
          const at = this.at + CT.LOCKS + p * 16;
          lock(i32, at);
          isDone = this.table.expire(p, second, SLICE, this.clockAt);
          unlock(i32, at);
        }
        this.swept[p] = second;
      }
      this.swept[p] = now;
    }
    return true;
  }

  // ---- connections ----

  get count(): number {
    this.sweep();
    return Atomics.load(this.arena.i32, this.at + CT.COUNT);
  }

  /** Calls `fn` for each connection; `remove` takes it out of the table. */
  private visit(fn: (e: number, remove: () => void) => void, zone: number | null): void {
    const { i32, f64 } = this.arena;
    f64[this.clockAt] = this.now();
    for (const { first, end } of this.extents) {
      for (let e = first; e < end; e += ENTRY_WORDS) {
        const seen = Atomics.load(i32, e + E_KIND);
        if (seen === 0 || (zone !== null && kindZone(seen) !== zone)) continue;
        const at = this.at + CT.LOCKS + partitionOf(kindZone(seen)) * 16;
        lock(i32, at);
        try {
          if (i32[e + E_KIND] === seen) fn(e, () => this.table.remove(e));
        } finally {
          unlock(i32, at);
        }
      }
    }
  }

  /** Those of a zone, or all, that are alive. */
  connections(zone: number | null = null): CtConnection[] {
    const { i32, f64 } = this.arena;
    const found: CtConnection[] = [];
    this.visit((e) => {
      if (!(i32[e + E_KIND] & KIND_EXPECTED) && f64[(e + E_EXPIRES) >> 1] > f64[this.clockAt]) found.push(this.read(e));
    }, zone);
    return found;
  }

  /** Removes those that `isWanted` says; returns how many. */
  flush(zone: number | null, isWanted: (c: CtConnection) => boolean = () => true): number {
    let n = 0;
    this.visit((e, remove) => {
      if (!isWanted(this.read(e))) return;
      if (!(this.arena.i32[e + E_KIND] & KIND_EXPECTED)) n++;
      remove();
    }, zone);
    return n;
  }

  private read(e: number): CtConnection {
    const { i32, u8, f64 } = this.arena;
    const kind = i32[e + E_KIND];
    const proto = kindProto(kind);
    const states = i32[e + E_STATE];
    return {
      zone: kindZone(kind),
      proto,
      original: this.readTuple(e, 0),
      reply: this.readTuple(e, 1),
      mark: new DataView(u8.buffer).getUint32((e + E_MARK) * 4),
      label: u8.slice((e + E_LABEL) * 4, (e + E_LABEL) * 4 + 16),
      tcp: proto === PROTO.TCP ? [states & 0xff, (states >> 8) & 0xff] : null,
      scales: [(states >> 16) & 0xff, states >>> 24],
      expiresInMs: f64[(e + E_EXPIRES) >> 1] - f64[this.clockAt],
      helper: i32[e + E_HELPER],
    };
  }

  private readTuple(e: number, direction: number): CtTuple {
    const { i32, u8 } = this.arena;
    const t = this.tuple;
    this.table.getTuple(e, direction, t);
    const kind = i32[t + T_KIND];
    const bytes = kindIsV6(kind) ? 16 : 4;
    const proto = kindProto(kind);
    const ports = i32[t + T_PORTS];
    const isIcmp = proto === PROTO.ICMP || proto === PROTO.ICMPV6;
    return {
      src: u8.slice((t + T_SRC) * 4, (t + T_SRC) * 4 + bytes),
      dst: u8.slice((t + T_DST) * 4, (t + T_DST) * 4 + bytes),
      srcPort: isIcmp ? 0 : portSrc(ports),
      dstPort: isIcmp ? 0 : portDst(ports),
      icmp: isIcmp ? { id: portSrc(ports), type: (ports >>> 16) & 0xff, code: ports >>> 24 } : null,
    };
  }

  // ---- settings ----

  get maxConnections(): number {
    return this.arena.i32[this.at + CT.MAX];
  }

  set maxConnections(n: number) {
    this.arena.i32[this.at + CT.MAX] = Math.min(n, 0x7fffffff);
  }

  get isSequenceChecked(): boolean {
    return this.arena.i32[this.at + CT.LIBERAL] === 0;
  }

  set isSequenceChecked(isOn: boolean) {
    this.arena.i32[this.at + CT.LIBERAL] = isOn ? 0 : 1;
  }

  get defaultLimit(): number {
    return this.arena.i32[this.at + CT.DEFAULT_LIMIT];
  }

  set defaultLimit(limit: number) {
    this.arena.i32[this.at + CT.DEFAULT_LIMIT] = Math.min(limit, 0x7fffffff);
  }

  /** A zone's own limit; null takes it away. 0 is none. */
  setZoneLimit(zone: number, limit: number | null): void {
    const at = this.arena.i32[this.at + CT.ZONES] + zone * 2;
    this.arena.i32[at] = limit === null ? -1 : Math.min(limit, 0x7fffffff);
    if (limit === null) this.limitedZones.delete(zone);
    else this.limitedZones.add(zone);
  }

  zoneLimit(zone: number): { readonly limit: number; readonly count: number } {
    const { i32 } = this.arena;
    const at = i32[this.at + CT.ZONES] + zone * 2;
    return { limit: i32[at] >= 0 ? i32[at] : this.defaultLimit, count: i32[at + 1] };
  }

  /** Zones with a limit of their own. */
  zonesWithLimit(): number[] {
    return [...this.limitedZones].sort((a, b) => a - b);
  }

  /** No PMD may use the table any more. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.timer[Symbol.dispose]();
    Atomics.notify(this.arena.i32, this.at + CT.WANTS);
    for (const { at, bytes } of this.regions) this.arena.free(at, bytes);
  }
}
