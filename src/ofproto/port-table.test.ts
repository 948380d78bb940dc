import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PatchNetdev } from '../netdev/patch.ts';
import { OfPort } from './ofport.ts';
import { PortTable } from './port-table.ts';

function port(ofport: number, name: string): OfPort {
  // A patch port needs nothing of its surroundings.
  return new OfPort(
    ofport,
    new PatchNetdev(name, {} as ConstructorParameters<typeof PatchNetdev>[1]),
    null,
    () => null,
  );
}

function add(table: PortTable, name: string, request: number | null): number {
  const ofport = table.choose(name, request);
  assert.ok(ofport !== null);
  table.add(port(ofport, name));
  return ofport;
}

test('ports get the number they ask for, or the next that is free', () => {
  const table = new PortTable();
  assert.equal(add(table, 'a', null), 1);
  assert.equal(add(table, 'b', 7), 7);
  assert.equal(add(table, 'c', 7), 2);
  assert.equal(add(table, 'd', 0xff00), 3, 'numbers beyond OFPP_MAX are not given');
  assert.deepEqual(
    table.sorted().map((p) => p.name),
    ['a', 'c', 'd', 'b'],
  );
});

test('a port that comes back has its number again, which nobody got meanwhile', () => {
  const table = new PortTable();
  assert.equal(add(table, 'a', null), 1);
  const a = table.named('a');
  assert.ok(a);
  table.remove(a);
  assert.equal(add(table, 'b', null), 2);
  assert.equal(add(table, 'a', null), 1);
});
