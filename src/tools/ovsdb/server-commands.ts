/** What `ovs-appctl -t ovsdb-server` may ask, as `ovsdb-server(1)`, "RUNTIME MANAGEMENT COMMANDS", says. */
import { listCommands, registerCommand, UnixctlError } from '../../base/commands.ts';
import { vlog } from '../../base/vlog.ts';
import { OvsdbError } from '../../ovsdb/error.ts';
import type { OvsdbServer } from '../../ovsdb/server.ts';
import type { ConfigFile } from './config-file.ts';
import { registerTableLogCommands } from './table-log.ts';

const log = vlog('ovsdb_server');

/** What a configuration file says only the file changes. */
const CONFIGURED =
  /^ovsdb-server\/(?:add|remove)-(?:db|remote)$|^ovsdb-server\/(?:set|connect|disconnect)-(?:active|sync)/;

export function registerServerCommands(server: OvsdbServer, exit: () => void, configFile: ConfigFile | null): void {
  registerCommand('exit', '', 0, 0, () => {
    // The answer goes first.
    setImmediate(exit);
    return '';
  });
  registerCommand('ovsdb-server/compact', '', 0, 1, ([name]) => compact(server, name));
  registerCommand('ovsdb-server/reconnect', '', 0, 0, () => {
    server.remotes.reconnect();
    return '';
  });
  registerCommand('ovsdb-server/add-remote', 'REMOTE', 1, 1, async ([remote]) => {
    await asCommand(() => server.remotes.add(remote!, true));
    return '';
  });
  registerCommand('ovsdb-server/remove-remote', 'REMOTE', 1, 1, ([remote]) => {
    if (!server.remotes.remove(remote!)) throw new UnixctlError('no such remote');
    return '';
  });
  registerCommand('ovsdb-server/list-remotes', '', 0, 0, () => lines(server.remotes.names()));
  registerCommand('ovsdb-server/add-db', 'DB', 1, 1, async ([file]) => {
    await asCommand(() => server.addDatabaseSliced(file!));
    return '';
  });
  registerCommand('ovsdb-server/remove-db', 'DB', 1, 1, ([name]) => {
    if (name!.startsWith('_')) throw new UnixctlError('Cannot remove reserved database.');
    if (!server.removeDatabase(name!)) throw new UnixctlError('Failed to find the database.');
    return '';
  });
  registerCommand('ovsdb-server/list-dbs', '', 0, 0, () => lines(server.databaseNames()));
  registerCommand('ovsdb-server/get-db-storage-status', 'DB', 1, 1, ([name]) => {
    if (server.store(name!) === undefined) throw new UnixctlError('Failed to find the database.');
    return 'status: ok\n';
  });
  registerCommand('ovsdb-server/memory-trim-on-compaction', 'on|off', 1, 1, ([value]) => {
    if (value !== 'on' && value !== 'off') throw new UnixctlError('invalid argument');
    log.info(`memory trimming after compaction ${value === 'on' ? 'enabled' : 'disabled'}.`);
    return '';
  });
  registerCommand('ovsdb-server/perf-counters-show', '', 0, 0, () => counters(server));
  registerCommand('ovsdb-server/perf-counters-clear', '', 0, 0, () => {
    for (const store of server.userStores()) store.commits = 0;
    return '';
  });
  registerCommand('ovsdb-server/disable-monitor-cond', '', 0, 0, () => {
    server.offersConditions = false;
    server.remotes.reconnect();
    return '';
  });
  registerTableLogCommands(server);
  registerReplicationCommands(server);
  if (configFile === null) return;
  registerCommand('ovsdb-server/reload', '', 0, 0, async () => {
    await asCommand(() => configFile.load());
    return '';
  });
  for (const { name, usage, minArgs, maxArgs } of listCommands().filter((one) => CONFIGURED.test(one.name))) {
    registerCommand(name, usage, minArgs, maxArgs, () => {
      throw new UnixctlError('the server has a configuration file: change it, and use ovsdb-server/reload');
    });
  }
}

function registerReplicationCommands({ replication }: OvsdbServer): void {
  const line = (text: string) => (text === '' ? '' : `${text}\n`);
  registerCommand('ovsdb-server/set-active-ovsdb-server', '', 1, 1, ([source]) => {
    replication.source = source!;
    return '';
  });
  registerCommand('ovsdb-server/get-active-ovsdb-server', '', 0, 0, () => line(replication.source ?? ''));
  registerCommand('ovsdb-server/connect-active-ovsdb-server', '', 0, 0, () => {
    if (replication.source === null) return 'Unable to connect: active server is not specified.\n';
    replication.connect();
    return '';
  });
  registerCommand('ovsdb-server/disconnect-active-ovsdb-server', '', 0, 0, () => {
    replication.disconnect();
    return '';
  });
  registerCommand('ovsdb-server/set-active-ovsdb-server-probe-interval', '', 1, 1, ([text]) => {
    if (!/^[-+]?\d+$/.test(text!)) return 'Invalid probe interval, integer value expected';
    replication.setProbeInterval(Number(text));
    return '';
  });
  registerCommand('ovsdb-server/set-sync-exclude-tables', '', 0, 1, ([tables]) => {
    replication.setExcluded(tables ?? '');
    return '';
  });
  registerCommand('ovsdb-server/get-sync-exclude-tables', '', 0, 0, () => line(replication.excludedText));
  registerCommand('ovsdb-server/sync-status', '', 0, 0, () => replication.status());
}

function lines(words: string[]): string {
  return words.map((word) => `${word}\n`).join('');
}

function counters(server: OvsdbServer): string {
  return lines(server.userStores().map((store) => `${store.name} commits ${store.commits}`));
}

async function asCommand(act: () => unknown): Promise<void> {
  try {
    await act();
  } catch (error) {
    throw new UnixctlError(`${(error as Error).message}`);
  }
}

async function compact(server: OvsdbServer, name: string | undefined): Promise<string> {
  if (name?.startsWith('_')) throw new UnixctlError('cannot compact built-in databases');
  const stores = server.userStores().filter((store) => name === undefined || store.name === name);
  if (name !== undefined && stores.length === 0) throw new UnixctlError('no database by that name');
  const failures: string[] = [];
  for (const store of stores) {
    log.info(`compacting ${store.name} database by user request`);
    try {
      await store.compact();
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      failures.push(`${error.message}\n`);
    }
  }
  if (failures.length > 0) throw new UnixctlError(failures.join(''));
  return '';
}
