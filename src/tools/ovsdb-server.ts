/** `ovsdb-server`: serves database files to clients, as `ovsdb-server(1)` says. */

import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
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
import { ovsDbdir } from '../base/dirs.ts';
import { ovsFatal, signalText, writeAll } from '../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../base/getopt.ts';
import { declareLogModules } from '../base/log-modules.ts';
import { memoryReporter } from '../base/memory.ts';
import { registerMetricsCommand } from '../base/metrics.ts';
import { Unixctl } from '../base/unixctl.ts';
import { PROGRAM_VERSION_LINE } from '../base/version.ts';
import { vlog } from '../base/vlog.ts';
import { lockFile } from '../linux/file-lock.ts';
import { disableColumnDiffs } from '../ovsdb/file.ts';
import { setFileLocker } from '../ovsdb/log.ts';
import { registerOvsdbMetrics } from '../ovsdb/metrics.ts';
import { OvsdbServer } from '../ovsdb/server.ts';
import { connectionHelp } from './connection-help.ts';
import { ConfigFile } from './ovsdb/config-file.ts';
import { DatabaseKeys } from './ovsdb/database-keys.ts';
import { registerServerCommands } from './ovsdb/server-commands.ts';

const PROGRAM = 'ovsdb-server';
const log = vlog('ovsdb_server');

const OPTIONS: readonly OptionSpec[] = [
  { long: 'remote', arg: 'required' },
  { long: 'unixctl', arg: 'required' },
  { long: 'run', arg: 'required' },
  { long: 'no-dbs' },
  { long: 'config-file', arg: 'required' },
  { long: 'sync-from', arg: 'required' },
  { long: 'sync-exclude-tables', arg: 'required' },
  { long: 'active' },
  { long: 'record', arg: 'optional' },
  { long: 'replay', arg: 'optional' },
  { long: 'disable-file-column-diff' },
  ...HELP_OPTIONS,
  ...DAEMON_OPTIONS,
  ...VLOG_OPTIONS,
  ...SSL_OPTIONS,
];

const help = (): string => `${PROGRAM}: Open vSwitch database server
usage: ${PROGRAM} [OPTIONS] [DATABASE...]
where each DATABASE is a database file in ovsdb format.
The default DATABASE, if none is given, is
${join(ovsDbdir(), 'conf.db')}.

JSON-RPC options (may be specified any number of times):
  --remote=REMOTE         connect or listen to REMOTE

${connectionHelp('JSON-RPC')}${DAEMON_HELP(PROGRAM)}${VLOG_HELP(PROGRAM)}
Syncing options:
  --sync-from=SERVER      sync DATABASE from active SERVER and start in
                          backup mode (except with --active)
  --sync-exclude-tables=DB:TABLE,...
                          exclude the TABLE in DB from syncing
  --active                with --sync-from, start in active mode

Other options:
  --config-file=FILE      read databases and remotes from FILE
  --run COMMAND           run COMMAND as subprocess then exit
  --unixctl=SOCKET        override default control socket name
  --disable-file-column-diff
                          don't use column diff in database file
  -h, --help              display this help message
  -V, --version           display version information
`;

interface Settings {
  readonly remotes: string[];
  unixctl: string | null;
  run: string | null;
  noDbs: boolean;
  configFile: string | null;
  /** `--active`: know the active server, but do not become its backup. */
  active: boolean;
  syncFrom: string | null;
  syncExclude: string;
}

await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<void> {
  declareLogModules(PROGRAM);
  const { options, operands } = getoptOrExit(PROGRAM, argv, OPTIONS);
  await daemonLaunch(PROGRAM, options);
  const server = new OvsdbServer();
  const keys = new DatabaseKeys(server);
  const settings: Settings = {
    remotes: [],
    unixctl: null,
    run: null,
    noDbs: false,
    configFile: null,
    active: false,
    syncFrom: null,
    syncExclude: '',
  };
  for (const option of options) {
    if (applyDaemonOption(PROGRAM, option) || applyVlogOption(PROGRAM, option)) continue;
    if (keys.take(option.id, option.value) || applySslOption(option)) continue;
    applyOption(settings, option.id, option.value ?? '');
  }
  const isBare = settings.noDbs || settings.configFile !== null;
  const databases = operands.length > 0 || isBare ? operands : [join(ovsDbdir(), 'conf.db')];
  if (settings.configFile !== null && (operands.length > 0 || namesConfiguration(settings))) {
    ovsFatal(PROGRAM, '--config-file says which databases and remotes there are, so the command line cannot');
  }
  const configFile = settings.configFile === null ? null : new ConfigFile(server, settings.configFile);

  setFileLocker(lockFile);
  daemonStart(PROGRAM, { lockFile });
  try {
    const opened = new Set<string>();
    for (const file of databases) {
      if (!opened.has(resolve(file))) server.addDatabase(file);
      opened.add(resolve(file));
    }
    if (settings.run === null) log.info(PROGRAM_VERSION_LINE(PROGRAM));
    keys.start();
    server.replication.source = settings.syncFrom;
    server.replication.excludedText = settings.syncExclude;
    if (!settings.active) server.replication.connect();
    for (const remote of settings.remotes) await server.remotes.add(remote, true);
    await configFile?.load();
  } catch (error) {
    const { message } = error as Error;
    // What is wrong with a column has a line of its own in the original.
    ovsFatal(PROGRAM, message.startsWith('"db:') ? `${message}\n` : message);
  }

  const unixctl = await Unixctl.listen(settings.unixctl, PROGRAM).catch((error: Error) =>
    ovsFatal(PROGRAM, error.message),
  );
  const exit = (status = 0) => {
    server.close();
    unixctl.close();
    // Answers on their way are given a moment.
    setTimeout(() => process.exit(status), 10);
  };
  registerServerCommands(server, exit, configFile);
  registerOvsdbMetrics(server);
  registerMetricsCommand();
  registerCommonCommands();
  memoryReporter(() => server.memory());

  daemonComplete();
  if (settings.run !== null) runUntilDone(settings.run, exit);
}

function namesConfiguration(settings: Settings): boolean {
  const { remotes, noDbs, active, syncFrom, syncExclude } = settings;
  return remotes.length > 0 || noDbs || active || syncFrom !== null || syncExclude !== '';
}

function applyOption(settings: Settings, id: string, value: string): void {
  switch (id) {
    case 'remote':
      settings.remotes.push(value);
      return;
    case 'unixctl':
      settings.unixctl = value;
      return;
    case 'run':
      settings.run = value;
      return;
    case 'sync-from':
      settings.syncFrom = value;
      return;
    case 'sync-exclude-tables':
      settings.syncExclude = value;
      return;
    case 'active':
      settings.active = true;
      return;
    case 'record':
    case 'replay':
      ovsFatal(PROGRAM, `--${id} is not supported: sessions can be neither recorded nor replayed`);
      break;
    case 'no-dbs':
      settings.noDbs = true;
      return;
    case 'config-file':
      settings.configFile = value;
      return;
    case 'disable-file-column-diff':
      disableColumnDiffs();
      return;
    case 'help':
      writeAll(1, help());
      process.exit(0);
      break;
    case 'version':
      writeAll(1, versionText(PROGRAM));
      process.exit(0);
      break;
    default:
      ovsFatal(PROGRAM, `--${id} is not supported`);
  }
}

function runUntilDone(command: string, exit: (status: number) => void): void {
  const child = spawn('/bin/sh', ['-c', command], { stdio: 'inherit' });
  child.on('error', (error) => ovsFatal(PROGRAM, `${command}: ${error.message}`));
  child.on('exit', (status, signal) => {
    if (status === 0) return exit(0);
    const how = signal === null ? `exit status ${status}` : `killed (${signalText(signal)})`;
    writeAll(2, `${PROGRAM}: ${command}: child exited, ${how}\n`);
    exit(1);
  });
}
