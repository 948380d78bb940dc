/** Carries out what a translation found a packet to do besides its actions, for any number of packets at once. */
import type { XlateEffect } from './types.ts';

export interface EffectStats {
  readonly packets: number;
  readonly bytes: number;
  /** When the last of them was seen. */
  readonly usedMs: number;
  /** OR of the flags of the TCP packets. */
  readonly tcpFlags: number;
}

const TCP_FIN = 1;
const TCP_RST = 4;

/** Credits `stats` to all that the translation touched. With no packets it does nothing. */
export function creditEffects(effects: readonly XlateEffect[], stats: EffectStats): void {
  if (stats.packets === 0) return;
  const { packets, bytes, usedMs } = stats;
  for (const e of effects) {
    switch (e.kind) {
      case 'table':
        e.table.credit(packets, e.matched ? packets : 0);
        break;
      case 'rule':
        e.rule.credit(packets, bytes, usedMs);
        break;
      case 'patch':
        if (e.from.stats) {
          e.from.stats.txPackets += packets;
          e.from.stats.txBytes += bytes;
        }
        if (e.to.stats) {
          e.to.stats.rxPackets += packets;
          e.to.stats.rxBytes += bytes;
        }
        break;
      case 'learn_mac':
        e.bridge.macs?.learn(e.mac, e.vlan, e.bundle, e.isGratuitousArp, e.bundle.ports.length > 1, usedMs);
        break;
      case 'tell':
        e.tell(packets, bytes, usedMs, stats.tcpFlags);
        break;
      case 'mirror':
        e.mirror.credit(packets, bytes);
        break;
      case 'group':
        e.group.credit(e.bucket, packets, bytes);
        break;
      case 'fin_timeout':
        if (stats.tcpFlags & (TCP_FIN | TCP_RST)) e.rule.reduceTimeouts(e.idle, e.hard, usedMs);
        break;
      case 'learn':
        e.bridge.tables.flowMod(e.mod, usedMs);
        break;
    }
  }
}
