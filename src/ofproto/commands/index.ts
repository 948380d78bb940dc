/** The commands by which people look at bridges and datapaths, in the words of `ovs-vswitchd(8)`. */
import type { Backer } from '../backer.ts';
import { registerJourneyCommands } from '../journey/commands.ts';
import { registerWhyDrop } from '../journey/why-drop.ts';
import { registerTop } from '../top.ts';
import { registerTrace } from '../trace.ts';
import { registerTunnelCommands } from '../tunnel/commands.ts';
import { registerAutoAttachCommands } from './autoattach.ts';
import { registerBfdCommands } from './bfd.ts';
import { registerBondCommands } from './bond.ts';
import { registerBridgeCommands } from './bridge.ts';
import { registerCfmCommands } from './cfm.ts';
import { registerConntrackCommands } from './conntrack.ts';
import { registerDpctlCommands } from './dpctl.ts';
import { registerDpifCommands } from './dpif.ts';
import { registerFdbCommands } from './fdb.ts';
import { registerLacpCommands } from './lacp.ts';
import { registerMdbCommands } from './mdb.ts';
import { registerRstpCommands } from './rstp.ts';
import { registerStpCommands } from './stp.ts';
import { registerUpcallCommands } from './upcall.ts';

/** Called once; `backers` says which there are when a command comes. */
export function registerOfprotoCommands(backers: () => Iterable<Backer>): void {
  registerBridgeCommands(backers);
  registerBondCommands(backers);
  registerLacpCommands(backers);
  registerFdbCommands(backers);
  registerCfmCommands(backers);
  registerBfdCommands(backers);
  registerStpCommands(backers);
  registerAutoAttachCommands(backers);
  registerRstpCommands(backers);
  registerMdbCommands(backers);
  registerDpifCommands(backers);
  registerDpctlCommands(backers);
  registerConntrackCommands(backers);
  registerUpcallCommands(backers);
  registerTunnelCommands(backers);
  registerTrace(backers);
  registerJourneyCommands(backers);
  registerWhyDrop(backers);
  registerTop(backers);
}
