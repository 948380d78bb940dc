/** EMC, signature match cache and simple match beside a PMD that has only megaflows: the same packets, flows and counters. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { DpAction } from '../flow/dp-actions.ts';
import { extractFlow } from '../flow/extract.ts';
import { FlowKey } from '../flow/key.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import { arbitraryPacket } from './arbitrary.ts';
import { CMD } from './commands.ts';
import { byteSwap32 } from './extract.ts';
import { FLOW_BYTES, FLOW_PACKETS, FLOW_TCP_FLAGS } from './flow-entry.ts';
import { PMD_STAT } from './pmd-stats.ts';
import { TestBed, TestPort } from './testing.ts';

class Side {
  readonly bed = new TestBed(48);
  readonly ports = [1, 2, 3].map((no) => {
    const port = new TestPort(`p${no}`, this.bed);
    this.bed.pmd.addPort(no, port);
    return port;
  });

  send(packets: readonly Uint8Array[]): string[] {
    this.ports[0].input.push(...packets);
    while (this.ports[0].input.length > 0) this.bed.pmd.run();
    this.bed.pmd.run();
    return this.ports.flatMap((port, i) => {
      const sent = port.output.map((p) => `${i + 1}: ${Buffer.from(p).toString('hex')}`);
      port.output.length = 0;
      return sent.sort();
    });
  }

  counters(flow: number): number[] {
    const { f64, i32 } = this.bed.arena;
    return [f64[(flow + FLOW_PACKETS) >> 1], f64[(flow + FLOW_BYTES) >> 1], i32[flow + FLOW_TCP_FLAGS]];
  }

  /** Upcalls nobody asked for. */
  forget(): void {
    while (this.bed.upcalls.peek() >= 0) this.bed.upcalls.release();
  }
}

const ACTIONS: readonly (readonly DpAction[])[] = [
  [{ kind: 'output', port: 2 }],
  [{ kind: 'output', port: 3 }],
  [{ kind: 'output', port: 99 }],
  [
    { kind: 'push_vlan', tpid: 0x8100, tci: 0x1005 },
    { kind: 'output', port: 2 },
  ],
  [],
];

const SIMPLE: readonly (readonly [number, number])[] = [
  [OFS.vlan_tpid >> 2, -1],
  [OFS.vlan_tpid >> 2, 0x10ffff],
  [OFS.eth_type >> 2, -1],
  [OFS.ip_proto >> 2, 0xff000000 | 0],
];
const ANY: readonly (readonly [number, number])[] = [
  ...SIMPLE,
  [OFS.ip_src >> 2, -1],
  [OFS.ip_dst >> 2, 0xffff],
  [OFS.tp_src >> 2, -1],
  [OFS.eth_dst >> 2, -1],
  [OFS.tcp_flags >> 2, 0xffff],
  [OFS.ipv6_src >> 2, -1],
  [OFS.mpls_lse0 >> 2, -1],
  [OFS.vlan2_tpid >> 2, -1],
];

type Step = readonly ['send', readonly number[]] | readonly ['put' | 'delete', number, number];

/** All flows of a run have one mask, so they never overlap. */
function compare(name: string, words: typeof ANY, prepare: (fast: Side, plain: Side) => void, stat: number): void {
  it(name, () => {
    const fast = new Side();
    const plain = new Side();
    prepare(fast, plain);
    plain.bed.pmd.setEmcInsertInverseProbability(0);
    const step: fc.Arbitrary<Step> = fc.oneof(
      { weight: 3, arbitrary: fc.tuple(fc.constant('send' as const), fc.array(fc.nat(5), { maxLength: 40 })) },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom('put' as const, 'delete' as const), fc.nat(5), fc.nat(4)) },
    );
    const run = fc.tuple(
      fc.array(arbitraryPacket, { minLength: 6, maxLength: 6 }),
      fc.subarray(words as (typeof ANY)[number][]),
      fc.array(step, { minLength: 4, maxLength: 12 }),
    );
    fc.assert(
      fc.property(run, ([packets, used, steps]) => {
        const mask = new FlowKey();
        mask.w[0] = -1;
        mask.w[1] = -1;
        for (const [w, bits] of used) mask.w[w] |= bits;
        const flows = new Map<string, readonly [number, number]>();
        for (const [what, which, action] of [...[0, 1, 2].map((i) => ['put', i, i] as const), ...steps]) {
          if (what === 'send') {
            const some = which.map((i) => packets[i]);
            assert.deepEqual(fast.send(some), plain.send(some));
          } else {
            const key = new FlowKey();
            extractFlow(packets[which], key, 2);
            key.w[0] = byteSwap32(1);
            for (let w = 0; w < DP_WORDS; w++) key.w[w] &= mask.w[w];
            const place = key.w.join();
            const entries = flows.get(place);
            if (what === 'delete' && entries) {
              fast.bed.command(CMD.FLOW_DEL, entries[0]);
              plain.bed.command(CMD.FLOW_DEL, entries[1]);
              flows.delete(place);
            } else if (what === 'put' && !entries)
              flows.set(place, [fast.bed.flow(key, mask, ACTIONS[action]), plain.bed.flow(key, mask, ACTIONS[action])]);
          }
          for (const [a, b] of flows.values()) assert.deepEqual(fast.counters(a), plain.counters(b));
          assert.equal(fast.bed.stat(PMD_STAT.MISS), plain.bed.stat(PMD_STAT.MISS));
        }
        for (const [a, b] of flows.values()) {
          fast.bed.command(CMD.FLOW_DEL, a);
          plain.bed.command(CMD.FLOW_DEL, b);
        }
        fast.forget();
        plain.forget();
      }),
      { numRuns: 250 },
    );
    assert.ok(fast.bed.stat(stat) > 300, `${fast.bed.stat(stat)} hits`);
    assert.equal(fast.bed.pool.available, plain.bed.pool.available);
  });
}

/** A flow that nothing matches, and that looks at more than simple match can. */
function demand(side: Side): void {
  const key = new FlowKey();
  const mask = new FlowKey();
  key.w[0] = byteSwap32(1);
  mask.w[0] = -1;
  key.set32(OFS.recirc_id, 0x7777);
  mask.set32(OFS.recirc_id, 0xffffffff);
  mask.set16(OFS.tp_src, 0xffff);
  side.bed.flow(key, mask, []);
}

describe('caches send what megaflows alone send', () => {
  compare(
    'EMC',
    ANY,
    (fast, plain) => {
      fast.bed.pmd.setEmcInsertInverseProbability(1);
      for (const side of [fast, plain]) demand(side);
    },
    PMD_STAT.EMC_HIT,
  );
  compare(
    'signature match cache',
    ANY,
    (fast, plain) => {
      fast.bed.pmd.setEmcInsertInverseProbability(0);
      fast.bed.pmd.setSmc(true);
      for (const side of [fast, plain]) demand(side);
    },
    PMD_STAT.SMC_HIT,
  );
  compare('simple match', SIMPLE, (_, plain) => demand(plain), PMD_STAT.SIMPLE_HIT);
});

const udp = (dst: number): Uint8Array =>
  Uint8Array.from([
    ...[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, dst],
    ...[0, 1, 0, 2, 0, 26, 0, 0],
    ...new Array(18).fill(0),
  ]);

describe('caches', () => {
  it('simple match serves a port as long as none of its flows looks closer', () => {
    const { bed, ports, send } = new Side();
    const side = { bed, ports };
    const key = new FlowKey();
    const mask = new FlowKey();
    key.w[0] = byteSwap32(1);
    mask.w[0] = -1;
    bed.flow(key, mask, [{ kind: 'output', port: 2 }]);
    send.call(side, [udp(1), udp(2)]);
    send.call(side, [udp(3), udp(4)]);
    assert.equal(bed.stat(PMD_STAT.MEGAFLOW_HIT), 2);
    assert.equal(bed.stat(PMD_STAT.SIMPLE_HIT), 2);
    key.set32(OFS.ip_dst, 0x0a000001);
    mask.set32(OFS.ip_dst, 0xffffffff);
    key.set32(OFS.recirc_id, 1);
    mask.set32(OFS.recirc_id, 0xffffffff);
    const closer = bed.flow(key, mask, []);
    send.call(side, [udp(3)]);
    assert.equal(bed.stat(PMD_STAT.SIMPLE_HIT), 2);
    bed.command(CMD.FLOW_DEL, closer);
    send.call(side, [udp(3)]);
    assert.equal(bed.stat(PMD_STAT.SIMPLE_HIT), 3);
  });

  it('rests the EMC while it finds next to nothing, and comes back to it', () => {
    const side = new Side();
    const { bed } = side;
    bed.pmd.setEmcInsertInverseProbability(0xffffffff);
    const key = new FlowKey();
    const mask = new FlowKey();
    key.w[0] = byteSwap32(1);
    mask.w[0] = -1;
    mask.set16(OFS.tp_dst, 0xffff);
    key.set16(OFS.tp_dst, 2);
    bed.flow(key, mask, [{ kind: 'output', port: 2 }]);
    const burst = Array.from({ length: 32 }, (_, i) => udp(i));
    for (let i = 0; i < 200; i++) side.send(burst);
    assert.equal(bed.stat(PMD_STAT.EMC_HIT), 0);
    bed.pmd.setEmcInsertInverseProbability(1);
    for (let i = 0; i < 3000; i++) side.send(burst);
    assert.ok(bed.stat(PMD_STAT.EMC_HIT) > 32 * 500);
  });
});
