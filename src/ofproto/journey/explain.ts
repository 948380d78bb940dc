/**
 * `journey/explain UFID`: a megaflow's story on demand. When and for which packet it was made, and the translation of that
 * packet done again, with whether the tables still say what the megaflow does.
 */
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import type { DpFlow } from '../../dpif/dpif.ts';
import type { Backer } from '../backer.ts';
import type { Backers } from '../commands/find.ts';
import { formatUfid } from '../commands/flow-text.ts';
import { megaflowStory, replayOf } from './megaflow.ts';
import { parseOptions } from './options.ts';
import type { MegaflowStory, Replay } from './story.ts';
import { explanationText } from './text.ts';

export interface Explanation {
  readonly megaflow: MegaflowStory;
  /** Null where it was not made by an upcall of ours. */
  readonly replay: Replay | null;
}

export function registerExplain(backers: Backers): void {
  registerCommand('journey/explain', 'UFID [--format=text|json] [--width=N] [--color]', 1, 4, (args) => {
    const { options, words } = parseOptions(args);
    const ufid = (words[0] ?? '').replace(/^ufid:/, '');
    const found = [...backers()].flatMap((backer) => {
      const flow = flowOf(backer, ufid);
      const { journeys } = backer;
      if (!flow || !journeys) return [];
      return [{ megaflow: megaflowStory(journeys, flow), replay: replayOf(journeys, flow)?.replay ?? null }];
    });
    if (found.length === 0) throw new UnixctlError(`${words[0] ?? ''}: no such megaflow`);
    if (options.get('format') === 'json') return `${JSON.stringify(found[0])}\n`;
    return explanationText(found[0], { color: options.has('color'), width: Number(options.get('width') ?? 0) || 0 });
  });
}

/** The beginning of its name is enough where only one begins so. */
function flowOf(backer: Backer, ufid: string): DpFlow | undefined {
  const exact = backer.dpif.flowByUfid(ufid);
  if (exact || !/^[0-9a-f][0-9a-f-]{3,}$/.test(ufid)) return exact;
  const like = [...backer.dpif.flows()].filter((f) => formatUfid(f.ufid).startsWith(ufid));
  return like.length === 1 ? like[0] : undefined;
}
