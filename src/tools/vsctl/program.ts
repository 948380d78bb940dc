/** `ovs-vsctl`: reads and changes the switch's configuration in its database (ovs-vsctl(8)). */
import { readFileSync } from 'node:fs';
import { applySslOption, applyVlogOption } from '../../base/common-options.ts';
import { ovsLogdir, ovsRundir } from '../../base/dirs.ts';
import { ovsFatal, writeAll } from '../../base/fatal.ts';
import {
  CELL_FORMATS,
  type CellFormat,
  defaultTableStyle,
  onelineText,
  TABLE_FORMATS,
  type TableFormat,
  TablePrinter,
} from '../../base/table.ts';
import { PROGRAM_VERSION_LINE } from '../../base/version.ts';
import { vlog, vlogSetLevels, vlogSetProgram } from '../../base/vlog.ts';
import type { Opener } from '../../ovsdb/idl.ts';
import { OvsdbError } from '../../ovsdb/types.ts';
import { VSWITCH_SCHEMA_NAME, VSWITCH_SCHEMA_VERSION, vswitchTable } from '../../ovsdb/vswitch-schema.ts';
import { BRIDGE_COMMANDS, BridgeAbsent } from './bridge-commands.ts';
import type { Command } from './command.ts';
import { GLOBAL_OPTIONS, parseCommands, splitCommandLine, UsageError } from './command-line.ts';
import { CommandError } from './context.ts';
import { DATABASE_COMMANDS } from './db-commands.ts';
import { helpText } from './help.ts';
import { PORT_COMMANDS } from './port-commands.ts';
import { RECORD_IDS, TABLE_NAMES } from './record-ids.ts';
import { ConnectionFailure, type RunOptions, type RunResult, run } from './run.ts';
import { SHOW_COMMAND } from './show-command.ts';
import { SWITCH_COMMANDS } from './switch-commands.ts';
import { setTarget, type Target, target } from './target.ts';

const COMMANDS: ReadonlyMap<string, Command> = new Map(
  [...DATABASE_COMMANDS, SHOW_COMMAND, ...BRIDGE_COMMANDS, ...PORT_COMMANDS, ...SWITCH_COMMANDS].map((one) => [
    one.name,
    one,
  ]),
);

const VSCTL: Target = {
  program: 'ovs-vsctl',
  module: 'vsctl',
  schemaName: VSWITCH_SCHEMA_NAME,
  schemaVersion: VSWITCH_SCHEMA_VERSION,
  rootTable: 'Open_vSwitch',
  tableNames: TABLE_NAMES,
  recordIds: RECORD_IDS,
  commands: COMMANDS,
  lackedOptions: new Set(),
  waits: true,
  table: vswitchTable,
  help: helpText,
};

/** Runs the program and ends the process. */
export async function main(args: readonly string[], which: Target = VSCTL): Promise<never> {
  setTarget(which);
  const program = which.program;
  vlogSetProgram(program);
  vlogSetLevels(null, 'console', 'warn');
  try {
    await execute(args);
  } catch (error) {
    if (error instanceof BridgeAbsent) process.exit(2);
    const known = error instanceof UsageError || error instanceof CommandError || error instanceof ConnectionFailure;
    if (known || error instanceof OvsdbError) ovsFatal(program, error.message.split('\0')[0]);
    throw error;
  }
  process.exit(0);
}

/** Runs a command line against a database that `remote` connects to, and gives what it prints. Throws what went wrong. */
export async function runVsctl(remote: Opener, args: readonly string[]): Promise<string> {
  setTarget(VSCTL);
  const { globals, local, rest } = splitCommandLine(args, localOptions());
  const settings = applyGlobals(globals);
  const result = await run(parseCommands(local, rest, target().commands), { ...runOptions(settings, args), remote });
  return outputText(result, settings);
}

async function execute(args: readonly string[]): Promise<void> {
  const { globals, local, rest } = splitCommandLine(args, localOptions());
  const settings = applyGlobals(globals);
  const commands = parseCommands(local, rest, target().commands);
  const log = vlog(target().module);
  const program = target().program;
  const called = `Called as ${[program, ...args].map(quoteArgument).join(' ')}`;
  if (commands.some((command) => command.syntax.writes)) log.info(called);
  else log.dbg(called);
  if (settings.timeoutSeconds > 0) startTimeout(settings.timeoutSeconds);
  const result = await run(commands, runOptions(settings, args));
  writeAll(1, outputText(result, settings));
  for (const [name, error] of result.interfaceErrors) {
    const why = error === null ? '' : `: ${error}`;
    writeAll(2, `${program}: Error detected while setting up '${name}'${why}.  See ovs-vswitchd log for details.\n`);
    writeAll(2, `${program}: The default log directory is "${ovsLogdir()}".\n`);
  }
}

function localOptions(): string[] {
  return [...new Set([...target().commands.values()].flatMap((one) => one.options.map((option) => option.slice(2))))];
}

type Settings = ReturnType<typeof applyGlobals>;

function runOptions(settings: Settings, args: readonly string[]): RunOptions {
  return {
    remote: settings.db,
    retry: settings.retry || /^p(unix|tcp|ssl):/.test(settings.db),
    wait: settings.wait,
    dryRun: settings.dryRun,
    comment: `${target().program}${invoker()}: ${[target().program, ...args].map(quoteArgument).join(' ')}`,
    leaderOnly: settings.leaderOnly,
    shuffle: settings.shuffle,
  };
}

function outputText(result: RunResult, settings: Settings): string {
  const printer = new TablePrinter(settings.style);
  let out = '';
  for (const { text, table } of result.outputs) {
    if (table !== null) out += printer.print(table);
    else out += settings.oneline ? onelineText(text) : text;
  }
  return out;
}

function applyGlobals(globals: readonly { readonly name: string; readonly value: string | null }[]) {
  const settings = {
    db: `unix:${ovsRundir()}/db.sock`,
    style: defaultTableStyle('list'),
    oneline: false,
    wait: true,
    dryRun: false,
    retry: false,
    leaderOnly: true,
    shuffle: true,
    timeoutSeconds: timeoutFromText(process.env['OVS_CTL_TIMEOUT'] ?? '0') ?? 0,
  };
  const program = target().program;
  for (const { name, value } of globals) {
    const text = value ?? '';
    if (target().lackedOptions.has(name)) throw new UsageError(`unrecognized option '--${name}'`);
    switch (name) {
      case 'db':
        settings.db = text;
        break;
      case 'no-syslog':
        vlogSetLevels(target().module, 'syslog', 'warn');
        break;
      case 'no-wait':
        settings.wait = false;
        break;
      case 'dry-run':
        settings.dryRun = true;
        break;
      case 'oneline':
        settings.oneline = true;
        break;
      case 'retry':
        settings.retry = true;
        break;
      case 'timeout': {
        const seconds = timeoutFromText(text);
        if (seconds === null || seconds === 0) throw new UsageError(`value ${text} on -t or --timeout is invalid`);
        settings.timeoutSeconds = seconds;
        break;
      }
      case 'leader-only':
      case 'no-leader-only':
        settings.leaderOnly = name === 'leader-only';
        break;
      case 'shuffle-remotes':
      case 'no-shuffle-remotes':
        settings.shuffle = name === 'shuffle-remotes';
        break;
      case 'format':
        if (!(TABLE_FORMATS as readonly string[]).includes(text))
          throw new UsageError(`unknown output format "${text}"`);
        settings.style.format = text as TableFormat;
        break;
      case 'data':
        if (!(CELL_FORMATS as readonly string[]).includes(text)) throw new UsageError(`unknown data format "${text}"`);
        settings.style.data = text as CellFormat;
        break;
      case 'no-headings':
        settings.style.headings = false;
        break;
      case 'pretty':
        settings.style.pretty = true;
        break;
      case 'bare':
        settings.style.format = 'list';
        settings.style.data = 'bare';
        settings.style.headings = false;
        break;
      case 'max-column-width':
        settings.style.maxColumnWidth = Math.max(0, Number.parseInt(text, 10) || 0);
        break;
      case 'help':
        return printAndExit(target().help(settings.db, ovsLogdir()));
      case 'version':
        return printAndExit(`${PROGRAM_VERSION_LINE(program)}\nDB Schema ${target().schemaVersion}\n`);
      case 'commands':
        return printAndExit(commandsText());
      case 'options':
        return printAndExit(optionsText());
      default:
        if (!applyVlogOption(program, { id: name, value })) applySslOption({ id: name, value });
    }
  }
  return settings;
}

function timeoutFromText(text: string): number | null {
  return /^\d+$/.test(text) ? Number(text) : null;
}

function printAndExit(text: string): never {
  writeAll(1, text);
  process.exit(0);
}

/** For shell completion: one line a command, `[OPTIONS],NAME,ARGUMENTS`. */
function commandsText(): string {
  return [...target().commands.values()]
    .map((one) => `${one.options.map((option) => `[${option}] `).join('')},${one.name},${one.usage}\n`)
    .join('');
}

function optionsText(): string {
  return GLOBAL_OPTIONS.map(({ long, short, arg: kind }) => {
    const arg = kind === 'none' ? '' : 'ARG';
    return `--${long}${arg && `=${arg}`}\n` + (short === undefined ? '' : `-${short}${arg && ` ${arg}`}\n`);
  }).join('');
}

/** `-t`: the process dies of SIGALRM, as scripts expect. */
function startTimeout(seconds: number): void {
  setTimeout(() => {
    vlog('fatal_signal').warn('terminating with signal 14 (Alarm clock)');
    process.removeAllListeners('SIGALRM');
    process.kill(process.pid, 'SIGALRM');
  }, seconds * 1000).unref();
}

/** ` (invoked by NAME)`, the program that ran this one. */
function invoker(): string {
  try {
    const name = readFileSync(`/proc/${process.ppid}/comm`, 'utf8').trim();
    return process.ppid > 1 && name !== '' ? ` (invoked by ${name})` : '';
  } catch {
    return '';
  }
}

function quoteArgument(argument: string): string {
  if (argument !== '' && !/[ \t\r\n\v\\'"]/.test(argument)) return argument;
  return `"${argument.replace(/[\\"]/g, '\\$&')}"`;
}
