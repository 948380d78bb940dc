/** `signalbox why-drop`: a client of `why-drop/show`. */
import { ovsFatal, writeAll } from '../../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../../base/getopt.ts';
import { unixctlRequest } from '../../base/unixctl-client.ts';

const PROGRAM = 'signalbox';

const HELP = `signalbox why-drop: what is dropped, where and why
usage: signalbox why-drop [OPTIONS]
Looks for a second, then says what was dropped since the switch started, how
fast it goes on, and tells one recent journey of each kind.

Options:
  --bridge=BR              only this bridge
  --seconds=N              how long to look for rates and journeys
  --brief                  without the journeys
  --format=text|json
  -t, --target=TARGET      pidfile or socket of the switch
`;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'bridge', arg: 'required' },
  { long: 'seconds', arg: 'required' },
  { long: 'brief' },
  { long: 'format', arg: 'required' },
  { long: 'target', short: 't', arg: 'required' },
  { long: 'help', short: 'h' },
];

export async function whyDrop(args: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  const given = new Map(options.map((o) => [o.id, o.value ?? '']));
  if (given.has('help')) return void writeAll(1, HELP);
  if (operands.length > 0) ovsFatal(PROGRAM, `'why-drop' command takes at most 0 arguments`);
  const passed = ['bridge', 'seconds', 'format'].flatMap((name) =>
    given.has(name) ? [`--${name}=${given.get(name)}`] : [],
  );
  if (given.has('brief')) passed.push('--brief');
  if (process.stdout.isTTY && given.get('format') !== 'json') {
    passed.push(`--width=${process.stdout.columns ?? 0}`);
    if (process.env['NO_COLOR'] === undefined) passed.push('--color');
  }
  const reply = await unixctlRequest(given.get('target') ?? 'ovs-vswitchd', 'why-drop/show', passed).catch(
    (error: Error) => ovsFatal(PROGRAM, error.message),
  );
  if (!reply.ok) ovsFatal(PROGRAM, reply.text.trimEnd());
  writeAll(1, reply.text);
}
