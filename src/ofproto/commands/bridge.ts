/** `ofproto/list`, `bridge/dump-flows`, `bridge/reconnect`. */
import { clock } from '../../base/clock.ts';
import { registerCommand } from '../../base/commands.ts';
import { formatMatch } from '../../flow/match-text.ts';
import { formatActions } from '../../openflow/actions/index.ts';
import { flowJson } from '../../openflow/json/flows.ts';
import { inOrder, StatsOfRule } from '../handlers/flows.ts';
import type { Rule } from '../rule.ts';
import { allBridges, type Backers, findBridge } from './find.ts';

export function registerBridgeCommands(backers: Backers): void {
  registerCommand('ofproto/list', '', 0, 0, () =>
    allBridges(backers)
      .map((b) => `${b.name}\n`)
      .join(''),
  );

  registerCommand('bridge/dump-flows', '[--offload-stats] bridge', 1, 2, (args, { format }) => {
    const bridge = findBridge(backers, args[args.length - 1], 'Unknown bridge');
    const isOffload = args.includes('--offload-stats');
    bridge.backer.pushStats();
    const now = clock.nowMs();
    const rules = [...bridge.tables].sort(inOrder);
    if (format === 'json') return JSON.stringify({ flows: rules.map((rule) => flowJson(new StatsOfRule(rule, now))) });
    return rules.map((rule) => `${formatRule(rule, now, isOffload)}\n`).join('');
  });

  registerCommand('bridge/reconnect', '[bridge]', 0, 1, ([name]) => {
    const which = name === undefined ? allBridges(backers) : [findBridge(backers, name, 'Unknown bridge')];
    for (const bridge of which) bridge.connmgr.reconnect();
    return '';
  });
}

/** All rules, the hidden ones too; ports by number. */
function formatRule(rule: Rule, now: number, isOffload: boolean): string {
  const table = rule.table === 0 ? '' : `table_id=${rule.table}, `;
  const duration = Math.floor((now - rule.createdMs) / 1000);
  const offload = isOffload ? 'n_offload_packets=0, n_offload_bytes=0, ' : '';
  const match = formatMatch(rule.match, rule.priority);
  const counts = `n_packets=${rule.packets}, n_bytes=${rule.bytes}, `;
  return `${table}duration=${duration}s, ${counts}${offload}${match},actions=${formatActions(rule.actions)}`;
}
