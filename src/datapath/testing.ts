/** A PMD with its memory, for tests and benchmarks: no thread, no slow path, just the fast path and its rings. */
import { Arena } from '../base/arena.ts';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import type { DpAction } from '../flow/dp-actions.ts';
import type { FlowKey, FlowMask } from '../flow/key.ts';
import { DP_WORDS } from '../flow/layout.ts';
import type { NetdevPort } from '../netdev/netdev.ts';
import { FRAME_SIZE, FramePool } from '../packet/frame.ts';
import { encodeActions, OP, type TunnelFacts } from './actions-code.ts';
import { CMD, CONTROL_WORDS } from './commands.ts';
import { Conntrack } from './ct/host.ts';
import { byteSwap32 } from './extract.ts';
import {
  FLOW_ACTIONS,
  FLOW_ACTIONS_END,
  FLOW_ID,
  FLOW_IN_PORT,
  FLOW_KEY,
  FLOW_N_WORDS,
  FLOW_OUT,
  FLOW_SUBTABLE,
} from './flow-entry.ts';
import { maskWords } from './mask.ts';
import { makePmd, type Pmd } from './pmd.ts';
import { PMD_STATS } from './pmd-stats.ts';
import { SCRATCH_BYTES } from './scratch.ts';
import { allocUpcalls, UpcallConsumer, UpcallProducer } from './upcall-queue.ts';

const RING_WORDS = 1 << 16;

export class TestBed {
  readonly arena: Arena;
  readonly pool: FramePool;
  readonly pmd: Pmd;
  readonly conntrack: Conntrack;
  readonly statsAt: number;
  readonly commands: RecordRing;
  readonly upcalls: UpcallConsumer;
  nowMs = 1000;
  /** Time as it is, instead of `nowMs`. */
  hasRealClock = false;
  private readonly masks = new Map<string, number>();
  private nFlows = 0;
  tunnels: TunnelFacts | undefined;

  constructor(megabytes = 64, frames = 2048) {
    const arena = new Arena(megabytes << 20);
    this.arena = arena;
    this.pool = new FramePool(arena, arena.alloc(frames * FRAME_SIZE, FRAME_SIZE), frames, frames * 2);
    const commandsAt = arena.alloc(ringBytes(RING_WORDS));
    const upcallPlaces = allocUpcalls((bytes) => arena.alloc(bytes), RING_WORDS);
    this.commands = new RecordRing(arena, commandsAt, RING_WORDS, 'producer');
    this.upcalls = new UpcallConsumer(arena, upcallPlaces);
    this.statsAt = arena.alloc(PMD_STATS * 8) >> 3;
    this.conntrack = new Conntrack(arena, () => (this.hasRealClock ? performance.now() : this.nowMs));
    this.pmd = makePmd({
      arena,
      pool: this.pool,
      commands: new RecordRing(arena, commandsAt, RING_WORDS, 'consumer'),
      upcalls: new UpcallProducer(arena, upcallPlaces),
      controlAt: arena.alloc(CONTROL_WORDS * 4) >> 2,
      statsAt: this.statsAt,
      scratchAt: arena.alloc(SCRATCH_BYTES),
      conntrackAt: this.conntrack.at,
      readClock: (f64, at) => {
        f64[at] = this.hasRealClock ? performance.now() : this.nowMs;
      },
      onControl: () => {},
    });
  }

  stat(index: number): number {
    return this.arena.f64[this.statsAt + index];
  }

  command(...words: number[]): void {
    const at = this.commands.reserve(words.length);
    if (at < 0) throw new Error('command ring is full');
    this.arena.i32.set(words, at);
    this.commands.commit();
    this.pmd.runCommands();
  }

  private words(values: ArrayLike<number>): number {
    const at = this.arena.alloc(values.length * 4);
    if (at < 0) throw new Error('arena is full');
    this.arena.i32.set(values, at >> 2);
    return at >> 2;
  }

  /** Puts actions where the fast path can run them: `[first word, end word]`. */
  actions(actions: readonly DpAction[]): readonly [number, number] {
    const code = encodeActions(actions, { add: () => 7, tunnels: this.tunnels });
    const at = this.words(code);
    return [at, at + code.length];
  }

  /** Installs a megaflow; returns its entry. */
  flow(key: FlowKey, mask: FlowMask, actions: readonly DpAction[]): number {
    const { i32 } = this.arena;
    const name = mask.w.subarray(0, DP_WORDS).join();
    let id = this.masks.get(name);
    if (id === undefined) {
      id = this.masks.size + 1;
      this.masks.set(name, id);
      this.command(CMD.MASK_ADD, id, this.words(mask.w.subarray(0, DP_WORDS)));
    }
    const used = maskWords(mask.w, 0);
    const flow = this.arena.alloc((FLOW_KEY + used.length) * 4) >> 2;
    const [first, end] = this.actions(actions);
    i32[flow + FLOW_ID] = ++this.nFlows;
    i32[flow + FLOW_ACTIONS] = first;
    i32[flow + FLOW_ACTIONS_END] = end;
    i32[flow + FLOW_OUT] = end - first === 2 && (i32[first] & 0xff) === OP.OUTPUT ? i32[first + 1] : -1;
    i32[flow + FLOW_IN_PORT] = byteSwap32(key.w[0]);
    i32[flow + FLOW_SUBTABLE] = id;
    i32[flow + FLOW_N_WORDS] = used.length;
    used.forEach((w, j) => {
      i32[flow + FLOW_KEY + j] = key.w[w] & mask.w[w];
    });
    this.command(CMD.FLOW_PUT, flow);
    return flow;
  }
}

/** A port that keeps what it is sent and receives what is put into `input`. */
export class TestPort implements NetdevPort {
  readonly name: string;
  readonly nRxq = 1;
  readonly statsAt = 0;
  readonly output: Uint8Array[] = [];
  readonly input: Uint8Array[] = [];
  private readonly bed: TestBed;

  constructor(name: string, bed: TestBed) {
    this.name = name;
    this.bed = bed;
  }

  rxFds(): readonly number[] {
    return [];
  }

  rx(_q: number, frames: Int32Array, max: number): number {
    let n = 0;
    while (n < max && this.input.length > 0) {
      const packet = this.input.shift()!;
      frames[n++] = putFrame(this.bed.arena, this.bed.pool, packet);
    }
    return n;
  }

  tx(frames: Int32Array, n: number): void {
    const { i32, u8 } = this.bed.arena;
    for (let i = 0; i < n; i++) {
      const f = frames[i] >> 2;
      this.output.push(u8.slice(i32[f + 1], i32[f + 1] + i32[f]));
      this.bed.pool.put(frames[i]);
    }
  }

  flush(): void {}
  close(): void {}
}

/** A frame with this packet in it, at the default place or `shift` bytes behind. */
export function putFrame(arena: Arena, pool: FramePool, packet: Uint8Array, shift = 0): number {
  const frame = pool.take();
  arena.i32[frame >> 2] = packet.length;
  arena.i32[(frame >> 2) + 1] = frame + 258 + shift;
  arena.u8.set(packet, frame + 258 + shift);
  return frame;
}
