/** `monitor` and `snoop` may run as daemons: this is the moment they let go of the terminal. */
import { daemonComplete, daemonStart } from '../../base/daemon.ts';
import { lockFile } from '../../linux/file-lock.ts';
import { PROGRAM } from './context.ts';

export function startDaemon(): void {
  daemonStart(PROGRAM, { lockFile });
}
export function completeDaemon(): void {
  daemonComplete();
}
