/**
 * Carries out datapath actions on one packet outside of any PMD, by the same interpreter: for whoever changes a packet by
 * hand and wants its lengths and checksums to be right.
 */
import { Arena } from '../base/arena.ts';
import type { DpAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { DP_WORDS } from '../flow/layout.ts';
import { FRAME_DATA, FRAME_HEADROOM, FRAME_LEN, FRAME_SIZE, FramePool } from '../packet/frame.ts';
import { makeActionRunner } from './actions.ts';
import { encodeActions } from './actions-code.ts';
import { BATCH_BYTES } from './batch.ts';
import { makeExtractor } from './extract.ts';
import { clearShape, copyShape, SHAPE_METADATA, shapeOf } from './shape.ts';

export interface Edited {
  readonly packet: Uint8Array;
  /** What the packet is now, with its metadata. */
  readonly key: FlowKey;
}

const MAX_ACTION_WORDS = 4096;

/** `actions` change the packet and do nothing else with it. `key` has its metadata. Null: it is longer than a frame. */
export function editPacket(packet: Uint8Array, key: FlowKey, actions: readonly DpAction[]): Edited | null {
  if (packet.length > FRAME_SIZE - FRAME_HEADROOM) return null;
  const bytes = (BATCH_BYTES + MAX_ACTION_WORDS * 4) * 2 + FRAME_SIZE * 4;
  const arena = new Arena(Math.max(bytes, 1 << 18));
  const { i32, u8 } = arena;
  const alloc = (size: number): number => arena.alloc(size);
  const pool = new FramePool(arena, arena.alloc(FRAME_SIZE, FRAME_SIZE), 1, 1);
  const extractor = makeExtractor(arena);
  let out: Uint8Array | null = null;
  const runner = makeActionRunner({
    arena,
    alloc,
    pool,
    extractor,
    conntrackAt: 0,
    clockAt: 0,
    send(_port, frame) {
      const p = i32[(frame >> 2) + FRAME_DATA];
      out = u8.slice(p, p + i32[(frame >> 2) + FRAME_LEN]);
    },
    drop() {},
    countDrop() {},
    upcall() {},
    process() {},
    countRecirculated() {},
  });
  const b = runner.batch(0);
  const frame = pool.take();
  i32[(frame >> 2) + FRAME_LEN] = packet.length;
  i32[(frame >> 2) + FRAME_DATA] = frame + FRAME_HEADROOM;
  u8.set(packet, frame + FRAME_HEADROOM);
  const load = (from: Int32Array): void => {
    const at = arena.alloc(DP_WORDS * 4) >> 2;
    i32.set(from.subarray(0, DP_WORDS), at);
    const shape = shapeOf(i32, at) & SHAPE_METADATA;
    clearShape(i32, b.slots, b.shape[0]);
    i32[b.slots] = i32[at];
    copyShape(i32, at, b.slots, shape);
    b.shape[0] = shape;
    b.frames[0] = frame;
    extractor.again(b, 0);
  };
  load(key.w);
  const code = encodeActions([...actions, { kind: 'output', port: 0 }], { add: () => 0 });
  const at = arena.alloc(code.length * 4) >> 2;
  i32.set(code, at);
  runner.exec(b, b.list, 1, at, at + code.length, 0);
  // The slot has the packet's metadata still; what its headers are by now is read anew.
  const metadata = i32.slice(b.slots, b.slots + DP_WORDS);
  if (out === null) return null;
  load(metadata);
  const now = new FlowKey();
  now.w.set(i32.subarray(b.slots, b.slots + DP_WORDS));
  return { packet: out, key: now };
}
