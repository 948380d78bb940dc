/** The smallest daemon there is: everything of `src/base/` that daemons share and nothing else. For `daemon.e2e.test.ts`. */
import { clock, registerTimeCommands } from '../../src/base/clock.ts';
import { registerCommand } from '../../src/base/commands.ts';
import { registerCommonCommands } from '../../src/base/common-commands.ts';
import { applyVlogOption, HELP_OPTIONS, VLOG_OPTIONS } from '../../src/base/common-options.ts';
import { applyDaemonOption, DAEMON_OPTIONS, daemonComplete, daemonLaunch, daemonStart } from '../../src/base/daemon.ts';
import { ovsFatal } from '../../src/base/fatal.ts';
import { getoptOrExit } from '../../src/base/getopt.ts';
import { Unixctl } from '../../src/base/unixctl.ts';
import { vlog } from '../../src/base/vlog.ts';
import { lockFile } from '../../src/linux/file-lock.ts';

const PROGRAM = 'tiny';
const log = vlog('tiny');

const { options } = getoptOrExit(PROGRAM, process.argv.slice(2), [
  { long: 'unixctl', arg: 'required' },
  { long: 'fail' },
  ...DAEMON_OPTIONS,
  ...VLOG_OPTIONS,
  ...HELP_OPTIONS,
]);
await daemonLaunch(PROGRAM, options);
let socket: string | null = null;
for (const option of options) {
  if (applyDaemonOption(PROGRAM, option) || applyVlogOption(PROGRAM, option)) continue;
  if (option.id === 'unixctl') socket = option.value;
}
daemonStart(PROGRAM, { lockFile });
if (options.some((option) => option.id === 'fail')) ovsFatal(PROGRAM, 'cannot go on');
const unixctl = await Unixctl.listen(socket, PROGRAM).catch((error: Error) => ovsFatal(PROGRAM, error.message));
registerCommonCommands();
registerTimeCommands();
registerCommand('exit', '', 0, 0, () => {
  setImmediate(() => {
    unixctl.close();
    process.exit(0);
  });
  return '';
});
registerCommand('cwd', '', 0, 0, () => process.cwd());
registerCommand('throw', '', 0, 0, () => {
  setImmediate(() => {
    throw new Error('a mistake');
  });
  return '';
});
registerCommand('ticks', 'MSECS', 1, 1, ([ms]) => {
  clock.setInterval(() => log.info(`tick at ${Math.round(clock.nowMs())}`), Number(ms));
  return '';
});
daemonComplete();
log.info('running');
