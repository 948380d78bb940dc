/** A look at all counters each second, for the topology, the caches and the head of every page. */
import type { TopView } from '../ofproto/top.ts';
import type { PortRates, TopData } from './api.ts';
import { Feed, repeat } from './feed.ts';
import type { SwitchClient } from './switch.ts';

/** The switch waits that long between its two looks. */
const SECONDS = '1';

export function topFeed(to: SwitchClient): Feed {
  return new Feed((publish) => {
    let last: TopData | undefined;
    let isFirst = true;
    const turns = repeat(
      { ms: 0 },
      async () => {
        // The first picture comes soon.
        const text = await to.ask('top/show', `--seconds=${isFirst ? '0.2' : SECONDS}`, '--lines=0');
        isFirst = false;
        publish((last = topData(JSON.parse(text) as TopView)));
      },
      () => {
        last = undefined;
      },
    );
    return { snapshot: () => last, close: () => turns.close() };
  });
}

const round = (n: number): number => Math.round(n * 10) / 10;

export function topData(view: TopView): TopData {
  const ports: Record<string, PortRates> = {};
  for (const { ports: list } of view.datapaths) {
    for (const p of list) {
      const rates = [p.rx_packets, p.rx_bytes, p.tx_packets, p.tx_bytes, p.drops].map(round);
      if (rates.some((n) => n > 0)) ports[p.name] = rates as unknown as PortRates;
    }
  }
  const datapaths = view.datapaths.map(({ name, pmds, n_megaflows, n_rules }) => {
    return { name, pmds, n_megaflows, n_rules };
  });
  return { time: Date.parse(view.time), seconds: view.seconds, datapaths, ports };
}
