import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { clock } from '../base/clock.ts';
import { Rstp } from './rstp.ts';
import { leavesOneWay, type Makes, Network, TWO_LINKS } from './spanning-testing.ts';

const plug = (bridge: Rstp, p: number, isUp: boolean): void =>
  bridge.setPort(p, `p${p}`, { number: p, priority: 128, pathCost: 2000, adminEdge: false, autoEdge: true }, isUp);
const makes: Makes<Rstp> = {
  bridge: (priority, address, wires) =>
    new Rstp({ priority, address, maxAge: 20, forwardDelay: 15, transmitHoldCount: 6, forceStp: false }, wires),
  plug,
};

describe('RSTP', () => {
  beforeEach(() => clock.stop());
  afterEach(() => clock.resume());

  it('leaves one way between any two bridges, in whatever network', async () => {
    await leavesOneWay(makes, (bridge, p) => bridge.port(p)?.state === 'Forwarding');
  });

  it('finds another way when a link goes', async () => {
    const net = new Network(makes, [0x1000, 0x8000], TWO_LINKS);
    await net.pass(40);
    const [, other] = net.bridges;
    assert.deepEqual(
      other.ports.map((p) => `${p.role} ${p.state}`),
      ['Root Forwarding', 'Alternate Discarding'],
    );
    plug(other, 1, false);
    await net.pass(40);
    assert.deepEqual(
      other.ports.map((p) => `${p.role} ${p.state}`),
      ['Disabled Disabled', 'Root Forwarding'],
    );
    net.close();
  });
});
