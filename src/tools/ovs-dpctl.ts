/**
 * `ovs-dpctl`: looks at and changes datapaths (ovs-dpctl(8)). A datapath in user space lives in `ovs-vswitchd`, so the
 * command goes there, to the command of the same name (`dpctl/…`). Without a switch there is only the kernel's datapath
 * to ask, and where that is missing its absence is what the command reports.
 */
import { existsSync } from 'node:fs';
import { type CommandUsage, commandList } from '../base/command-list.ts';
import { applyVlogOption, HELP_OPTIONS, VLOG_HELP, VLOG_OPTIONS, versionText } from '../base/common-options.ts';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { getoptOrExit, type OptionSpec, type ParsedOption } from '../base/getopt.ts';
import { unixctlRequest, unixctlSocketPath } from '../base/unixctl.ts';
import { vlog, vlogSetLevels, vlogSetProgram } from '../base/vlog.ts';

const PROGRAM = 'ovs-dpctl';
const DAEMON = 'ovs-vswitchd';

const OPTIONS: readonly OptionSpec[] = [
  { long: 'statistics', short: 's' },
  { long: 'more', short: 'm' },
  { long: 'names' },
  { long: 'no-names' },
  { long: 'may-create' },
  { long: 'read-only' },
  { long: 'clear' },
  { long: 'timeout', short: 't', arg: 'required' },
  { long: 'format', short: 'f', arg: 'required' },
  { long: 'pretty' },
  { long: 'option', short: 'o' },
  ...HELP_OPTIONS,
  ...VLOG_OPTIONS,
];

/** Options that the daemon's commands understand, as they take them. */
const FORWARDED: Readonly<Record<string, string>> = {
  statistics: '-s',
  more: '-m',
  names: '--names',
  'no-names': '--no-names',
  'may-create': '--may-create',
  clear: '--clear',
};

const MANY = 0x7fffffff;

/** Name, least and most operands. */
const COMMANDS: ReadonlyMap<string, readonly [number, number]> = new Map([
  ['add-dp', [1, MANY]],
  ['del-dp', [1, 1]],
  ['add-if', [2, MANY]],
  ['del-if', [2, MANY]],
  ['set-if', [2, MANY]],
  ['dump-dps', [0, 0]],
  ['show', [0, MANY]],
  ['dump-flows', [0, 6]],
  ['add-flow', [2, 3]],
  ['mod-flow', [2, 3]],
  ['add-flows', [1, 2]],
  ['mod-flows', [1, 2]],
  ['get-flow', [1, 2]],
  ['del-flow', [1, 2]],
  ['del-flows', [0, 2]],
  ['cache-get-size', [0, 1]],
  ['cache-set-size', [3, 3]],
  ['dump-conntrack', [0, 4]],
  ['flush-conntrack', [0, 4]],
  ['ct-stats-show', [0, 3]],
  ['ct-bkts', [0, 2]],
  ['ct-set-maxconns', [1, 2]],
  ['ct-get-maxconns', [0, 1]],
  ['ct-get-nconns', [0, 1]],
  ['ct-enable-tcp-seq-chk', [0, 1]],
  ['ct-disable-tcp-seq-chk', [0, 1]],
  ['ct-get-tcp-seq-chk', [0, 1]],
  ['ct-set-limits', [1, MANY]],
  ['ct-del-limits', [1, 2]],
  ['ct-get-limits', [0, 2]],
  ['parse-actions', [1, MANY]],
  ['normalize-actions', [2, MANY]],
]);

/** As `list-commands` tells them. */
const USAGE: CommandUsage = [
  ['add-dp', 'dp [iface...]'],
  ['del-dp', 'dp'],
  ['add-if', 'dp iface...'],
  ['del-if', 'dp iface...'],
  ['set-if', 'dp iface...'],
  ['dump-dps', ''],
  ['show', '[-s] [dp...]'],
  ['dump-flows', '[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]'],
  ['add-flow', '[dp] flow actions'],
  ['mod-flow', '[dp] flow actions'],
  ['get-flow', '[dp] ufid'],
  ['del-flow', '[dp] flow'],
  ['add-flows', '[dp] file'],
  ['mod-flows', '[dp] file'],
  ['del-flows', '[dp] [file]'],
  ['offload-stats-show', '[dp]'],
  ['dump-conntrack', '[-m] [-s] [dp] [zone=N]'],
  ['flush-conntrack', '[dp] [zone=N] [ct-orig-tuple] [ct-reply-tuple]'],
  ['cache-get-size', '[dp]'],
  ['cache-set-size', 'dp cache <size>'],
  ['ct-stats-show', '[dp] [zone=N]'],
  ['ct-bkts', '[dp] [gt=N]'],
  ['ct-set-maxconns', '[dp] maxconns'],
  ['ct-get-maxconns', '[dp]'],
  ['ct-get-nconns', '[dp]'],
  ['ct-enable-tcp-seq-chk', '[dp]'],
  ['ct-disable-tcp-seq-chk', '[dp]'],
  ['ct-get-tcp-seq-chk', '[dp]'],
  ['ct-set-limits', '[dp] [default=L] [zone=N,limit=L]...'],
  ['ct-del-limits', '[dp] zone=N1[,N2]...'],
  ['ct-get-limits', '[dp] [zone=N1[,N2]...]'],
  ['ipf-set-enabled', '[dp] v4|v6'],
  ['ipf-set-disabled', '[dp] v4|v6'],
  ['ipf-set-min-frag', '[dp] v4|v6 minfragment'],
  ['ipf-set-max-nfrags', '[dp] maxfrags'],
  ['ipf-get-status', '[dp]'],
  ['help', ''],
  ['list-commands', ''],
  ['parse-actions', 'actions'],
  ['normalize-actions', 'actions'],
];

export async function main(argv: readonly string[]): Promise<void> {
  vlogSetProgram(PROGRAM);
  vlogSetLevels(null, 'console', 'warn');
  const { options, operands } = getoptOrExit(PROGRAM, argv, OPTIONS);
  const flags = applyOptions(options);
  const { format, pretty } = outputOf(options);
  const [command, ...args] = operands;
  if (command === undefined) ovsFatal(PROGRAM, 'missing command name; use --help for help');
  if (command === 'list-commands') return listCommands();
  if (command === 'help') return help();
  const limits = COMMANDS.get(command);
  if (!limits) ovsFatal(PROGRAM, `unknown command '${command}'; use --help for help`);
  if (args.length < limits[0]) ovsFatal(PROGRAM, `'${command}' command requires at least ${limits[0]} arguments`);
  if (args.length > limits[1]) ovsFatal(PROGRAM, `'${command}' command takes at most ${limits[1]} arguments`);
  if (!daemonRuns()) withoutDaemon(command, args);
  const answer = await unixctlRequest(DAEMON, `dpctl/${command}`, [...flags, ...args], { format, pretty }).catch(
    (error: Error) => ovsFatal(PROGRAM, error.message),
  );
  if (answer.ok) {
    writeAll(1, answer.text);
    process.exit(0);
  }
  // The daemon names itself in the errors of these commands.
  writeAll(2, answer.text.replaceAll(`${DAEMON}: `, `${PROGRAM}: `));
  process.exit(1);
}

function applyOptions(options: readonly ParsedOption[]): string[] {
  const flags: string[] = [];
  for (const option of options) {
    const flag = FORWARDED[option.id];
    if (flag !== undefined) flags.push(flag);
    else if (option.id === 'timeout') startTimeout(option.value ?? '');
    else if (option.id === 'help') {
      help();
      process.exit(0);
    } else if (option.id === 'version') {
      writeAll(1, versionText(PROGRAM));
      process.exit(0);
    } else applyVlogOption(PROGRAM, option);
  }
  return flags;
}

/** As `ovs-appctl` has it. */
function outputOf(options: readonly ParsedOption[]): { format: 'text' | 'json'; pretty: boolean } {
  const text = options.findLast((o) => o.id === 'format')?.value ?? 'text';
  if (text !== 'text' && text !== 'json') ovsFatal(PROGRAM, `value ${text} on -f or --format is invalid`);
  const pretty = options.some((o) => o.id === 'pretty');
  if (pretty && text !== 'json') ovsFatal(PROGRAM, '--pretty is supported with --format json only');
  return { format: text, pretty };
}

function startTimeout(text: string): void {
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds === 0) ovsFatal(PROGRAM, `value ${text} on -t or --timeout is invalid`);
  setTimeout(() => {
    process.removeAllListeners('SIGALRM');
    process.kill(process.pid, 'SIGALRM');
  }, seconds * 1000).unref();
}

function daemonRuns(): boolean {
  // Asking for the path complains when there is none; here that only means "no".
  vlogSetLevels('daemon_unix', 'console', 'off');
  try {
    return existsSync(unixctlSocketPath(DAEMON));
  } catch {
    return false;
  } finally {
    vlogSetLevels('daemon_unix', 'console', 'warn');
  }
}

/** Only the kernel's datapath could answer, and it is not there. */
function withoutDaemon(command: string, args: readonly string[]): never {
  vlog('dpif').warn('failed to enumerate system datapaths: No such file or directory');
  if (command === 'dump-dps' || (command === 'show' && args.length === 0)) process.exit(1);
  if (command === 'show') {
    for (const name of args) writeAll(2, `${PROGRAM}: opening datapath ${name} failed (No such device)\n`);
    process.exit(1);
  }
  if (!args.some((arg) => arg.includes('@'))) writeAll(2, `${PROGRAM}: no datapaths exist\n`);
  ovsFatal(PROGRAM, `${command === 'dump-flows' ? 'datapath not found' : 'opening datapath'} (Invalid argument)`);
}

function listCommands(): void {
  const known = USAGE.filter(([name]) => COMMANDS.has(name) || name === 'help' || name === 'list-commands');
  writeAll(1, commandList(known));
}

function help(): void {
  writeAll(
    1,
    `${PROGRAM}: Open vSwitch datapath management utility
usage: ${PROGRAM} [OPTIONS] COMMAND [ARG...]
  add-dp DP [IFACE...]     add new datapath DP (with IFACEs)
  del-dp DP                delete local datapath DP
  add-if DP IFACE...       add each IFACE as a port on DP
  set-if DP IFACE...       reconfigure each IFACE within DP
  del-if DP IFACE...       delete each IFACE from DP
  dump-dps                 display names of all datapaths
  show                     show basic info on all datapaths
  show DP...               show basic info on each DP
  dump-flows [DP]          display flows in DP
  add-flow [DP] FLOW ACTIONS add FLOW with ACTIONS to DP
  add-flows [DP] FILE        add flows from FILE
  mod-flow [DP] FLOW ACTIONS change FLOW actions to ACTIONS in DP
  mod-flows [DP] FILE        change flows from FILE
  get-flow [DP] ufid:UFID    fetch flow corresponding to UFID
  del-flow [DP] FLOW         delete FLOW from DP
  del-flows [DP] [FILE]      delete all or specified flows from DP
  cache-get-size [DP]             Show the current size for all caches
  cache-set-size DP CACHE SIZE  Set cache size for a specific cache
  dump-conntrack [DP] [zone=ZONE]  display conntrack entries for ZONE
  flush-conntrack [DP] [zone=ZONE] [ct-tuple]delete matched conntrack entries in ZONE
  ct-stats-show [DP] [zone=ZONE] [verbose] CT connections grouped by protocol
  ct-bkts [DP] [gt=N] display connections per CT bucket
Each IFACE on add-dp, add-if, and set-if may be followed by
comma-separated options.  See ovs-dpctl(8) for syntax, or the
Interface table in ovs-vswitchd.conf.db(5) for an options list.
For COMMAND dump-flows, add-flow, add-flows, mod-flow,
mod-flows, del-flow and del-flows, DP is optional if there is
only one datapath.
${VLOG_HELP(PROGRAM)}
Options for show and mod-flow:
  -s,  --statistics           print statistics for port or flow

Options for dump-flows:
  -m, --more                  increase verbosity of output
  --names                     use port names in output

Options for mod-flow:
  --may-create                create flow if it doesn't exist
  --read-only                 do not run read/write commands
  --clear                     reset existing stats to zero

Other options:
  -t, --timeout=SECS          give up after SECS seconds
  -f, --format=FMT            output format. One of: 'json', or 'text'
                              ('text', by default)
  --pretty                    with --format json, more readable
  -h, --help                  display this help message
  -V, --version               display version information
`,
  );
}

if (import.meta.main) void main(process.argv.slice(2));
