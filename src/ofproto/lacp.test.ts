import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { clock } from '../base/clock.ts';
import { buildLacp, LACP_STATE, type LacpInfo, NOBODY, readSlowFrame, sameInfo } from '../packet/lacp.ts';
import { Lacp, type LacpConfig, type LacpPort } from './lacp.ts';

const CONFIG: LacpConfig = {
  isActive: true,
  systemId: null,
  systemPriority: 65534,
  isFast: false,
  fallback: false,
  members: [],
};

class End {
  readonly lacp: Lacp;
  readonly ports: (LacpPort & { mayEnable: boolean })[];
  readonly sent: { port: number; actor: LacpInfo; partner: LacpInfo }[] = [];
  peer: End | null = null;
  changes = 0;

  constructor(id: number, config: Partial<LacpConfig> = {}) {
    this.ports = [1, 2].map((ofport) => ({ ofport, name: `e${ofport}`, mayEnable: true }));
    this.lacp = new Lacp(
      `b${id}`,
      { ...CONFIG, ...config },
      {
        systemId: () => Uint8Array.of(2, 0, 0, 0, 0, id),
        send: (port, actor, partner) => {
          this.sent.push({ port: port.ofport, actor, partner });
          const { peer } = this;
          const frame = buildLacp(new Uint8Array(6), actor, partner);
          if (peer) queueMicrotask(() => peer.lacp.receive(peer.ports[port.ofport - 1], frame));
        },
        changed: () => this.changes++,
        statusChanged: () => {},
      },
    );
  }

  start(): void {
    this.lacp.setConfig(this.lacp.config, this.ports);
  }

  states(): string[] {
    return this.lacp.members.map((m) => `${m.status} ${m.isAttached}`);
  }
}

describe('LACP', () => {
  beforeEach(() => clock.stop());
  afterEach(() => clock.resume());
  const pass = async (ms: number): Promise<void> => clock.warp(ms, 100);

  it('gives up on a partner that never spoke, and goes on asking every 30 seconds', async () => {
    const end = new End(1);
    end.start();
    assert.deepEqual(end.states(), ['expired true', 'expired true']);
    assert.ok(!end.lacp.mayEnable(end.ports[0]));
    await pass(2900);
    assert.equal(end.sent.filter((s) => s.port === 1).length, 3);
    await pass(300);
    assert.deepEqual(end.states(), ['defaulted false', 'defaulted false']);
    const last = end.sent.at(-1);
    assert.equal(last?.actor.state, 0x75);
    const before = end.sent.length;
    await pass(29_000);
    assert.equal(end.sent.length, before);
    await pass(1500);
    assert.equal(end.sent.length, before + 2);
    end.lacp.close();
  });

  it('with fallback may use members without a partner', async () => {
    const end = new End(1, { fallback: true });
    end.start();
    await pass(3500);
    assert.deepEqual(end.states(), ['defaulted true', 'defaulted true']);
    assert.ok(end.lacp.mayEnable(end.ports[0]));
    assert.equal(end.lacp.status, 'configured');
    end.lacp.close();
  });

  it('aggregates links to one partner, and only those', async () => {
    const [a, b] = [new End(1), new End(2, { isActive: false })];
    [a.peer, b.peer] = [b, a];
    b.start();
    a.start();
    await pass(1200);
    assert.deepEqual([...a.states(), ...b.states()], new Array(4).fill('current true'));
    assert.ok(a.ports.every((port) => a.lacp.mayEnable(port)));
    assert.equal(a.lacp.status, 'negotiated');
    // A third system on the second cable.
    const stranger: LacpInfo = {
      ...NOBODY,
      systemPriority: 0xffff,
      systemId: Uint8Array.of(2, 0, 0, 0, 0, 9),
      key: 1,
      state: 0x3d,
    };
    a.peer = null;
    a.lacp.receive(a.ports[1], buildLacp(new Uint8Array(6), stranger, a.lacp.actor(a.lacp.members[1])));
    assert.deepEqual(a.states(), ['current true', 'current false']);
    assert.ok(!a.lacp.mayEnable(a.ports[1]));
    a.lacp.close();
    b.lacp.close();
  });

  it('a passive end is silent until it is spoken to', async () => {
    const end = new End(1, { isActive: false });
    end.start();
    await pass(40_000);
    assert.equal(end.sent.length, 0);
    assert.deepEqual(end.states(), ['defaulted false', 'defaulted false']);
    end.lacp.close();
  });

  it('does not aggregate with itself', async () => {
    const end = new End(1);
    end.peer = end;
    end.start();
    await pass(500);
    assert.ok(!end.lacp.mayEnable(end.ports[0]));
    end.lacp.close();
  });

  it('writes the PDU that the original writes', () => {
    const actor = {
      systemPriority: 65534,
      systemId: Uint8Array.of(0xaa, 0x55, 0xaa, 0x77, 0, 0),
      key: 1,
      portPriority: 0xffff,
      portId: 1,
      state: 0xbd,
    };
    const partner = { ...NOBODY, state: LACP_STATE.timeout };
    const frame = buildLacp(Uint8Array.of(0xaa, 0x55, 0xaa, 0x55, 7, 0x31), actor, partner);
    const text =
      '0180c2000002aa55aa550731880901010114fffeaa55aa7700000001ffff0001bd0000000214' +
      '0000000000000000000000000000020000000310';
    assert.equal(Buffer.from(frame).toString('hex'), text.padEnd(248, '0'));
  });

  it('reads what it writes, and takes no harm from anything else', () => {
    const info = fc.record({
      systemPriority: fc.nat(0xffff),
      systemId: fc.uint8Array({ minLength: 6, maxLength: 6 }),
      key: fc.nat(0xffff),
      portPriority: fc.nat(0xffff),
      portId: fc.nat(0xffff),
      state: fc.nat(0xff),
    });
    fc.assert(
      fc.property(info, info, (actor, partner) => {
        const read = readSlowFrame(buildLacp(new Uint8Array(6), actor, partner));
        assert.ok(read?.type === 'lacp' && sameInfo(read.actor, actor) && sameInfo(read.partner, partner));
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 140 }), (bytes) => {
        const frame = new Uint8Array(14 + bytes.length);
        frame.set(bytes, 14);
        const read = readSlowFrame(frame);
        assert.ok(read === null || ['lacp', 'bad', 'marker_request'].includes(read.type));
      }),
    );
  });
});
