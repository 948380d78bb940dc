/** Stories of packets as they pass: a session of `journey/…` for each reader, ended when the reader goes. */
import type { Counts } from '../ofproto/journey/commands.ts';
import { Refused, type SwitchClient } from './switch.ts';

const WAIT_MS = 1000;
/** What a reader may say, as the command's options. */
const OPTIONS = ['bridge', 'in-port', 'only', 'slow-us', 'count'] as const;

export interface JourneyLines {
  /** Goes on until stopped, or until as many as were asked for are told. */
  run(write: (line: string) => void): Promise<void>;
  stop(): void;
}

/** Starts a session; throws `Refused` with the switch's words when the filter is none. */
export async function journeyLines(to: SwitchClient, query: URLSearchParams): Promise<JourneyLines> {
  const args: string[] = [];
  const filter = query.get('filter') ?? '';
  if (filter.startsWith('-')) throw new Refused(`${filter}: not a filter`);
  if (filter !== '') args.push(filter);
  for (const name of OPTIONS) {
    const value = query.get(name);
    if (value !== null && value !== '') args.push(`--${name}=${value}`);
  }
  const session = (await to.ask('journey/start', ...args)).trim();
  const wanted = Number(query.get('count') || Number.POSITIVE_INFINITY);
  const tellsCounts = query.has('counts');
  let isStopped = false;
  return {
    async run(write) {
      let seen = 0;
      let last = '';
      while (!isStopped && seen < wanted) {
        let text: string;
        try {
          text = await to.ask('journey/show', session, '--format=json', `--wait=${WAIT_MS}`);
        } catch {
          break; // the switch is gone, and with it the session
        }
        const [counts, ...stories] = text.split('\n').filter((line) => line !== '');
        if (tellsCounts && counts !== last) write(`{"counts":${(last = counts)}}`);
        for (const story of stories) write(story);
        seen += stories.length;
        if (!(JSON.parse(counts) as Counts).is_open) break;
      }
      await to.ask('journey/stop', session).catch(() => {});
    },
    stop() {
      isStopped = true;
    },
  };
}
