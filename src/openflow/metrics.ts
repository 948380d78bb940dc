/** Messages of all OpenFlow connections of the process, by type and direction. Types are OpenFlow's: a list that ends. */
import { metricGroup } from '../base/metrics.ts';
import type { OfMessageType } from './messages.ts';

type Direction = 'rx' | 'tx';
const counts: Readonly<Record<Direction, Map<OfMessageType | 'undecodable', number>>> = {
  rx: new Map(),
  tx: new Map(),
};

export function countMessage(direction: Direction, type: OfMessageType | 'undecodable'): void {
  const map = counts[direction];
  map.set(type, (map.get(type) ?? 0) + 1);
}

export function registerOpenflowMetrics(): Disposable {
  return metricGroup(
    {
      openflow_messages_total: { type: 'counter', help: 'OpenFlow messages by type, received (rx) and sent (tx)' },
    },
    (add) => {
      for (const direction of ['rx', 'tx'] as const)
        for (const [type, n] of counts[direction]) add('openflow_messages_total', n, { type, direction });
    },
  );
}
