/**
 * Command lines as `getopt_long(3)` reads them: long options that may be abbreviated, clusters of short ones, values attached
 * or following, options and operands in any order, `--` to end the options; and errors in its words, which users know.
 *
 * A program states its options as data. Tables concatenate: `[...OWN_OPTIONS, ...VLOG_OPTIONS, ...DAEMON_OPTIONS]`.
 */
import { ovsFatal } from './fatal.ts';

export interface OptionSpec {
  /** `format` for `--format`. */
  readonly long?: string;
  /** `f` for `-f`. */
  readonly short?: string;
  /** Whether it takes a value; an optional one must be attached: `--pidfile=FILE`, `-vinfo`. */
  readonly arg?: 'none' | 'required' | 'optional';
  /** What the program calls it; the long name (or else the short one) unless given. */
  readonly id?: string;
}

export interface ParsedOption {
  readonly id: string;
  /** Null when it takes none or an optional one was left out. */
  readonly value: string | null;
}

export type GetoptResult =
  | { readonly ok: true; readonly options: readonly ParsedOption[]; readonly operands: readonly string[] }
  | { readonly ok: false; readonly error: string; readonly options: readonly ParsedOption[] };

export interface GetoptSettings {
  /** Stop at the first operand, as programs do whose operands may look like options. */
  readonly stopAtOperand?: boolean;
}

/** Reads `argv`, which is without the program. */
export function getopt(
  argv: readonly string[],
  specs: readonly OptionSpec[],
  settings: GetoptSettings = {},
): GetoptResult {
  const options: ParsedOption[] = [];
  const operands: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i];
    if (arg === '--') {
      operands.push(...argv.slice(i + 1));
      break;
    }
    if (arg.startsWith('--')) {
      const found = parseLong(arg, argv[i + 1], specs);
      if (typeof found === 'string') return { ok: false, error: found, options };
      options.push(found.option);
      if (found.tookNext) i++;
    } else if (arg.startsWith('-') && arg !== '-') {
      const found = parseCluster(arg, argv[i + 1], specs);
      if (typeof found === 'string') return { ok: false, error: found, options };
      options.push(...found.options);
      if (found.tookNext) i++;
    } else if (settings.stopAtOperand) {
      operands.push(...argv.slice(i));
      break;
    } else {
      operands.push(arg);
    }
  }
  return { ok: true, options, operands };
}

/** The same for a program: prints the error and exits with status 1, unless help was asked for before it. */
export function getoptOrExit(
  program: string,
  argv: readonly string[],
  specs: readonly OptionSpec[],
  settings?: GetoptSettings,
): { options: readonly ParsedOption[]; operands: readonly string[] } {
  const result = getopt(argv, specs, settings);
  if (result.ok) return result;
  if (result.options.some(({ id }) => id === 'help' || id === 'version')) {
    return { options: result.options, operands: [] };
  }
  return ovsFatal(program, result.error);
}

function idOf(spec: OptionSpec): string {
  return spec.id ?? spec.long ?? spec.short ?? '';
}

function parseLong(
  arg: string,
  next: string | undefined,
  specs: readonly OptionSpec[],
): { option: ParsedOption; tookNext: boolean } | string {
  const equals = arg.indexOf('=');
  const name = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
  let value: string | null = equals < 0 ? null : arg.slice(equals + 1);
  const spec = findLong(name, arg, specs);
  if (typeof spec === 'string') return spec;
  const kind = spec.arg ?? 'none';
  let tookNext = false;
  if (kind === 'none' && value !== null) return `option '--${spec.long}' doesn't allow an argument`;
  if (kind === 'required' && value === null) {
    if (next === undefined) return `option '--${spec.long}' requires an argument`;
    value = next;
    tookNext = true;
  }
  return { option: { id: idOf(spec), value }, tookNext };
}

function findLong(name: string, arg: string, specs: readonly OptionSpec[]): OptionSpec | string {
  const candidates: OptionSpec[] = [];
  for (const spec of specs) {
    if (spec.long === name) return spec;
    if (spec.long?.startsWith(name)) candidates.push(spec);
  }
  if (candidates.length === 0) return `unrecognized option '${arg}'`;
  const first = candidates[0];
  if (candidates.every((c) => idOf(c) === idOf(first) && c.arg === first.arg)) return first;
  const names = candidates.map((c) => ` '--${c.long}'`).join('');
  return `option '${arg}' is ambiguous; possibilities:${names}`;
}

function parseCluster(
  arg: string,
  next: string | undefined,
  specs: readonly OptionSpec[],
): { options: ParsedOption[]; tookNext: boolean } | string {
  const options: ParsedOption[] = [];
  for (let i = 1; i < arg.length; i++) {
    const letter = arg[i];
    const spec = specs.find((s) => s.short === letter);
    if (!spec) return `invalid option -- '${letter}'`;
    const kind = spec.arg ?? 'none';
    if (kind === 'none') {
      options.push({ id: idOf(spec), value: null });
      continue;
    }
    const rest = arg.slice(i + 1);
    if (rest !== '') return { options: [...options, { id: idOf(spec), value: rest }], tookNext: false };
    if (kind === 'optional') return { options: [...options, { id: idOf(spec), value: null }], tookNext: false };
    if (next === undefined) return `option requires an argument -- '${letter}'`;
    return { options: [...options, { id: idOf(spec), value: next }], tookNext: true };
  }
  return { options, tookNext: false };
}
