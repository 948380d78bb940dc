/** `ovsdb-tool`: works on database files without a server, as `ovsdb-tool(1)` says. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { clock } from '../base/clock.ts';
import { type CommandUsage, commandList } from '../base/command-list.ts';
import { applyVlogOption, HELP_OPTIONS, VLOG_HELP, VLOG_OPTIONS, versionText } from '../base/common-options.ts';
import { ovsDbdir, ovsPkgdatadir } from '../base/dirs.ts';
import { errorCode, errorText } from '../base/errno.ts';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../base/getopt.ts';
import { VERSION } from '../base/version.ts';
import { vlogSetProgram } from '../base/vlog.ts';
import { lockFile } from '../linux/file-lock.ts';
import { convertDatabase } from '../ovsdb/convert.ts';
import { OvsdbError, syntaxError } from '../ovsdb/error.ts';
import { changesToRecord, compactRecords, createDatabase, openDatabase, readSchema } from '../ovsdb/file.ts';
import { type Json, type JsonObject, jsonText, parseJson } from '../ovsdb/json.ts';
import { jsonErrorText } from '../ovsdb/json-error.ts';
import { OvsdbLog, setFileLocker, takeLock } from '../ovsdb/log.ts';
import { encodeRecord, MAGIC_CLUSTER } from '../ovsdb/log-format.ts';
import { executeTransaction } from '../ovsdb/operations.ts';
import { type DatabaseSchema, isSchemaVersion, schemaFromJson, schemaToJson } from '../ovsdb/schema.ts';
import { readSchemaFile } from '../ovsdb/schema-file.ts';
import { vswitchSchemaJson } from '../ovsdb/vswitch-schema.ts';
import { showLog } from './ovsdb/show-log.ts';

const PROGRAM = 'ovsdb-tool';
/** What a test that is not true exits with. */
const EXIT_NO = 2;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'more', short: 'm' },
  { long: 'rbac-role', arg: 'required' },
  { long: 'cid', arg: 'required' },
  { long: 'election-timer', arg: 'required' },
  { long: 'option', short: 'o' },
  ...HELP_OPTIONS,
  ...VLOG_OPTIONS,
];

const defaultDb = (): string => join(ovsDbdir(), 'conf.db');
const defaultSchema = (): string => join(ovsPkgdatadir(), 'vswitch.ovsschema');

const help = (): string => `${PROGRAM}: Open vSwitch database management utility
usage: ${PROGRAM} [OPTIONS] COMMAND [ARG...]
  create [DB [SCHEMA]]    create DB with the given SCHEMA
  [--election-timer=ms] create-cluster DB CONTENTS LOCAL
    create clustered DB with given CONTENTS and LOCAL address
  [--cid=UUID] join-cluster DB NAME LOCAL REMOTE...
    join clustered DB with given NAME and LOCAL and REMOTE addrs
  compact [DB [DST]]      compact DB in-place (or to DST)
  convert [DB [SCHEMA [DST]]]   convert DB to SCHEMA (to DST)
  db-name [DB]            report name of schema used by DB
  db-version [DB]         report version of schema used by DB
  db-cksum [DB]           report checksum of schema used by DB
  db-cid DB               report cluster ID of clustered DB
  db-sid DB               report server ID of clustered DB
  db-local-address DB     report local address of clustered DB
  db-is-clustered DB      test whether DB is clustered
  db-is-standalone DB     test whether DB is standalone
  schema-name [SCHEMA]    report SCHEMA's name
  schema-version [SCHEMA] report SCHEMA's schema version
  schema-cksum [SCHEMA]   report SCHEMA's checksum
  compare-versions A OP B  compare OVSDB schema version numbers
  query [DB] TRNS         execute read-only transaction on DB
  transact [DB] TRNS      execute read/write transaction on DB
  cluster-to-standalone DB DB    Convert clustered DB to
      standalone DB when cluster is down and cannot be
        revived
  [-m]... show-log [DB]   print DB's log entries
The default DB is ${defaultDb()}.
The default SCHEMA is ${defaultSchema()}.
${VLOG_HELP(PROGRAM)}
Other options:
  -m, --more                  increase show-log verbosity
  --rbac-role=ROLE            RBAC role for transact and query commands
  -h, --help                  display this help message
  -V, --version               display version information
`;

/** As `list-commands` tells them. */
const USAGE: CommandUsage = [
  ['create', '[db [schema]]'],
  ['create-cluster', 'db contents local'],
  ['join-cluster', 'db name local remote...'],
  ['compact', '[db [dst]]'],
  ['convert', '[db [schema [dst]]]'],
  ['needs-conversion', ''],
  ['db-name', '[db]'],
  ['db-version', '[db]'],
  ['db-cksum', '[db]'],
  ['db-cid', 'db'],
  ['db-sid', 'db'],
  ['db-local-address', 'db'],
  ['db-is-clustered', 'db'],
  ['db-is-standalone', 'db'],
  ['schema-name', '[schema]'],
  ['schema-version', '[schema]'],
  ['schema-cksum', '[schema]'],
  ['query', '[db] trns'],
  ['transact', '[db] trns'],
  ['show-log', '[db]'],
  ['check-cluster', 'db...'],
  ['compare-versions', 'a op b'],
  ['help', ''],
  ['list-commands', ''],
  ['cluster-to-standalone', 'db clusterdb'],
];

/** Exit status, 0 if nothing is returned. */
// biome-ignore lint/suspicious/noConfusingVoidType: most commands say nothing
type Handler = (args: string[], more: number) => number | void;

interface Command {
  readonly min: number;
  readonly max: number;
  readonly run: Handler;
}

const MANY = Number.POSITIVE_INFINITY;

const COMMANDS: Readonly<Record<string, Command>> = {
  create: { min: 0, max: 2, run: ([db = defaultDb(), schema]) => create(db, schema) },
  'create-cluster': { min: 3, max: 3, run: clustered },
  'join-cluster': { min: 4, max: MANY, run: clustered },
  compact: { min: 0, max: 2, run: ([db = defaultDb(), dst]) => compact(db, dst) },
  convert: { min: 0, max: 3, run: ([db = defaultDb(), schema, dst]) => convert(db, schema, dst) },
  'needs-conversion': { min: 0, max: 2, run: ([db = defaultDb(), schema]) => needsConversion(db, schema) },
  'db-name': { min: 0, max: 1, run: ([db = defaultDb()]) => say(dbName(db)) },
  'db-version': { min: 0, max: 1, run: ([db = defaultDb()]) => say(schemaOf(db).version) },
  'db-cksum': { min: 0, max: 1, run: ([db = defaultDb()]) => say(schemaOf(db).cksum) },
  'db-cid': { min: 1, max: 1, run: ([db]) => clusterHeader(db!, 'cluster_id') },
  'db-sid': { min: 1, max: 1, run: ([db]) => clusterHeader(db!, 'server_id') },
  'db-local-address': { min: 1, max: 1, run: ([db]) => clusterHeader(db!, 'local_address') },
  'db-is-clustered': { min: 1, max: 1, run: ([db]) => (isClustered(db!) ? 0 : EXIT_NO) },
  'db-is-standalone': { min: 1, max: 1, run: ([db]) => (isClustered(db!) ? EXIT_NO : 0) },
  'schema-name': { min: 0, max: 1, run: ([schema]) => say(loadSchema(schema).name) },
  'schema-version': { min: 0, max: 1, run: ([schema]) => say(loadSchema(schema).version) },
  'schema-cksum': { min: 0, max: 1, run: ([schema]) => say(loadSchema(schema).cksum) },
  'compare-versions': { min: 3, max: 3, run: ([a, op, b]) => (compareVersions(a!, op!, b!) ? 0 : EXIT_NO) },
  query: { min: 1, max: 2, run: (args) => transact(args, false) },
  transact: { min: 1, max: 2, run: (args) => transact(args, true) },
  'cluster-to-standalone': { min: 2, max: 2, run: ([, db]) => notClustered(db!) },
  'show-log': { min: 0, max: 1, run: ([db = defaultDb()], more) => show(db, more) },
  'check-cluster': { min: 1, max: MANY, run: checkCluster },
  help: { min: 0, max: MANY, run: () => writeAll(1, help()) },
  'list-commands': { min: 0, max: MANY, run: () => writeAll(1, commandList(USAGE)) },
};

vlogSetProgram(PROGRAM);
setFileLocker(lockFile);

/** What `transact` and `query` are taken for by role-based access control. */
let rbacRole = '';

function main(argv: readonly string[]): number {
  const { options, operands } = getoptOrExit(PROGRAM, argv, OPTIONS);
  let more = 0;
  for (const option of options) {
    if (applyVlogOption(PROGRAM, option)) continue;
    if (option.id === 'more') more++;
    else if (option.id === 'rbac-role') rbacRole = option.value ?? '';
    else if (option.id === 'help') {
      writeAll(1, help());
      return 0;
    } else if (option.id === 'version') {
      writeAll(1, versionText(PROGRAM));
      return 0;
    }
  }
  const [name, ...args] = operands;
  if (name === undefined) ovsFatal(PROGRAM, 'missing command name; use --help for help');
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) ovsFatal(PROGRAM, `unknown command '${name}'; use --help for help`);
  if (args.length < command.min) {
    ovsFatal(PROGRAM, `'${name}' command requires at least ${command.min} arguments`);
  }
  if (args.length > command.max) ovsFatal(PROGRAM, `'${name}' command takes at most ${command.max} arguments`);
  try {
    return command.run(args, more) ?? 0;
  } catch (error) {
    return ovsFatal(PROGRAM, error instanceof Error ? error.message : String(error));
  }
}

function say(text: string): void {
  writeAll(1, `${text}\n`);
}

/** Without a file where Open vSwitch installs it, the default schema is the one we know. */
function loadSchema(path: string | undefined): DatabaseSchema {
  if (path !== undefined) return readSchemaFile(path);
  try {
    return readSchemaFile(defaultSchema());
  } catch (error) {
    if (!(error as Error).message.includes('No such file or directory')) throw error;
    return schemaFromJson(vswitchSchemaJson() as JsonObject);
  }
}

function create(db: string, schema: string | undefined): void {
  createDatabase(db, [schemaToJson(loadSchema(schema))]).close();
}

/** Opens a database to its very end: a tool does not pass over damage in silence. */
function openWhole(db: string, mode: 'read' | 'write') {
  checkStandalone(db);
  const opened = openDatabase(db, mode);
  if (opened.damage === null) return opened;
  opened.log.close();
  throw opened.damage;
}

/** To be written again: here the original locks the file by itself, and says less of what keeps it from that. */
function locking<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    const { message } = error as Error;
    throw message.includes(': failed to lock lockfile (') ? new Error(message.replace('I/O error: ', '')) : error;
  }
}

function isClustered(db: string): boolean {
  const log = OvsdbLog.open(db, 'read');
  try {
    return log.magic === MAGIC_CLUSTER;
  } finally {
    log.close();
  }
}

function checkStandalone(db: string): void {
  if (isClustered(db)) throw clusterError(db);
}

function clusterError(db: string): OvsdbError {
  return new OvsdbError('ovsdb error', `${db}: cannot apply this operation to clustered database file`);
}

function notClustered(db: string): never {
  if (isClustered(db)) throw clusterError(db);
  throw new Error('Database is not clustered db.\n');
}

function clustered(): never {
  throw new Error('clustered databases are not supported; use a standalone database (see "create")');
}

/** There are no clusters here whose logs could be compared; files of another kind are refused as the original does. */
function checkCluster(dbs: string[]): never {
  for (const db of dbs) {
    if (!isClustered(db)) throw new OvsdbError('ovsdb error', `${db}: cannot identify file type`);
  }
  return clustered();
}

function schemaOf(db: string): DatabaseSchema {
  checkStandalone(db);
  const log = OvsdbLog.open(db, 'read');
  try {
    return readSchema(log);
  } finally {
    log.close();
  }
}

function clusterRecord(db: string): JsonObject | null {
  const log = OvsdbLog.open(db, 'read');
  try {
    return log.magic === MAGIC_CLUSTER ? (log.read()?.json ?? null) : null;
  } finally {
    log.close();
  }
}

function dbName(db: string): string {
  const header = clusterRecord(db);
  return header === null ? schemaOf(db).name : String(header['name']);
}

function clusterHeader(db: string, member: string): void {
  const header = clusterRecord(db);
  if (header === null) throw new Error(`${db}: not a clustered database`);
  const value = header[member];
  if (typeof value !== 'string') throw new Error(`${db}: cluster ID not yet known`);
  say(value);
}

function rewrite(
  db: string,
  dst: string | undefined,
  records: (opened: ReturnType<typeof openWhole>) => JsonObject[],
): void {
  const opened = dst === undefined ? locking(() => openWhole(db, 'write')) : openWhole(db, 'read');
  using _lock = dst === undefined ? null : locking(() => takeLock(dst, resolve(dst)));
  try {
    const list = records(opened);
    if (dst === undefined) opened.log.replace(list);
    else writeFileSync(dst, Buffer.concat(list.map((record) => encodeRecord(record))), { mode: 0o660, flush: true });
  } catch (error) {
    if (errorCode(error) === undefined || dst === undefined) throw error;
    throw new Error(`I/O error: ${dst}: write failed (${errorText(error)})`);
  } finally {
    opened.log.close();
  }
}

function compact(db: string, dst: string | undefined): void {
  rewrite(db, dst, (opened) => compactRecords(opened.db, `compacted by ${PROGRAM} ${VERSION}`, clock.wallMs()));
}

function convert(db: string, schemaFile: string | undefined, dst: string | undefined): void {
  const schema = loadSchema(schemaFile);
  rewrite(db, dst, (opened) => {
    const converted = convertDatabase(opened.db, schema);
    return compactRecords(converted, `converted by ${PROGRAM} ${VERSION}`, clock.wallMs());
  });
}

function needsConversion(db: string, schemaFile: string | undefined): void {
  const now = jsonText(schemaToJson(schemaOf(db)));
  say(now === jsonText(schemaToJson(loadSchema(schemaFile))) ? 'no' : 'yes');
}

const RELATIONS: Readonly<Record<string, (order: number) => boolean>> = {
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '==': (order) => order === 0,
  '>=': (order) => order >= 0,
  '>': (order) => order > 0,
  '!=': (order) => order !== 0,
};

function compareVersions(a: string, op: string, b: string): boolean {
  for (const version of [a, b]) {
    if (!isSchemaVersion(version)) throw new Error(`${version}: not an OVSDB version number in format x.y.z`);
  }
  const relation = Object.hasOwn(RELATIONS, op) ? RELATIONS[op] : undefined;
  if (relation === undefined) throw new Error(`${op}: not a relational operator`);
  const [x, y] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  return relation(x[0]! - y[0]! || x[1]! - y[1]! || x[2]! - y[2]!);
}

function transact(args: string[], write: boolean): void {
  const text = args[args.length - 1]!;
  const db = args.length > 1 ? args[0]! : defaultDb();
  const opened = openWhole(db, write ? 'write' : 'read');
  try {
    const request = parseArgument(text);
    if (!Array.isArray(request)) return say(jsonText(syntaxError(request, 'array expected').toJson()));
    const client = { role: rbacRole, id: null };
    const outcome = executeTransaction(opened.db, request, { ownsLock: () => false, client });
    if (outcome instanceof OvsdbError) return say(jsonText(outcome.toJson()));
    if (outcome.kind === 'wait') {
      return say(jsonText([new OvsdbError('not supported', 'triggers not supported').toJson()]));
    }
    const { results, txn } = outcome;
    if (write && txn !== null && txn.changes.size > 0) {
      try {
        const record = changesToRecord(txn.changes, txn.comments, clock.wallMs());
        if (record !== null) opened.log.append(record);
      } catch (error) {
        if (!(error instanceof OvsdbError)) throw error;
        results.push(error.toJson());
      }
    }
    say(jsonText(results));
  } finally {
    opened.log.close();
  }
}

function parseArgument(text: string): Json {
  try {
    const json = parseJson(text);
    if (typeof json === 'object' && json !== null) return json;
  } catch {
    // The reason follows.
  }
  throw new Error(`"${text}": ${jsonErrorText(text)}`);
}

function show(db: string, more: number): void {
  const log = OvsdbLog.open(db, 'read');
  try {
    if (log.magic === MAGIC_CLUSTER) throw clusterError(db);
    for (const text of showLog(log, more)) writeAll(1, text);
  } finally {
    log.close();
  }
}

process.exit(main(process.argv.slice(2)));
