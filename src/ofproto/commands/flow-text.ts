/** One megaflow as `dpctl/dump-flows` and `dpif/dump-flows` print it. `ovs-dpctl(8)` */
import { clock } from '../../base/clock.ts';
import type { DpFlow, DpFlowStats, Dpif } from '../../dpif/dpif.ts';
import { formatDpActions, formatDpKey } from '../../flow/dp-text.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { Ukey } from '../ukey.ts';
import { miniflowBits } from './miniflow.ts';

export interface FlowTextOptions {
  /** All fields that the flow has, looked at or not, and its id. */
  readonly isVerbose: boolean;
  /** Ports by name. */
  readonly isNamed: boolean;
  /** Between the id and the rest. */
  readonly separator: string;
  /** `dp:ovs` and `dp-extra-info` with a verbose flow. */
  readonly hasOrigin?: boolean;
}

const stats: DpFlowStats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };

export function formatFlow(dpif: Dpif, flow: DpFlow, options: FlowTextOptions): string {
  const { isVerbose, isNamed, separator, hasOrigin } = options;
  const names = isNamed ? (no: number) => dpif.portByNo(no)?.netdev.name : undefined;
  dpif.flowStats(flow, stats);
  let text = isVerbose ? `ufid:${formatUfid(flow.ufid)}${separator}` : '';
  text += formatDpKey(wholeKey(flow), flow.mask, { verbose: isVerbose, names });
  text += `, packets:${stats.packets}, bytes:${stats.bytes}, used:${formatUsed(stats.usedMs)}`;
  if (stats.tcpFlags !== 0) text += `, flags:${formatTcpFlags(stats.tcpFlags)}`;
  if (isVerbose && hasOrigin) text += ', dp:ovs';
  text += `, actions:${formatDpActions(flow.actions, names)}`;
  return isVerbose && hasOrigin ? `${text}, dp-extra-info:${miniflowBits(flow.key, flow.mask)}` : text;
}

/** A datapath keeps only what it matches; we know the rest of the packet that the flow was made for. */
export function wholeKey(flow: DpFlow): FlowKey {
  if (!(flow.user instanceof Ukey)) return flow.key;
  const key = flow.user.key.clone();
  key.set32(OFS.in_port, flow.key.get32(OFS.in_port));
  return key;
}

function formatUsed(usedMs: number): string {
  return usedMs === 0 ? 'never' : `${(Math.max(0, clock.nowMs() - usedMs) / 1000).toFixed(3)}s`;
}

/** 8-4-4-4-12 hex digits. */
export function formatUfid(ufid: string): string {
  return ufid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Null when it is none. */
export function parseUfid(text: string): string | null {
  const found = text.match(/^(?:ufid:)?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/i);
  return found ? found.slice(1).join('').toLowerCase() : null;
}

const TCP_FLAGS = 'FSRP.UECN';

function formatTcpFlags(flags: number): string {
  return [...TCP_FLAGS].filter((_, bit) => flags & (1 << bit)).join('');
}
