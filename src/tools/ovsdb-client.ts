/** `ovsdb-client`: speaks to a database server for people and scripts, as `ovsdb-client(1)` says. */
import {
  applySslOption,
  applyVlogOption,
  HELP_OPTIONS,
  SSL_OPTIONS,
  VLOG_HELP,
  VLOG_OPTIONS,
  versionText,
} from '../base/common-options.ts';
import {
  applyDaemonOption,
  DAEMON_HELP,
  DAEMON_OPTIONS,
  daemonComplete,
  daemonLaunch,
  daemonStart,
} from '../base/daemon.ts';
import { absInDir, ovsRundir } from '../base/dirs.ts';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../base/getopt.ts';
import {
  CELL_FORMATS,
  type CellFormat,
  defaultTableStyle,
  TABLE_FORMATS,
  type TableFormat,
  TablePrinter,
} from '../base/table.ts';
import { vlog, vlogSetProgram } from '../base/vlog.ts';
import { lockFile } from '../linux/file-lock.ts';
import { isObject, type Json, jsonText, parseJson } from '../ovsdb/json.ts';
import { jsonErrorText } from '../ovsdb/json-error.ts';
import { parseRemoteList } from '../ovsdb/remote-list.ts';
import { type DatabaseSchema, schemaFromJson, schemaToJson } from '../ovsdb/schema.ts';
import { readSchemaFile } from '../ovsdb/schema-file.ts';
import { backup, restore } from './ovsdb/client-backup.ts';
import { convert, needsConversion } from './ovsdb/client-convert.ts';
import { clientHelp } from './ovsdb/client-help.ts';
import { monitor } from './ovsdb/client-monitor.ts';
import { ClientRpc, ReplyError } from './ovsdb/client-rpc.ts';
import { columnsTable, contentsTable, tablesTable } from './ovsdb/client-tables.ts';
import { waitForState } from './ovsdb/client-wait.ts';

const PROGRAM = 'ovsdb-client';
const DEFAULT_DATABASE = 'Open_vSwitch';

const OPTIONS: readonly OptionSpec[] = [
  { long: 'format', short: 'f', arg: 'required' },
  { long: 'data', short: 'd', arg: 'required' },
  { long: 'no-headings' },
  { long: 'pretty' },
  { long: 'bare' },
  { long: 'max-column-width', arg: 'required' },
  { long: 'timestamp' },
  { long: 'force' },
  { long: 'timeout', short: 't', arg: 'required' },
  { long: 'db-change-aware' },
  { long: 'no-db-change-aware' },
  { long: 'leader-only' },
  { long: 'no-leader-only' },
  { long: 'record', arg: 'optional' },
  { long: 'replay', arg: 'optional' },
  ...HELP_OPTIONS,
  ...DAEMON_OPTIONS,
  ...VLOG_OPTIONS,
  ...SSL_OPTIONS,
];

const style = defaultTableStyle();
const printer = new TablePrinter(style);
const settings = { timestamp: false, force: false, leaderOnly: true, dbChangeAware: true };

interface Session {
  readonly server: string;
  readonly rpc: ClientRpc;
  /** Empty when the command needs none. */
  readonly database: string;
  readonly args: string[];
  /** What the command's `check` made of the arguments. */
  readonly checked: Checked;
}

interface Checked {
  /** The database that the arguments speak of, where they are not its name. */
  readonly database: string | null;
  readonly query?: Json[];
  readonly schema?: DatabaseSchema;
}

interface Command {
  /** Nothing, a connection, or a connection and a database on it. */
  readonly needs: 'nothing' | 'rpc' | 'database';
  /** Of arguments behind the server and the database. */
  readonly min: number;
  readonly max: number;
  /** What can be wrong before there is a connection. */
  check?(args: readonly string[]): Checked;
  run(session: Session): Promise<void>;
}

const MANY = Number.POSITIVE_INFINITY;

const COMMANDS: Readonly<Record<string, Command>> = {
  'list-dbs': { needs: 'rpc', min: 0, max: 0, run: listDbs },
  'get-schema': { needs: 'database', min: 0, max: 0, run: async (s) => say(jsonText(schemaToJson(await schemaOf(s)))) },
  'get-schema-version': { needs: 'database', min: 0, max: 0, run: async (s) => say((await schemaOf(s)).version) },
  'get-schema-cksum': { needs: 'database', min: 0, max: 0, run: async (s) => say((await schemaOf(s)).cksum) },
  'list-tables': { needs: 'database', min: 0, max: 0, run: async (s) => print(tablesTable(await schemaOf(s))) },
  'list-columns': {
    needs: 'database',
    min: 0,
    max: 1,
    run: async (s) => print(columnsTable(await schemaOf(s), s.args[0])),
  },
  transact: { needs: 'rpc', min: 1, max: 1, check: checkQuery, run: transact },
  query: { needs: 'rpc', min: 1, max: 1, check: checkQuery, run: query },
  monitor: { needs: 'database', min: 1, max: MANY, run: (s) => follow(s, 'monitor') },
  'monitor-cond': { needs: 'database', min: 2, max: MANY, run: (s) => follow(s, 'monitor_cond') },
  'monitor-cond-since': { needs: 'database', min: 2, max: MANY, run: (s) => follow(s, 'monitor_cond_since') },
  dump: { needs: 'database', min: 0, max: MANY, run: dump },
  backup: { needs: 'database', min: 0, max: 0, run: async (s) => writeAll(1, await backup(s.rpc, await schemaOf(s))) },
  restore: {
    needs: 'database',
    min: 0,
    max: 0,
    run: async (s) => restore(s.rpc, await schemaOf(s), settings.force),
  },
  convert: {
    needs: 'rpc',
    min: 1,
    max: 1,
    check: checkSchema,
    run: (s) => convert(s.rpc, s.checked.schema!, s.args[0]!),
  },
  'needs-conversion': {
    needs: 'rpc',
    min: 1,
    max: 1,
    check: checkSchema,
    run: async (s) => say((await needsConversion(s.rpc, s.checked.schema!, s.args[0]!)) ? 'yes' : 'no'),
  },
  wait: {
    needs: 'nothing',
    min: 2,
    max: 2,
    run: ({ server, args }) => waitForState(server, args[0]!, args[1]!),
  },
  lock: { needs: 'rpc', min: 1, max: 1, run: (s) => lock(s, 'lock') },
  steal: { needs: 'rpc', min: 1, max: 1, run: (s) => lock(s, 'steal') },
  unlock: { needs: 'rpc', min: 1, max: 1, run: (s) => lock(s, 'unlock') },
  help: { needs: 'nothing', min: 0, max: MANY, run: async () => writeAll(1, help()) },
};

const defaultServer = (): string => `unix:${absInDir(ovsRundir(), 'db.sock')}`;
const help = (): string =>
  clientHelp(defaultServer(), DEFAULT_DATABASE) + DAEMON_HELP(PROGRAM).slice(1) + VLOG_HELP(PROGRAM) + OTHER_HELP;
const OTHER_HELP = `
Other options:
  -h, --help                  display this help message
  -V, --version               display version information
`;

async function main(argv: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, argv, OPTIONS);
  await daemonLaunch(PROGRAM, options);
  for (const option of options) {
    if (applyDaemonOption(PROGRAM, option) || applyVlogOption(PROGRAM, option) || applySslOption(option)) continue;
    if (applyOption(option.id, option.value ?? '')) return;
  }
  const [name, ...args] = operands;
  if (name === undefined) throw new Error('missing command name; use --help for help');
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new Error(`unknown command '${name}'; use --help for help`);
  const session = await open(name, command, args);
  daemonStart(PROGRAM, { lockFile });
  await command.run(session);
  process.exit(0);
}

/** True if the program is done. */
function applyOption(id: string, value: string): boolean {
  switch (id) {
    case 'format':
      if (!(TABLE_FORMATS as readonly string[]).includes(value)) ovsFatal(PROGRAM, `unknown output format "${value}"`);
      style.format = value as TableFormat;
      break;
    case 'data':
      if (!(CELL_FORMATS as readonly string[]).includes(value)) ovsFatal(PROGRAM, `unknown data format "${value}"`);
      style.data = value as CellFormat;
      break;
    case 'no-headings':
      style.headings = false;
      break;
    case 'pretty':
      style.pretty = true;
      break;
    case 'bare':
      Object.assign(style, { format: 'list', data: 'bare', headings: false });
      break;
    case 'max-column-width':
      style.maxColumnWidth = Number(value);
      break;
    case 'timestamp':
      settings.timestamp = true;
      break;
    case 'force':
      settings.force = true;
      break;
    case 'leader-only':
    case 'no-leader-only':
      settings.leaderOnly = id === 'leader-only';
      break;
    case 'db-change-aware':
    case 'no-db-change-aware':
      settings.dbChangeAware = id === 'db-change-aware';
      break;
    case 'record':
    case 'replay':
      ovsFatal(PROGRAM, `--${id} is not supported: sessions can be neither recorded nor replayed`);
      break;
    case 'timeout':
      startTimeout(value);
      break;
    case 'help':
      writeAll(1, help());
      return true;
    case 'version':
      writeAll(1, versionText(PROGRAM));
      return true;
  }
  return false;
}

function startTimeout(value: string): void {
  const seconds = /^\d+$/.test(value) ? Number(value) : 0;
  if (seconds <= 0) ovsFatal(PROGRAM, `value ${value} on -t or --timeout is invalid`);
  setTimeout(() => {
    vlog('fatal_signal').warn('terminating with signal 14 (Alarm clock)');
    process.removeAllListeners('SIGALRM');
    process.kill(process.pid, 'SIGALRM');
  }, seconds * 1000).unref();
}

/** Finds out which of the arguments are the server and the database. */
async function open(name: string, command: Command, args: string[]): Promise<Session> {
  const invalid = () => new Error(`invalid syntax for '${name}' (use --help for help)`);
  let server = defaultServer();
  if (args.length > command.min && /^[a-z]+:/i.test(args[0]!)) server = args.shift()!;
  const { min, max, needs } = command;
  const nothing: Checked = { database: null };
  const hasWrongCount = () => args.length < min || args.length > max;
  if (needs === 'nothing') {
    if (hasWrongCount()) throw invalid();
    return { server, rpc: null as unknown as ClientRpc, database: '', args, checked: nothing };
  }
  if (command.check !== undefined && hasWrongCount()) throw invalid();
  const checked = command.check?.(args) ?? nothing;
  const list = parseRemoteList(server);
  if (list.remotes.length > 1 || list.clusterId !== null) {
    let { database } = checked;
    if (needs === 'database') {
      if (args.length <= min) throw new Error('database name is required with multiple remotes');
      database = args.shift()!;
    }
    const rpc = await ClientRpc.openCluster(list, database, settings.leaderOnly);
    if (hasWrongCount()) throw invalid();
    return { server, rpc, database: database ?? '', args, checked };
  }
  const rpc = await ClientRpc.open(server);
  let database = '';
  if (needs === 'database') {
    const names = await rpc.databases();
    if (args.length > min && names.includes(args[0]!)) database = args.shift()!;
    else database = defaultDatabase(names);
  }
  if (hasWrongCount()) throw invalid();
  if (needs === 'database' && database === '') {
    throw new Error('no default database for this command; please specify a database name');
  }
  return { server, rpc, database, args, checked };
}

function defaultDatabase(names: string[]): string {
  if (names.includes(DEFAULT_DATABASE)) return DEFAULT_DATABASE;
  const own = names.filter((name) => !name.startsWith('_'));
  return own.length === 1 ? own[0]! : '';
}

function say(text: string): void {
  writeAll(1, `${text}\n`);
}

function print(table: Parameters<TablePrinter['print']>[0]): void {
  writeAll(1, printer.print(table));
}

async function schemaOf({ rpc, database }: { rpc: ClientRpc; database: string }): Promise<DatabaseSchema> {
  return schemaFromJson(await rpc.call('get_schema', [database]));
}

async function listDbs({ rpc }: Session): Promise<void> {
  for (const name of (await rpc.databases()).sort()) say(name);
}

function parseQuery(text: string): Json[] {
  let json: Json;
  try {
    json = parseJson(text);
    if (typeof json !== 'object' || json === null) throw new Error();
  } catch {
    throw new Error(`"${text}": ${jsonErrorText(text)}`);
  }
  if (!Array.isArray(json) || typeof json[0] !== 'string') throw new Error('not a valid OVSDB query');
  return json;
}

function checkQuery([text]: readonly string[]): Checked {
  const query = parseQuery(text!);
  return { database: String(query[0]), query };
}

function checkSchema([file]: readonly string[]): Checked {
  const schema = readSchemaFile(file!);
  return { database: schema.name, schema };
}

async function transacted(rpc: ClientRpc, params: Json[]): Promise<Json> {
  try {
    return await rpc.call('transact', params);
  } catch (error) {
    if (error instanceof ReplyError) throw new Error(`transaction returned error: ${error.message}`);
    throw error;
  }
}

async function transact({ rpc, checked }: Session): Promise<void> {
  say(jsonText(await transacted(rpc, checked.query!)));
}

/** Ends with an abort, so that nothing changes whatever the operations say. */
async function query({ rpc, checked }: Session): Promise<void> {
  const results = await transacted(rpc, [...checked.query!, { op: 'abort' }]);
  const last = Array.isArray(results) ? results[results.length - 1] : null;
  if (Array.isArray(results) && isObject(last) && last['error'] === 'aborted') results.pop();
  say(jsonText(results));
}

async function dump(session: Session): Promise<void> {
  const schema = await schemaOf(session);
  const [only, ...chosen] = session.args;
  if (only !== undefined && !schema.tables.has(only)) throw new Error(`No table "${only}" found.`);
  const tables = [...schema.tables.values()].filter((table) => only === undefined || table.name === only);
  tables.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const column of chosen) {
    if (column === '_uuid' || tables[0]!.columnByName.has(column)) continue;
    throw new Error(`Table "${only}" has no column ${column}.`);
  }
  const columnsOf = tables.map((table) =>
    chosen.length > 0 ? chosen.sort() : ['_uuid', ...[...table.columnByName.keys()].sort()],
  );
  const operations = tables.map((table, i) => ({ op: 'select', table: table.name, where: [], columns: columnsOf[i]! }));
  const results = (await transacted(session.rpc, [schema.name, ...operations])) as Json[];
  for (const [i, table] of tables.entries()) {
    const rows = isObject(results[i]) ? results[i]['rows'] : undefined;
    if (!Array.isArray(rows)) {
      const reply = jsonText(results[i] ?? null);
      throw new Error(`${table.name} table reply is not an object with a "rows" member array: ${reply}`);
    }
    print(contentsTable(table, columnsOf[i]!, rows));
  }
}

async function follow(session: Session, method: 'monitor' | 'monitor_cond' | 'monitor_cond_since'): Promise<void> {
  const schema = await schemaOf(session);
  await monitor(session.rpc, session.server, schema, method, session.args, {
    print,
    say,
    timestamp: settings.timestamp,
    dbChangeAware: settings.dbChangeAware,
    started: daemonComplete,
  });
}

async function lock({ rpc, args }: Session, method: 'lock' | 'steal' | 'unlock'): Promise<void> {
  const done = new Promise<void>((_, reject) =>
    rpc.onClose((error) => reject(new Error(`${rpc.name}: receive failed (${error ?? 'End of file'})`))),
  );
  rpc.onNotify((name) => say(name));
  const result = await rpc.call(method, [args[0]!]);
  if (method !== 'unlock') say(jsonText(result));
  daemonComplete();
  await done;
}

vlogSetProgram(PROGRAM);
await main(process.argv.slice(2)).catch((error: Error) => ovsFatal(PROGRAM, error.message));
