/**
 * `ovsdb-server --config-file=FILE`: remotes and databases stand in a JSON file, as servers since Open vSwitch 3.3 take it, and `ovsdb-server/reload` reads it again.
 *
 *     { "remotes":   { "punix:db.sock": {}, "ptcp:6640": { "inactivity-probe": 5000, "max-backoff": 8000, "read-only": true, "role": "r" } },
 *       "databases": { "conf.db": {},
 *                      "copy.db": { "service-model": "active-backup", "backup": true, "source": { "tcp:10.0.0.1:6640": {} }, "exclude-tables": ["T"] },
 *                      "Name":    { "service-model": "relay", "source": { "tcp:10.0.0.1:6640": {}, "tcp:10.0.0.2:6640": {} } } } }
 *
 * What stays the same in a new version of the file is not touched: neither its contents nor its clients' connections. A file with something wrong in
 * it changes nothing. Since a server is a backup or not as a whole, its backups must have one source, and stand beside no database of another kind but
 * relays.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorText } from '../../base/errno.ts';
import type { ConnectionOptions } from '../../ovsdb/connection.ts';
import { isObject, type Json, type JsonObject, parseJson } from '../../ovsdb/json.ts';
import { jsonErrorText } from '../../ovsdb/json-error.ts';
import type { OvsdbServer } from '../../ovsdb/server.ts';

const MODELS = ['standalone', 'clustered', 'active-backup', 'relay'] as const;
type Model = (typeof MODELS)[number];

interface DatabaseConfig {
  readonly model: Model;
  readonly source: readonly string[];
  readonly probeIntervalMs: number | undefined;
  readonly backup: boolean;
  readonly excluded: readonly string[];
}

interface Config {
  readonly remotes: ReadonlyMap<string, ConnectionOptions>;
  /** By what stands in the file: a file's name, or a relay's database. */
  readonly databases: ReadonlyMap<string, DatabaseConfig>;
}

/** Reads the members of an object one by one, and refuses the rest. Throws `Error`. */
class Members {
  private readonly rest: JsonObject;
  private readonly what: string;

  /** Null is an object without members. */
  constructor(json: Json | undefined, what: string) {
    if (json !== null && json !== undefined && !isObject(json)) throw new Error(`${what}: JSON object expected`);
    this.rest = { ...json };
    this.what = what;
  }

  take<T extends Json>(name: string, is: (json: Json) => json is T, expected: string): T | undefined {
    const json = this.rest[name];
    delete this.rest[name];
    if (json === undefined) return undefined;
    if (!is(json)) throw new Error(`${this.what}: "${name}" must be ${expected}`);
    return json;
  }

  object(name: string): [string, Json][] {
    const json = this.take(name, (j): j is JsonObject => isObject(j), 'a JSON object') ?? {};
    return Object.entries(json).map(([key, value]) => [key, value ?? null]);
  }

  finish(): void {
    const [name] = Object.keys(this.rest);
    if (name !== undefined) throw new Error(`${this.what}: unknown member "${name}"`);
  }
}

const isCount = (json: Json): json is number => typeof json === 'number' && Number.isInteger(json) && json >= 0;
const isBoolean = (json: Json): json is boolean => typeof json === 'boolean';
const isString = (json: Json): json is string => typeof json === 'string';
const isModel = (json: Json): json is Model => (MODELS as readonly Json[]).includes(json);
const isStrings = (json: Json): json is string[] => Array.isArray(json) && json.every(isString);

function remoteOptions(json: Json, what: string): ConnectionOptions {
  const members = new Members(json, what);
  const options: ConnectionOptions = {
    probeIntervalMs: members.take('inactivity-probe', isCount, 'a number of milliseconds'),
    maxBackoffMs: members.take('max-backoff', isCount, 'a number of milliseconds'),
    readOnly: members.take('read-only', isBoolean, 'true or false') ?? false,
    role: members.take('role', isString, 'a string') ?? '',
  };
  // The operating system's default is kept.
  members.take('dscp', isCount, 'an integer');
  members.finish();
  return options;
}

function databaseConfig(json: Json, what: string): DatabaseConfig {
  const members = new Members(json, what);
  const model = members.take('service-model', isModel, `one of ${MODELS.join(', ')}`) ?? 'standalone';
  const source = members.object('source').map(([remote, options]) => ({
    remote,
    options: remoteOptions(options, `${what} source "${remote}"`),
  }));
  const backup = members.take('backup', isBoolean, 'true or false') ?? false;
  const excluded = members.take('exclude-tables', isStrings, 'an array of strings') ?? [];
  members.finish();
  const needsSource = model === 'relay' || model === 'active-backup';
  if (needsSource && source.length === 0) throw new Error(`${what}: a ${model} database needs a "source"`);
  if (!needsSource && source.length > 0) throw new Error(`${what}: a ${model} database has no "source"`);
  if (model === 'clustered') throw new Error(`${what}: clustered databases are not supported`);
  const probeIntervalMs = source[0]?.options.probeIntervalMs;
  return { model, source: source.map(({ remote }) => remote), probeIntervalMs, backup, excluded };
}

function parseConfig(text: string): Config {
  let json: Json;
  try {
    json = parseJson(text);
  } catch {
    throw new Error(jsonErrorText(text));
  }
  const members = new Members(json, 'configuration');
  const remotes = members.object('remotes');
  const databases = members.object('databases');
  members.finish();
  const config: Config = {
    remotes: new Map(remotes.map(([remote, options]) => [remote, remoteOptions(options, `remote "${remote}"`)])),
    databases: new Map(databases.map(([name, one]) => [name, databaseConfig(one, `database "${name}"`)])),
  };
  checkBackups([...config.databases.values()]);
  return config;
}

function isBackup({ model, backup }: DatabaseConfig): boolean {
  return model === 'active-backup' && backup;
}

function checkBackups(databases: readonly DatabaseConfig[]): void {
  const backups = databases.filter(isBackup);
  if (backups.length === 0) return;
  if (new Set(backups.map(({ source }) => source.join())).size > 1) {
    throw new Error('all backups of one server must have the same "source"');
  }
  if (databases.some((one) => one.model !== 'relay' && !isBackup(one))) {
    throw new Error('a server with backups cannot serve databases that clients may change');
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

export class ConfigFile {
  private readonly server: OvsdbServer;
  private readonly path: string;
  /** Names in the file are meant from here, also once the daemon has gone elsewhere. */
  private readonly directory = process.cwd();
  private applied: Config = { remotes: new Map(), databases: new Map() };
  /** Of the databases that are served: what stands in the file → the database's name. */
  private readonly names = new Map<string, string>();

  constructor(server: OvsdbServer, path: string) {
    this.server = server;
    this.path = resolve(path);
  }

  /** Reads the file and makes the server as it says. Rejects with what is wrong. */
  async load(): Promise<void> {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch (error) {
      throw new Error(`failed to open "${this.path}": ${errorText(error)}`);
    }
    let config: Config;
    try {
      config = parseConfig(text);
    } catch (error) {
      throw new Error(`${this.path}: ${(error as Error).message}`);
    }
    await this.apply(config);
  }

  private async apply(config: Config): Promise<void> {
    const { server, applied } = this;
    const { remotes } = server;
    for (const [remote, options] of applied.remotes) {
      if (!same(config.remotes.get(remote), options)) remotes.remove(remote);
    }
    for (const [key, database] of applied.databases) {
      const next = config.databases.get(key);
      const stays = next !== undefined && this.isServedAlike(database, next);
      const name = this.names.get(key);
      if (stays || name === undefined) continue;
      server.removeDatabase(name);
      this.names.delete(key);
    }
    // What fails from here on is tried again by the next reload.
    this.applied = { remotes: new Map(), databases: config.databases };
    for (const [key, database] of config.databases) {
      if (this.names.has(key)) continue;
      const spec = database.model === 'relay' ? `relay:${key}:${database.source.join()}` : resolve(this.directory, key);
      this.names.set(key, await server.addDatabaseSliced(spec));
    }
    this.replicate(config);
    const added = new Map<string, ConnectionOptions>();
    this.applied = { remotes: added, databases: config.databases };
    for (const [remote, options] of config.remotes) {
      if (!remotes.has(remote)) await remotes.add(remote, true, options);
      added.set(remote, options);
    }
  }

  /** Whether nothing needs to be opened or closed to get from one to the other. */
  private isServedAlike(a: DatabaseConfig, b: DatabaseConfig): boolean {
    if (a.model === 'relay' || b.model === 'relay') return a.model === b.model && same(a.source, b.source);
    return true;
  }

  private replicate({ databases }: Config): void {
    const { replication } = this.server;
    const copies = [...databases].filter(([, { model }]) => model === 'active-backup');
    const [first] = copies;
    const source = first === undefined ? null : first[1].source.join();
    const excluded = copies
      .flatMap(([key, one]) => one.excluded.map((table) => `${this.names.get(key)}:${table}`))
      .join();
    const shall = copies.some(([, one]) => isBackup(one));
    const isSame = replication.source === source && replication.excludedText === excluded;
    if (isSame && replication.isBackup === shall) return;
    if (first?.[1].probeIntervalMs !== undefined) replication.setProbeInterval(first[1].probeIntervalMs);
    replication.disconnect();
    replication.source = source;
    replication.setExcluded(excluded);
    if (shall) replication.connect();
  }
}
