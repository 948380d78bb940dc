/** `ovs-ofctl`: speaks OpenFlow to a switch (ovs-ofctl(8)). */
import { commandList } from '../base/command-list.ts';
import { applySslOption, applyVlogOption, SSL_OPTIONS, VLOG_OPTIONS } from '../base/common-options.ts';
import { applyDaemonOption, DAEMON_OPTIONS, daemonLaunch } from '../base/daemon.ts';
import { getoptOrExit, type OptionSpec } from '../base/getopt.ts';
import { VERSION } from '../base/version.ts';
import { vlog, vlogSetLevels, vlogSetProgram } from '../base/vlog.ts';
import { fieldByName } from '../flow/fields.ts';
import { formatProtocols, PROTOCOL_OXM, PROTOCOLS } from '../openflow/flow-text.ts';
import { OfEncodeError } from '../openflow/wire.ts';
import { BUNDLE_COMMANDS } from './ofctl/bundle-file.ts';
import type { Command } from './ofctl/command.ts';
import {
  fatal,
  PROGRAM,
  print,
  printJson,
  protocolsOfVersion,
  settings,
  versionsOfProtocols,
} from './ofctl/context.ts';
import { FLOW_COMMANDS } from './ofctl/flows.ts';
import { GROUP_COMMANDS } from './ofctl/groups.ts';
import { helpText } from './ofctl/help.ts';
import { MISC_COMMANDS } from './ofctl/misc.ts';
import { MONITOR_COMMANDS } from './ofctl/monitor.ts';
import { PCAP_COMMANDS } from './ofctl/pcap.ts';
import { SHOW_COMMANDS } from './ofctl/show.ts';
import { USAGE } from './ofctl/usage.ts';
import { parseVersions } from './openflow-versions.ts';

const ABOUT_ITSELF: readonly Command[] = [
  { name: 'help', min: 0, max: Number.POSITIVE_INFINITY, run: async () => print(helpText()) },
  {
    name: 'list-commands',
    min: 0,
    max: Number.POSITIVE_INFINITY,
    run: async () => print(commandList(USAGE.filter(([name]) => COMMANDS.has(name)))),
  },
];

const COMMANDS: ReadonlyMap<string, Command> = new Map(
  [
    ...ABOUT_ITSELF,
    ...SHOW_COMMANDS,
    ...FLOW_COMMANDS,
    ...GROUP_COMMANDS,
    ...MONITOR_COMMANDS,
    ...MISC_COMMANDS,
    ...PCAP_COMMANDS,
    ...BUNDLE_COMMANDS,
  ].map((c) => [c.name, c]),
);

const OWN_OPTIONS: readonly OptionSpec[] = [
  { long: 'timeout', short: 't', arg: 'required' },
  { long: 'strict' },
  { long: 'read-only' },
  { long: 'readd' },
  { long: 'flow-format', short: 'F', arg: 'required' },
  { long: 'packet-in-format', short: 'P', arg: 'required' },
  { long: 'more', short: 'm' },
  { long: 'timestamp' },
  { long: 'sort', arg: 'optional' },
  { long: 'rsort', arg: 'optional' },
  { long: 'names' },
  { long: 'no-names' },
  { long: 'stats' },
  { long: 'no-stats' },
  { long: 'unixctl', arg: 'required' },
  { long: 'color', arg: 'optional' },
  { long: 'format', arg: 'required' },
  { long: 'pretty' },
  { long: 'bundle' },
  { long: 'may-create' },
  { long: 'protocols', short: 'O', arg: 'required' },
  { long: 'help', short: 'h' },
  { long: 'version', short: 'V' },
  { long: 'option', short: 'o' },
];

const OPTIONS: readonly OptionSpec[] = [...OWN_OPTIONS, ...DAEMON_OPTIONS, ...VLOG_OPTIONS, ...SSL_OPTIONS];

/** Runs the program and ends the process. */
export async function main(args: readonly string[]): Promise<never> {
  vlogSetProgram(PROGRAM);
  vlogSetLevels(null, 'console', 'warn');
  vlogSetLevels('ofp_match', 'console', 'info');
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  let hasVersions = false;
  for (const option of options) {
    if (applyOption(option.id, option.value)) {
      if (option.id === 'protocols') hasVersions = true;
      continue;
    }
    if (option.id === 'detach') settings.detached = true;
    if (applyDaemonOption(PROGRAM, option) || applyVlogOption(PROGRAM, option) || applySslOption(option)) continue;
    fatal(`option '${option.id}' is not supported`);
  }
  // OpenFlow 1.0 alone unless told otherwise: what the commands mean differs between versions.
  if (!hasVersions) settings.versions = 1 << 1;
  settleProtocols();
  if (settings.sort.length > 0 && settings.sort.every((k) => k.field !== 'priority'))
    settings.sort.push({ field: 'priority', descending: true });
  const [name, ...rest] = operands;
  if (name === undefined) fatal('missing command name; use --help for help');
  const command = COMMANDS.get(name) ?? fatal(`unknown command '${name}'; use --help for help`);
  if (rest.length < command.min) fatal(`'${name}' command requires at least ${command.min} arguments`);
  if (rest.length > command.max) fatal(`'${name}' command takes at most ${command.max} arguments`);
  if (command.writes && settings.readOnly) fatal(`'${name}' command does not work in read only mode`);
  if (settings.pretty && settings.format !== 'json') fatal('--pretty is supported with --format json only');
  const isJson = settings.format === 'json' && command.writes !== true;
  if (isJson && command.dumps !== true) fatal(`'${name}' command has no JSON form`);
  await daemonLaunch(PROGRAM, options);
  try {
    await command.run(rest);
    if (isJson) printJson();
  } catch (error) {
    // Whoever reads our output may stop; that is no error of ours.
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(1);
    if (error instanceof OfEncodeError) fatal(error.message);
    throw error;
  }
  process.exit(0);
}

/** Both what may be spoken and which forms of flows narrow each other. */
function settleProtocols(): void {
  let ofVersions = 0;
  const names: string[] = [];
  for (let v = 1; v <= 6; v++) {
    if ((settings.versions & (1 << v)) === 0) continue;
    ofVersions |= protocolsOfVersion(v);
    names.push(`OpenFlow1${v - 1}`);
  }
  if ((settings.protocols & ofVersions) === 0)
    fatal(
      `None of the enabled OpenFlow versions (${names.join(', ')}) supports any of the enabled flow formats (${formatProtocols(settings.protocols)}).  (Use -O to enable additional OpenFlow versions or -F to enable additional flow formats.)`,
    );
  settings.protocols &= ofVersions;
  settings.versions &= versionsOfProtocols(settings.protocols);
}

const FORMATS: Readonly<Record<string, number>> = {
  any: 127,
  openflow10: PROTOCOLS.OpenFlow10,
  'openflow10-table_id': PROTOCOLS.OpenFlow10,
  'openflow10+table_id': PROTOCOLS.OpenFlow10,
  nxm: PROTOCOLS.NXM,
  'nxm-table_id': PROTOCOLS.NXM,
  'nxm+table_id': PROTOCOLS.NXM,
  oxm: PROTOCOL_OXM,
  openflow11: PROTOCOLS.OpenFlow11,
  openflow12: PROTOCOLS.OpenFlow12,
  openflow13: PROTOCOLS.OpenFlow13,
  openflow14: PROTOCOLS.OpenFlow14,
  openflow15: PROTOCOLS.OpenFlow15,
  'oxm-openflow12': PROTOCOLS.OpenFlow12,
  'oxm-openflow13': PROTOCOLS.OpenFlow13,
  'oxm-openflow14': PROTOCOLS.OpenFlow14,
  'oxm-openflow15': PROTOCOLS.OpenFlow15,
};

function parseFormats(text: string): number {
  let protocols = 0;
  for (const word of text.split(/[,\s]+/).filter((w) => w !== '')) {
    const key = word.toLowerCase();
    if (!Object.hasOwn(FORMATS, key)) fatal(`${word}: unknown flow protocol`);
    protocols |= FORMATS[key];
  }
  return protocols === 0 ? fatal(`${text}: no flow protocol specified`) : protocols;
}

const PACKET_IN_FORMATS: Readonly<Record<string, 'standard' | 'nxt_packet_in' | 'nxt_packet_in2'>> = {
  standard: 'standard',
  openflow10: 'standard',
  nxt_packet_in: 'nxt_packet_in',
  nxm: 'nxt_packet_in',
  nxt_packet_in2: 'nxt_packet_in2',
};

function applyOption(id: string, value: string | null): boolean {
  const text = value ?? '';
  switch (id) {
    case 'timeout': {
      const seconds = Number(text);
      if (!/^\d+$/.test(text) || seconds === 0) fatal(`value ${text} on -t or --timeout is invalid`);
      startTimeout(seconds);
      return true;
    }
    case 'strict':
      settings.strict = true;
      return true;
    case 'read-only':
      settings.readOnly = true;
      return true;
    case 'readd':
      settings.readd = true;
      return true;
    case 'flow-format':
      settings.protocols = parseFormats(text);
      return true;
    case 'packet-in-format':
      settings.packetInFormat = PACKET_IN_FORMATS[text] ?? fatal(`unknown packet-in format ${text}`);
      return true;
    case 'more':
      settings.verbosity++;
      return true;
    case 'timestamp':
      settings.timestamp = true;
      return true;
    case 'sort':
    case 'rsort': {
      const field = value ?? 'priority';
      if (field !== 'priority' && fieldByName(field) === undefined) fatal(`${field}: unknown field name`);
      settings.sort.push({ field, descending: value === null ? id === 'rsort' : id === 'rsort' });
      return true;
    }
    case 'names':
      settings.names = true;
      return true;
    case 'no-names':
      settings.names = false;
      return true;
    case 'stats':
      settings.showStats = true;
      return true;
    case 'no-stats':
      settings.showStats = false;
      return true;
    case 'unixctl':
      settings.unixctl = text;
      return true;
    case 'color':
      settings.color = value === null || value === 'always';
      return true;
    case 'format':
      if (text !== 'text' && text !== 'json') fatal(`value ${text} on --format is invalid`);
      settings.format = text as 'text' | 'json';
      return true;
    case 'pretty':
      settings.pretty = true;
      return true;
    case 'bundle':
      settings.bundle = true;
      return true;
    case 'may-create':
      settings.mayCreate = true;
      return true;
    case 'protocols':
      settings.versions = parseVersions(PROGRAM, text);
      return true;
    case 'help':
      print(helpText());
      return process.exit(0);
    case 'version':
      print(`${PROGRAM} (Open vSwitch) ${VERSION}\nOpenFlow versions 0x1:0x6\n`);
      return process.exit(0);
    case 'option':
      for (const o of OPTIONS)
        if (o.long !== undefined) print(`--${o.long}${(o.arg ?? 'none') === 'none' ? '' : '=ARG'}\n`);
      return process.exit(0);
    default:
      return false;
  }
}

/** `-t`: the process dies of SIGALRM, as scripts expect. */
function startTimeout(seconds: number): void {
  setTimeout(() => {
    vlog('fatal_signal').warn('terminating with signal 14 (Alarm clock)');
    process.kill(process.pid, 'SIGALRM');
  }, seconds * 1000).unref();
}

if (import.meta.main) void main(process.argv.slice(2));
