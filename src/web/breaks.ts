/**
 * Breakpoints: what is set and what waits, as it changes, and the orders that pages give. Only for a dashboard that may change
 * things. A breakpoint lives as long as a page looks at it, and a little longer.
 */
import type { BreakpointState, HeldState } from '../ofproto/journey/held.ts';
import type { BreaksData } from './api.ts';
import { Feed, repeat } from './feed.ts';
import { Refused, type SwitchClient } from './switch.ts';

/** Pages that are gone are noticed after so many seconds. */
const LEASE_S = 10;
const WAIT_MS = 1500;

type Line = { readonly type: 'breaks'; readonly serial: number } | BreakpointState | HeldState;

export function breaksFeed(to: SwitchClient): Feed {
  return new Feed((publish) => {
    let last: BreaksData | undefined;
    let serial: number | null = null;
    const turns = repeat(
      { ms: 50 },
      async () => {
        const wait = serial === null ? [] : [`--since=${serial}`, `--wait=${WAIT_MS}`];
        const text = await to.ask('journey/break-show', '--format=json', ...wait);
        const lines = text
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as Line);
        const breakpoints: BreakpointState[] = [];
        const held: HeldState[] = [];
        for (const line of lines) {
          if (line.type === 'breakpoint') breakpoints.push(line);
          else if (line.type === 'held') held.push(line);
          else serial = line.serial;
        }
        publish((last = { at: Date.now(), breakpoints, held }));
      },
      () => {
        serial = null;
        last = undefined;
      },
    );
    return { snapshot: () => last, close: () => turns.close() };
  });
}

const isText = (value: unknown): value is string => typeof value === 'string';

/** Gives the switch an order of a page; throws `Refused` with what is wrong. */
export async function carryOut(to: SwitchClient, order: Readonly<Record<string, unknown>>): Promise<string> {
  const text = (name: string): string => {
    const value = order[name] ?? '';
    if (!isText(value) || value.startsWith('-')) throw new Refused(`${name}: not text, or an option`);
    return value;
  };
  const packet = text('packet');
  switch (order['do']) {
    case 'set': {
      const options = ['bridge', 'in-port'].flatMap((name) => (text(name) === '' ? [] : [`--${name}=${text(name)}`]));
      const filter = text('filter');
      return to.ask(
        'journey/break-set',
        text('stage'),
        ...(filter === '' ? [] : [filter]),
        ...options,
        `--lease=${LEASE_S}`,
      );
    }
    case 'continue':
    case 'step':
    case 'drop':
      return to.ask(`journey/break-${order['do']}`, packet === '' ? 'all' : packet);
    case 'edit':
      return to.ask('journey/break-edit', packet, text('edit'));
    case 'delete':
      return to.ask('journey/break-delete', text('name'));
    default:
      throw new Refused('do: not set, continue, step, drop, edit or delete');
  }
}
