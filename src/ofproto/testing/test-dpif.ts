/**
 * A datapath for tests of the slow path: megaflows in a list, packets that do not match come up in the call that
 * injects them, and what is sent is remembered. Only `output` and `userspace` actions do something.
 */

import { clock } from '../../base/clock.ts';
import type { DpFlow, DpFlowStats, Dpif, DpifStats, DpPort, Upcall } from '../../dpif/dpif.ts';
import type { DpAction } from '../../flow/dp-actions.ts';
import { extractFlow } from '../../flow/extract.ts';
import { FlowKey, type FlowMask } from '../../flow/key.ts';
import { DP_WORDS, OFS } from '../../flow/layout.ts';
import type { Netdev } from '../../netdev/netdev.ts';

interface TestFlow extends DpFlow {
  actions: readonly DpAction[];
  readonly stats: DpFlowStats;
}

export class TestDpif implements Dpif {
  readonly type = 'dummy';
  readonly name = 'ovs-dummy';
  readonly sent: { readonly port: string; readonly packet: Uint8Array }[] = [];
  quiesced = 0;
  private readonly portTable = new Map<number, DpPort>();
  private readonly flowTable = new Map<string, TestFlow>();
  private receiver: (upcalls: readonly Upcall[]) => void = () => {};
  private readonly counts = { hit: 0, missed: 0 };

  async portAdd(netdev: Netdev, wanted: number | null): Promise<DpPort> {
    let no = wanted ?? 1;
    while (this.portTable.has(no)) no++;
    const port = { no, netdev };
    this.portTable.set(no, port);
    return port;
  }
  async portDel(no: number): Promise<void> {
    this.portTable.delete(no);
  }
  ports(): Iterable<DpPort> {
    return this.portTable.values();
  }
  portByNo(no: number): DpPort | undefined {
    return this.portTable.get(no);
  }

  flowPut(key: FlowKey, mask: FlowMask, actions: readonly DpAction[], pmdId: number, user: unknown): DpFlow | null {
    const ufid = flowId(key, mask);
    const old = this.flowTable.get(ufid);
    if (old) {
      old.actions = actions;
      old.user = user;
      return old;
    }
    const stats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };
    const flow = { ufid, key: key.clone(), mask: mask.clone(), actions, pmdId, user, stats };
    this.flowTable.set(ufid, flow);
    return flow;
  }
  flowDel(flow: DpFlow): void {
    this.flowTable.delete(flow.ufid);
  }
  flowFlush(): void {
    this.flowTable.clear();
  }
  flows(): Iterable<DpFlow> {
    return this.flowTable.values();
  }
  flowByUfid(ufid: string): DpFlow | undefined {
    return this.flowTable.get(ufid);
  }
  flowStats(flow: DpFlow, into: DpFlowStats): void {
    const found = this.flowTable.get(flow.ufid);
    if (found) Object.assign(into, found.stats);
  }

  execute(packet: Uint8Array, key: FlowKey, actions: readonly DpAction[], pmdId: number): void {
    for (const a of actions) {
      if (a.kind === 'output') this.sent.push({ port: this.portTable.get(a.port)?.netdev.name ?? '?', packet });
      else if (a.kind === 'userspace') {
        this.receiver([{ reason: 'action', packet, key: key.clone(), userspace: a.userspace, pmdId }]);
      }
    }
  }
  onUpcalls(receiver: (upcalls: readonly Upcall[]) => void): void {
    this.receiver = receiver;
  }
  async quiesce(): Promise<void> {
    this.quiesced++;
  }
  stats(): DpifStats {
    const { hit, missed } = this.counts;
    return { hit, missed, lost: 0, flows: this.flowTable.size, maskHit: 0, masks: 0, cacheHit: 0 };
  }
  configure(): void {}
  async close(): Promise<void> {}

  /** A packet arrives at a port. */
  inject(portName: string, packet: Uint8Array): void {
    const port = [...this.portTable.values()].find((p) => p.netdev.name === portName);
    if (!port) throw new Error(`no port ${portName}`);
    const key = new FlowKey();
    extractFlow(packet, key);
    key.set32(OFS.in_port, port.no);
    for (const flow of this.flowTable.values()) {
      if (!agrees(key, flow)) continue;
      this.counts.hit++;
      flow.stats.packets++;
      flow.stats.bytes += packet.length;
      flow.stats.usedMs = clock.nowMs();
      this.execute(packet, key, flow.actions, -1);
      return;
    }
    this.counts.missed++;
    this.receiver([{ reason: 'miss', packet, key, userspace: null, pmdId: -1 }]);
  }
}

function agrees(key: FlowKey, flow: DpFlow): boolean {
  for (let i = 0; i < DP_WORDS; i++) if (((key.w[i] ^ flow.key.w[i]) & flow.mask.w[i]) !== 0) return false;
  return true;
}

function flowId(key: FlowKey, mask: FlowMask): string {
  const words: number[] = [];
  for (let i = 0; i < DP_WORDS; i++) words.push(key.w[i] & mask.w[i], mask.w[i]);
  let h = 0n;
  for (const w of words) h = BigInt.asUintN(128, h * 0x100000001b3n + BigInt(w >>> 0) + 1n);
  return h.toString(16).padStart(32, '0');
}
