/** The OpenFlow side of a bridge, asked by the original's `ovs-ofctl`: the same commands to our switch and to the original. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { OfMessage } from '../src/openflow/messages.ts';
import { ALL_VERSIONS, listenVconns, type Vconn } from '../src/openflow/vconn.ts';
import { missingOriginal, type Result, ROOT, type Sandbox, startSandbox, until } from './support/twin.ts';

const missing = missingOriginal();

/** What may differ: ages, addresses, transaction numbers, versions, and the order of what has none. */
function normal(text: string): string {
  return text
    .replace(/duration=[\d.]+s/g, 'duration=?')
    .replace(/idle_age=\d+/g, 'idle_age=?')
    .replace(/hard_age=\d+, /g, '')
    .replace(/addr:[0-9a-f:]{17}/g, 'addr:?')
    .replace(/dpid:[0-9a-f]{16}/g, 'dpid:?')
    .replace(/xid=0x[0-9a-f]+/g, 'xid=?')
    .replace(/\/tmp\/sbx-\w+-\w+/g, 'DIR')
    .replace(/([0-9a-f:]{17}) +\d+$/gm, '$1 AGE')
    .replace(/hit:\d+ missed:\d+/g, 'hit:? missed:?')
    .replace(/^Software: .*$/gm, 'Software: ?')
    .replace(/^(\d{4}-\d\d-\d\dT[^|]*\|\d+\|)/gm, '');
}

function sortedLines(text: string): string {
  return text.split('\n').sort().join('\n');
}

describe('a bridge asked by ovs-ofctl', { skip: missing ?? false }, () => {
  let ours: Sandbox;
  let theirs: Sandbox;

  before(async () => {
    [ours, theirs] = await Promise.all([startSandbox('ours'), startSandbox('original')]);
    for (const box of [ours, theirs]) {
      const added = box.run(
        'ovs-vsctl',
        ...'add-br br0 -- set bridge br0 datapath-type=dummy'.split(' '),
        ...'protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15 --'.split(' '),
        ...'add-port br0 p1 -- set interface p1 type=dummy ofport_request=1 --'.split(' '),
        ...'add-port br0 p2 -- set interface p2 type=dummy ofport_request=2 --'.split(' '),
        ...'add-port br0 p3 -- set interface p3 type=dummy ofport_request=3'.split(' '),
      );
      assert.equal(added.status, 0, added.err + box.log());
    }
  });

  after(() => {
    ours?.stop();
    theirs?.stop();
  });

  /** Runs a command in both; what is printed and the exit status must be the same. */
  function same(program: string, ...args: string[]): Result {
    const [a, b] = [ours.run(program, ...args), theirs.run(program, ...args)];
    const what = `${program} ${args.join(' ')}`;
    assert.equal(sortedLines(normal(a.out)), sortedLines(normal(b.out)), what);
    assert.equal(normal(a.err), normal(b.err), what);
    assert.equal(a.status, b.status, what);
    return a;
  }
  const ofctl = (...args: string[]): Result => same('ovs-ofctl', ...args);
  const inject = (port: string, flow: string): void => {
    for (const box of [ours, theirs]) {
      const r = box.run('ovs-appctl', 'netdev-dummy/receive', port, flow);
      assert.equal(r.status, 0, r.err);
    }
  };

  const ICMP = (a: string, b: string): string =>
    `in_port(1),eth(src=50:54:00:00:00:0${a},dst=50:54:00:00:00:0${b}),eth_type(0x0800),` +
    'ipv4(src=192.168.0.1,dst=192.168.0.2,proto=1,tos=0,ttl=64,frag=no),icmp(type=8,code=0)';

  it('tells the same of itself in every version', () => {
    for (const v of ['10', '11', '12', '13', '14', '15']) {
      ofctl('-O', `OpenFlow${v}`, 'show', 'br0');
      ofctl('-O', `OpenFlow${v}`, 'dump-desc', 'br0');
      ofctl('-O', `OpenFlow${v}`, 'dump-flows', 'br0');
      ofctl('-O', `OpenFlow${v}`, 'dump-aggregate', 'br0');
      ofctl('-O', `OpenFlow${v}`, 'get-frags', 'br0');
    }
    ofctl('-O', 'OpenFlow14', 'dump-table-desc', 'br0');
    for (const v of ['10', '11', '12', '13']) ofctl('-O', `OpenFlow${v}`, 'dump-tables', 'br0');
    ofctl('-O', 'OpenFlow13', 'dump-table-features', 'br0');
  });

  it('adds, changes and deletes flows alike', () => {
    for (const v of ['10', '13', '15']) {
      const o = ['-O', `OpenFlow${v}`];
      ofctl(...o, 'del-flows', 'br0');
      ofctl(...o, 'add-flow', 'br0', 'priority=10,tcp,nw_dst=10.0.0.0/8,actions=output:1');
      ofctl(...o, 'add-flow', 'br0', 'priority=10,udp,tp_dst=53,actions=mod_nw_tos:32,output:2');
      ofctl(...o, 'add-flow', 'br0', 'cookie=0x1234,table=1,dl_vlan=5,actions=strip_vlan,LOCAL');
      ofctl(...o, 'add-flow', 'br0', 'table=2,arp,idle_timeout=600,hard_timeout=700,actions=NORMAL');
      ofctl(...o, 'dump-flows', 'br0');
      ofctl(...o, 'dump-flows', 'br0', 'tcp');
      ofctl(...o, 'dump-flows', 'br0', 'table=1');
      ofctl(...o, 'dump-flows', 'br0', 'cookie=0x1234/-1');
      ofctl(...o, 'dump-flows', 'br0', 'out_port=2');
      ofctl(...o, 'mod-flows', 'br0', 'tcp,actions=output:3');
      ofctl(...o, 'mod-flows', '--strict', 'br0', 'priority=10,udp,tp_dst=53,actions=drop');
      ofctl(...o, 'mod-flows', '--strict', 'br0', 'priority=9,udp,tp_dst=99,actions=drop');
      ofctl(...o, 'dump-flows', 'br0');
      ofctl(...o, 'dump-aggregate', 'br0', 'table=0');
      ofctl(...o, 'del-flows', 'br0', 'udp');
      ofctl(...o, 'del-flows', '--strict', 'br0', 'priority=10,tcp,nw_dst=10.0.0.0/8');
      ofctl(...o, 'dump-flows', 'br0');
      ofctl(...o, 'del-flows', 'br0', 'out_port=LOCAL');
      ofctl(...o, 'dump-flows', 'br0');
    }
  });

  it('refuses in the same words', () => {
    ofctl('del-flows', 'br0');
    ofctl('add-flow', 'br0', 'table=254,actions=drop');
    ofctl('del-flows', 'br0', 'table=254');
    ofctl('add-flow', 'br0', 'actions=group:5');
    ofctl('-O', 'OpenFlow13', 'add-flow', 'br0', 'actions=group:5');
    ofctl('-O', 'OpenFlow13', 'add-flow', 'br0', 'actions=meter:5');
    ofctl('add-flow', 'br0', 'actions=output:1');
    ofctl('add-flow', 'br0', 'check_overlap,tcp,actions=output:2');
    ofctl('-O', 'OpenFlow13', 'add-flow', 'br0', 'check_overlap,ip,nw_src=1.1.1.1,actions=output:2');
    ofctl('-O', 'OpenFlow14', 'mod-table', 'br0', '254', 'evict');
    ofctl('mod-port', 'br0', '77', 'down');
    ofctl('dump-ports', 'br0', '77');
  });

  it('changes ports', () => {
    ofctl('mod-port', 'br0', 'p1', 'down');
    ofctl('mod-port', 'br0', 'p2', 'no-flood');
    ofctl('show', 'br0');
    ofctl('-O', 'OpenFlow14', 'show', 'br0');
    ofctl('mod-port', 'br0', 'p1', 'up');
    ofctl('mod-port', 'br0', 'p2', 'flood');
    ofctl('show', 'br0');
  });

  it('commits bundles, or nothing of them', () => {
    const o = ['-O', 'OpenFlow14', '--bundle'];
    ofctl('del-flows', 'br0');
    ofctl(...o, 'add-flow', 'br0', 'tcp,actions=output:2');
    ofctl('dump-flows', 'br0');
    ofctl(...o, 'add-flow', 'br0', 'check_overlap,tcp,tcp_dst=80,actions=output:2');
    ofctl('dump-flows', 'br0');
    ofctl(...o, 'replace-flows', 'br0', '/dev/null');
    ofctl('dump-flows', 'br0');
  });

  it('keeps groups', () => {
    const o = ['-O', 'OpenFlow13'];
    ofctl(...o, 'add-group', 'br0', 'group_id=1,type=select,bucket=output:1,bucket=weight:5,output:2');
    ofctl(...o, 'add-group', 'br0', 'group_id=1,type=all,bucket=output:1');
    ofctl(...o, 'mod-group', 'br0', 'group_id=2,type=all,bucket=output:1');
    ofctl(...o, 'add-flow', 'br0', 'udp,actions=group:1');
    ofctl(...o, 'dump-groups', 'br0');
    ofctl('-O', 'OpenFlow15', 'dump-groups', 'br0');
    ofctl(...o, 'dump-group-stats', 'br0');
    ofctl(...o, 'dump-group-features', 'br0');
    ofctl(...o, 'del-groups', 'br0', 'group_id=1');
    ofctl(...o, 'dump-flows', 'br0');
  });

  it('forwards, learns and counts', async () => {
    ofctl('del-flows', 'br0');
    ofctl('add-flow', 'br0', 'actions=NORMAL');
    inject('p1', ICMP('5', '7'));
    inject('p2', ICMP('7', '5'));
    inject('p1', ICMP('5', '7'));
    inject('p1', ICMP('5', '7'));
    await until(
      () => [ours, theirs].every((box) => box.run('ovs-ofctl', 'dump-flows', 'br0').out.includes('n_packets=4')),
      'four packets counted',
    );
    same('ovs-appctl', 'fdb/show', 'br0');
    same('ovs-appctl', 'fdb/stats-show', 'br0');
    for (const box of [ours, theirs]) {
      const { out } = box.run('ovs-appctl', 'dpctl/dump-flows');
      assert.match(out, /in_port\(1\).*eth\(src=50:54:00:00:00:05,dst=50:54:00:00:00:07\).*actions:2$/m);
      assert.match(out, /in_port\(2\).*eth\(src=50:54:00:00:00:07,dst=50:54:00:00:00:05\).*actions:1$/m);
    }
  });

  it('lets packets meet new tables from the barrier on', () => {
    ofctl('del-flows', 'br0');
    // `ovs-ofctl add-flow` ends with a barrier.
    for (const [i, action] of ['output:2', 'output:3', 'drop', 'output:2'].entries()) {
      const before = sentBy(ours);
      assert.equal(
        ours.run('ovs-ofctl', 'add-flow', 'br0', `priority=${100 + i},in_port=1,actions=${action}`).status,
        0,
      );
      ours.run('ovs-appctl', 'netdev-dummy/receive', 'p1', ICMP('5', '7'));
      const now = sentBy(ours);
      const went = now.map((n, port) => n - before[port]);
      const wanted = action === 'drop' ? [0, 0, 0] : [0, action === 'output:2' ? 1 : 0, action === 'output:3' ? 1 : 0];
      assert.deepEqual(went, wanted, `${action}: ${ours.run('ovs-appctl', 'dpctl/dump-flows').out}`);
    }
  });

  /** Packets that p1, p2 and p3 have sent. */
  function sentBy(box: Sandbox): number[] {
    const { out } = box.run('ovs-ofctl', 'dump-ports', 'br0');
    return ['1', '2', '3'].map((no) => Number(out.match(new RegExp(`port +${no}: [^]*?tx pkts=(\\d+)`))?.[1]));
  }

  it('tells monitors of packets, removed flows and ports', async () => {
    ofctl('del-flows', 'br0');
    ofctl('-O', 'OpenFlow13', 'add-flow', 'br0', 'priority=5,ip,send_flow_rem,cookie=0x77,actions=controller');
    const seen: Record<string, string[]> = {};
    for (const [name, box] of [
      ['ours', ours],
      ['theirs', theirs],
    ] as const) {
      seen[name] = [];
      const watchers = ['10', '13', '15'].map((v) =>
        box.watch('ovs-ofctl', '-O', `OpenFlow${v}`, 'monitor', 'br0', '65534'),
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      box.run('ovs-appctl', 'netdev-dummy/receive', 'p1', ICMP('5', '7'));
      await until(() => watchers.every((w) => w.text().includes('PACKET_IN2')), `${name}: packet-in`);
      box.run('ovs-ofctl', 'mod-port', 'br0', 'p3', 'down');
      await until(() => watchers.every((w) => w.text().includes('LINK_DOWN')), `${name}: port status`);
      box.run('ovs-ofctl', 'del-flows', 'br0');
      await until(() => watchers.every((w) => /FLOW_REMOVED.*\n?/.test(w.text())), `${name}: flow removed`);
      for (const w of watchers) {
        // The original tells of the configuration first and of the state it leads to afterwards.
        const text = normal(w.text());
        seen[name].push(text.replace(/duration[\d.]+s/g, 'duration?'));
        w.stop();
      }
      box.run('ovs-ofctl', 'mod-port', 'br0', 'p3', 'up');
    }
    assert.deepEqual(seen['ours'], seen['theirs']);
  });

  it('expires flows that are idle', async () => {
    ofctl('-O', 'OpenFlow13', 'add-flow', 'br0', 'udp,idle_timeout=1,send_flow_rem,actions=drop');
    const watch = ours.watch('ovs-ofctl', '-O', 'OpenFlow13', 'monitor', 'br0', '65534');
    await until(() => watch.text().includes('FLOW_REMOVED'), 'the flow to expire', 5000);
    assert.match(watch.text(), /udp reason=idle table_id=0 duration[12]\.\d+s idle1 pkts0 bytes0/);
    watch.stop();
  });

  it('says what groups may do in the terms of each version', () => {
    for (const v of [10, 11, 12, 13, 15]) ofctl('-O', `OpenFlow${v}`, 'dump-group-features', 'br0');
  });

  it('answers commands in the same words', () => {
    ofctl('del-flows', 'br0');
    for (const command of [
      'ofproto/list',
      'bridge/dump-flows nobr',
      'bridge/reconnect nobr',
      'bridge/reconnect',
      'dpif/show',
      'dpif/dump-dps',
      'dpif/dump-flows nobr',
      'dpif/show-dp-features nobr',
      'dpctl/dump-dps',
      'dpctl/dump-flows dummy@nope',
      'dpctl/dump-flows filter=foo=1',
      'dpctl/dump-flows type=xx',
      'dpctl/dump-flows type=offloaded',
      'dpctl/show nope',
      'dpctl/add-flow foo 3',
      'dpctl/add-flow in_port(1) foo',
      'dpctl/get-flow ufid:00000000-0000-0000-0000-000000000000',
      'dpctl/get-flow abc',
      'dpctl/del-flow in_port(9),eth()',
      'dpctl/parse-actions 1,2',
      'fdb/flush br0',
      'fdb/add br0 p1 5 00:11:22:33:44:55',
      'fdb/add br0 p9 5 00:11:22:33:44:55',
      'fdb/add br0 p1 5 00:11:22:33:44',
      'fdb/show br0',
      'fdb/del br0 5 00:11:22:33:44:55',
      'fdb/del br0 5 00:11:22:33:44:55',
      'fdb/flush nobr',
      'fdb/stats-clear',
      'fdb/stats-show br0',
      'upcall/set-flow-limit 1234',
      'upcall/set-flow-limit abc',
      'upcall/disable-megaflows',
      'upcall/enable-megaflows',
      'revalidator/wait',
      'revalidator/purge',
    ]) {
      same('ovs-appctl', ...command.split(' '));
    }
  });

  it('calls its controllers, and again when they hang up', async () => {
    const vconns: Vconn[] = [];
    const listener = await listenVconns(`punix:${ours.dir}/controller.sock`, ALL_VERSIONS, (vconn) =>
      vconns.push(vconn),
    );
    const set = ours.run('ovs-vsctl', 'set-controller', 'br0', `unix:${ours.dir}/controller.sock`);
    assert.equal(set.status, 0, set.err);
    await until(() => vconns[0]?.version === 6, 'the switch to call');
    const snoop = ours.watch('ovs-ofctl', 'snoop', 'br0');
    // Until the snoop is connected there is nobody to hear.
    const isHeard = (): boolean => {
      vconns[0].send({ type: 'echo_request', data: new Uint8Array(0) });
      return snoop.text() !== '';
    };
    await until(isHeard, 'the snoop');
    vconns[0].send({ type: 'features_request' });
    const reply = await new Promise<OfMessage>((resolve) =>
      vconns[0].onMessage((message) => {
        if (message.type !== 'echo_reply') resolve(message);
      }),
    );
    assert.equal(reply.type, 'features_reply');
    await until(() => snoop.text().includes('OFPT_FEATURES_REPLY'), 'the snoop to see the reply');
    assert.match(snoop.text(), /OFPT_ECHO_REQUEST.*OFPT_FEATURES_REQUEST.*OFPT_FEATURES_REPLY/s);
    snoop.stop();
    const isConnected = (): string =>
      ours.run('ovs-vsctl', '--columns=is_connected', '--bare', 'list', 'controller').out;
    // `ovs-vsctl` is run synchronously: between runs the connection needs this process.
    let connected = '';
    await until(() => (connected = isConnected()).includes('true'), 'the database to tell', 10_000);
    assert.match(connected, /true/);
    vconns[0].close();
    await until(() => vconns[1]?.version === 6, 'the switch to call again');
    assert.equal(ours.run('ovs-vsctl', 'del-controller', 'br0').status, 0);
    await until(() => vconns[1].isClosed, 'the switch to hang up');
    listener.close();
  });

  it('survives whatever it is sent', async () => {
    let seed = 1;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >>> 8) % n;
    };
    for (const version of [1, 2, 3, 4, 5, 6]) {
      const socket = connect(`${ours.dir}/br0.mgmt`);
      let isOpen = true;
      socket.on('close', () => (isOpen = false));
      socket.on('error', () => (isOpen = false));
      socket.resume();
      socket.write(Uint8Array.of(version, 0, 0, 8, 0, 0, 0, 1));
      for (let i = 0; i < 1500 && isOpen; i++) {
        const length = 8 + random(random(4) === 0 ? 600 : 90);
        const message = Uint8Array.from({ length }, () => (random(3) === 0 ? random(256) : random(4)));
        message.set([version, random(40), length >> 8, length & 0xff]);
        // Half of them look at least like the experimenter messages and statistics that there are.
        if (message[1] === 4 && length >= 16) message.set([0, 0, 0x23, 0x20, 0, 0, 0, random(40)], 8);
        socket.write(message);
        if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
      socket.destroy();
    }
    await until(() => ours.run('ovs-ofctl', 'show', 'br0').status === 0, 'the switch to answer');
    const log = ours.log();
    assert.doesNotMatch(log, /EMER|uncaught|unhandled/i);
    assert.equal(ours.run('ovs-appctl', 'version').status, 0);
    // What random flow-mods and port-mods may have left.
    for (const box of [ours, theirs])
      for (const p of ['p1', 'p2', 'p3']) box.run('ovs-ofctl', 'mod-port', 'br0', p, 'up');
  });

  it('lets ovs-dpctl look into the running switch', () => {
    const dpctl = (dir: string, ...args: string[]) =>
      spawnSync(join(ROOT, 'bin', 'ovs-dpctl'), args, { env: { ...ours.env, OVS_RUNDIR: dir }, encoding: 'utf8' });
    for (const command of ['show', 'dump-dps', 'dump-flows']) {
      const told = ours.run('ovs-appctl', `dpctl/${command}`).out;
      assert.equal(dpctl(ours.dir, command).stdout, told);
    }
    const wrong = dpctl(ours.dir, 'show', 'nope');
    assert.equal(wrong.stderr, 'ovs-dpctl: opening datapath nope failed (No such device)\n');
    assert.equal(wrong.status, 1);
    // Without a switch there would be the kernel's datapath, if it were there.
    const alone = dpctl('/nonexistent', 'dump-flows');
    assert.match(alone.stderr, /^ovs-dpctl: datapath not found \(Invalid argument\)$/m);
    assert.equal(alone.status, 1);
    assert.equal(dpctl(ours.dir, 'frob').stderr, "ovs-dpctl: unknown command 'frob'; use --help for help\n");
  });

  it('sends packets out', () => {
    ofctl('del-flows', 'br0');
    const before = sentBy(ours);
    const packet = 'in_port=1,packet=ffffffffffff5054000000050800,actions=output:2,output:3';
    ofctl('-O', 'OpenFlow13', 'packet-out', 'br0', packet);
    ofctl('packet-out', 'br0', 'in_port=2,packet=ffffffffffff5054000000050800,actions=FLOOD');
    ofctl('-O', 'OpenFlow13', 'packet-out', 'br0', 'in_port=1,packet=ffffffffffff5054000000050800,actions=group:9');
    assert.deepEqual(
      sentBy(ours).map((n, i) => n - before[i]),
      [1, 1, 2],
    );
  });
});
