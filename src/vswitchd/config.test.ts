import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamPair } from '../base/stream.ts';
import { Idl } from '../ovsdb/idl.ts';
import type { Json } from '../ovsdb/json.ts';
import { schemaFromJson } from '../ovsdb/schema.ts';
import { OvsdbServer } from '../ovsdb/server.ts';
import { vswitchSchemaJson } from '../ovsdb/vswitch-schema.ts';
import { macOfUuid } from './bridge.ts';
import { formatMac, parseDatapathId, parseMac, readSwitch } from './config.ts';
import { DATABASE, SWITCH_TABLES } from './tables.ts';

async function database(): Promise<Idl> {
  const server = new OvsdbServer();
  server.addMemoryDatabase(schemaFromJson(vswitchSchemaJson() as Json));
  const open = async () => {
    const [ours, theirs] = streamPair();
    server.attach(theirs);
    return ours;
  };
  const idl = new Idl(open, { database: DATABASE, tables: SWITCH_TABLES }).start();
  await idl.synced();
  return idl;
}

test('a bridge reads as the manual describes its columns', async () => {
  const idl = await database();
  const txn = idl.transaction();
  const table = (name: string) => idl.table(name);
  const port = (name: string, columns = {}) =>
    txn.insert(table('Port'), { name, interfaces: [txn.insert(table('Interface'), { name })], ...columns });
  const bridge = txn.insert(table('Bridge'), {
    name: 'br0',
    fail_mode: 'secure',
    protocols: ['OpenFlow10', 'OpenFlow13'],
    flood_vlans: [3],
    other_config: {
      'mac-aging-time': '17',
      'forward-bpdu': 'true',
      'datapath-id': '0x2a',
      hwaddr: '02:00:00:00:00:01',
    },
    controller: [txn.insert(table('Controller'), { target: 'tcp:127.0.0.1:6653', inactivity_probe: 0 })],
    ports: [
      port('eth10'),
      port('eth2', { tag: 5, other_config: { 'priority-tags': 'true' } }),
      port('trunk', { trunks: [1, 2], tag: 9, vlan_mode: 'native-tagged' }),
      port('tunnel', { vlan_mode: 'dot1q-tunnel', tag: 7, cvlans: [100] }),
    ],
  });
  txn.insert(table('Open_vSwitch'), { bridges: [bridge], other_config: { 'stats-update-interval': '100' } });
  assert.equal((await txn.commit()).status, 'success');

  const spec = readSwitch(table('Open_vSwitch').only()!);
  assert.equal(spec.statsIntervalMs, 5000, 'never more often than every five seconds');
  const [br0] = spec.bridges;
  assert.deepEqual(
    br0.ports.map((one) => one.name),
    ['eth2', 'eth10', 'trunk', 'tunnel', 'br0'],
    'in the order of their numbers, and with a device of its own',
  );
  assert.equal(br0.datapathId, 42n);
  assert.equal(formatMac(br0.hwaddr!), '02:00:00:00:00:01');
  assert.equal(br0.ofproto.failMode, 'secure');
  assert.deepEqual(br0.ofproto.protocols, [1, 4]);
  assert.equal(br0.ofproto.macAgingSeconds, 17);
  assert.equal(br0.ofproto.forwardBpdu, true);
  assert.deepEqual(br0.ofproto.floodVlans, [3]);
  assert.deepEqual(br0.ofproto.controllers[0], {
    target: 'tcp:127.0.0.1:6653',
    connectionMode: 'in-band',
    maxBackoffMs: 8000,
    inactivityProbeMs: 0,
    rateLimit: null,
    burstLimit: null,
  });
  const vlan = Object.fromEntries(br0.ports.map((one) => [one.name, one.vlan]));
  assert.deepEqual([vlan['eth10'].mode, vlan['eth10'].tag, vlan['eth10'].trunks], ['trunk', null, []]);
  assert.deepEqual([vlan['eth2'].mode, vlan['eth2'].tag, vlan['eth2'].priorityTags], ['access', 5, 'if-nonzero']);
  assert.deepEqual([vlan['trunk'].mode, vlan['trunk'].tag, vlan['trunk'].trunks], ['native-tagged', 9, [1, 2]]);
  assert.deepEqual([vlan['tunnel'].mode, vlan['tunnel'].tag, vlan['tunnel'].cvlans], ['dot1q-tunnel', 7, [100]]);
  idl.close();
});

test('a bridge whose name would lead out of a directory is ignored', async () => {
  const idl = await database();
  const txn = idl.transaction();
  const bridges = ['../../etc/x', 'a\\b', 'good'].map((name) => txn.insert(idl.table('Bridge'), { name }));
  txn.insert(idl.table('Open_vSwitch'), { bridges });
  assert.equal((await txn.commit()).status, 'success');
  const names = readSwitch(idl.table('Open_vSwitch').only()!).bridges.map((bridge) => bridge.name);
  assert.deepEqual(names, ['good']);
  idl.close();
});

test('datapath ids and addresses that are none are refused', () => {
  assert.equal(parseDatapathId('00000000000000ff'), 255n);
  for (const bad of ['ff', '0000000000000000', '0x', '00000000000000fg', undefined])
    assert.equal(parseDatapathId(bad), null);
  assert.equal(parseMac('1:2:3:4:5'), null);
  assert.deepEqual([...parseMac('0:1:2:a:b:c')!], [0, 1, 2, 10, 11, 12]);
});

test('a bridge without hardware has the address that the original makes of its UUID', () => {
  // Seen of Open vSwitch 3.1.0.
  assert.equal(formatMac(macOfUuid('2850413e-e996-4140-8ac2-5572a95f86f1')), '3e:41:50:28:40:41');
});
