import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { clock } from '../base/clock.ts';
import { type Bpdu, buildBpdu, readBpdu } from '../packet/bpdu.ts';
import { leavesOneWay, type Makes, Network, TWO_LINKS } from './spanning-testing.ts';
import { Stp } from './stp.ts';

const plug = (bridge: Stp, p: number, isUp: boolean): void =>
  bridge.setPort(p, `p${p}`, { number: p, priority: 128, pathCost: 19 }, isUp);
const makes: Makes<Stp> = {
  bridge: (priority, systemId, wires) =>
    new Stp({ priority, systemId, helloTimeMs: 2000, maxAgeMs: 20_000, forwardDelayMs: 15_000 }, wires),
  plug,
};

describe('STP', () => {
  beforeEach(() => clock.stop());
  afterEach(() => clock.resume());

  it('leaves one way between any two bridges, in whatever network', async () => {
    await leavesOneWay(makes, (bridge, p) => bridge.port(p)?.state === 'forwarding');
  });

  it('finds another way when a link goes', async () => {
    const net = new Network(makes, [0x1000, 0x8000], TWO_LINKS);
    await net.pass(40);
    const [, other] = net.bridges;
    assert.deepEqual(
      other.ports.map((p) => `${other.role(p)} ${p.state}`),
      ['root forwarding', 'alternate blocking'],
    );
    plug(other, 1, false);
    await net.pass(40);
    assert.deepEqual(
      other.ports.map((p) => `${other.role(p)} ${p.state}`),
      ['disabled disabled', 'root forwarding'],
    );
    net.close();
  });

  it('reads what it writes, and takes no harm from anything else', () => {
    const bpdu: Bpdu = {
      type: 'config',
      flags: 1,
      rootId: 0x8000aaaaaaaaaa00n,
      rootPathCost: 7,
      bridgeId: 0x8000aaaaaaaaaa01n,
      portId: 0x8001,
      messageAgeMs: 1000,
      maxAgeMs: 20_000,
      helloTimeMs: 2000,
      forwardDelayMs: 15_000,
    };
    const frame = buildBpdu(Uint8Array.of(0xaa, 0x55, 0xaa, 0x55, 0xa8, 0x83), bpdu);
    assert.equal(
      Buffer.from(frame).toString('hex'),
      '0180c2000000aa55aa55a8830026424203000000000' + '18000aaaaaaaaaa00000000078000aaaaaaaaaa0180010100140002000f00',
    );
    assert.deepEqual(readBpdu(frame), bpdu);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(60), (bytes, keep) => {
        const other = Uint8Array.from([...frame.subarray(0, keep), ...bytes]);
        const read = readBpdu(other);
        assert.ok(read === null || ['config', 'rstp', 'tcn'].includes(read.type));
      }),
    );
  });
});
