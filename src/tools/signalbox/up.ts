/** `signalbox up`: database and switch in the foreground, until Ctrl-C. */
import { accessSync, closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { registerTimeCommands } from '../../base/clock.ts';
import { registerCommand } from '../../base/commands.ts';
import { registerCommonCommands } from '../../base/common-commands.ts';
import { applyDaemonOption, daemonComplete, daemonStart } from '../../base/daemon.ts';
import { ovsDbdir, ovsLogdir, ovsRundir } from '../../base/dirs.ts';
import { errorText } from '../../base/errno.ts';
import { ovsFatal } from '../../base/fatal.ts';
import { getoptOrExit } from '../../base/getopt.ts';
import { packagePath } from '../../base/package-path.ts';
import { Unixctl } from '../../base/unixctl.ts';
import { lockFile } from '../../linux/file-lock.ts';
import { serveMetrics } from './metrics.ts';
import { type Running, startInProcess } from './running.ts';

const PROGRAM = 'signalbox';
/** Tools look for the switch under this name. */
const SWITCH = 'ovs-vswitchd';
const DIRECTORIES = ['OVS_RUNDIR', 'OVS_DBDIR', 'OVS_LOGDIR'] as const;

export async function up(args: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, args, [
    { long: 'metrics', arg: 'required' },
    { long: 'dashboard', arg: 'required' },
  ]);
  if (operands.length > 0) ovsFatal(PROGRAM, `'up' command takes at most 0 arguments`);
  const portOf = (id: string): number | null => {
    const value = options.find((o) => o.id === id)?.value;
    if (value === undefined || value === null) return null;
    if (!/^\d+$/.test(value) || Number(value) > 0xffff) ovsFatal(PROGRAM, `--${id}: ${value}: not a port`);
    return Number(value);
  };
  const metricsPort = portOf('metrics');
  const dashboardPort = portOf('dashboard');
  const missing = missingPrivilege();
  const chosen = chooseDirectories();
  const say = (text: string) => process.stdout.write(`${text}\n`);
  if (missing !== null) {
    say(
      `signalbox: ${missing}, so real network devices are out of reach: no ports on them, no bridge with an address.`,
    );
    say('           Every port is simulated instead. Run it as root to forward real packets.\n');
  }

  applyDaemonOption(SWITCH, { id: 'pidfile', value: null });
  daemonStart(SWITCH, { lockFile });
  const file = join(ovsDbdir(), 'conf.db');
  let running: Running;
  try {
    running = startInProcess(file, missing === null ? 'none' : 'override');
    await running.server.addRemote(`punix:${join(ovsRundir(), 'db.sock')}`);
    await running.server.addRemote('db:Open_vSwitch,Open_vSwitch,manager_options');
  } catch (error) {
    ovsFatal(PROGRAM, error instanceof Error ? error.message : String(error));
  }
  const unixctl = await Unixctl.listen(null, SWITCH).catch((error: Error) => ovsFatal(PROGRAM, error.message));
  registerCommonCommands();
  if (missing !== null) registerTimeCommands();

  let ending = false;
  const end = async () => {
    if (ending) return;
    ending = true;
    say('\nStopping.');
    await running.stop();
    unixctl.close();
    process.exit(0);
  };
  registerCommand('exit', '[--cleanup]', 0, 1, () => {
    setImmediate(() => void end());
    return '';
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void end());
  await running.self.configured;
  daemonComplete();

  say('Signalbox is up: database and switch in this process. Ctrl-C stops both.\n');
  say(`  database  ${file}${running.madeDatabase ? ' (new)' : ''}`);
  say(`  OVSDB     ${join(ovsRundir(), 'db.sock')}`);
  say(`  control   ${unixctl.path}`);
  if (metricsPort !== null) {
    const at = await serveMetrics(metricsPort).catch((error: Error) => ovsFatal(PROGRAM, error.message));
    say(`  metrics   ${at}`);
  }
  if (dashboardPort !== null) {
    const { serveOwnDashboard } = await import('./dashboard.ts');
    const at = await serveOwnDashboard(dashboardPort, unixctl.path ?? SWITCH).catch((error: Error) =>
      ovsFatal(PROGRAM, error.message),
    );
    say(`  dashboard ${at.url}`);
  }
  say('');
  say('Next, in another terminal:\n');
  const bin = relative(process.cwd(), packagePath('bin')) || '.';
  const program = (name: string) => (bin.startsWith('..') ? packagePath(`bin/${name}`) : join(bin, name));
  if (chosen !== '') say(`  export ${chosen}`);
  say(`  ${program('ovs-vsctl')} add-br br0`);
  say(`  ${program('ovs-vsctl')} add-port br0 ${missing === null ? 'tap0 -- set interface tap0 type=internal' : 'p0'}`);
  say(`  ${program('ovs-ofctl')} dump-flows br0`);
}

/** Why network devices cannot be used, or null when they can. */
function missingPrivilege(): string | null {
  if (process.getuid?.() !== 0) return 'not root';
  try {
    closeSync(openSync('/dev/net/tun', 'r+'));
    return null;
  } catch {
    return '/dev/net/tun cannot be opened (a container without privileges?)';
  }
}

/** Makes the directories, elsewhere for a user who may not write where they belong. Returns what to export to find them. */
function chooseDirectories(): string {
  try {
    for (const dir of [ovsRundir(), ovsDbdir(), ovsLogdir()]) {
      mkdirSync(dir, { recursive: true });
      accessSync(dir, constants.W_OK);
    }
  } catch {
    const dir = join(process.env['XDG_RUNTIME_DIR'] || tmpdir(), `signalbox-${process.getuid?.() ?? 0}`);
    try {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
    } catch (error) {
      ovsFatal(PROGRAM, `${dir}: ${errorText(error)}`);
    }
    for (const name of DIRECTORIES) process.env[name] = dir;
  }
  return DIRECTORIES.filter((name) => process.env[name] !== undefined)
    .map((name) => `${name}=${process.env[name]}`)
    .join(' ');
}
