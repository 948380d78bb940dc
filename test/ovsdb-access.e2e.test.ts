import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { certificates } from './support/certificates.ts';
import { missing, must, type Result, Sandbox, until } from './support/sandbox.ts';

const skip = missing('ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'openssl');
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

const strings = { type: { key: 'string', min: 0, max: 'unlimited' } };
const rows = (refTable: string) => ({ type: { key: { type: 'uuid', refTable }, min: 0, max: 'unlimited' } });
const SCHEMA = {
  name: 'R',
  version: '1.0.0',
  tables: {
    Config: { isRoot: true, maxRows: 1, columns: { connections: rows('Connection') } },
    Connection: {
      columns: {
        target: { type: 'string' },
        role: { type: 'string' },
        read_only: { type: 'boolean' },
        status: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' } },
      },
    },
    SSL: {
      isRoot: true,
      columns: { private_key: { type: 'string' }, certificate: { type: 'string' }, ca_cert: { type: 'string' } },
    },
    T: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        owner: { type: 'string' },
        n: { type: 'integer' },
        k: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' } },
      },
    },
    U: { isRoot: true, columns: { name: { type: 'string' } } },
    RBAC_Role: {
      isRoot: true,
      columns: {
        name: { type: 'string' },
        permissions: {
          type: {
            key: 'string',
            value: { type: 'uuid', refTable: 'RBAC_Permission', refType: 'weak' },
            min: 0,
            max: 'unlimited',
          },
        },
      },
    },
    RBAC_Permission: {
      isRoot: true,
      columns: {
        table: { type: 'string' },
        authorization: strings,
        insert_delete: { type: 'boolean' },
        update: strings,
      },
    },
  },
};

const insert = (table: string, row: object, name?: string) => ({
  op: 'insert',
  table,
  row,
  ...(name === undefined ? {} : { 'uuid-name': name }),
});
const named = (name: string) => ['named-uuid', name];
const set = (...items: unknown[]) => ['set', items];
const map = (...pairs: unknown[]) => ['map', pairs];
const where = (name: string) => (name === '*' ? [] : [['name', '==', name]]);
const update = (table: string, name: string, row: object) => ({ op: 'update', table, where: where(name), row });
const mutate = (name: string, ...mutation: unknown[]) => ({
  op: 'mutate',
  table: 'T',
  where: where(name),
  mutations: [mutation],
});
const remove = (table: string, name: string) => ({ op: 'delete', table, where: where(name) });

const ATTEMPTS = [
  insert('T', { name: 'x', owner: 'alice' }),
  insert('T', { name: 'x', owner: 'bob' }),
  insert('U', { name: 'x' }),
  insert('Config', {}),
  update('T', 'a1', { n: 5 }),
  update('T', 'a1', { name: 'a2' }),
  update('T', 'b1', { n: 5 }),
  update('T', 'nobody', { n: 5 }),
  update('T', 'nobody', { name: 'a2' }),
  update('T', 'k1', { n: 5 }),
  update('T', '*', { n: 5 }),
  mutate('a1', 'n', '+=', 1),
  mutate('a1', 'k', 'insert', map(['a', 'b'])),
  mutate('b1', 'n', '+=', 1),
  remove('T', 'b1'),
  remove('T', 'a1'),
  remove('U', '*'),
  remove('U', 'nobody'),
  remove('RBAC_Role', 'nobody'),
  update('U', '*', { name: 'z' }),
  update('U', 'nobody', { name: 'z' }),
  update('Config', '*', { connections: set() }),
  update('RBAC_Role', 'nobody', { name: 'z' }),
  { op: 'select', table: 'U', where: [], columns: ['name'] },
];

/** What clients of connections with roles get, of a server whose keys stand in the database. */
async function accessStory(make: 'C' | 'ours', keys: Sandbox): Promise<string[]> {
  await using sb = await Sandbox.create();
  writeFileSync(sb.path('schema'), JSON.stringify(SCHEMA));
  await sb.createDb(sb.path('schema'));
  const contents = [
    insert('SSL', {
      private_key: keys.path('server.key'),
      certificate: keys.path('server.pem'),
      ca_cert: keys.path('ca.pem'),
    }),
    insert(
      'RBAC_Permission',
      { table: 'T', authorization: set('owner', 'k:sys'), insert_delete: true, update: set('n', 'k') },
      'p',
    ),
    insert('RBAC_Permission', { table: 'U', authorization: set(''), insert_delete: false, update: set('name') }, 'q'),
    insert('RBAC_Role', { name: 'ctl', permissions: map(['T', named('p')], ['U', named('q')]) }),
    insert('Connection', { target: 'pssl:0:127.0.0.1', role: 'ctl' }, 'c'),
    insert('Connection', { target: 'ptcp:0:127.0.0.1', role: 'ctl' }, 'd'),
    insert('Config', { connections: set(named('c'), named('d')) }),
    insert('T', { name: 'a1', owner: 'alice' }),
    insert('T', { name: 'b1', owner: 'bob', k: map(['sys', 'bob']) }),
    insert('T', { name: 'k1', k: map(['sys', 'alice']) }),
    insert('U', { name: 'u1' }),
  ];
  await must('ovsdb-tool', ['transact', sb.path('conf.db'), JSON.stringify(['R', ...contents])]);
  const args = [
    '--remote=db:R,Config,connections',
    `--remote=punix:${sb.path('db.sock')}`,
    '--private-key=db:R,SSL,private_key',
    '--certificate=db:R,SSL,certificate',
    '--ca-cert=db:R,SSL,ca_cert',
    '--ssl-protocols=TLSv1.2,TLSv1.3',
    '--ssl-ciphers=HIGH:!aNULL:!MD5',
    sb.path('conf.db'),
  ];
  await (make === 'C' ? sb.startC('ovsdb-server', args) : sb.startOurs('ovsdb-server', args));
  const port = (kind: string) =>
    until(async () => {
      const { stdout } = await sb.c('ovsdb-client', '-f', 'csv', 'dump', sb.db, 'R', 'Connection', 'target', 'status');
      const line = stdout.split('\n').find((text) => text.includes(kind));
      return line && /bound_port=""(\d+)/.exec(line)?.[1];
    });
  const show = ({ stdout, stderr }: Result) => (stdout + stderr.replace(/^.*\|/, '')).replace(UUID, 'UUID');
  const own = (name: string) => [
    '-p',
    keys.path(`${name}.key`),
    '-c',
    keys.path(`${name}.pem`),
    '-C',
    keys.path('ca.pem'),
  ];
  const ssl = `ssl:127.0.0.1:${await port('pssl')}`;
  const tcp = `tcp:127.0.0.1:${await port('ptcp')}`;
  const story: string[] = [];
  for (const operation of ATTEMPTS) {
    const text = JSON.stringify(['R', operation]);
    story.push(`${text}\n${show(await sb.c('ovsdb-client', '-t5', ...own('alice'), 'transact', ssl, text))}`);
  }
  for (const operation of [ATTEMPTS[0], ATTEMPTS[15], ATTEMPTS[19], ATTEMPTS[23]]) {
    const text = JSON.stringify(['R', operation]);
    story.push(`tcp ${text}\n${show(await sb.c('ovsdb-client', '-t5', 'transact', tcp, text))}`);
    story.push(`unix ${text}\n${show(await sb.c('ovsdb-client', '-t5', 'transact', sb.db, text))}`);
  }
  // Our client and their server shake hands as well.
  story.push(show(await sb.ours('ovsdb-client', '-t5', ...own('alice'), 'list-dbs', ssl)));
  // A client whose certificate another authority signed is not let in.
  const stranger = ['-p', keys.path('ca.key'), '-c', keys.path('ca.pem'), '-C', keys.path('alice.pem')];
  story.push(`stranger ${(await sb.c('ovsdb-client', '-t5', ...stranger, 'list-dbs', ssl)).status}`);
  return story;
}

test('roles, certificates and keys from the database do what they do in the original', { skip }, async () => {
  await using keys = await Sandbox.create();
  await certificates(keys, 'server', 'alice');
  const [theirs, ours] = await Promise.all([accessStory('C', keys), accessStory('ours', keys)]);
  assert.ok(theirs.some((text) => text.includes('permission error')));
  assert.deepEqual(ours, theirs);
});
