/**
 * The command line of `ovs-vsctl`: global options, then commands separated by `--`, each with options of its own.
 *
 * Before the first `--` options of both kinds may be mixed, and all may be abbreviated; those that belong to commands
 * go to the first command. After it, a command's options must be written out in full.
 */
import { getopt, type OptionSpec } from '../../base/getopt.ts';

type GlobalOption = OptionSpec & { readonly long: string; readonly arg: 'none' | 'required' | 'optional' };

export const GLOBAL_OPTIONS: readonly GlobalOption[] = [
  { long: 'db', arg: 'required' },
  { long: 'no-syslog', arg: 'none' },
  { long: 'no-wait', arg: 'none' },
  { long: 'dry-run', arg: 'none' },
  { long: 'oneline', arg: 'none' },
  { long: 'timeout', short: 't', arg: 'required' },
  { long: 'retry', arg: 'none' },
  { long: 'help', short: 'h', arg: 'none' },
  { long: 'commands', arg: 'none' },
  { long: 'options', arg: 'none' },
  { long: 'leader-only', arg: 'none' },
  { long: 'no-leader-only', arg: 'none' },
  { long: 'shuffle-remotes', arg: 'none' },
  { long: 'no-shuffle-remotes', arg: 'none' },
  { long: 'version', short: 'V', arg: 'none' },
  { long: 'verbose', short: 'v', arg: 'optional' },
  { long: 'log-file', arg: 'optional' },
  { long: 'syslog-method', arg: 'required' },
  { long: 'syslog-target', arg: 'required' },
  { long: 'format', short: 'f', arg: 'required' },
  { long: 'data', short: 'd', arg: 'required' },
  { long: 'no-headings', arg: 'none' },
  { long: 'pretty', arg: 'none' },
  { long: 'bare', arg: 'none' },
  { long: 'max-column-width', arg: 'required' },
  { long: 'private-key', short: 'p', arg: 'required' },
  { long: 'certificate', short: 'c', arg: 'required' },
  { long: 'ca-cert', short: 'C', arg: 'required' },
  { long: 'ssl-protocols', arg: 'required' },
  { long: 'ssl-ciphers', arg: 'required' },
  { long: 'bootstrap-ca-cert', arg: 'required' },
  { long: 'peer-ca-cert', arg: 'required' },
];

/** A mistake of the person who typed; its message is what they get to read. */
export class UsageError extends Error {}

export interface SplitCommandLine {
  /** In the order given; the same option may come again. */
  readonly globals: readonly { readonly name: string; readonly value: string | null }[];
  /** Options of the first command that stood among the global ones. */
  readonly local: readonly string[];
  readonly rest: readonly string[];
}

/** Splits off the global options. `localOptions` are the options of all commands, without dashes, `=` for an argument. */
export function splitCommandLine(args: readonly string[], localOptions: readonly string[]): SplitCommandLine {
  const isGlobal = (name: string) => GLOBAL_OPTIONS.some((option) => option.long === name);
  const own = localOptions.map((option): OptionSpec => {
    const long = option.replace(/=$/, '');
    return { long, arg: option.endsWith('=') ? 'required' : 'none', id: `${LOCAL}${long}` };
  });
  const specs = [...GLOBAL_OPTIONS, ...own.filter((option) => !isGlobal(option.long ?? ''))];
  const parsed = getopt(args, specs, { stopAtOperand: true });
  if (!parsed.ok) throw new UsageError(parsed.error);
  const globals: { name: string; value: string | null }[] = [];
  const local: string[] = [];
  for (const { id, value } of parsed.options) {
    if (id.startsWith(LOCAL)) local.push(`--${id.slice(LOCAL.length)}${value === null ? '' : `=${value}`}`);
    else globals.push({ name: id, value });
  }
  return { globals, local, rest: parsed.operands };
}

/** Tells a command's options from global ones. */
const LOCAL = 'local:';

/** What a command needs to be found and checked; its behaviour is the caller's. */
export interface CommandSyntax {
  readonly name: string;
  readonly minArgs: number;
  readonly maxArgs: number;
  /** `--may-exist`, `--id=` (an argument required). */
  readonly options: readonly string[];
}

export interface ParsedCommand<S extends CommandSyntax> {
  readonly syntax: S;
  /** Option name as typed, with its dashes → argument or null. */
  readonly options: ReadonlyMap<string, string | null>;
  /** Without the command's name. */
  readonly args: readonly string[];
}

/** Parses `[OPTIONS] COMMAND [ARG...] [-- …]...`. */
export function parseCommands<S extends CommandSyntax>(
  local: readonly string[],
  rest: readonly string[],
  table: ReadonlyMap<string, S>,
): ParsedCommand<S>[] {
  const commands: ParsedCommand<S>[] = [];
  let pending = local;
  let start = 0;
  for (let i = 0; i <= rest.length; i++) {
    if (i < rest.length && rest[i] !== '--') continue;
    if (i > start) {
      commands.push(parseCommand(pending, rest.slice(start, i), table));
      pending = [];
    }
    start = i + 1;
  }
  if (commands.length === 0) throw new UsageError('missing command name (use --help for help)');
  return commands;
}

function parseCommand<S extends CommandSyntax>(
  local: readonly string[],
  words: readonly string[],
  table: ReadonlyMap<string, S>,
): ParsedCommand<S> {
  const options = new Map<string, string | null>();
  for (const text of local) addOption(options, text, false);
  let i = 0;
  for (; i < words.length && words[i].startsWith('-'); i++) addOption(options, words[i], true);
  if (i === words.length) throw new UsageError('missing command name (use --help for help)');

  const name = words[i];
  const args = words.slice(i + 1);
  const syntax = table.get(name);
  if (syntax === undefined) throw new UsageError(`unknown command '${name}'; use --help for help`);
  for (const [option, value] of options) {
    const plain = syntax.options.includes(option);
    const withArgument = syntax.options.includes(`${option}=`);
    if (!plain && !withArgument) throw new UsageError(`'${name}' command has no '${option}' option`);
    if (withArgument && value === null) {
      throw new UsageError(`missing argument to '${option}' option on '${name}' command`);
    }
    if (plain && value !== null) throw new UsageError(`'${option}' option on '${name}' does not accept an argument`);
  }
  if (args.length < syntax.minArgs) {
    throw new UsageError(`'${name}' command requires at least ${syntax.minArgs} arguments`);
  }
  if (args.length > syntax.maxArgs) {
    const hint = args.slice(syntax.maxArgs).some((arg) => arg.startsWith('--'))
      ? ' (note that options must precede command names and follow a "--" argument)'
      : '';
    throw new UsageError(`'${name}' command takes at most ${syntax.maxArgs} arguments${hint}`);
  }
  return { syntax, options, args };
}

function addOption(options: Map<string, string | null>, text: string, unique: boolean): void {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  if (options.has(name)) {
    if (unique) throw new UsageError(`'${text}' option specified multiple times`);
    return;
  }
  options.set(name, equals < 0 ? null : text.slice(equals + 1));
}
