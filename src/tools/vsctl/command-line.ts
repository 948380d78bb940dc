/**
 * The command line of `ovs-vsctl`: global options, then commands separated by `--`, each with options of its own.
 *
 * Before the first `--` options of both kinds may be mixed, and all may be abbreviated; those that belong to commands
 * go to the first command. After it, a command's options must be written out in full.
 */

export interface GlobalOption {
  readonly name: string;
  readonly short?: string;
  readonly argument: 'none' | 'required' | 'optional';
}

export const GLOBAL_OPTIONS: readonly GlobalOption[] = [
  { name: 'db', argument: 'required' },
  { name: 'no-syslog', argument: 'none' },
  { name: 'no-wait', argument: 'none' },
  { name: 'dry-run', argument: 'none' },
  { name: 'oneline', argument: 'none' },
  { name: 'timeout', short: 't', argument: 'required' },
  { name: 'retry', argument: 'none' },
  { name: 'help', short: 'h', argument: 'none' },
  { name: 'commands', argument: 'none' },
  { name: 'options', argument: 'none' },
  { name: 'leader-only', argument: 'none' },
  { name: 'no-leader-only', argument: 'none' },
  { name: 'shuffle-remotes', argument: 'none' },
  { name: 'no-shuffle-remotes', argument: 'none' },
  { name: 'version', short: 'V', argument: 'none' },
  { name: 'verbose', short: 'v', argument: 'optional' },
  { name: 'log-file', argument: 'optional' },
  { name: 'syslog-method', argument: 'required' },
  { name: 'syslog-target', argument: 'required' },
  { name: 'format', short: 'f', argument: 'required' },
  { name: 'data', short: 'd', argument: 'required' },
  { name: 'no-headings', argument: 'none' },
  { name: 'pretty', argument: 'none' },
  { name: 'bare', argument: 'none' },
  { name: 'max-column-width', argument: 'required' },
  { name: 'private-key', short: 'p', argument: 'required' },
  { name: 'certificate', short: 'c', argument: 'required' },
  { name: 'ca-cert', short: 'C', argument: 'required' },
  { name: 'ssl-protocols', argument: 'required' },
  { name: 'ssl-ciphers', argument: 'required' },
  { name: 'bootstrap-ca-cert', argument: 'required' },
  { name: 'peer-ca-cert', argument: 'required' },
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
  const longs = new Map<string, { argument: GlobalOption['argument']; isLocal: boolean }>();
  for (const option of GLOBAL_OPTIONS) longs.set(option.name, { argument: option.argument, isLocal: false });
  for (const option of localOptions) {
    const name = option.replace(/=$/, '');
    if (!longs.has(name)) longs.set(name, { argument: option.endsWith('=') ? 'required' : 'none', isLocal: true });
  }

  const globals: { name: string; value: string | null }[] = [];
  const local: string[] = [];
  let i = 0;
  for (; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--') {
      i++;
      break;
    }
    if (!arg.startsWith('-') || arg === '-') break;
    if (arg.startsWith('--')) {
      const equals = arg.indexOf('=');
      const typed = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
      let value = equals < 0 ? null : arg.slice(equals + 1);
      const name = completeOption(typed, longs);
      const option = longs.get(name)!; // completeOption() gives names from the table only.
      if (option.argument === 'none' && value !== null) {
        throw new UsageError(`option '--${name}' doesn't allow an argument`);
      }
      if (option.argument === 'required' && value === null) {
        if (i + 1 >= args.length) throw new UsageError(`option '--${name}' requires an argument`);
        value = args[++i];
      }
      if (option.isLocal) {
        const text = value === null ? `--${name}` : `--${name}=${value}`;
        local.push(text);
      } else {
        globals.push({ name, value });
      }
      continue;
    }
    for (let at = 1; at < arg.length; at++) {
      const letter = arg[at];
      const option = GLOBAL_OPTIONS.find((o) => o.short === letter);
      if (option === undefined) throw new UsageError(`invalid option -- '${letter}'`);
      if (option.argument === 'none') {
        globals.push({ name: option.name, value: null });
        continue;
      }
      let value: string | null = at + 1 < arg.length ? arg.slice(at + 1) : null;
      if (value === null && option.argument === 'required') {
        if (i + 1 >= args.length) throw new UsageError(`option requires an argument -- '${letter}'`);
        value = args[++i];
      }
      globals.push({ name: option.name, value });
      break;
    }
  }
  return { globals, local, rest: args.slice(i) };
}

function completeOption(typed: string, longs: ReadonlyMap<string, { argument: string }>): string {
  if (longs.has(typed)) return typed;
  const matches = [...longs.keys()].filter((name) => name.startsWith(typed));
  if (matches.length === 1) return matches[0];
  if (matches.length === 0) throw new UsageError(`unrecognized option '--${typed}'`);
  throw new UsageError(
    `option '--${typed}' is ambiguous; possibilities: ${matches.map((name) => `'--${name}'`).join(' ')}`,
  );
}

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
