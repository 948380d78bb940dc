/** What there is to say of a megaflow that answered: when and for whom it was made, and what the tables say of that packet now. */
import { clock } from '../../base/clock.ts';
import type { DropReason } from '../../datapath/drop-reason.ts';
import type { DpFlow, DpFlowStats } from '../../dpif/dpif.ts';
import { sameActions } from '../../flow/dp-actions.ts';
import { formatDpActions } from '../../flow/dp-text.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { formatUfid } from '../commands/flow-text.ts';
import { namesOf } from '../trace.ts';
import { Ukey } from '../ukey.ts';
import { formatFlow, formatMegaflow } from '../xlate/flow-text.ts';
import type { JourneyCollector } from './collector.ts';
import type { MegaflowStory, Replay } from './story.ts';
import { Telling } from './telling.ts';

const stats: DpFlowStats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };

export function megaflowStory(collector: JourneyCollector, flow: DpFlow): MegaflowStory {
  const { backer } = collector;
  backer.dpif.flowStats(flow, stats);
  const ukey = flow.user instanceof Ukey ? flow.user : null;
  const entry = backer.flowOf(flow.key);
  const names = entry ? namesOf(entry.bridge) : undefined;
  const key = ukey?.key ?? entry?.flow ?? flow.key;
  const ageMs = ukey ? Math.round(backer.nowMs() - ukey.createdMs) : 0;
  return {
    ufid: formatUfid(flow.ufid),
    match: formatMegaflow(key, flow.mask, names),
    actions: formatDpActions(flow.actions, (no) => backer.dpif.portByNo(no)?.netdev.name),
    packets: stats.packets,
    age_ms: ageMs,
    made_at: ukey ? new Date(clock.wallMs() - ageMs).toISOString() : null,
    made_by_pmd: ukey ? flow.pmdId : null,
    made_for: ukey ? formatFlow(ukey.key, names) : null,
    made_by_journey: ukey ? (collector.madeBy.get(ukey) ?? null) : null,
  };
}

/** What the tables say now of the packet that a megaflow was made for; null where that is not known. */
export function replayOf(
  collector: JourneyCollector,
  flow: DpFlow,
): { readonly replay: Replay; readonly drop: DropReason } | null {
  const { backer } = collector;
  const entry = backer.flowOf(flow.key);
  if (!(flow.user instanceof Ukey) || !entry) return null;
  const key = new FlowKey();
  key.copyFrom(flow.user.key);
  key.set32(OFS.in_port, entry.flow.get32(OFS.in_port));
  const telling = new Telling();
  const result = backer.translate({ bridge: entry.bridge, flow: key, packet: null, observer: telling, isTrace: true });
  const isCurrent = sameActions(backer.installable(result), flow.actions);
  const replay = { ...telling.story(key, result, entry.bridge), is_current: isCurrent };
  return { replay, drop: telling.drop(result, entry.bridge) };
}
