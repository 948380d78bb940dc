/** What is dropped, where and why, with rates: `why-drop/show`, again and again. */
import type { DropRow } from './api.ts';
import { Feed, repeat } from './feed.ts';
import type { SwitchClient } from './switch.ts';

export function dropsFeed(to: SwitchClient): Feed {
  return new Feed((publish) => {
    let last: DropRow[] | undefined;
    const turns = repeat(
      { ms: 2000 },
      async () => {
        const text = await to.ask('why-drop/show', '--format=json', '--seconds=1');
        publish((last = JSON.parse(text) as DropRow[]));
      },
      () => {
        last = undefined;
      },
    );
    return { snapshot: () => last, close: () => turns.close() };
  });
}
