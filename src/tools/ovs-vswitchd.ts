/** `ovs-vswitchd`: the switch as a daemon that takes its configuration from a database server (ovs-vswitchd(8)). */

import { registerTimeCommands } from '../base/clock.ts';
import { registerCommand } from '../base/commands.ts';
import { registerCommonCommands } from '../base/common-commands.ts';
import {
  applySslOption,
  applyVlogOption,
  HELP_OPTIONS,
  SSL_OPTIONS,
  VLOG_HELP,
  VLOG_OPTIONS,
  versionText,
} from '../base/common-options.ts';
import {
  applyDaemonOption,
  DAEMON_HELP,
  DAEMON_OPTIONS,
  daemonComplete,
  daemonLaunch,
  daemonStart,
} from '../base/daemon.ts';
import { ovsRundir } from '../base/dirs.ts';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../base/getopt.ts';
import { declareLogModules } from '../base/log-modules.ts';
import { Unixctl } from '../base/unixctl.ts';
import { vlogSetProgram } from '../base/vlog.ts';
import { simulateCpus } from '../linux/cpus.ts';
import { lockFile } from '../linux/file-lock.ts';
import { wakePromptly } from '../linux/scheduling.ts';
import { registerSwitchCommands } from '../vswitchd/commands.ts';
import type { DummyMode } from '../vswitchd/datapaths.ts';
import { Switch } from '../vswitchd/switch.ts';
import { connectionHelp } from './connection-help.ts';

const PROGRAM = 'ovs-vswitchd';

const OWN_OPTIONS: readonly OptionSpec[] = [
  { long: 'unixctl', arg: 'required' },
  { long: 'mlockall' },
  { long: 'enable-dummy', arg: 'optional' },
  { long: 'disable-system' },
  { long: 'disable-system-route' },
  { long: 'dpdk', arg: 'optional' },
  { long: 'dummy-numa', arg: 'required' },
];

async function main(args: readonly string[]): Promise<void> {
  vlogSetProgram(PROGRAM);
  declareLogModules(PROGRAM);
  const { options, operands } = getoptOrExit(PROGRAM, args, [
    ...OWN_OPTIONS,
    ...HELP_OPTIONS,
    ...VLOG_OPTIONS,
    ...SSL_OPTIONS,
    ...DAEMON_OPTIONS,
  ]);
  const defaultRemote = `unix:${ovsRundir()}/db.sock`;
  await daemonLaunch(PROGRAM, options);
  let dummy: DummyMode = 'none';
  let unixctlPath: string | null = null;
  for (const option of options) {
    switch (option.id) {
      case 'unixctl':
        unixctlPath = option.value;
        break;
      case 'enable-dummy':
        dummy = option.value === 'override' || option.value === 'system' ? option.value : 'plain';
        break;
      case 'mlockall':
      case 'disable-system':
      case 'disable-system-route':
        // Nothing here pages out packets, and there is no kernel datapath or routing table to leave alone.
        break;
      case 'dummy-numa':
        simulateCpus(option.value ?? '');
        break;
      case 'dpdk':
        ovsFatal(PROGRAM, '--dpdk option must not be used: DPDK is configured through ovsdb.');
        break;
      case 'help':
        writeAll(1, usage(defaultRemote));
        process.exit(0);
        break;
      case 'version':
        writeAll(1, versionText(PROGRAM));
        process.exit(0);
        break;
      default:
        if (!applyVlogOption(PROGRAM, option) && !applySslOption(option)) applyDaemonOption(PROGRAM, option);
    }
  }
  if (operands.length > 1) ovsFatal(PROGRAM, 'at most one non-option argument accepted; use --help for usage');

  daemonStart(PROGRAM, { lockFile });
  const unixctl = await Unixctl.listen(unixctlPath, PROGRAM).catch((error: Error) => ovsFatal(PROGRAM, error.message));
  registerCommonCommands();
  if (dummy !== 'none') registerTimeCommands();
  // New flows and controllers wait for this thread; packets do not.
  wakePromptly();
  const self = new Switch({ remote: operands[0] ?? defaultRemote, dummy });
  registerSwitchCommands(self);

  let ending = false;
  const end = async () => {
    if (ending) return;
    ending = true;
    await self.stop();
    unixctl.close();
    process.exit(0);
  };
  // The devices of a user-space datapath end with the process, so `--cleanup` has nothing more to remove.
  registerCommand('exit', '[--cleanup]', 0, 1, () => {
    setImmediate(() => void end());
    return '';
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void end());
  self.start();
  // Whoever started us goes on when the switch forwards, not before.
  await self.configured;
  daemonComplete();
}

function usage(defaultRemote: string): string {
  return `ovs-vswitchd: Open vSwitch daemon
usage: ovs-vswitchd [OPTIONS] [DATABASE]
where DATABASE is a socket on which ovsdb-server is listening
      (default: "${defaultRemote}").

${connectionHelp('DATABASE', { passive: false })}${DAEMON_HELP(PROGRAM)}${VLOG_HELP(PROGRAM)}
DPDK options:
Configuration of DPDK via command-line is removed from this
version of Open vSwitch. DPDK is configured through ovsdb.

Other options:
  --unixctl=SOCKET          override default control socket name
  -h, --help                display this help message
  -V, --version             display version information
`;
}

void main(process.argv.slice(2));
