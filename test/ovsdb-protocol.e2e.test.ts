/**
 * Requests right and wrong, one after the other on one connection, to our server and to the original's: the same replies and notifications. What the original
 * dies of (`monitor` without all its parameters, `convert` of `_Server`) is left out.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { type Json, jsonText, parseJson } from '../src/ovsdb/json.ts';
import { missing, Sandbox, until } from './support/sandbox.ts';

const Z = '00000000-0000-0000-0000-000000000000';

/** Method and parameters. */
const REQUESTS: readonly (readonly [string, ...Json[]])[] = [
  ['list_dbs'],
  ['list_dbs', 1],
  ['get_schema'],
  ['get_schema', 5],
  ['get_schema', 'x'],
  ['nope'],
  ['echo'],
  ['echo', 1, [2, { a: null }]],
  ['lock'],
  ['lock', 'a b'],
  ['lock', 5],
  ['lock', 'l', 'm'],
  ['lock', 'l'],
  ['lock', 'l'],
  ['steal', 'l'],
  ['unlock', 'l'],
  ['unlock', 'l'],
  ['steal', 'l'],
  ['unlock', 'x y'],
  ['unlock'],
  ['set_db_change_aware'],
  ['set_db_change_aware', 5],
  ['set_db_change_aware', true],
  ['monitor'],
  ['monitor', 'x'],
  ['monitor', 'Open_vSwitch', 'm', {}],
  ['monitor', 'Open_vSwitch', 'm', {}],
  ['monitor_cancel', 'm'],
  ['monitor_cancel', 'm'],
  ['monitor_cancel'],
  ['monitor', 'Open_vSwitch', 'm', { Nope: {} }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: { columns: ['nope'] } }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: { columns: 'name' } }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: { columns: ['name', 'name'] } }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: { columns: ['name'], select: { initial: 5 } } }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: { columns: ['name'], select: { foo: true } } }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: { foo: 1 } }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: 5 }],
  ['monitor', 'Open_vSwitch', 'm', 5],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: [{ columns: ['name'] }, { columns: ['name'] }] }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: { columns: ['name'], where: [] } }],
  ['monitor', 'Open_vSwitch', 'm', { Bridge: [] }],
  ['monitor_cancel', 'm'],
  ['monitor', 'Open_vSwitch', { a: [1] }, { Bridge: { columns: ['name'] } }],
  ['monitor_cancel', { a: [1] }],
  ['monitor_cond', 'Open_vSwitch', 'c', { Bridge: { columns: ['name'], where: [['name', '==', 'x']] } }],
  ['monitor_cond_change', 'c', 'c', { Bridge: { where: [['name', '==', 'br0']] } }],
  ['monitor_cond_change', 'c', 'd', { Bridge: [{ where: [true] }] }],
  ['monitor_cond_change', 'c', 'd', {}],
  ['monitor_cond_change', 'd', 'd', { Nope: [{ where: [true] }] }],
  ['monitor_cond_change', 'd', 'd', { Port: [{ where: [true] }] }],
  ['monitor_cond_change', 'd', 'd', { Bridge: [{ where: [['zz', '==', 1]] }] }],
  ['monitor_cond_change', 'd', 'd', { Bridge: [{ where: 5 }] }],
  ['monitor_cond_change', 'd'],
  ['monitor_cond_change', 'd', 'd', 5],
  ['monitor_cond_change', 'd', 'd', { Bridge: [{ where: [true], columns: ['name'] }] }],
  ['monitor_cond_change', 'd', 'd', { Bridge: [{ columns: ['name'] }] }],
  ['monitor_cond_change', 'd', 'd', { Bridge: [] }],
  ['monitor_cond_change', 'd', 'd', { Bridge: {} }],
  ['monitor_cancel', 'd'],
  ['monitor_cond', 'Open_vSwitch', 'c', { Bridge: { columns: ['name'], where: [['name', '~', 'x']] } }],
  ['monitor_cond', 'Open_vSwitch', 'c', { Bridge: { columns: ['name'], where: 5 } }],
  ['monitor_cond', 'Open_vSwitch', 'c', { Bridge: { columns: ['_uuid', 'name'] } }],
  ['monitor_cancel', 'c'],
  ['monitor_cond_since', 'Open_vSwitch', 'c', { Bridge: { columns: ['name'] } }],
  ['monitor_cond_since', 'Open_vSwitch', 'c', { Bridge: { columns: ['name'] } }, 5],
  ['monitor_cond_since', 'Open_vSwitch', 'c', { Bridge: { columns: ['name'] } }, 'x'],
  ['monitor_cancel', 'c'],
  ['monitor_cond_since', 'Open_vSwitch', 'c', { Bridge: { columns: ['name'] } }, Z],
  ['monitor_cancel', 'c'],

  ['transact'],
  ['transact', 5],
  ['transact', 'x'],
  ['transact', 'Open_vSwitch'],
  ['transact', 'Open_vSwitch', 5],
  ['transact', '_Server', { op: 'delete', table: 'Database', where: [] }],
  ['transact', 'Open_vSwitch', { op: 'insert', table: 'Bridge', row: { name: 'a' }, uuid: 'x' }],
  ['transact', 'Open_vSwitch', { op: 'insert', table: 'Bridge', row: { name: 'a' }, uuid: Z }],
  ['transact', 'Open_vSwitch', { op: 'insert', table: 'Bridge', row: { name: 'a' }, 'uuid-name': 'a b' }],
  [
    'transact',
    'Open_vSwitch',
    { op: 'insert', table: 'Bridge', row: { name: 'a' }, 'uuid-name': 'x' },
    { op: 'insert', table: 'Bridge', row: { name: 'b' }, 'uuid-name': 'x' },
  ],
  [
    'transact',
    'Open_vSwitch',
    { op: 'insert', table: 'QoS', row: { type: 't' }, uuid: '40000000-0000-4000-8000-000000000001' },
    { op: 'insert', table: 'QoS', row: { type: 't' }, uuid: '40000000-0000-4000-8000-000000000001' },
  ],
  [
    'transact',
    'Open_vSwitch',
    { op: 'insert', table: 'QoS', row: { type: 't' }, uuid: '40000000-0000-4000-8000-000000000001' },
  ],
  [
    'transact',
    'Open_vSwitch',
    { op: 'insert', table: 'QoS', row: { type: 't' }, uuid: '40000000-0000-4000-8000-000000000001' },
  ],
  ['transact', 'Open_vSwitch', { op: 'comment' }],
  ['transact', 'Open_vSwitch', { op: 'comment', comment: 5 }],
  ['transact', 'Open_vSwitch', { op: 'commit' }],
  ['transact', 'Open_vSwitch', { op: 'commit', durable: 1 }],
  ['transact', 'Open_vSwitch', { op: 'commit', durable: true }],
  ['transact', 'Open_vSwitch', { op: 'abort', x: 1 }],
  ['transact', 'Open_vSwitch', { op: 'assert' }],
  ['transact', 'Open_vSwitch', { op: 'assert', lock: 'zz' }],
  ['transact', 'Open_vSwitch', { op: 'assert', lock: 'l' }],
  [
    'transact',
    'Open_vSwitch',
    { op: 'wait', table: 'Bridge', where: [], columns: ['name'], until: '==', rows: [], timeout: -1 },
  ],
  [
    'transact',
    'Open_vSwitch',
    { op: 'wait', table: 'Bridge', where: [], columns: ['name'], until: '<', rows: [], timeout: 0 },
  ],
  [
    'transact',
    'Open_vSwitch',
    { op: 'wait', table: 'Bridge', where: [], columns: ['name'], until: '==', rows: [{ name: 'zz' }], timeout: 20 },
  ],
  ['transact', 'Open_vSwitch', { op: 'wait', table: 'Bridge', where: [], until: '==', rows: [], timeout: 0 }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Bridge', where: [], mutations: [['name', '+=', 1]] }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Bridge', where: [], mutations: [['_uuid', '+=', 1]] }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Bridge', where: [], mutations: [['flood_vlans', '/=', 0]] }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Open_vSwitch', where: [], mutations: [['next_cfg', '/=', 0]] }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Open_vSwitch', where: [], mutations: [['next_cfg', '+=', {}]] }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Open_vSwitch', where: [], mutations: [['next_cfg', '^', 1]] }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Open_vSwitch', where: [], mutations: [['zz', '+=', 1]] }],
  ['transact', 'Open_vSwitch', { op: 'mutate', table: 'Open_vSwitch', where: [] }],
  ['transact', 'Open_vSwitch', { op: 'update', table: 'Open_vSwitch', where: [], row: { _uuid: ['uuid', Z] } }],
  ['transact', 'Open_vSwitch', { op: 'update', table: 'Bridge', where: [], row: { name: 'zz' } }],
  ['transact', 'Open_vSwitch', { op: 'update', table: 'Bridge', where: [], row: { name: 5 } }],
  ['transact', 'Open_vSwitch', { op: 'select', table: 'Bridge', where: [['_uuid', '==', ['uuid', 'x']]] }],
  ['transact', 'Open_vSwitch', { op: 'select', table: 'Bridge', where: [['name', '<', 'a']] }],
  ['transact', 'Open_vSwitch', { op: 'select', table: 'Bridge', where: [['_version', '==', 5]] }],
  [
    'transact',
    'Open_vSwitch',
    { op: 'select', table: 'Open_vSwitch', where: [['next_cfg', 'includes', 5]], columns: ['next_cfg'] },
  ],
  ['convert'],
  ['convert', 'Open_vSwitch'],
  ['convert', 'x', {}],
  ['convert', 'Open_vSwitch', {}],
  ['convert', 'Open_vSwitch', { name: 'x', tables: {} }],
];

const CHOSEN = /^(?:00000000|40000000)-/;

/** What each request brings, until its reply is there. */
async function answers(kind: 'startC' | 'startOurs'): Promise<string[]> {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb[kind]('ovsdb-server');
  assert.equal((await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'br0')).status, 0);
  const socket = connect(sb.path('db.sock'));
  await once(socket, 'connect');
  let heard = '';
  socket.on('data', (bytes) => (heard += bytes));
  socket.on('close', () => (heard += 'closed'));
  const list: string[] = [];
  for (const [method, ...params] of REQUESTS) {
    heard = '';
    socket.write(JSON.stringify({ id: 1, method, params }));
    await until(
      () => /"id":1,|closed$/.test(heard) && /[}d]$/.test(heard),
      5000,
      `an answer to ${method} ${JSON.stringify(params)}`,
    );
    const messages = heard.split(/(?<=\})(?=\{"(?:id|method|params)":)/).map((text) => jsonText(parseJson(text)));
    const plain = messages
      .join('\n')
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, (uuid) => (CHOSEN.test(uuid) ? uuid : 'UUID'));
    list.push(`${method} ${JSON.stringify(params)}\n${plain.replace(/after \d+ ms/, 'after N ms')}`);
  }
  socket.destroy();
  return list;
}

test('each request is answered as the original answers it', {
  skip: missing('ovsdb-server', 'ovsdb-tool', 'ovs-vsctl'),
}, async () => {
  const [theirs, ours] = await Promise.all([answers('startC'), answers('startOurs')]);
  assert.deepEqual(ours, theirs);
});
