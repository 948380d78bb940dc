import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FrozenState, RecircTable } from './recirc.ts';
import type { XlateBridge } from './types.ts';

const bridge = {} as XlateBridge; // only its identity counts
const state = (table: number): FrozenState => ({
  bridge,
  table,
  cookie: 0n,
  resume: null,
  inPort: 1,
  registers: new Int32Array(4),
  stack: [],
  actions: [],
  actionSet: [],
  conntracked: false,
  userdata: null,
});

test('an id outlives a sweep that began before anything could carry it, and not the one after', () => {
  const table = new RecircTable();
  const old = table.allocate(state(1));
  table.retain(new Set([old]));
  const young = table.allocate(state(2));
  table.retain(new Set());
  assert.equal(table.lookup(old), undefined);
  assert.ok(table.lookup(young));
  assert.equal(table.allocate(state(2)), young);
  table.retain(new Set());
  assert.ok(table.lookup(young), 'handed out again');
  table.retain(new Set());
  assert.equal(table.size, 0);
});

test('equal states share an id however many recirculations led to them', () => {
  const table = new RecircTable();
  const first = table.allocate({ ...state(1), hops: 1 });
  assert.equal(table.allocate({ ...state(1), hops: 9 }), first);
  assert.equal(table.lookup(first)?.hops, 1);
});
