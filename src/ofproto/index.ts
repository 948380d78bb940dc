/** The room's door: makes the backer of a datapath type. */
import { memoryReporter } from '../base/memory.ts';
import type { Dpif } from '../dpif/dpif.ts';
import { Backer } from './backer.ts';
import { isNamed } from './commands/find.ts';
import { registerOfprotoCommands } from './commands/index.ts';
import { registerMetrics } from './metrics.ts';
import type { OfprotoBacker } from './ofproto.ts';

export interface BackerDeps {
  /** The datapath that the backer owns from now on. */
  readonly dpif: Dpif;
}

const backers = new Set<Backer>();
let isRegistered = false;

/** `type` is the datapath type: `netdev`, `dummy`, `system`. */
export async function createBacker(type: string, deps: BackerDeps): Promise<OfprotoBacker> {
  if (!isRegistered) {
    isRegistered = true;
    registerOfprotoCommands(() => backers);
    registerMetrics(() => backers);
    memoryReporter(memoryUse);
  }
  const backer = new Backer(type, deps.dpif);
  backer.onClosed = () => backers.delete(backer);
  backers.add(backer);
  return backer;
}

/** The datapath that `type@name` means. */
export function findDatapath(name: string): Backer | undefined {
  return [...backers].find((b) => isNamed(b, name));
}

/** A datapath that no bridge uses: what is put into it stays. */
export function createStandalone(type: string, deps: BackerDeps): Promise<OfprotoBacker> {
  const made = createBacker(type, deps);
  findDatapath(`${deps.dpif.type}@${deps.dpif.name}`)?.revalidator.close();
  return made;
}

/** For `memory/show`, in the original's words. */
function memoryUse(): Record<string, number> {
  const use = { handlers: 0, ofconns: 0, ports: 0, revalidators: 0, rules: 0, 'udpif keys': 0 };
  for (const backer of backers) {
    use.handlers++;
    use.revalidators++;
    use['udpif keys'] += backer.dpif.stats().flows;
    for (const bridge of backer.bridges) {
      use.ofconns += [...bridge.connmgr.all()].length;
      use.ports += bridge.sortedPorts().length;
      for (const table of bridge.tables.tables) use.rules += table.size;
    }
  }
  return Object.fromEntries(Object.entries(use).filter(([, n]) => n > 0));
}
