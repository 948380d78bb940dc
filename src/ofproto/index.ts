/** The room's door: makes the backer of a datapath type. */
import type { Dpif } from '../dpif/dpif.ts';
import { Backer } from './backer.ts';
import { registerOfprotoCommands } from './commands/index.ts';
import type { OfprotoBacker } from './ofproto.ts';

export interface BackerDeps {
  /** The datapath that the backer owns from now on. */
  readonly dpif: Dpif;
}

const backers = new Set<Backer>();

/** `type` is the datapath type: `netdev`, `dummy`, `system`. */
export async function createBacker(type: string, deps: BackerDeps): Promise<OfprotoBacker> {
  if (backers.size === 0) registerOfprotoCommands(() => backers);
  const backer = new Backer(type, deps.dpif);
  backer.onClosed = () => backers.delete(backer);
  backers.add(backer);
  return backer;
}
