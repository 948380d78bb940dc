/** PMD threads and their queues, in the original's words: the same configuration given to its switch and to ours. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, Sandbox, until } from './support/sandbox.ts';

const skip = missing('ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl', 'ovs-appctl');
const SWITCH = ['--enable-dummy=override', '--disable-system', '--dummy-numa=0,0,0,0'];

/** The assignments that the log tells since it had `from` lines. */
function told(sb: Sandbox, from: number): string[] {
  return sb
    .read('ovs-vswitchd.log')
    .split('\n')
    .slice(from)
    .filter(
      (line) => /\|dpif_netdev\|/.test(line) && !/created|destroyed|There are|cores? on|assigned|Performing/.test(line),
    )
    .map((line) => line.replace(/^[^|]*\|\d+\|/, ''));
}

const PORTS = [
  'add-br br0 -- set bridge br0 datapath_type=dummy',
  '-- add-port br0 p1 -- set interface p1 type=dummy-pmd options:n_rxq=3 ofport_request=1',
  '-- add-port br0 p2 -- set interface p2 type=dummy-pmd options:n_rxq=2 ofport_request=2',
].join(' ');

const STEPS = [
  PORTS,
  'set open . other_config:pmd-cpu-mask=0x7',
  'set open . other_config:pmd-rxq-assign=roundrobin',
  'set open . other_config:pmd-rxq-assign=group',
  'set open . other_config:pmd-rxq-assign=cycles',
  'set interface p1 other_config:pmd-rxq-affinity=0:2,1:9',
  'set open . other_config:pmd-rxq-assign=group other_config:pmd-rxq-isolate=false',
  'set open . other_config:pmd-rxq-isolate=true',
  'set interface p2 other_config:pmd-rxq-affinity=0:0,1:1',
  'remove interface p2 other_config pmd-rxq-affinity',
  'remove interface p1 other_config pmd-rxq-affinity',
  'set open . other_config:pmd-auto-lb=true other_config:pmd-auto-lb-load-threshold=70',
  'set open . other_config:pmd-auto-lb=false',
  'set open . other_config:tx-flush-interval=50',
  'set open . other_config:pmd-cpu-mask=0x1',
  'set interface p1 options:n_rxq=1',
  'set interface p1 other_config:tx-steering=hash',
  'set open . other_config:pmd-cpu-mask=0xf',
];

const COMMANDS = [
  ['pmd-rxq-rebalance'],
  ['pmd-rxq-rebalance', 'nope'],
  ['pmd-rxq-show', '-pmd', '2'],
  ['pmd-rxq-show', '-pmd', '77'],
  ['pmd-rxq-show', '-secs', '7'],
  ['pmd-rxq-show', '-secs', '90'],
  ['dpif-impl-get'],
  ['dpif-impl-set', 'nope'],
  ['miniflow-parser-set', 'scalar'],
  ['miniflow-parser-set', 'nope'],
  ['miniflow-parser-set', '-pmd', '1', 'scalar'],
  ['miniflow-parser-set', '-pmd', '77', 'scalar'],
  ['subtable-lookup-prio-set', 'generic', '3'],
  ['subtable-lookup-prio-set', 'nope', '3'],
  ['subtable-lookup-prio-set', 'generic', '300'],
  ['bond-show'],
  ['bond-show', 'nope'],
];

interface Started extends AsyncDisposable {
  readonly sb: Sandbox;
  appctl(...args: string[]): Promise<string>;
}

async function start(kind: 'original' | 'ours'): Promise<Started> {
  const sb = await Sandbox.create();
  await sb.createDb();
  await sb.startC('ovsdb-server');
  await sb.c('ovs-vsctl', '--no-wait', 'init');
  if (kind === 'original') await sb.startC('ovs-vswitchd', SWITCH);
  else await sb.startOurs('ovs-vswitchd', SWITCH);
  return {
    sb,
    async appctl(...args) {
      const r = await sb.c('ovs-appctl', ...args);
      return r.stdout + r.stderr.replaceAll(sb.dir, '').replace(/^ovs-appctl: .*\n/m, '');
    },
    [Symbol.asyncDispose]: () => sb[Symbol.asyncDispose](),
  };
}

async function runSteps(kind: 'original' | 'ours'): Promise<string[]> {
  await using started = await start(kind);
  const { sb, appctl } = started;
  const said: string[] = [];
  for (const step of STEPS) {
    const lines = sb.read('ovs-vswitchd.log').split('\n').length - 1;
    const r = await sb.c('ovs-vsctl', ...step.split(' '));
    assert.equal(r.status, 0, `${step}: ${r.stderr}`);
    // Both are asynchronous to the database: until it shows the same twice.
    let show = '';
    await until(
      async () => {
        const now = await appctl('dpif-netdev/pmd-rxq-show');
        const isSame = now === show && now !== '';
        show = now;
        return isSame;
      },
      5000,
      step,
    );
    said.push(`== ${step}`, show);
    if (!step.startsWith('add-br')) said.push(...new Set(told(sb, lines).filter((l) => !/isolate can only/.test(l))));
  }
  for (const [name, ...args] of COMMANDS)
    said.push(`== ${name} ${args.join(' ')}`, await appctl(`dpif-netdev/${name}`, ...args));
  return said;
}

test('assignment of queues, its commands and its log equal the original', { skip, timeout: 60_000 }, async () => {
  const [original, ours] = await Promise.all([runSteps('original'), runSteps('ours')]);
  assert.deepEqual(ours, original);
});

const DATAPATH_STEPS = [
  'add-dp dummy@dp0',
  'add-dp dummy@dp0',
  'add-dp foo@dp1',
  'dump-dps',
  'add-if dummy@dp0 vif1,type=dummy',
  'add-if dummy@dp0 vif1,type=dummy',
  'add-if dummy@dp0 vif2,type=nope',
  'add-if dummy@dp0 vif3,type=dummy,port_no=7,n_rxq=2',
  'add-if dummy@dp0 vif4,type=dummy,port_no=7',
  'add-if dummy@nope vif4',
  'add-if dummy@dp0 vif5,type=dummy,bogus',
  'show dummy@dp0',
  'set-if dummy@dp0 vif3,port_no=7,ifindex=9',
  'set-if dummy@dp0 vif3,type=internal',
  'set-if dummy@dp0 vif3,port_no=8',
  'set-if dummy@dp0 nope,type=internal',
  'del-if dummy@dp0 nope',
  'del-if dummy@dp0 vif1 vif3',
  'del-if dummy@dp0 7',
  'show dummy@dp0',
  'del-dp dummy@dp0',
  'del-dp dummy@dp0',
  'dump-dps',
];

test('datapaths and ports without bridges answer as the original', { skip, timeout: 60_000 }, async () => {
  const answers = async (kind: 'original' | 'ours'): Promise<string[]> => {
    await using started = await start(kind);
    const said: string[] = [];
    for (const step of DATAPATH_STEPS) {
      const [name, ...args] = step.split(' ');
      said.push(`== ${step}`, await started.appctl(`dpctl/${name}`, ...args));
    }
    return said;
  };
  const [original, ours] = await Promise.all([answers('original'), answers('ours')]);
  assert.deepEqual(ours, original);
});
