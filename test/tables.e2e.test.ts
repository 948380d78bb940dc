/** Tables that are full: eviction by groups, and news of vacancy, in our switch and in the original by the same commands. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { missingOriginal, type Sandbox, startSandbox, until } from './support/twin.ts';

const OF15 = ['-O', 'OpenFlow15'];
/** OFPT_SET_ASYNC of 1.5: TABLE_STATUS for whoever is not secondary, vacancy down and up. */
const WANT_TABLE_STATUS = '061c0010000000010009000800000018';

describe('full tables, as the original', { skip: missingOriginal() ?? false }, () => {
  let boxes: Sandbox[] = [];

  before(async () => {
    boxes = await Promise.all([startSandbox('ours'), startSandbox('original')]);
  });
  after(() => {
    for (const box of boxes) box.stop();
  });

  /** What both print after the same commands. */
  async function same(story: (run: (program: string, ...args: string[]) => string, box: Sandbox) => Promise<string>) {
    const told: string[] = [];
    for (const box of boxes) {
      const run = (program: string, ...args: string[]): string => {
        const { out, err } = box.run(program, ...args);
        return (out + err).replace(/xid=0x[0-9a-f]+/g, 'xid=?');
      };
      told.push(await story(run, box));
      run('ovs-vsctl', 'del-br', 'br0');
    }
    assert.equal(told[0], told[1]);
    return told[0];
  }

  const bridge = (limit: string): string[] => [
    ...'add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure -- --id=@t create flow_table'.split(' '),
    ...limit.split(' '),
    ...'-- set bridge br0 flow_tables:0=@t'.split(' '),
  ];

  it('the largest group gives up a rule', async () => {
    const text = await same(async (run) => {
      run('ovs-vsctl', ...bridge('flow_limit=4 overflow_policy=evict groups="NXM_OF_IN_PORT[]"'));
      const told: string[] = [];
      const add = (flow: string) => {
        told.push(run('ovs-ofctl', ...OF15, 'add-flow', 'br0', `${flow},actions=drop`));
        const flows = run('ovs-ofctl', ...OF15, '--no-stats', 'dump-flows', 'br0');
        told.push(flows.split('\n').sort().join('\n'));
      };
      for (const idle of [60, 50, 70]) add(`in_port=1,tcp,tp_dst=${idle},idle_timeout=${idle}`);
      for (const port of [2, 3]) add(`in_port=${port},idle_timeout=10`);
      add('in_port=2,tcp,idle_timeout=9');
      add('in_port=2,tcp,tp_dst=7,idle_timeout=8,importance=5');
      add('in_port=4');
      run('ovs-vsctl', 'set', 'flow_table', '.', 'flow_limit=3');
      return told.join('\n');
    });
    assert.match(text, /importance=5/);
    assert.doesNotMatch(text.split('\n').at(-1) ?? '', /tp_dst=50/);
  });

  it('a table that fills and empties says so once each way', async () => {
    const text = await same(async (run, box) => {
      run('ovs-vsctl', ...bridge('flow_limit=10'));
      run('ovs-ofctl', ...OF15, 'mod-table', 'br0', '0', 'vacancy:20,80');
      const socket = `${box.dir}/monitor.ctl`;
      const monitor = box.watch('ovs-ofctl', ...OF15, 'monitor', 'br0', `--unixctl=${socket}`);
      await until(() => existsSync(socket), 'the monitor listens');
      run('ovs-appctl', '-t', socket, 'ofctl/send', WANT_TABLE_STATUS);
      const news = () => monitor.text().replace(/xid=0x[0-9a-f]+/g, 'xid=?');
      await until(() => news().includes('SET_ASYNC'), 'what is wanted is said');
      for (let n = 1; n <= 10; n++) run('ovs-ofctl', 'add-flow', 'br0', `in_port=${n},actions=drop`);
      await until(() => news().includes('reason=VACANCY_DOWN'), 'the table is nearly full');
      for (let n = 1; n <= 10; n++) run('ovs-ofctl', 'del-flows', 'br0', `in_port=${n}`);
      await until(() => news().includes('reason=VACANCY_UP'), 'the table is nearly empty');
      monitor.stop();
      return news();
    });
    assert.equal(text.match(/VACANCY_DOWN/g)?.length, 1);
  });
});
