import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import type { FlowMod } from '../openflow/messages.ts';
import { NO_FLAGS } from './rule.ts';
import { FlowTables } from './tables.ts';

const inPort = (n: number): Match => {
  const match = new Match();
  match.key.set32(OFS.in_port, n);
  match.mask.set32(OFS.in_port, 0xffffffff);
  return match;
};

const mod = (command: FlowMod['command'], change: Partial<FlowMod> = {}): FlowMod => ({
  type: 'flow_mod',
  command,
  match: new Match(),
  priority: 32768,
  cookie: 0n,
  cookieMask: 0n,
  newCookie: 0n,
  table: 0,
  idleTimeout: 0,
  hardTimeout: 0,
  importance: 0,
  bufferId: 0xffffffff,
  outPort: 0xffff,
  outGroup: 0xffffffff,
  flags: NO_FLAGS,
  actions: [],
  ...change,
});

const output = (port: number) => [{ kind: 'output', port, maxLen: 0 }] as const;

test('an add of the same match and priority replaces and keeps the counters unless told to reset them', () => {
  const tables = new FlowTables();
  tables.flowMod(mod('add', { match: inPort(1), actions: output(2) }), 0);
  const [first] = [...tables];
  first.credit(3, 180, 5);
  tables.flowMod(mod('add', { match: inPort(1), actions: output(3) }), 10);
  const [second] = [...tables];
  assert.notEqual(first, second);
  assert.equal(second.packets, 3);
  tables.flowMod(mod('add', { match: inPort(1), flags: { ...NO_FLAGS, resetCounts: true } }), 20);
  assert.equal([...tables][0].packets, 0);
});

test('loose changes select by match, cookie and output; strict ones by priority too', () => {
  const tables = new FlowTables();
  tables.flowMod(mod('add', { match: inPort(1), actions: output(2), newCookie: 0x10n }), 0);
  tables.flowMod(mod('add', { match: inPort(2), actions: output(2), newCookie: 0x11n, priority: 7 }), 0);
  tables.flowMod(mod('add', { match: inPort(2), actions: output(3), newCookie: 0x20n, table: 4 }), 0);
  assert.deepEqual(
    tables.flowMod(
      mod('modify', { table: 255, cookie: 0x10n, cookieMask: 0xf0n, actions: output(9), newCookie: null }),
      1,
    ),
    {
      ok: true,
      added: 0,
      modified: 2,
      removed: 0,
    },
  );
  const removed = tables.flowMod(mod('delete', { table: 255, outPort: 3 }), 2);
  assert.equal(removed.ok && removed.removed, 1);
  const strict = tables.flowMod(mod('delete_strict', { match: inPort(2), priority: 8 }), 3);
  assert.equal(strict.ok && strict.removed, 0);
  assert.equal([...tables].length, 2);
});

test('a modify that selects nothing adds, unless it selects by cookie or keeps cookies', () => {
  const tables = new FlowTables();
  tables.flowMod(mod('modify', { match: inPort(1), newCookie: null }), 0);
  tables.flowMod(mod('modify', { match: inPort(1), cookieMask: 1n }), 0);
  assert.equal([...tables].length, 0);
  tables.flowMod(mod('modify_strict', { match: inPort(1) }), 0);
  assert.equal([...tables].length, 1);
});

test('a modify that changes nothing does not cost a revalidation', () => {
  const tables = new FlowTables();
  tables.flowMod(mod('add', { match: inPort(1), actions: output(2) }), 0);
  const { revision } = tables;
  tables.flowMod(mod('modify_strict', { match: inPort(1), actions: output(2) }), 50);
  assert.equal(tables.revision, revision);
  assert.equal([...tables][0].modifiedMs, 50);
  tables.flowMod(mod('modify_strict', { match: inPort(1), actions: output(3) }), 60);
  assert.notEqual(tables.revision, revision);
});

test('overlap, limits and reserved tables are refused', () => {
  const tables = new FlowTables();
  tables.flowMod(mod('add', { match: inPort(1) }), 0);
  const checked = { ...NO_FLAGS, checkOverlap: true };
  assert.deepEqual(tables.flowMod(mod('add', { flags: checked }), 0), { ok: false, error: 'OFPFMFC_OVERLAP' });
  assert.equal(tables.flowMod(mod('add', { flags: checked, priority: 5 }), 0).ok, true);
  tables.tables[3].flowLimit = 1;
  assert.equal(tables.flowMod(mod('add', { table: 3, match: inPort(1) }), 0).ok, true);
  assert.deepEqual(tables.flowMod(mod('add', { table: 3 }), 0), { ok: false, error: 'OFPFMFC_TABLE_FULL' });
  assert.equal(tables.flowMod(mod('add', { table: 254 }), 0).ok, false);
});

test('timeouts run from last use and last modification', () => {
  const tables = new FlowTables();
  const gone: string[] = [];
  tables.listener = { removed: (_, reason) => gone.push(reason) };
  tables.flowMod(mod('add', { match: inPort(1), idleTimeout: 10 }), 0);
  tables.flowMod(mod('add', { match: inPort(2), hardTimeout: 15 }), 0);
  for (const rule of tables) rule.credit(1, 60, 8000);
  assert.equal(tables.expire(12_000), 0);
  assert.equal(tables.expire(15_000), 1);
  assert.equal(tables.expire(18_000), 1);
  assert.deepEqual(gone, ['hard', 'idle']);
});
