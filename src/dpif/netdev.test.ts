/** What every `Dpif` must do, over the user-space datapath in this thread and in workers. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Arena } from '../base/arena.ts';
import { CMD } from '../datapath/commands.ts';
import type { DpAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { type DummyNetdev, dummyKind } from '../netdev/dummy.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { FRAME_SIZE } from '../packet/frame.ts';
import type { DpFlowStats, Upcall } from './dpif.ts';
import { createDpif, type DpifNetdev } from './netdev.ts';

function makeEnv(): NetdevEnv {
  const arena = new Arena(96 << 20);
  const bytes = 4096 * FRAME_SIZE;
  return { arena, frames: { at: arena.alloc(bytes, 4096), bytes }, byName: new Map() };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`timed out waiting for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function udp(source: number, length = 60): Uint8Array {
  const p = new Uint8Array(length);
  p.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
  p.set([source >> 8, source & 255, 0, 53, 0, 26, 0, 0], 34);
  return p;
}

/** Matches UDP from a port and source port. */
function udpMatch(inPort: number, source: number): [FlowKey, FlowKey] {
  const key = new FlowKey();
  const mask = new FlowKey();
  key.set32(OFS.in_port, inPort);
  mask.set32(OFS.in_port, 0xffffffff);
  key.set16(OFS.eth_type, 0x0800);
  mask.set16(OFS.eth_type, 0xffff);
  key.set8(OFS.ip_proto, 17);
  mask.set8(OFS.ip_proto, 0xff);
  key.set16(OFS.tp_src, source);
  mask.set16(OFS.tp_src, 0xffff);
  return [key, mask];
}

const output = (port: number): DpAction => ({ kind: 'output', port });
const noStats = (): DpFlowStats => ({ packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 });

for (const mode of ['main', 'workers', 'two workers'] as const) {
  describe(`Dpif netdev, ${mode}`, () => {
    let dpif: DpifNetdev;
    const devices: DummyNetdev[] = [];
    const sent: Uint8Array[][] = [];
    let upcalls: Upcall[] = [];
    let handler: ((upcall: Upcall) => void) | null = null;
    let env: NetdevEnv;

    before(async () => {
      env = makeEnv();
      dpif = await createDpif({ mode: mode === 'main' ? 'main' : 'workers', name: 'test', type: 'dummy', env });
      if (mode === 'two workers') dpif.configure(new Map([['pmd-cpu-mask', '3']]));
      dpif.onUpcalls((batch) => {
        upcalls.push(...batch);
        for (const upcall of batch) handler?.(upcall);
      });
      for (let i = 1; i <= 3; i++) {
        const device = dummyKind.open(`p${i}`, env) as DummyNetdev;
        devices.push(device);
        sent.push([]);
        device.onTransmit((packet) => sent[i - 1].push(packet));
        const port = await dpif.portAdd(device, null);
        if ('error' in port) assert.fail(port.error);
        assert.equal(port.no, i);
      }
    });
    after(async () => {
      await dpif.close();
      for (const device of devices) device[Symbol.dispose]();
    });

    const clear = (): void => {
      upcalls = [];
      for (const list of sent) list.length = 0;
      handler = null;
    };

    it('hands up what it has no flow for, with its key', async () => {
      clear();
      devices[0].receive(udp(1000));
      await until('upcall', () => upcalls.length === 1);
      const [u] = upcalls;
      assert.equal(u.reason, 'miss');
      assert.deepEqual(u.packet, udp(1000));
      assert.equal(u.key.get32(OFS.in_port), 1);
      assert.equal(u.key.get16(OFS.tp_src), 1000);
      assert.equal(u.userspace, null);
    });

    it('forwards by a megaflow and counts', async () => {
      clear();
      const flow = dpif.flowPut(...udpMatch(1, 1001), [output(2)], -1, 'mine');
      assert.ok(flow);
      assert.equal(flow.user, 'mine');
      await dpif.quiesce();
      for (let i = 0; i < 100; i++) devices[0].receive(udp(1001));
      await until('packets', () => sent[1].length === 100);
      assert.deepEqual(sent[1][99], udp(1001));
      assert.equal(upcalls.length, 0);
      const stats = noStats();
      dpif.flowStats(flow, stats);
      assert.equal(stats.packets, 100);
      assert.equal(stats.bytes, 6000);
      assert.ok(stats.usedMs > 0);
      assert.equal(dpif.flowByUfid(flow.ufid), flow);
      assert.match(flow.ufid, /^[0-9a-f]{32}$/);
      assert.ok(dpif.stats().hit >= 100);
    });

    it('replaces actions of the flow with the same key and mask', async () => {
      clear();
      const first = dpif.flowPut(...udpMatch(1, 1002), [output(2)], -1, 1);
      const second = dpif.flowPut(...udpMatch(1, 1002), [output(3)], -1, 2);
      assert.equal(first, second);
      await dpif.quiesce();
      devices[0].receive(udp(1002));
      await until('packet', () => sent[2].length === 1);
      assert.equal(sent[1].length, 0);
    });

    it('deletes: packets miss again, the last counters stay readable', async () => {
      clear();
      const flow = dpif.flowPut(...udpMatch(1, 1003), [output(2)], -1, null);
      assert.ok(flow);
      await dpif.quiesce();
      for (let i = 0; i < 3; i++) devices[0].receive(udp(1003));
      await until('packets', () => sent[1].length === 3);
      dpif.flowDel(flow);
      await dpif.quiesce();
      const stats = noStats();
      dpif.flowStats(flow, stats);
      assert.equal(stats.packets, 3);
      devices[0].receive(udp(1003));
      await until('upcall', () => upcalls.length === 1);
      assert.equal([...dpif.flows()].includes(flow), false);
    });

    it('executes after what was asked before', async () => {
      clear();
      const key = new FlowKey();
      key.set32(OFS.in_port, 3);
      dpif.execute(udp(7, 1514), key, [output(1), output(2)], -1);
      await until('packets', () => sent[0].length === 1 && sent[1].length === 1);
      assert.equal(sent[0][0].length, 1514);
    });

    it('recirculates and executes flows put just before', async () => {
      clear();
      const [key, mask] = udpMatch(3, 1004);
      key.set32(OFS.recirc_id, 77);
      mask.set32(OFS.recirc_id, 0xffffffff);
      dpif.flowPut(key, mask, [{ kind: 'push_vlan', tpid: 0x8100, tci: 0x1005 }, output(1)], -1, null);
      const from = new FlowKey();
      from.set32(OFS.in_port, 3);
      dpif.execute(udp(1004), from, [{ kind: 'recirc', id: 77 }], -1);
      await until('packet', () => sent[0].length === 1);
      assert.equal(Buffer.from(sent[0][0].subarray(12, 18)).toString('hex'), '810000050800');
    });

    it('translates a burst of one new flow without loss, in order', async () => {
      clear();
      handler = (u) => {
        dpif.flowPut(...udpMatch(1, u.key.get16(OFS.tp_src)), [output(2)], u.pmdId, null);
        dpif.execute(u.packet, u.key, [output(2)], u.pmdId);
      };
      for (let i = 0; i < 50; i++) {
        const packet = udp(1005);
        packet[59] = i;
        devices[0].receive(packet);
      }
      await until('packets', () => sent[1].length === 50);
      if (mode === 'main')
        assert.deepEqual(
          sent[1].map((p) => p[59]),
          Array.from({ length: 50 }, (_, i) => i),
        );
      if (mode === 'main') assert.equal(upcalls.length, 1);
    });

    it('brings userspace actions back with the packet', async () => {
      clear();
      const userspace = { type: 'slow_path', reasons: 8 } as const;
      dpif.flowPut(...udpMatch(1, 1006), [{ kind: 'userspace', userspace }, output(2)], -1, null);
      await dpif.quiesce();
      devices[0].receive(udp(1006));
      await until('upcall and packet', () => upcalls.length === 1 && sent[1].length === 1);
      assert.equal(upcalls[0].reason, 'action');
      assert.deepEqual(upcalls[0].userspace, userspace);
    });

    it('loses no packet that an execution sends back, however it meets the PMD', async () => {
      clear();
      const key = new FlowKey();
      key.set32(OFS.in_port, 2);
      const userspace = { type: 'slow_path', reasons: 8 } as const;
      const deadline = performance.now() + 1500;
      for (let i = 1; i <= 3000 && performance.now() < deadline; i++) {
        dpif.execute(udp(i), key, [{ kind: 'userspace', userspace }], -1);
        await until(`packet ${i}`, () => upcalls.length === i);
      }
    });

    it('refuses what it cannot do, and keeps working', async () => {
      clear();
      const short: DpAction = { kind: 'push_nsh', header: new Uint8Array(3) };
      assert.ok(dpif.flowPut(...udpMatch(1, 1007), [short], -1, null) === null);
      const port = await dpif.portAdd(devices[0], 2);
      assert.deepEqual(port, { error: 'Device or resource busy' });
    });

    it('flushes', async () => {
      clear();
      dpif.flowFlush();
      await dpif.quiesce();
      assert.equal(dpif.stats().flows, 0);
      assert.equal(dpif.stats().masks, 0);
      devices[0].receive(udp(1001));
      await until('upcall', () => upcalls.length === 1);
    });

    it('shows its PMDs', async () => {
      const queues = dpif.rxQueues(12).flatMap((pmd) => pmd.rxqs);
      assert.deepEqual(queues.map((q) => q.port).sort(), mode === 'main' ? [] : ['p1', 'p2', 'p3']);
      const ids = dpif.pmdStats().map((p) => p.id);
      assert.deepEqual(ids, mode === 'main' ? [-1] : mode === 'workers' ? [0] : [0, 1]);
    });

    it('removes ports: output to them drops', async () => {
      clear();
      await dpif.portDel(3);
      assert.equal(dpif.portByNo(3), undefined);
      const key = new FlowKey();
      dpif.execute(udp(9), key, [output(3), output(2)], -1);
      await until('packet', () => sent[1].length === 1);
      assert.equal(sent[2].length, 0);
    });
  });
}

describe('PMD threads', () => {
  it('are replaced when they die: ports and flows are there again, counters go on', async () => {
    const env = makeEnv();
    const dpif = await createDpif({ mode: 'workers', name: 'mortal', type: 'dummy', env });
    const devices = ['p1', 'p2'].map((name) => dummyKind.open(name, env) as DummyNetdev);
    const sent: Uint8Array[] = [];
    devices[1].onTransmit((packet) => sent.push(packet));
    for (const device of devices) await dpif.portAdd(device, null);
    const flow = dpif.flowPut(...udpMatch(1, 1), [output(2)], -1, null);
    assert.ok(flow);
    devices[0].receive(udp(1));
    await until('packet', () => sent.length === 1);
    // A flow of a mask that nobody announced is a bug, and kills the thread that meets it.
    const { engine } = dpif as unknown as { engine: { hosts: { send(...words: number[]): void }[] } };
    const before = engine.hosts[0];
    engine.hosts[0].send(CMD.FLOW_PUT, env.arena.alloc(4096) >> 2);
    await until('new threads', () => engine.hosts[0] !== before);
    await until('packets again', () => {
      devices[0].receive(udp(1));
      return sent.length > 1;
    });
    const stats = noStats();
    dpif.flowStats(flow, stats);
    assert.ok(stats.packets >= 2);
    await dpif.close();
    for (const device of devices) device[Symbol.dispose]();
  });
});
