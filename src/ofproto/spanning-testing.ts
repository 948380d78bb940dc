/** Bridges that span a tree, joined by links: what the tests of STP and of RSTP have in common. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { clock } from '../base/clock.ts';
import { type Bpdu, buildBpdu, readBpdu } from '../packet/bpdu.ts';

export interface Link {
  readonly ends: readonly [bridge: number, port: number][];
}

/** What both protocols are to a network. */
interface Spanner {
  receive(port: number, bpdu: Bpdu | null): void;
  close(): void;
}

/** What a bridge hands its BPDUs to. */
export interface Wires {
  send(port: { readonly ofport: number }, bpdu: Bpdu): void;
  stateChanged(): void;
  flush(): void;
}

export interface Makes<B> {
  bridge(priority: number, address: Uint8Array, wires: Wires): B;
  plug(bridge: B, port: number, isUp: boolean): void;
}

/** BPDUs arrive in the same instant, in order. */
export class Network<B extends Spanner> {
  readonly bridges: B[];
  private readonly queue: (() => void)[] = [];

  constructor(makes: Makes<B>, priorities: readonly number[], links: readonly Link[]) {
    this.bridges = priorities.map((priority, i) =>
      makes.bridge(priority, Uint8Array.of(2, 0, 0, 0, 0, i + 1), {
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
      }),
    );
    for (const { ends } of links) for (const [b, p] of ends) makes.plug(this.bridges[b], p, true);
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

/** Two bridges with two links between them. */
export const TWO_LINKS: readonly Link[] = [1, 2].map((p) => ({
  ends: [
    [0, p],
    [1, p],
  ],
}));

/** In random networks, after a while: as many bridges are connected by what forwards as by the links, and by exactly one way. */
export async function leavesOneWay<B extends Spanner>(
  makes: Makes<B>,
  passes: (bridge: B, port: number) => boolean,
): Promise<void> {
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
      const net = new Network(makes, priorities, links);
      await net.pass(60);
      const open = links.filter(({ ends }) => ends.every(([b, p]) => passes(net.bridges[b], p)));
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
}
