/**
 * What controllers configure beside flows — meters, groups, mirrors, bonds — by the same commands in our switch and in the
 * original: what is printed, and the datapath actions of the same packets, must be equal.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const missing = missingOriginal();

function normal(text: string): string {
  return text
    .replace(/n_packets=\d+, n_bytes=\d+, (idle_age=\d+, )?/g, '')
    .replace(/recirc_id=(?!0,)(0x)?[0-9a-f]+/g, 'recirc_id=?')
    .replace(/recirc\(0x[0-9a-f]+\)/g, 'recirc(?)')
    .replace(/(active member mac: )[0-9a-f:]{17}/g, '$1?')
    .replace(/duration[=:][\d.]+s/g, 'duration=?')
    .replace(/xid=0x[0-9a-f]+/g, 'xid=?')
    .replace(/^\d{4}-\d\d-\d\dT.*?\|\d+\|/gm, '')
    .replace(/(next rebalance: )\d+/g, '$1?');
}

/** What leaves by which port: the port, and what was done to the packet before. */
function outputs(actions: string, vlan: string | undefined): string[] {
  const out: string[] = [];
  let tag = vlan ? `push_vlan(vid=${vlan},pcp=0)` : '';
  let rest = '';
  for (const [action] of actions.trim().matchAll(/[^,(]+(\((?:[^()]|\([^()]*\))*\))?/g)) {
    if (action === 'pop_vlan') tag = '';
    else if (action.startsWith('push_vlan')) tag = action;
    else if (/^\d+$/.test(action)) out.push(`${action} ${tag} ${rest}`);
    else rest = action.startsWith('trunc') ? `${rest}${action}` : action;
  }
  return out;
}

describe('beside flows, as the original', { skip: missing ?? false }, () => {
  let boxes: Sandbox[] = [];

  before(async () => {
    boxes = await Promise.all([startSandbox('ours'), startSandbox('original')]);
    const ports = [1, 2, 3, 4].map(
      (n) => `-- add-port br0 p${n} -- set interface p${n} type=dummy ofport_request=${n}`,
    );
    same(`ovs-vsctl add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure ${ports.join(' ')}`);
  });

  after(() => {
    for (const box of boxes) box.stop();
  });

  /** Runs a shell line in both. `sorted` where the order of blocks is anybody's choice. */
  function same(line: string, sorted = false): string {
    const texts = boxes.map((box) => {
      const r = spawnSync('bash', ['-c', line], { env: box.env, encoding: 'utf8', timeout: 20_000 });
      const text = `${normal(r.stdout + r.stderr)}[${r.status}]`;
      return sorted ? text.split('\n').sort().join('\n') : text;
    });
    assert.equal(texts[0], texts[1], line);
    return texts[0];
  }

  const ofctl = (args: string, sorted = false): string => same(`ovs-ofctl -O OpenFlow15 ${args}`, sorted);
  const trace = (flow: string): string => same(`ovs-appctl ofproto/trace br0 '${flow}'`);

  /** A packet that comes back from the datapath with a hash. */
  function back(flow: string, hash: number): void {
    const [a, b] = boxes.map((box) => {
      const trace = (text: string): string => box.run('ovs-appctl', 'ofproto/trace', 'br0', text).out;
      const id = /recirc\((0x[0-9a-f]+)\)/.exec(trace(flow))?.[1];
      assert.ok(id, flow);
      return normal(trace(`recirc_id=${id},dp_hash=${hash},${flow}`));
    });
    assert.equal(a, b, `${flow} with hash ${hash}`);
    assert.match(a, /using bucket/);
  }

  /** A wider mask is allowed, and floods in any order. */
  function actions(flow: string): void {
    const line = `ovs-appctl ofproto/trace br0 '${flow},dl_src=50:54:00:00:00:01,dl_dst=50:54:00:00:00:02'`;
    const [a, b] = boxes.map((box) => {
      const { stdout } = spawnSync('bash', ['-c', line], { env: box.env, encoding: 'utf8' });
      const [head, tail] = stdout.split(/^Megaflow: .*\nDatapath actions: /m);
      return { head, outputs: outputs(tail ?? '', /dl_vlan=(\d+)/.exec(flow)?.[1]).sort() };
    });
    assert.deepEqual(a, b, line);
    assert.notEqual(a.head, '', line);
  }

  it('meters', () => {
    ofctl('meter-features br0');
    ofctl('add-meter br0 meter=1,pktps,burst,stats,bands=type=drop,rate=1,burst_size=5');
    ofctl('add-meter br0 meter=1,pktps,bands=type=drop,rate=5');
    ofctl('add-meter br0 meter=2,kbps,burst,bands=type=drop,rate=5,burst_size=10');
    ofctl('mod-meter br0 meter=9,kbps,bands=type=drop,rate=5');
    ofctl('mod-meter br0 meter=2,kbps,bands=type=drop,rate=7,type=drop,rate=9');
    ofctl('add-meter br0 meter=controller,pktps,bands=type=drop,rate=5');
    ofctl('add-meter br0 meter=slowpath,pktps,bands=type=drop,rate=5');
    for (const what of ['', 'meter=1', 'meter=77']) {
      ofctl(`dump-meters br0 ${what}`, true);
      ofctl(`meter-stats br0 ${what}`, true);
    }
    ofctl('add-flow br0 in_port=1,actions=meter:1,output:2');
    ofctl('add-flow br0 in_port=2,actions=meter:55,output:2');
    ofctl('add-flow br0 "in_port=2,actions=output:3,meter:2,output:1"');
    ofctl('add-flow br0 in_port=3,actions=controller');
    ofctl('add-flow br0 "in_port=4,actions=controller(meter_id=1,max_len=5),2"');
    for (let port = 1; port <= 4; port++) trace(`in_port=${port}`);
    for (let i = 0; i < 10; i++) {
      same(
        "ovs-appctl netdev-dummy/receive p1 'in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x1234)'",
      );
    }
    // Another packet or two may have passed when it took long.
    for (const box of boxes) {
      const stats = box.run('ovs-ofctl', '-O', 'OpenFlow15', 'meter-stats', 'br0', 'meter=1').out;
      assert.match(stats, /packet_in_count:10 .*bands:\n0: packet_count:[2-5] /);
    }
    ofctl('dump-flows br0');
    ofctl('del-meter br0 meter=1');
    ofctl('del-meter br0 meter=1');
    ofctl('dump-flows br0');
    ofctl('del-meters br0');
    ofctl('dump-meters br0');
    trace('in_port=3');
    const nine = Array.from({ length: 9 }, (_, i) => `type=drop,rate=${i + 1}`).join();
    ofctl(`add-meter br0 meter=4,pktps,bands=${nine}`);
    ofctl('add-meter br0 meter=4,pktps,bands=type=dscp_remark,rate=1,prec_level=1');
    ofctl('del-flows br0');
  });

  it('mirrors', () => {
    const mirror = (columns: string): void => {
      const ids = [1, 2, 3, 4].map((n) => `--id=@p${n} get port p${n}`).join(' -- ');
      const create = `--id=@m create mirror ${columns}`;
      same(`ovs-vsctl set bridge br0 mirrors=@m -- ${ids} -- ${create} >/dev/null`);
    };
    const all = ['in_port=1', 'in_port=2,dl_vlan=7', 'in_port=3', 'in_port=4', 'in_port=1,dl_vlan=9'].flatMap((f) => [
      f,
      `${f},dl_type=0x1111`,
      `${f},dl_type=0x2222`,
    ]);
    ofctl('add-flow br0 actions=normal');
    ofctl(
      'add-flow br0 "priority=60000,dl_type=0x1111,actions=output:2,mod_dl_src:50:54:00:00:00:99,in_port,output:4"',
    );
    ofctl('add-flow br0 priority=60000,dl_type=0x2222,actions=drop');
    same('ovs-vsctl set port p4 tag=7');
    for (const columns of [
      'name=a select_all=true output_port=@p3',
      'name=a select_all=true select_vlan=7 output_port=@p3 snaplen=100',
      'name=a select_src_port=@p1 select_dst_port=@p2,@p4 output_port=@p3',
      'name=a select_dst_port=@p2 output_vlan=12',
      'name=a select_all=true select_vlan=7,9 output_vlan=12',
    ]) {
      mirror(columns);
      for (const flow of all) actions(flow);
    }
    mirror('name=b select_all=true output_vlan=5 output_port=@p3');
    mirror('name=c select_all=true');
    same("grep -i mirror $OVS_LOGDIR/ovs-vswitchd.log | sed 's/^.*|ERR|//'");
    same('ovs-vsctl clear bridge br0 mirrors -- clear port p4 tag');
    ofctl('del-flows br0');
  });

  it('counts what mirrors send', async () => {
    same(
      'ovs-vsctl set bridge br0 mirrors=@m -- --id=@p get port p3 -- --id=@m create mirror name=n select_all=true output_port=@p >/dev/null',
    );
    ofctl('add-flow br0 actions=drop');
    for (let i = 0; i < 3; i++) {
      same(
        "ovs-appctl netdev-dummy/receive p1 'in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x1234)'",
      );
    }
    const [ours] = boxes;
    await until(
      () => ours.run('ovs-vsctl', 'get', 'mirror', 'n', 'statistics').out.includes('tx_packets=3'),
      'the counters of the mirror',
    );
    same('ovs-vsctl clear bridge br0 mirrors');
    ofctl('del-flows br0');
  });

  it('groups', () => {
    const group = (text: string, command = 'add-group'): string => ofctl(`${command} br0 "${text}"`);
    group(
      'group_id=1,type=select,selection_method=dp_hash,bucket=bucket_id=0,weight=1,output:2,bucket=bucket_id=1,weight=1,output:3',
    );
    group('group_id=2,type=select,bucket=weight=2,output:2,bucket=weight=1,output:3');
    group(
      'group_id=3,type=select,selection_method=hash,selection_method_param=77,fields(ip_src=255.255.0.0,tcp_dst),bucket=output:2',
    );
    group(
      'group_id=4,type=select,selection_method=dp_hash,selection_method_param=5,bucket=mod_dl_src:50:54:00:00:00:77,output:2,bucket=watch_port:4,output:3',
    );
    group('group_id=5,type=select,bucket=weight=0,output:2');
    group('group_id=6,type=ff,bucket=watch_port:4,output:4,bucket=watch_group:7,group:7');
    group('group_id=7,type=all,bucket=set_field:50:54:00:00:00:77->dl_src,output:2,bucket=output:3');
    group('group_id=8,type=indirect,bucket=output:2');
    group('group_id=8,type=indirect,bucket=output:2');
    group('group_id=9,type=indirect,bucket=output:2,bucket=output:3');
    group('group_id=10,type=all,bucket=group:10');
    group('group_id=11,type=all,bucket=group:12');
    group('group_id=20,type=select,selection_method=foo,bucket=output:1');
    group('group_id=20,type=all,bucket=bucket_id=1,output:1,bucket=bucket_id=1,output:2');
    group('group_id=21,type=ff,bucket=output:1');
    ofctl('dump-groups br0', true);
    ofctl('dump-group-features br0');
    group('group_id=1,command_bucket_id=first,bucket=bucket_id=7,weight=3,output:4', 'insert-buckets');
    group('group_id=1,command_bucket_id=0,bucket=bucket_id=8,output:4', 'insert-buckets');
    group('group_id=1,command_bucket_id=99,bucket=bucket_id=9,output:4', 'insert-buckets');
    group('group_id=1,command_bucket_id=last,bucket=bucket_id=8,output:4', 'insert-buckets');
    group('group_id=88,command_bucket_id=last,bucket=bucket_id=8,output:4', 'insert-buckets');
    ofctl('dump-groups br0 1');
    group('group_id=1,command_bucket_id=8', 'remove-buckets');
    group('group_id=1,command_bucket_id=first', 'remove-buckets');
    group('group_id=1,command_bucket_id=99', 'remove-buckets');
    ofctl('dump-groups br0 1');
    group('group_id=88,type=all,bucket=output:2', 'mod-group');
    // The original hashes by other means once a bucket was removed.
    group(
      'group_id=1,type=select,selection_method=dp_hash,bucket=bucket_id=0,weight=1,output:2,bucket=bucket_id=1,weight=1,output:3',
      'mod-group',
    );
    for (const i of [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]) {
      ofctl(
        `add-flow br0 "tcp,nw_dst=10.0.0.${i},actions=set_field:5->reg1,mod_dl_dst:50:54:00:00:00:55,group:${i},output:4"`,
      );
      // Which number a hash is worth is each one's own.
      if (i !== 3 && i !== 10) trace(`in_port=1,tcp,nw_src=10.0.0.9,nw_dst=10.0.0.${i},tp_src=1,tp_dst=2`);
    }
    for (const hash of [1, 4, 7, 16]) {
      for (const i of [1, 2]) back(`in_port=1,tcp,nw_src=10.0.0.9,nw_dst=10.0.0.${i},tp_src=1,tp_dst=2`, hash);
    }
    ofctl('mod-port br0 p4 down');
    trace('in_port=1,tcp,nw_src=10.0.0.9,nw_dst=10.0.0.6,tp_src=1,tp_dst=2');
    ofctl('del-groups br0 group_id=7');
    ofctl('dump-flows br0');
    ofctl('mod-port br0 p4 up');
    ofctl('del-groups br0');
    ofctl('del-flows br0');
  });

  it('bonds', () => {
    same(
      'ovs-vsctl add-bond br0 b0 e5 e6 bond_mode=active-backup -- set interface e5 type=dummy ofport_request=5 -- set interface e6 type=dummy ofport_request=6',
    );
    ofctl('add-flow br0 actions=normal');
    // Which is active at first is anybody's choice.
    for (const box of boxes) box.run('ovs-appctl', 'bond/set-active-member', 'b0', 'e6');
    const show = (): string => same('ovs-appctl bond/show b0');
    const flows = (): void => {
      for (const port of [1, 5, 6]) actions(`in_port=${port}`);
    };
    /** Waits for the members' links, then compares. */
    const links = (text: RegExp): void => {
      for (const box of boxes) {
        const deadline = performance.now() + 5000;
        while (!text.test(box.run('ovs-appctl', 'bond/show', 'b0').out) && performance.now() < deadline);
      }
      assert.match(show(), text);
      flows();
    };
    show();
    same('ovs-appctl bond/show nope');
    same('ovs-appctl bond/set-active-member b0 e6');
    same('ovs-appctl bond/set-active-member b0 e7');
    same('ovs-appctl bond/set-active-member b1 e7');
    flows();
    same('ovs-appctl bond/set-active-member b0 e5');
    links(/member e5: enabled\n {2}active/);
    same('ovs-appctl bond/disable-member b0 e5');
    same('ovs-appctl bond/enable-member b0 e5');
    same('ovs-appctl bond/migrate b0 1 e5');
    same('ovs-appctl netdev-dummy/set-admin-state e5 down');
    links(/member e5: disabled/);
    same('ovs-appctl bond/set-active-member b0 e5');
    same('ovs-appctl netdev-dummy/set-admin-state e6 down');
    links(/member e6: disabled/);
    same('ovs-appctl netdev-dummy/set-admin-state e5 up');
    links(/member e5: enabled\n {2}active/);
    same('ovs-appctl netdev-dummy/set-admin-state e6 up');
    links(/member e6: enabled/);
    same('ovs-vsctl set port b0 bond_mode=balance-slb bond_updelay=50 bond_downdelay=60');
    assert.match(show(), /bond_mode: balance-slb/);
    // Which member a source takes is each one's own; which packets are let in is not.
    for (const port of [5, 6]) actions(`in_port=${port}`);
    same('ovs-appctl fdb/add br0 p1 0 50:54:00:00:00:01');
    same('ovs-appctl fdb/show br0');
    actions('in_port=5');
    same('ovs-appctl fdb/flush br0');
    same('ovs-appctl bond/migrate b0 1 e5');
    same('ovs-vsctl set port b0 bond_mode=balance-tcp');
    for (const port of [1, 5]) actions(`in_port=${port}`);
    same('ovs-vsctl del-port b0');
    ofctl('del-flows br0');
  });

  it('packets that pause in a controller and go on', async () => {
    ofctl(
      'add-flow br0 "in_port=1,actions=set_field:5->reg1,mod_dl_src:50:54:00:00:00:77,push:NXM_NX_REG1[],resubmit(,1),output:3"',
    );
    ofctl('add-flow br0 "table=1,reg1=5,actions=controller(pause,userdata=01.02.03),pop:NXM_NX_REG2[],resubmit(,2)"');
    ofctl('add-flow br0 "table=2,reg2=5,actions=output:2"');
    const logs: string[] = [];
    for (const box of boxes) {
      const monitor = box.watch('ovs-ofctl', 'monitor', 'br0', 'resume', '-P', 'nxt_packet_in2', '-OOpenFlow13');
      const receive = (): unknown =>
        box.run(
          'ovs-appctl',
          'netdev-dummy/receive',
          'p1',
          'in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x1234)',
        );
      await until(() => receive() !== null && monitor.text().includes('send: NXT_RESUME'), 'the resume');
      await until(
        () => /tx pkts=[1-9]/.test(box.run('ovs-ofctl', 'dump-ports', 'br0', '3').out),
        'the rest of table 0',
      );
      assert.match(box.run('ovs-ofctl', '-OOpenFlow13', 'dump-flows', 'br0', 'table=2').out, /n_packets=[1-9]/);
      monitor.stop();
      const [first] = monitor.text().split('send: NXT_RESUME');
      logs.push(
        normal(first)
          .replace(/bridge=[0-9a-f-]+/g, 'bridge=?')
          // The original forgets which table the first list belongs to.
          .replace(/unroll_xlate\(table=\d/, 'unroll_xlate(table=?'),
      );
    }
    const once = (log: string): string => log.slice(0, log.indexOf('dl_type=0x1234'));
    assert.equal(once(logs[0]), once(logs[1]));
    ofctl('del-flows br0');
  });
});
