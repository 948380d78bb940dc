import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { clock } from '../base/clock.ts';
import { buildBpdu, readBpdu } from '../packet/bpdu.ts';
import { Rstp } from './rstp.ts';

interface Link {
  readonly ends: readonly [bridge: number, port: number][];
}

/** Bridges joined by links; BPDUs arrive in the same instant, in order. */
class Network {
  readonly bridges: Rstp[];
  private readonly queue: (() => void)[] = [];

  constructor(priorities: readonly number[], links: readonly Link[]) {
    this.bridges = priorities.map(
      (priority, i) =>
        new Rstp(
          {
            priority,
            address: Uint8Array.of(2, 0, 0, 0, 0, i + 1),
            maxAge: 20,
            forwardDelay: 15,
            transmitHoldCount: 6,
            forceStp: false,
          },
          {
            send: (port, bpdu) => {
              const link = links.find(({ ends }) => ends.some(([b, p]) => b === i && p === port.ofport));
              for (const [b, p] of link?.ends ?? []) {
                if (b === i && p === port.ofport) continue;
                const heard = readBpdu(buildBpdu(new Uint8Array(6), bpdu));
                this.queue.push(() => this.bridges[b].receive(p, heard));
              }
            },
            stateChanged: () => {},
            flush: () => {},
          },
        ),
    );
    for (const { ends } of links)
      for (const [b, p] of ends)
        this.bridges[b].setPort(
          p,
          `p${p}`,
          { number: p, priority: 128, pathCost: 2000, adminEdge: false, autoEdge: true },
          true,
        );
    this.deliver();
  }

  private deliver(): void {
    for (let n = 0; this.queue.length > 0; n++) {
      assert.ok(n < 10_000, 'BPDUs without end');
      this.queue.shift()?.();
    }
  }

  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      await clock.warp(1000, 250);
      this.deliver();
    }
  }

  close(): void {
    for (const b of this.bridges) b.close();
  }
}

describe('RSTP', () => {
  beforeEach(() => clock.stop());
  afterEach(() => clock.resume());

  it('leaves one way between any two bridges, in whatever network', async () => {
    const network = fc.record({
      priorities: fc.array(fc.constantFrom(0x1000, 0x8000), { minLength: 2, maxLength: 5 }),
      pairs: fc.array(fc.tuple(fc.nat(4), fc.nat(4)), { minLength: 1, maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(network, async ({ priorities, pairs }) => {
        const n = priorities.length;
        const links = pairs
          .map(([a, b]): [number, number] => [a % n, b % n])
          .filter(([a, b]) => a !== b)
          .map(
            ([a, b], i): Link => ({
              ends: [
                [a, i + 1],
                [b, i + 1],
              ],
            }),
          );
        const net = new Network(priorities, links);
        await net.pass(60);
        const passes = (b: number, p: number): boolean => net.bridges[b].port(p)?.state === 'Forwarding';
        // As many bridges are connected by what forwards as by the links, and by exactly one way.
        const open = links.filter(({ ends }) => ends.every(([b, p]) => passes(b, p)));
        const parts = (list: readonly Link[]): number => {
          const group = priorities.map((_, i) => i);
          const find = (i: number): number => (group[i] === i ? i : find(group[i]));
          for (const { ends } of list) group[find(ends[0][0])] = find(ends[1][0]);
          return new Set(group.map((_, i) => find(i))).size;
        };
        assert.equal(parts(open), parts(links));
        assert.equal(open.length, n - parts(links));
        net.close();
      }),
      { numRuns: 40 },
    );
  });

  it('finds another way when a link goes', async () => {
    const links: Link[] = [
      {
        ends: [
          [0, 1],
          [1, 1],
        ],
      },
      {
        ends: [
          [0, 2],
          [1, 2],
        ],
      },
    ];
    const net = new Network([0x1000, 0x8000], links);
    await net.pass(40);
    const [, other] = net.bridges;
    assert.deepEqual(
      other.ports.map((p) => `${p.role} ${p.state}`),
      ['Root Forwarding', 'Alternate Discarding'],
    );
    other.setPort(1, 'p1', { number: 1, priority: 128, pathCost: 2000, adminEdge: false, autoEdge: true }, false);
    await net.pass(40);
    assert.deepEqual(
      other.ports.map((p) => `${p.role} ${p.state}`),
      ['Disabled Disabled', 'Root Forwarding'],
    );
    net.close();
  });
});
