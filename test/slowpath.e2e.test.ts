/**
 * What controllers configure beside flows — meters, groups, mirrors, bonds — by the same commands in our switch and in the
 * original: what is printed, and the datapath actions of the same packets, must be equal.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox } from './support/twin.ts';

const missing = missingOriginal();

function normal(text: string): string {
  return text
    .replace(/duration[=:][\d.]+s/g, 'duration=?')
    .replace(/xid=0x[0-9a-f]+/g, 'xid=?')
    .replace(/^\d{4}-\d\d-\d\dT.*?\|\d+\|/gm, '')
    .replace(/(next rebalance: )\d+/g, '$1?');
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
});
