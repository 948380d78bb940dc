/**
 * The command line of the two small programs that print packets as hex. The originals are Python scripts, whose `getopt` has
 * words of its own.
 */
import { versionText } from '../../base/common-options.ts';
import { ovsFatal, writeAll } from '../../base/fatal.ts';

const LONG = ['help', 'version'];

/** The operands; answers `--help` and `--version` itself, with `help` after the program's name. */
export function hexArguments(program: string, help: string): readonly string[] {
  const operands: string[] = [];
  const argv = process.argv.slice(2);
  for (const [i, arg] of argv.entries()) {
    if (arg === '--') return [...operands, ...argv.slice(i + 1)];
    if (!arg.startsWith('-') || arg === '-') operands.push(arg);
    else for (const option of optionsIn(program, arg)) answer(program, option, help);
  }
  return operands;
}

function optionsIn(program: string, arg: string): readonly string[] {
  if (!arg.startsWith('--')) {
    return Array.from(arg.slice(1), (letter) => {
      return { h: 'help', V: 'version' }[letter] ?? ovsFatal(program, `option -${letter} not recognized`);
    });
  }
  const name = arg.slice(2).replace(/=.*/s, '');
  const long = LONG.find((l) => l.startsWith(name)) ?? ovsFatal(program, `option --${name} not recognized`);
  if (arg.includes('=')) ovsFatal(program, `option --${long} must not have an argument`);
  return [long];
}

function answer(program: string, option: string, help: string): never {
  writeAll(1, option === 'version' ? versionText(program) : help);
  process.exit(0);
}

export const HELP_ROWS = `
The following options are also available:
  -h, --help                  display this help message
  -V, --version               display version information
`;
