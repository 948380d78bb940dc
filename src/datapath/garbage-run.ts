/** The program of `garbage.test.ts`: forwards millions of packets and says how many bytes of heap that took. */
import type { CtAction, DpAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { byteSwap32 } from './extract.ts';
import { TestBed } from './testing.ts';

const ROUNDS = 10_000;

/** Which cache answers; `index` is for flows of many masks. */
type Cache = 'simple' | 'emc' | 'smc' | 'megaflow' | 'index';

/** One flow for all 64 kinds of packets, or, with the index, one for each, of eight masks. */
function install(bed: TestBed, cache: Cache, actions: readonly DpAction[]): void {
  for (let x = 0; x < (cache === 'index' ? 64 : 1); x++) {
    const key = new FlowKey();
    const mask = new FlowKey();
    key.w[0] = byteSwap32(1);
    mask.w[0] = -1;
    if (cache !== 'simple') {
      key.set8(OFS.ip_proto, 17);
      mask.set8(OFS.ip_proto, 0xff);
    }
    if (cache === 'index') {
      key.set16(OFS.tp_src, x);
      mask.set16(OFS.tp_src, 0xffff);
      mask.set16(OFS.eth_src + 2, x & 7);
    }
    bed.flow(key, mask, actions);
  }
}

function measure(cache: Cache, actions: readonly DpAction[]): { packets: number; bytes: number } {
  const bed = new TestBed(64);
  const { pmd, arena, pool } = bed;
  bed.hasRealClock = true;
  const { u8, i32 } = arena;
  const template = Uint8Array.from([
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0x66, 0xbd, 10, 0, 0, 1, 10, 0, 0, 2,
    0, 1, 0, 2, 0, 26,
  ]);
  let packets = 0;
  const port = {
    name: 'p1',
    nRxq: 1,
    statsAt: 0,
    rxFds: () => [],
    rx(_q: number, frames: Int32Array, max: number): number {
      for (let i = 0; i < max; i++) {
        const frame = pool.take();
        for (let b = 0; b < template.length; b++) u8[frame + 258 + b] = template[b];
        u8[frame + 258 + 35] = packets & 63;
        i32[frame >> 2] = 60;
        i32[(frame >> 2) + 1] = frame + 258;
        frames[i] = frame;
        packets++;
      }
      return max;
    },
    tx(frames: Int32Array, n: number): void {
      for (let i = 0; i < n; i++) pool.put(frames[i]);
    },
    flush(): void {},
    close(): void {},
  };
  pmd.addPort(1, port);
  pmd.setEmcInsertInverseProbability(cache === 'emc' ? 1 : 0);
  pmd.setSmc(cache === 'smc');
  install(bed, cache, actions);
  for (let i = 0; i < 2 * ROUNDS; i++) pmd.run();
  // `--expose-gc` is on the command line that starts this.
  (globalThis as unknown as { gc(): void }).gc();
  // The engine itself allocates now and then (it compiles on, in the background); so a few looks, until one is clean.
  let bytes = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 12 && !(bytes < ROUNDS / 10); look++) {
    packets = 0;
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < ROUNDS; i++) pmd.run();
    bytes = Math.min(bytes, Math.abs(process.memoryUsage().heapUsed - before));
  }
  return { packets, bytes };
}

export function garbageRun(): Record<string, { packets: number; bytes: number }> {
  const key = new FlowKey();
  const mask = new FlowKey();
  key.set32(OFS.ip_dst, 0x0a000003);
  mask.set32(OFS.ip_dst, 0xffffffff);
  const ct: CtAction = {
    commit: true,
    force: false,
    zone: 1,
    mark: { value: 1, mask: 1 },
    label: null,
    helper: null,
    timeout: null,
    nat: {
      type: 'src',
      addrMin: Uint8Array.from([10, 0, 0, 9]),
      addrMax: null,
      portMin: 0,
      portMax: 0,
      persistent: false,
      hash: false,
      random: false,
    },
  };
  return {
    simple: measure('simple', [{ kind: 'output', port: 1 }]),
    emc: measure('emc', [{ kind: 'output', port: 1 }]),
    smc: measure('smc', [{ kind: 'output', port: 1 }]),
    megaflow: measure('megaflow', [{ kind: 'output', port: 1 }]),
    index: measure('index', [{ kind: 'output', port: 1 }]),
    actions: measure('emc', [
      { kind: 'set', header: 'ipv4', key, mask },
      { kind: 'push_vlan', tpid: 0x8100, tci: 0x1001 },
      { kind: 'output', port: 1 },
      { kind: 'pop_vlan' },
      { kind: 'output', port: 1 },
    ]),
    conntrack: measure('emc', [
      { kind: 'ct', ct },
      { kind: 'output', port: 1 },
    ]),
  };
}
