/** Megaflows as JSON. `dpctl/dump-flows` and `dpif/dump-flows` with `--format json`; the schema is `docs/schema/datapath.json`. */
import { clock } from '../../base/clock.ts';
import type { DpFlow, DpFlowStats, Dpif } from '../../dpif/dpif.ts';
import { dpActionsJson, dpMatchJson, type Json, type JsonObject } from '../../flow/json.ts';
import { formatUfid, wholeKey } from '../commands/flow-text.ts';

const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'];
const stats: DpFlowStats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };

/** Ports are the datapath's numbers, with their names beside them when asked for. `pmd` -1 is the main thread. */
export function megaflowJson(dpif: Dpif, flow: DpFlow, isNamed: boolean): JsonObject {
  const port = isNamed ? (no: number) => dpif.portByNo(no)?.netdev.name : undefined;
  dpif.flowStats(flow, stats);
  return {
    ufid: formatUfid(flow.ufid),
    pmd: flow.pmdId,
    match: dpMatchJson(wholeKey(flow), flow.mask, port) as Json,
    actions: dpActionsJson(flow.actions, port) as unknown as Json,
    packets: stats.packets,
    bytes: stats.bytes,
    used_s: stats.usedMs === 0 ? null : Math.max(0, Math.round(clock.nowMs() - stats.usedMs)) / 1000,
    tcp_flags: TCP_FLAGS.filter((_, bit) => stats.tcpFlags & (1 << bit)),
  };
}
