/** `monitor` and `snoop` may run as daemons: this is the moment they let go of the terminal. */
import { openSync } from 'node:fs';
import { daemonComplete, daemonStart } from '../../base/daemon.ts';
import { lockFile } from '../../linux/file-lock.ts';
import { PROGRAM, settings } from './context.ts';

export function startDaemon(): void {
  daemonStart(PROGRAM, { lockFile });
}
/**
 * Lets go. Returns the descriptor to print to from now on: a detached monitor goes on writing to the standard error of the process
 * that was started, which is still there at this moment.
 */
export function completeDaemon(): number {
  let output = 2;
  if (settings.detached) {
    try {
      output = openSync(`/proc/${process.ppid}/fd/2`, 'a');
    } catch {
      // A socket cannot be opened this way; then there is nobody to print to.
    }
  }
  daemonComplete();
  return output;
}
