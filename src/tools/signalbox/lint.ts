/** `signalbox lint`: looks at a bridge's OpenFlow tables, of any switch that speaks OpenFlow, and says what is strange. */
import { writeAll } from '../../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../../base/getopt.ts';
import { Match } from '../../flow/match.ts';
import type { Names } from '../../flow/names.ts';
import { PROTOCOL_ANY } from '../../openflow/flow-text.ts';
import { FINDINGS, type LintInput, lint as lintTables } from '../../openflow/lint/index.ts';
import { countFindings, lintJson, lintText } from '../../openflow/lint/report.ts';
import type { OfMessage, OfMessageOf, OfMessageType } from '../../openflow/messages.ts';
import { OFPG_ALL, OFPG_ANY, OFPM_ALL } from '../../openflow/messages-ext.ts';
import { OFPP } from '../../openflow/ports.ts';
import { type Connection, connect, fatal, portsOf, prepareFlowDump, settings, tryConnect } from '../ofctl/context.ts';
import { parseLines } from '../ofctl/flows.ts';
import { parseVersions } from '../openflow-versions.ts';

const PROGRAM = 'signalbox';
/** As of `grep`, `diff`: 1 says that there is something, 2 that it could not look. */
const STATUS = { clean: 0, findings: 1, trouble: 2 } as const;

const LINT_HELP = `signalbox lint: what is strange in a bridge's OpenFlow tables
usage: signalbox lint [OPTIONS] BRIDGE
       signalbox lint [OPTIONS] --file=FILE
BRIDGE is a bridge's name, or how to connect to a switch, as for ovs-ofctl.
FILE has flows as 'ovs-ofctl add-flows' reads them, - is standard input; without
a switch nothing is known of ports, groups and meters.

Finds, each with the rule and the reason:
${Object.entries(FINDINGS)
  .map(([kind, { severity, about }]) => `  ${kind.padEnd(16)} ${severity.padEnd(8)} ${about}\n`)
  .join('')}
Options:
  --level=error|warning|note  from which severity on, note by default
  --names, --no-names         ports by name, as on a terminal, or by number
  --format=text|json          for people (default), or for programs
  --pretty                    with --format=json, more readable
  -O, --protocols=VERSIONS    OpenFlow versions, all by default

Exit status: 0 without errors and warnings, 1 with some, 2 if the switch could
not be asked.
`;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'file', arg: 'required' },
  { long: 'level', arg: 'required' },
  { long: 'names' },
  { long: 'no-names' },
  { long: 'format', arg: 'required' },
  { long: 'pretty' },
  { long: 'protocols', short: 'O', arg: 'required' },
  { long: 'help', short: 'h' },
];

const LEVELS = ['error', 'warning', 'note'] as const;
const ALL_VERSIONS = 0x7e;
/** OpenFlow 1.1 and 1.2: only they say what becomes of misses. */
const MISS_VERSIONS = 0x0c;
const MISS_CONTINUE = 1;
const ALL_TABLES = 255;

export async function lint(args: readonly string[]): Promise<void> {
  settings.program = PROGRAM;
  settings.failure = STATUS.trouble;
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  const given = new Map(options.map((o) => [o.id, o.value ?? '']));
  if (given.has('help')) return writeAll(1, LINT_HELP);
  const level = LEVELS.findIndex((l) => l === (given.get('level') ?? 'note'));
  if (level < 0) fatal(`--level: ${given.get('level')}: not ${LEVELS.join(', ')}`);
  const format = given.get('format') ?? 'text';
  if (format !== 'text' && format !== 'json') fatal(`--format: ${format}: not text or json`);
  const file = given.get('file');
  if (operands.length !== (file === undefined ? 1 : 0))
    fatal(`'lint' command takes a bridge, or --file (lint --help says more)`);
  const bridge = file ?? operands[0];
  const protocols = given.get('protocols');
  settings.versions = protocols === undefined ? ALL_VERSIONS : parseVersions(PROGRAM, protocols);
  settings.protocols = PROTOCOL_ANY;
  const isNamed = given.has('names') || (!given.has('no-names') && format === 'text' && process.stdout.isTTY === true);

  const input = file === undefined ? await inputOf(bridge, isNamed) : inputOfFile(file);
  const all = lintTables(input);
  const result = {
    ...all,
    findings: all.findings.filter((f) => LEVELS.indexOf(FINDINGS[f.kind].severity) <= level),
  };
  const text =
    format === 'json'
      ? `${JSON.stringify(lintJson(bridge, input, result), null, given.has('pretty') ? 2 : 0)}\n`
      : lintText(bridge, input, result);
  writeAll(1, text);
  const { error, warning } = countFindings(all.findings);
  process.exit(error + warning > 0 ? STATUS.findings : STATUS.clean);
}

/** Flows to be added, as if they were. */
function inputOfFile(path: string): LintInput {
  const { flows } = parseLines(path, null, undefined);
  const other = flows.find((f) => f.command !== 'add');
  if (other !== undefined) fatal(`${path}: lint is for flows to be added, not for "${other.command}"`);
  return {
    flows: flows.map((f) => ({
      ...f,
      table: f.table === ALL_TABLES ? 0 : f.table,
      cookie: f.newCookie ?? 0n,
      durationMs: 0,
      idleAge: -1,
      hardAge: -1,
      packets: 0,
      bytes: 0,
    })),
    ports: null,
    groups: null,
    meters: null,
    continuing: new Set(),
  };
}

/** Asks for all that `lint` wants to know. What this version of OpenFlow cannot tell stays unknown. */
async function inputOf(target: string, isNamed: boolean): Promise<LintInput> {
  const c = await connect(target);
  const groups = await ask(c, { type: 'group_desc_request', groupId: OFPG_ALL }, 'group_desc_reply');
  const meters =
    c.version >= 4 ? await ask(c, { type: 'meter_config_request', meterId: OFPM_ALL }, 'meter_config_reply') : null;
  const ports = await portsOf(c);
  await prepareFlowDump(c, PROTOCOL_ANY);
  const request: OfMessage = {
    type: 'flow_stats_request',
    match: new Match(),
    table: 255,
    outPort: OFPP.NONE,
    outGroup: OFPG_ANY,
    cookie: 0n,
    cookieMask: 0n,
  };
  const flows = (await c.collect(request, 'flow_stats_reply')).flatMap((part) => [...part.flows]);
  c.close();
  const byNumber = new Map(ports.map((p) => [p.portNo, p.name]));
  const names: Names | undefined = isNamed ? { port: (no) => byNumber.get(no) } : undefined;
  return {
    flows,
    ports,
    groups: groups?.flatMap((part) => [...part.groups]) ?? null,
    meters: meters?.flatMap((part) => [...part.meters]) ?? null,
    continuing: await continuingTables(target),
    names,
  };
}

async function continuingTables(target: string): Promise<ReadonlySet<number>> {
  const c = await tryConnect(target, 'mgmt', settings.versions & MISS_VERSIONS);
  if (typeof c === 'string') return new Set();
  const parts = (await ask(c, { type: 'table_stats_request' }, 'table_stats_reply')) ?? [];
  c.close();
  return new Set(parts.flatMap((p) => p.tables.filter((t) => t.missConfig === MISS_CONTINUE).map((t) => t.table)));
}

/** Every part of the reply; null when the switch answers with an error. */
async function ask<T extends OfMessageType>(
  c: Connection,
  request: OfMessage,
  type: T,
): Promise<OfMessageOf<T>[] | null> {
  const xid = c.send(request);
  const parts: OfMessageOf<T>[] = [];
  for (;;) {
    const { message } = await c.reply(xid);
    if (message.type !== type) return null;
    // The type has just been compared.
    const part = message as unknown as OfMessageOf<T> & { more?: boolean };
    parts.push(part);
    if (part.more !== true) return parts;
  }
}
