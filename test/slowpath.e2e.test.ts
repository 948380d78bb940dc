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

  it('meters', () => {
    ofctl('meter-features br0');
    ofctl('add-meter br0 meter=1,pktps,stats,bands=type=drop,rate=5');
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
    const stats = ofctl('meter-stats br0 meter=1');
    assert.match(stats, /packet_in_count:10 .*bands:\n0: packet_count:[45] /);
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
    /** A wider mask is allowed, and floods in any order. */
    const actions = (flow: string): void => {
      const line = `ovs-appctl ofproto/trace br0 '${flow},dl_src=50:54:00:00:00:01,dl_dst=50:54:00:00:00:02'`;
      const [a, b] = boxes.map((box) => {
        const { stdout } = spawnSync('bash', ['-c', line], { env: box.env, encoding: 'utf8' });
        const [head, tail] = stdout.split(/^Megaflow: .*\nDatapath actions: /m);
        return { head, outputs: outputs(tail ?? '', /dl_vlan=(\d+)/.exec(flow)?.[1]).sort() };
      });
      assert.deepEqual(a, b, line);
      assert.notEqual(a.head, '', line);
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
});
