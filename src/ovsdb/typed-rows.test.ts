import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamPair } from '../base/stream.ts';
import { Idl } from './idl.ts';
import { schemaFromJson } from './schema.ts';
import { OvsdbServer } from './server.ts';
import { typedDatabase } from './typed-rows.ts';
import type { Json } from './types.ts';
import { VSWITCH_TABLES, vswitchSchemaJson } from './vswitch-schema.ts';

test('rows have the columns of the schema, for the compiler and at run time', async () => {
  const server = new OvsdbServer();
  server.addMemoryDatabase(schemaFromJson(vswitchSchemaJson() as Json));
  const open = async () => {
    const [ours, theirs] = streamPair();
    server.attach(theirs);
    return ours;
  };
  const tables = { Open_vSwitch: 'all', Bridge: 'all', Port: 'all', Interface: 'all' } as const;
  const idl = new Idl(open, { database: 'Open_vSwitch', tables }).start();
  await idl.synced();
  const db = typedDatabase(idl, VSWITCH_TABLES);
  const txn = idl.transaction();
  const iface = db.insert(txn, 'Interface', { name: 'p1', ofport_request: 7, options: new Map([['a', 'b']]) });
  const port = db.insert(txn, 'Port', { name: 'p1', interfaces: [iface], tag: 5, vlan_mode: 'access' });
  const bridge = db.insert(txn, 'Bridge', { name: 'br0', ports: [port], flood_vlans: [1, 2] });
  db.insert(txn, 'Open_vSwitch', { bridges: [bridge] });
  assert.equal(bridge.ports[0]?.interfaces[0]?.name, 'p1', 'the transaction sees what it does');
  assert.equal((await txn.commit()).status, 'success');

  const [found] = db.rows('Bridge');
  assert.ok(found);
  const tag: number | null | undefined = found.ports[0]?.tag;
  const mode: 'access' | 'trunk' | 'native-tagged' | 'native-untagged' | 'dot1q-tunnel' | null | undefined =
    found.ports[0]?.vlan_mode;
  const options: ReadonlyMap<string, string> | undefined = found.ports[0]?.interfaces[0]?.options;
  const learned: ReadonlyMap<string, string> = found.other_config;
  assert.deepEqual([found.name, tag, mode, [...(options ?? [])], [...learned]], ['br0', 5, 'access', [['a', 'b']], []]);
  assert.deepEqual(
    [found.flood_vlans, found.datapath_id, found.netflow, found.stp_enable],
    [[1, 2], null, null, false],
  );

  const change = idl.transaction();
  db.set(change, found, { fail_mode: 'secure', flood_vlans: null });
  assert.equal(db.rows('Bridge', change)[0]?.fail_mode, 'secure');
  assert.equal(found.fail_mode, null);
  assert.equal((await change.commit()).status, 'success');
  assert.deepEqual([found.fail_mode, found.flood_vlans], ['secure', []]);

  // What does not compile.
  const never = () => {
    // @ts-expect-error No such column.
    void found.nmae;
    // @ts-expect-error No such table.
    db.rows('Bridges');
    // @ts-expect-error Not one of the words.
    db.set(change, found, { fail_mode: 'insecure' });
    // @ts-expect-error A bridge has ports, not bridges.
    db.set(change, found, { ports: [found] });
    // @ts-expect-error A number.
    db.insert(change, 'Port', { tag: 'five' });
  };
  assert.equal(typeof never, 'function');
  idl.close();
  server.close();
});
