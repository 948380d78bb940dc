import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, existsSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { vswitchSchemaJson } from '../src/ovsdb/vswitch-schema.ts';
import { missing, must, notRoot, type Result, ROOT, run, Sandbox, until } from './support/sandbox.ts';

const NEEDED = ['ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'ovs-vsctl', 'ovs-vswitchd'];
const skip = missing(...NEEDED);
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

function out(result: Result): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

/** Everything in a database as the original's tool prints it, in an order that does not depend on identifiers. */
async function contents(sb: Sandbox, file: string, masked = true): Promise<string> {
  const tables = Object.keys(vswitchSchemaJson()['tables'] as object).sort();
  const query = ['Open_vSwitch', ...tables.map((table) => ({ op: 'select', table, where: [] }))];
  const results = JSON.parse(out(await sb.c('ovsdb-tool', 'query', file, JSON.stringify(query)))) as {
    rows: Record<string, unknown>[];
  }[];
  const rows = results.flatMap(({ rows }, i) =>
    rows.map((row) => {
      const { _version, ...rest } = row;
      const text = `${tables[i]} ${JSON.stringify(rest)}`;
      return masked ? text.replace(UUID, 'U') : text;
    }),
  );
  return rows.sort().join('\n');
}

describe('the original’s programs on our ovsdb-server', { skip }, () => {
  test('ovs-vswitchd runs from it, and ovs-vsctl finds what it should', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server', [
      `--remote=punix:${sb.path('db.sock')}`,
      '--remote=db:Open_vSwitch,Open_vSwitch,manager_options',
    ]);
    await sb.startC('ovs-vswitchd', ['--enable-dummy=override', '--disable-system']);
    out(
      await sb.c(
        'ovs-vsctl',
        '-t10',
        'add-br',
        'br0',
        '--',
        'set',
        'bridge',
        'br0',
        'datapath_type=dummy',
        'other_config:a=b',
        '--',
        'add-port',
        'br0',
        'p1',
        '--',
        'set',
        'interface',
        'p1',
        'type=dummy',
        'ofport_request=7',
      ),
    );
    assert.equal(out(await sb.c('ovs-vsctl', 'get', 'interface', 'p1', 'ofport')), '7\n');
    assert.equal(out(await sb.c('ovs-vsctl', 'list-ports', 'br0')), 'p1\n');
    assert.equal(
      out(await sb.c('ovs-vsctl', '--columns=name', 'find', 'interface', 'type=dummy')),
      'name                : p1\n',
    );
    assert.match(out(await sb.c('ovs-vsctl', 'show')), /Bridge br0\n {8}datapath_type: dummy\n/);
    assert.match(out(await sb.c('ovs-vsctl', 'get', 'Open_vSwitch', '.', 'iface_types')), /dummy/);
    const wrong = await sb.c('ovs-vsctl', '-t5', 'set', 'interface', 'p1', 'ofport_request=0');
    assert.match(wrong.stderr, /constraint violation: 0 is not in the valid range 1 to 65279 \(inclusive\)/);

    out(await sb.c('ovs-vsctl', '-t5', '--no-wait', 'set-manager', 'ptcp:0:127.0.0.1'));
    const listManager = async (...options: string[]) => out(await sb.c('ovs-vsctl', ...options, 'list', 'manager'));
    const port = await until(async () => /bound_port="?(\d+)/.exec(await listManager())?.[1]);
    assert.equal(out(await sb.c('ovs-vsctl', `--db=tcp:127.0.0.1:${port}`, 'br-exists', 'br0')), '');
    out(await sb.c('ovs-vsctl', '-t5', '--no-wait', 'del-manager'));
    await until(async () => (await sb.c('ovs-vsctl', '-t1', `--db=tcp:127.0.0.1:${port}`, 'show')).status !== 0);
    out(await sb.c('ovs-vsctl', '-t5', 'del-br', 'br0'));
    assert.match(
      out(await sb.c('ovsdb-tool', '-mm', 'show-log', 'conf.db')),
      /ovs-vsctl .*add-br br0.*\n[\s\S]*name=br0\n/,
    );
  });

  test('its clients see from ours what they see from theirs', async () => {
    await using left = await Sandbox.create();
    await using right = await Sandbox.create();
    const setUp = JSON.stringify([
      'Open_vSwitch',
      {
        op: 'insert',
        table: 'Open_vSwitch',
        row: { bridges: ['named-uuid', 'b'], other_config: ['map', [['k', 'v w']]] },
      },
      { op: 'insert', table: 'Bridge', 'uuid-name': 'b', row: { name: 'br0', flood_vlans: ['set', [3, 1, 2]] } },
    ]);
    for (const sb of [left, right]) {
      await sb.createDb();
      out(await sb.c('ovsdb-tool', 'transact', 'conf.db', setUp));
    }
    await Promise.all([left.startC('ovsdb-server'), right.startOurs('ovsdb-server')]);
    const commands: string[][] = [
      ['list-dbs'],
      ['get-schema-version'],
      ['get-schema-cksum'],
      ['get-schema'],
      ['dump'],
      ['dump', 'Open_vSwitch', 'Bridge', 'name', 'flood_vlans'],
      ['-f', 'json', 'dump', 'Open_vSwitch', 'Bridge', 'name', 'flood_vlans'],
      ['-f', 'csv', 'dump', 'Open_vSwitch', 'Bridge', 'name', 'flood_vlans'],
      ['-f', 'list', '-d', 'bare', 'dump', 'Open_vSwitch', 'Bridge', 'name', 'flood_vlans'],
      ['transact', '["Open_vSwitch",{"op":"select","table":"Bridge","where":[],"columns":["name"]},{"op":"foo"}]'],
      ['query', '["Open_vSwitch",{"op":"select","table":"Bridge","where":[["name","!=","x"]],"columns":["name"]}]'],
      ['transact', '["Nowhere"]'],
      ['dump', 'Open_vSwitch', 'Nothing'],
      ['monitor', 'Open_vSwitch', 'Bridge', 'nothing'],
      ['wait', 'Open_vSwitch', 'nonsense'],
    ];
    for (const command of commands) {
      const shown = (r: Result) =>
        `${r.stdout}${r.stderr} => ${r.status}`.replace(UUID, 'U').replaceAll(left.dir, 'D').replaceAll(right.dir, 'D');
      const expected = shown(await left.c('ovsdb-client', ...command));
      assert.equal(
        shown(await right.c('ovsdb-client', ...command)),
        expected,
        `their client on our server: ${command.join(' ')}`,
      );
      assert.equal(
        shown(await left.ours('ovsdb-client', ...command)),
        expected,
        `our client on their server: ${command.join(' ')}`,
      );
    }
  });

  test('nothing that was acknowledged is lost when it is killed', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    const server = await sb.startOurs('ovsdb-server');
    let done = 0;
    const adding = (async () => {
      for (let i = 0; i < 1000; i++) {
        const operations = [
          { op: 'insert', table: 'Manager', 'uuid-name': 'm', row: { target: `punix:m${i}` } },
          ...(i === 0 ? [{ op: 'insert', table: 'Open_vSwitch', row: { manager_options: ['named-uuid', 'm'] } }] : []),
          {
            op: 'mutate',
            table: 'Open_vSwitch',
            where: [],
            mutations: [['manager_options', 'insert', ['named-uuid', 'm']]],
          },
          ...(i % 3 === 0 ? [{ op: 'commit', durable: true }] : []),
        ];
        const result = await request(sb.path('db.sock'), {
          id: i,
          method: 'transact',
          params: ['Open_vSwitch', ...operations],
        });
        if (result === null) return;
        assert.doesNotMatch(result, /"error":"/);
        done = i + 1;
      }
    })();
    await until(() => done > 60);
    await server.kill('SIGKILL');
    await adding;
    const query = '["Open_vSwitch",{"op":"select","table":"Manager","where":[],"columns":["target"]}]';
    const { rows } = (
      JSON.parse(out(await sb.c('ovsdb-tool', 'query', 'conf.db', query))) as [{ rows: { target: string }[] }]
    )[0];
    const found = new Set(rows.map((row) => row.target));
    for (let i = 0; i < done; i++) assert.ok(found.has(`punix:m${i}`), `transaction ${i} of ${done}`);
    await sb.startOurs('ovsdb-server');
    assert.match(out(await sb.ours('ovsdb-client', 'dump', 'Open_vSwitch', 'Manager', 'target')), /punix:m0/);
  });

  test('a request that is no request ends its connection, not the server', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    const server = await sb.startOurs('ovsdb-server');
    const bad = [
      '}',
      '[1]',
      '{"method":5,"params":[],"id":1}',
      '{"method":"echo","id":1}',
      '{"id":3,"result":5,"error":null}',
      `${'['.repeat(2000)}`,
      '{"method":"echo","params":[],"id":1,"zz":1}',
    ];
    for (const text of bad) assert.equal(await request(sb.path('db.sock'), text), null, text);
    assert.equal(
      await request(sb.path('db.sock'), '{"method":"nothing","params":[],"id":1}'),
      '{"id":1,"error":"unknown method"}',
    );
    assert.equal(server.exit, null);
    assert.match(sb.log('ovsdb-server'), /received bad JSON-RPC message: message is not a JSON object/);
  });

  test('a full disk fails the transaction, and space makes the next succeed', { skip: notRoot }, async () => {
    await using sb = await Sandbox.create();
    const disk = sb.path('disk');
    await must('mkdir', [disk]);
    await must('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
    try {
      await sb.createDb(undefined, 'disk/conf.db');
      const server = await sb.startOurs('ovsdb-server', [sb.path('disk/conf.db')]);
      await run('dd', ['if=/dev/zero', `of=${disk}/fill`, 'bs=1k', 'count=100']);
      const insert = (target: string) =>
        request(sb.path('db.sock'), {
          id: 1,
          method: 'transact',
          params: [
            'Open_vSwitch',
            { op: 'insert', table: 'SSL', row: {} },
            { op: 'insert', table: 'Open_vSwitch', row: { external_ids: ['map', [['x', target]]] } },
          ],
        });
      const failed = JSON.parse((await insert('y'.repeat(9000)))!) as { result: Record<string, string>[] };
      assert.equal(failed.result[2]?.['error'], 'I/O error');
      assert.equal(failed.result[2]?.['io-error'], 'No space left on device');
      await must('rm', [`${disk}/fill`]);
      assert.doesNotMatch((await insert('z'))!, /I\/O error/);
      await server.kill('SIGTERM');
      assert.match(out(await sb.c('ovsdb-tool', '-mm', 'show-log', 'disk/conf.db')), /x=z/);
    } finally {
      await must('umount', [disk]);
    }
  });
});

/** Sends one request on a connection of its own; null if the server closes that without an answer. */
function request(path: string, message: object | string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let text = '';
    socket.on('connect', () => socket.write(typeof message === 'string' ? message : JSON.stringify(message)));
    socket.on('data', (bytes) => {
      text += bytes;
      try {
        JSON.parse(text);
        socket.destroy();
        resolve(text);
      } catch {
        // Not yet all.
      }
    });
    socket.on('error', () => resolve(null));
    socket.on('close', () => resolve(null));
  });
}

describe('database files', { skip }, () => {
  test('of ours and of theirs are each other’s', async () => {
    await using sb = await Sandbox.create();
    out(await sb.ours('ovsdb-tool', 'create', 'conf.db', join(ROOT, 'schema/vswitch.ovsschema')));
    const commands = [
      'add-br br0',
      'add-port br0 p1 tag=5 trunks=1,2,3',
      'set port p1 trunks=2,3,4',
      'set bridge br0 other_config={a=b,c=d}',
      'set bridge br0 other_config:a=z',
      'add-br br1',
      'del-br br0',
      'add-port br1 q',
    ];
    for (const [i, command] of commands.entries()) {
      const server = await (i % 2 === 0 ? sb.startOurs('ovsdb-server') : sb.startC('ovsdb-server'));
      out(await sb.runC('ovs-vsctl', ['--no-wait', ...command.split(' ')]));
      if (i === 3 || i === 4) out(await sb.c('ovs-appctl', '-t', 'ovsdb-server', 'ovsdb-server/compact'));
      await server.kill(i % 3 === 0 ? 'SIGKILL' : 'SIGTERM');
    }
    // Tables and columns stand in no order in either.
    const lines = (text: string) => text.split('\n').sort();
    const shown = out(await sb.ours('ovsdb-tool', 'show-log', '-mm', 'conf.db'));
    assert.deepEqual(lines(shown), lines(out(await sb.c('ovsdb-tool', 'show-log', '-mm', 'conf.db'))));
    const all = await contents(sb, 'conf.db', false);
    out(await sb.ours('ovsdb-tool', 'compact', 'conf.db', 'small.db'));
    assert.equal(await contents(sb, 'small.db', false), all);
    assert.match(all, /"name":"br1"/);
  });

  test('with a torn tail lose only what is torn', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    let server = await sb.startOurs('ovsdb-server');
    for (const name of ['a', 'b', 'c']) out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', name));
    await server.kill();
    truncateSync(sb.path('conf.db'), statSync(sb.path('conf.db')).size - 5);
    server = await sb.startOurs('ovsdb-server');
    assert.equal(out(await sb.c('ovs-vsctl', 'list-br')), 'a\nb\n');
    assert.match(
      sb.log('ovsdb-server'),
      /\|ovsdb_server\|ERR\|I\/O error: .*conf.db: error reading \d+ bytes starting at offset \d+ \(End of file\)/,
    );
    out(await sb.c('ovs-vsctl', '--no-wait', 'add-br', 'd'));
    await server.kill();
    assert.equal((await sb.c('ovsdb-tool', 'query', 'conf.db', '["Open_vSwitch"]')).stdout, '[]\n');
  });

  test('have one server at a time, of either family', async () => {
    await using sb = await Sandbox.create();
    await sb.createDb();
    const ours = await sb.startOurs('ovsdb-server');
    const expected =
      /ovsdb-(server: I\/O error|tool): .*conf.db: failed to lock lockfile \(Resource temporarily unavailable\)\n$/;
    const again = ['--pidfile=none', '--unixctl=other.ctl', '--remote=punix:other.sock', sb.path('conf.db')];
    for (const second of [
      sb.runC('ovsdb-server', again),
      sb.runOurs('ovsdb-server', again),
      sb.runOurs('ovsdb-tool', ['compact', 'conf.db']),
    ]) {
      const { stderr, status } = await second;
      assert.match(stderr, expected);
      assert.match(
        stderr,
        new RegExp(
          `lockfile\\|WARN\\|.*\\.conf\\.db\\.~lock~: cannot lock file because it is already locked by pid ${ours.pid}\\n`,
        ),
      );
      assert.equal(status, 1);
    }
    await ours.kill();
    const theirs = await sb.startC('ovsdb-server');
    assert.match((await sb.runOurs('ovsdb-server', again)).stderr, expected);
    await theirs.kill();
  });
});

test('ovsdb-tool answers and fails as the original does', { skip }, async () => {
  await using left = await Sandbox.create();
  await using right = await Sandbox.create();
  const commands = [
    'create',
    'create',
    'create x.db nothing.ovsschema',
    'db-name',
    'db-version',
    'db-cksum',
    'schema-name',
    'schema-version',
    'schema-cksum',
    'compare-versions 1.2.3 < 1.2.4',
    'compare-versions 1.2.3 >= 1.2.4',
    'compare-versions 1.2 == 1.2.4',
    'compare-versions 1.2.3 = 1.2.3',
    'needs-conversion',
    'db-is-standalone conf.db',
    'db-is-clustered conf.db',
    'db-cid conf.db',
    'query ["Open_vSwitch"]',
    'query {x',
    'query ["X"',
    'query ["Nowhere"]',
    'transact ["Open_vSwitch",{"op":"abort"},5]',
    'transact ["Open_vSwitch",{"op":"comment","comment":"c"}]',
    'show-log',
    'nonsense',
    'query',
    'schema-name a b c',
    '-x',
    'db-name nothing',
    '',
  ];
  for (const command of commands) {
    const args = command.split(' ').filter((word) => word !== '');
    const [theirs, ours] = await Promise.all([left.runC('ovsdb-tool', args), right.runOurs('ovsdb-tool', args)]);
    const shown = (r: Result) =>
      `${r.stdout}${r.stderr} => ${r.status}`
        .replaceAll(left.dir, 'D')
        .replaceAll(right.dir, 'D')
        .replace(/^\S*\/(?=ovsdb-tool: )/gm, '');
    assert.equal(shown(ours), shown(theirs), command);
  }
});

test('backup, restore and convert keep what there is', { skip }, async () => {
  await using sb = await Sandbox.create();
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  out(
    await sb.c(
      'ovs-vsctl',
      '--no-wait',
      'add-br',
      'br0',
      '--',
      'add-port',
      'br0',
      'p',
      'tag=9',
      '--',
      'set-manager',
      'ptcp:0',
    ),
  );
  const before = await contents(sb, 'conf.db');
  const saved = out(await sb.ours('ovsdb-client', 'backup'));
  out(await sb.c('ovs-vsctl', '--no-wait', 'del-br', 'br0'));
  const { status, stderr } = await sb.runOurs('ovsdb-client', ['restore'], { input: saved });
  assert.equal(status, 0, stderr);
  assert.equal(await contents(sb, 'conf.db'), before);

  const schema = JSON.parse(readFileSync(join(ROOT, 'schema/vswitch.ovsschema'), 'utf8')) as {
    version: string;
    tables: Record<string, unknown>;
  };
  schema.version = '99.0.0';
  schema.tables['Extra'] = { isRoot: true, columns: { x: { type: 'integer' } } };
  appendFileSync(sb.path('new.ovsschema'), JSON.stringify(schema));
  assert.equal(out(await sb.ours('ovsdb-client', 'needs-conversion', 'new.ovsschema')), 'yes\n');
  out(await sb.ours('ovsdb-client', 'convert', 'new.ovsschema'));
  assert.equal(out(await sb.c('ovsdb-client', 'get-schema-version')), '99.0.0\n');
  assert.equal(out(await sb.c('ovs-vsctl', 'get', 'port', 'p', 'tag')), '9\n');
  assert.equal(await contents(sb, 'conf.db'), before);
  copyFileSync(sb.path('conf.db'), sb.path('copy.db'));
  assert.equal(out(await sb.c('ovsdb-tool', 'db-version', 'copy.db')), '99.0.0\n');
  assert.ok(existsSync(sb.path('copy.db')));
});
