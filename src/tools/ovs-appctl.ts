/** `ovs-appctl`: runs a command in a running program, as `ovs-appctl(8)` says. */
import { applyVlogOption, HELP_OPTIONS, VLOG_OPTIONS, versionText } from '../base/common-options.ts';
import { dieOfSignal, ovsFatal, writeAll } from '../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../base/getopt.ts';
import { unixctlRequest } from '../base/unixctl-client.ts';
import { vlogSetProgram } from '../base/vlog.ts';

const PROGRAM = 'ovs-appctl';

const OPTIONS: readonly OptionSpec[] = [
  { long: 'target', short: 't', arg: 'required' },
  { long: 'execute', short: 'e' },
  { long: 'timeout', short: 'T', arg: 'required' },
  { long: 'format', short: 'f', arg: 'required' },
  { long: 'pretty' },
  ...HELP_OPTIONS,
  ...VLOG_OPTIONS,
];

const HELP = `${PROGRAM}, for querying and controlling Open vSwitch daemon
usage: ${PROGRAM} [TARGET] COMMAND [ARG...]
Targets:
  -t, --target=TARGET  pidfile or socket to contact
Common commands:
  list-commands      List commands supported by the target
  version            Print version of the target
  vlog/list          List current logging levels
  vlog/list-pattern  List logging patterns for each destination.
  vlog/set [SPEC]
      Set log levels as detailed in SPEC, which may include:
      A valid module name (all modules, by default)
      'syslog', 'console', 'file' (all destinations, by default))
      'off', 'emer', 'err', 'warn', 'info', or 'dbg' ('dbg', bydefault)
  vlog/reopen        Make the program reopen its log file
Other options:
  --timeout=SECS     wait at most SECS seconds for a response
  -f, --format=FMT   Output format. One of: 'json', or 'text'
                     ('text', by default)
  --pretty           Format the output in a more readable fashion.
                     Requires: --format json.
  -h, --help         Print this helpful information
  -V, --version      Display ${PROGRAM} version information
`;

vlogSetProgram(PROGRAM);
await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, argv, OPTIONS, { stopAtOperand: true });
  let target = 'ovs-vswitchd';
  let format: 'text' | 'json' = 'text';
  let pretty = false;
  for (const option of options) {
    if (applyVlogOption(PROGRAM, option)) continue;
    const value = option.value ?? '';
    if (option.id === 'help') return finish(HELP);
    if (option.id === 'version') return finish(versionText(PROGRAM));
    if (option.id === 'target') target = value;
    else if (option.id === 'timeout') startTimeout(value);
    else if (option.id === 'pretty') pretty = true;
    else if (option.id === 'format') {
      if (value !== 'text' && value !== 'json') ovsFatal(PROGRAM, `value ${value} on -f or --format is invalid`);
      format = value;
    }
  }
  if (operands.length === 0) {
    ovsFatal(PROGRAM, 'at least one non-option argument is required (use --help for help)');
  }
  if (pretty && format !== 'json') ovsFatal(PROGRAM, '--pretty is supported with --format json only');

  const [command, ...args] = operands;
  let reply: Awaited<ReturnType<typeof unixctlRequest>>;
  try {
    reply = await unixctlRequest(target, command, args, { format, pretty });
  } catch (error) {
    ovsFatal(PROGRAM, (error as Error).message);
  }
  if (!reply.ok) {
    writeAll(2, reply.text);
    ovsFatal(PROGRAM, `${target}: server returned an error`, 2);
  }
  finish(reply.text);
}

function finish(text: string): never {
  writeAll(1, text);
  process.exit(0);
}

/** As the original's alarm: the program dies of SIGALRM. */
function startTimeout(value: string): void {
  const seconds = /^\d+$/.test(value) ? Number(value) : 0;
  if (seconds <= 0) ovsFatal(PROGRAM, `value ${value} on -T or --timeout is invalid`);
  setTimeout(() => dieOfSignal('SIGALRM'), seconds * 1000).unref();
}
