/**
 * python3-openvswitch as a third client: its IDL follows our server and the original's through the same changes, some of them its own and a death of the
 * server among them, and hears and holds the same.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { missing, type Result, Sandbox, SCHEMA, until } from './support/sandbox.ts';

const PACKAGE = '/usr/lib/python3/dist-packages/ovs';
const skip =
  missing('python3', 'ovsdb-server', 'ovsdb-tool', 'ovsdb-client', 'ovs-vsctl') ||
  (!existsSync(PACKAGE) && 'python3-openvswitch not installed');

/**
 * Follows a database until a bridge `end` comes, changes it when a line of standard input says so, and prints what the IDL tells of interfaces, and at the
 * end all it holds.
 */
const CLIENT = `
import json, select, sys
sys.path.insert(0, '/usr/lib/python3/dist-packages')
import ovs.db.idl, ovs.poller, ovs.vlog
ovs.vlog.Vlog.init('/dev/null')
remote, schema = sys.argv[1:3]
helper = ovs.db.idl.SchemaHelper(schema)
for table, columns in (('Open_vSwitch', ['bridges', 'external_ids', 'next_cfg']), ('Bridge', ['name', 'ports', 'other_config', 'flood_vlans']),
                       ('Port', ['name', 'interfaces', 'tag', 'trunks']), ('Interface', ['name', 'type', 'options', 'mtu_request'])):
    helper.register_columns(table, columns)

class Idl(ovs.db.idl.Idl):
    def notify(self, event, row, updates=None):
        if row._table.name == 'Interface':
            old = sorted(updates._data.keys()) if updates is not None and event == 'update' else []
            print('told', event, row.name, old, flush=True)

def plain(value):
    if isinstance(value, ovs.db.idl.Row):
        return value.name
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return sorted((plain(v) for v in value), key=str)
    return value

idl = Idl(remote, helper)
pending = None
wait_for = None
while True:
    idl.run()
    if idl.has_ever_connected() and wait_for is None and pending is None:
        readable = select.select([sys.stdin], [], [], 0)[0]
        if readable:
            words = sys.stdin.readline().split()
            if words[:1] == ['set']:
                pending = words
            elif words[:1] == ['expect']:
                wait_for = words[1:]
            elif not words:
                break
    names = {row.name: row for row in idl.tables['Interface'].rows.values()} if idl.has_ever_connected() else {}
    if wait_for is not None and (wait_for[0] in names) == (wait_for[1] == 'there'):
        print('saw', *wait_for, flush=True)
        wait_for = None
    if pending is not None:
        txn = ovs.db.idl.Transaction(idl)
        _, name, column, value = pending
        row = names[name]
        row.verify(column)
        setattr(row, column, json.loads(value))
        new = txn.insert(idl.tables['Bridge'])
        new.name = 'of-python-' + name
        root = next(iter(idl.tables['Open_vSwitch'].rows.values()))
        root.addvalue('bridges', new)
        txn.add_comment('by python')
        status = txn.commit_block()
        print('committed', status, flush=True)
        if status != ovs.db.idl.Transaction.TRY_AGAIN:
            pending = None
        continue
    poller = ovs.poller.Poller()
    idl.wait(poller)
    poller.fd_wait(sys.stdin.fileno(), select.POLLIN)
    poller.timer_wait(50)
    poller.block()
for table in ('Open_vSwitch', 'Bridge', 'Port', 'Interface'):
    rows = [{c: plain(getattr(row, c)) for c in sorted(idl.tables[table].columns)} for row in idl.tables[table].rows.values()]
    print(table, json.dumps(sorted(rows, key=lambda row: str(row)), sort_keys=True), flush=True)
`;

function out({ status, stdout, stderr }: Result): string {
  assert.equal(status, 0, stderr);
  return stdout;
}

/** What a Python client says of a server's life. */
async function story(kind: 'startC' | 'startOurs'): Promise<string> {
  await using sb = await Sandbox.create();
  await sb.createDb();
  let server = await sb[kind]('ovsdb-server');
  const vsctl = async (...args: string[]) => out(await sb.c('ovs-vsctl', '--no-wait', ...args));
  await vsctl('add-br', 'br0', '--', 'add-port', 'br0', 'p1', 'tag=7');
  writeFileSync(sb.path('client.py'), CLIENT);
  const client = spawn('python3', [sb.path('client.py'), sb.db, SCHEMA], { cwd: sb.dir });
  let said = '';
  let wrong = '';
  client.stdout.on('data', (bytes: Buffer) => (said += bytes));
  client.stderr.on('data', (bytes: Buffer) => (wrong += bytes));
  const tell = async (line: string, answer: RegExp) => {
    const before = said.length;
    client.stdin.write(`${line}\n`);
    await until(() => answer.test(said.slice(before)), 15_000, `${line} on ${kind}\n${said}${wrong}`);
  };
  try {
    await tell('expect p1 there', /saw p1/);
    await vsctl('add-port', 'br0', 'p2', '--', 'set', 'interface', 'p2', 'type=dummy', 'options:a=b', 'options:c=d');
    await tell('expect p2 there', /saw p2/);
    await tell('set p2 mtu_request 1400', /committed success/);
    await vsctl('set', 'interface', 'p2', 'options:a=z', '--', 'remove', 'interface', 'p2', 'options', 'c');
    await vsctl(
      'set',
      'port',
      'p1',
      'trunks=1,2,3',
      '--',
      'set',
      'bridge',
      'br0',
      'flood_vlans=5,6',
      'other_config:x=y',
    );
    await server.kill('SIGKILL');
    server = await sb[kind]('ovsdb-server');
    await vsctl('add-port', 'br0', 'p3', '--', 'del-port', 'p1');
    await tell('expect p3 there', /saw p3/);
    await tell('expect p1 gone', /saw p1/);
    await tell('set p3 mtu_request 1300', /committed success/);
    await vsctl('add-port', 'br0', 'p4');
    await tell('expect p4 there', /saw p4/);
    client.stdin.end();
    await until(() => /^Interface .*$/m.test(said), 15_000, `the end on ${kind}\n${said}${wrong}`);
  } finally {
    client.kill();
  }
  // What it hears of all at once it hears in no order.
  const lines = said.trimEnd().split('\n');
  return [
    ...lines.filter((line) => line.startsWith('told')).sort(),
    ...lines.filter((line) => !line.startsWith('told')),
  ].join('\n');
}

test('Python’s IDL hears and holds the same of our server as of the original’s', { skip }, async () => {
  const [theirs, ours] = await Promise.all([story('startC'), story('startOurs')]);
  assert.match(theirs, /told update p2 \['mtu_request'\][\s\S]*^Interface .*"p4"/m);
  assert.equal(ours, theirs);
});
