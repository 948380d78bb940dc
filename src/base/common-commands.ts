/** The commands that every daemon answers besides its own. `exit` is not one: what it takes is the daemon's affair. */
import { registerCoverageCommands } from './coverage.ts';
import { registerMemoryCommands } from './memory.ts';
import { registerVlogCommands } from './vlog-commands.ts';

/** `coverage/*`, `memory/show`, `vlog/*`. (`version` and `list-commands` come with `Unixctl`, `time/*` with `registerTimeCommands`.) */
export function registerCommonCommands(): void {
  registerCoverageCommands();
  registerMemoryCommands();
  registerVlogCommands();
}
