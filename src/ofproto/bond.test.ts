import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Bond, type BondMember } from './bond.ts';
import type { OfPort } from './ofport.ts';
import type { BondConfig } from './ofproto.ts';

const CONFIG: BondConfig = {
  mode: 'balance-slb',
  upDelayMs: 0,
  downDelayMs: 0,
  rebalanceIntervalMs: 1000,
  hashBasis: 0,
  primary: null,
  activeMac: null,
  allMembersActive: false,
  lacp: 'off',
  lacpFallback: false,
};

/** What a bond asks of a port. */
const port = (n: number): { mayEnable: boolean; name: string } & OfPort =>
  ({ name: `e${n}`, mayEnable: true, netdev: { mac: () => Uint8Array.of(2, 0, 0, 0, 0, n) } }) as never;

function bond(config: Partial<BondConfig> = {}) {
  const ports = [port(1), port(2), port(3)];
  let changes = 0;
  const b = new Bond('b', { ...CONFIG, ...config }, () => changes++);
  b.setPorts(ports);
  return { b, ports, changes: () => changes };
}

const names = (members: readonly BondMember[]) => members.map((m) => m.name);

describe('a bond', () => {
  it('keeps its active member while that is up, and tells of changes', () => {
    const { b, ports, changes } = bond({ mode: 'active-backup' });
    assert.equal(b.active?.name, 'e1');
    const before = changes();
    ports[0].mayEnable = false;
    b.run();
    assert.equal(b.active?.name, 'e2');
    assert.ok(changes() > before);
    ports[0].mayEnable = true;
    b.run();
    assert.equal(b.active?.name, 'e2');
    assert.equal(b.outputFor(17), ports[1]);
    assert.equal(b.admits(ports[1], false), 'yes');
    assert.equal(b.admits(ports[0], false), 'no');
    b.close();
  });

  it('prefers the primary, and remembers who was active', () => {
    assert.equal(bond({ primary: 'e3' }).b.active?.name, 'e3');
    assert.equal(bond({ activeMac: Uint8Array.of(2, 0, 0, 0, 0, 2) }).b.active?.name, 'e2');
  });

  it('waits before it uses a link, and before it gives one up', () => {
    const { b, ports } = bond({ upDelayMs: 60_000, downDelayMs: 60_000 });
    assert.deepEqual(names(b.members.filter((m) => m.isEnabled)), ['e1', 'e2', 'e3']);
    ports[1].mayEnable = false;
    b.run();
    assert.ok(b.members[1].isEnabled);
    assert.notEqual(b.members[1].changesAtMs, null);
    ports[1].mayEnable = true;
    b.run();
    assert.equal(b.members[1].changesAtMs, null);
    b.close();
  });

  it('gives every hash a member that is up', () => {
    const { b, ports } = bond();
    ports[0].mayEnable = false;
    b.run();
    const used = new Set(Array.from({ length: 256 }, (_, hash) => b.outputFor(hash)));
    assert.deepEqual(used, new Set([ports[1], ports[2]]));
    for (const p of ports) p.mayEnable = false;
    b.run();
    assert.equal(b.outputFor(1), null);
    b.close();
  });

  it('moves load from the busy to the idle', () => {
    const { b } = bond();
    const [first] = b.members;
    for (let hash = 0; hash < 12; hash++) {
      b.migrate(hash, first);
      b.credit(hash, 1_000_000);
    }
    b.nextRebalanceMs = 0;
    b.run();
    const held = b.members.map((m) => b.buckets.filter((x) => x.member === m).length);
    assert.deepEqual(held, [4, 4, 4]);
    b.close();
  });

  it('that needs LACP sends nothing, unless it may fall back', () => {
    assert.equal(bond({ mode: 'balance-tcp' }).b.outputFor(1), null);
    const { b, ports } = bond({ mode: 'balance-tcp', lacpFallback: true });
    assert.equal(b.outputFor(1), ports[0]);
  });
});
