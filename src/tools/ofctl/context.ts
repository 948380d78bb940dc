/** What every command of `ovs-ofctl` works with: options, connections, transactions. */
import { statSync } from 'node:fs';
import { ovsRundir } from '../../base/dirs.ts';
import { ovsFatal, writeAll } from '../../base/fatal.ts';
import { connectStream } from '../../base/stream.ts';
import { vlog } from '../../base/vlog.ts';
import type { Json, JsonObject } from '../../flow/json.ts';
import type { Names } from '../../flow/names.ts';
import { formatProtocols, PROTOCOLS } from '../../openflow/flow-text.ts';
import { mergeJson, messageJson } from '../../openflow/json/message.ts';
import type { OfMessage, OfMessageOf, OfMessageType, OfpVersion, PhyPort } from '../../openflow/messages.ts';
import { OFPP } from '../../openflow/ports.ts';
import { formatBytes, formatMessage } from '../../openflow/text.ts';
import { Vconn, withDefaultPort } from '../../openflow/vconn.ts';

export const PROGRAM = 'ovs-ofctl';
const log = vlog('ofctl');

export interface SortKey {
  readonly field: string;
  readonly descending: boolean;
}

export interface Settings {
  /** Who speaks in errors, and with which status it ends then. */
  program: string;
  failure: number;
  strict: boolean;
  readOnly: boolean;
  readd: boolean;
  bundle: boolean;
  mayCreate: boolean;
  timestamp: boolean;
  verbosity: number;
  showStats: boolean;
  /** null follows whether standard output is a terminal. */
  names: boolean | null;
  sort: SortKey[];
  packetInFormat: 'standard' | 'nxt_packet_in' | 'nxt_packet_in2' | null;
  unixctl: string | null;
  /** Versions that may be spoken, bit n is wire version n. */
  versions: number;
  /** Flow formats that may be used, `PROTOCOLS`. */
  protocols: number;
  color: boolean;
  format: 'text' | 'json';
  pretty: boolean;
  detached: boolean;
}

export const settings: Settings = {
  program: PROGRAM,
  failure: 1,
  strict: false,
  readOnly: false,
  readd: false,
  bundle: false,
  mayCreate: false,
  timestamp: false,
  verbosity: 0,
  showStats: true,
  names: null,
  sort: [],
  packetInFormat: null,
  unixctl: null,
  versions: 2,
  protocols: 127,
  color: false,
  format: 'text',
  pretty: false,
  detached: false,
};

export const fatal = (text: string): never => ovsFatal(settings.program, text, settings.failure);
export const print = (text: string): void => writeAll(1, text);

const isSocket = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isSocket() === true;

/** A bridge's name, a socket's path, or a connection method. */
export function targetOf(name: string, suffix: 'mgmt' | 'snoop' = 'mgmt'): string {
  if (name.includes(':')) return name;
  if (isSocket(name)) return `unix:${name}`;
  const bridge = `${ovsRundir()}/${name}.${suffix}`;
  if (isSocket(bridge)) return `unix:${bridge}`;
  return fatal(`${name} is not a bridge or a socket`);
}

/** A connection whose replies are waited for one after the other. */
export class Connection {
  readonly vconn: Vconn;
  private readonly queue: { message: OfMessage; xid: number; raw: Uint8Array; bad: string | null }[] = [];
  private waiter: (() => void) | null = null;
  private closed: string | null | undefined;

  constructor(vconn: Vconn) {
    this.vconn = vconn;
    // `-v` shows the whole conversation.
    const talk = vlog('vconn');
    if (talk.isEnabled('dbg'))
      vconn.onSent((_message, _xid, raw) =>
        talk.dbg(`${vconn.name}: sent (Success): ${formatBytes(raw, 1).trimEnd()}`),
      );
    vconn.onMessage((message, xid, raw) => {
      if (talk.isEnabled('dbg')) talk.dbg(`${vconn.name}: received: ${formatBytes(raw, 1).trimEnd()}`);
      this.push({ message, xid, raw: raw.slice(), bad: null });
    });
    vconn.onBad((failure, raw) => {
      log.warn(`received message that cannot be decoded: ${failure.error}`);
      this.push({ message: { type: 'barrier_reply' }, xid: failure.xid, raw: raw.slice(), bad: failure.error });
    });
    vconn.onClose((error) => {
      this.closed = error;
      this.wake();
    });
  }

  get version(): OfpVersion {
    return this.vconn.version!;
  }
  private push(item: { message: OfMessage; xid: number; raw: Uint8Array; bad: string | null }): void {
    if (item.message.type === 'echo_request')
      this.vconn.send({ type: 'echo_reply', data: item.message.data }, item.xid);
    this.queue.push(item);
    this.wake();
  }
  private wake(): void {
    const waiter = this.waiter;
    this.waiter = null;
    waiter?.();
  }

  /** The next message of any kind; null when the connection has ended. */
  async next(): Promise<{ message: OfMessage; xid: number; raw: Uint8Array; bad: string | null } | null> {
    for (;;) {
      const item = this.queue.shift();
      if (item !== undefined) return item;
      if (this.closed !== undefined) return null;
      await new Promise<void>((resolve) => {
        this.waiter = resolve;
      });
    }
  }

  send(message: OfMessage): number {
    return this.vconn.send(message);
  }
  nextXid(): number {
    return this.vconn.xid();
  }

  /** The reply to `xid`; other messages pass by. */
  async reply(xid: number): Promise<{ message: OfMessage; raw: Uint8Array; bad: string | null }> {
    for (;;) {
      const item = await this.next();
      if (item === null) return fatal(`talking to ${this.vconn.name} (${this.closed ?? 'End of file'})`);
      if (item.xid === xid) return item;
      log.dbg(`received reply with xid ${item.xid} != expected ${xid}`);
    }
  }

  async transact(message: OfMessage): Promise<{ message: OfMessage; raw: Uint8Array; bad: string | null }> {
    return this.reply(this.send(message));
  }

  /** Every part of a reply. An error or something else is printed, and ends the program. */
  async collect<T extends OfMessageType>(request: OfMessage, type: T): Promise<OfMessageOf<T>[]> {
    const xid = this.send(request);
    const parts: OfMessageOf<T>[] = [];
    for (;;) {
      const { message, raw } = await this.reply(xid);
      if (message.type !== type) {
        writeAll(2, formatBytes(raw, settings.verbosity + 1));
        process.exit(1);
      }
      // The type has just been compared.
      const part = message as unknown as OfMessageOf<T> & { more?: boolean };
      parts.push(part);
      if (part.more !== true) return parts;
    }
  }

  /** Sends requests that have no reply unless they fail; the first error is printed, and ends the program. */
  async transactNoreply(messages: Iterable<OfMessage>): Promise<void> {
    // Many are under way at once; a barrier after every window bounds what waits in sockets.
    const iterator = messages[Symbol.iterator]();
    for (let done = false; !done; ) {
      let count = 0;
      for (; count < NOREPLY_WINDOW; count++) {
        const next = iterator.next();
        if (next.done === true) {
          done = true;
          break;
        }
        this.send(next.value);
      }
      if (count === 0) break;
      await this.barrier((raw) => {
        writeAll(2, formatBytes(raw, settings.verbosity + 1));
        process.exit(1);
      });
    }
  }

  /** Waits until the switch has done all so far. Errors go to `onError`, other messages wait for `next`. */
  async barrier(onError: (raw: Uint8Array) => void): Promise<void> {
    const xid = this.send({ type: 'barrier_request' });
    const others = [];
    for (;;) {
      const item = await this.next();
      if (item === null) return fatal(`talking to ${this.vconn.name} (${this.closed ?? 'End of file'})`);
      if (item.message.type === 'error') onError(item.raw);
      if (item.xid === xid) break;
      if (item.message.type !== 'error') others.push(item);
    }
    this.queue.unshift(...others);
  }

  close(): void {
    this.vconn.close();
  }
}
const NOREPLY_WINDOW = 512;

/** Connects with the versions that were allowed. */
export async function connect(
  name: string,
  suffix: 'mgmt' | 'snoop' = 'mgmt',
  versions = settings.versions,
): Promise<Connection> {
  const c = await tryConnect(name, suffix, versions);
  return typeof c === 'string' ? fatal(c) : c;
}

/** The connection, or why there is none. */
export async function tryConnect(
  name: string,
  suffix: 'mgmt' | 'snoop' = 'mgmt',
  versions = settings.versions,
): Promise<Connection | string> {
  const target = targetOf(name, suffix);
  let vconn: Vconn;
  try {
    vconn = new Vconn(await connectStream(withDefaultPort(target)), versions, target);
  } catch (error) {
    return `connecting to ${name} (${(error as Error).message})`;
  }
  try {
    await vconn.connected();
  } catch (error) {
    return `${name}: failed to connect to socket (${(error as Error).message})`;
  }
  return new Connection(vconn);
}

/** What `--format=json` prints when the command is done: all its replies in one document. */
const jsonDocument: Record<string, Json> = {};

/** Adds a reply to the document. What is none ends the program, as a dump that failed is no document. */
export function addJson(c: Connection, message: OfMessage, raw: Uint8Array, names?: Names): void {
  const part = messageJson(message, c.version, names);
  if (part === null) {
    writeAll(2, formatBytes(raw, settings.verbosity + 1));
    process.exit(1);
  }
  mergeDocument(part);
}

export const mergeDocument = (part: JsonObject): void => mergeJson(jsonDocument, part);

/** `--pretty` indents by two, as `ovs-appctl` does. */
export function printJson(value: Json = jsonDocument): void {
  print(`${JSON.stringify(value, null, settings.pretty ? 2 : 0)}\n`);
}

/** Prints a message as it came. */
export function show(raw: Uint8Array, extra = 0, names?: Names): void {
  print(formatBytes(raw, settings.verbosity + extra, { names }));
}
/** Sends a request and prints all of its reply. */
export async function dump(
  name: string,
  request: OfMessage | ((c: Connection) => OfMessage),
  names?: Names,
): Promise<void> {
  const c = await connect(name);
  await dumpOn(c, typeof request === 'function' ? request(c) : request, names);
  c.close();
}

export async function dumpOn(c: Connection, request: OfMessage, names?: Names): Promise<void> {
  const isStats = request.type.endsWith('_request');
  const xid = c.send(request);
  for (;;) {
    const item = await c.reply(xid);
    if (settings.format === 'json') addJson(c, item.message, item.raw, names);
    else if (item.message.type === 'error') {
      print(formatBytes(item.raw, settings.verbosity + 1));
      c.close();
      return;
    }
    // The one reply that may be very long is not decoded a second time.
    else if (item.message.type === 'flow_stats_reply' && item.bad === null && settings.verbosity < 2)
      print(formatMessage(item.message, c.version, xid, settings.verbosity + 1, { names }));
    else show(item.raw, 1, names);
    if (!isStats || !('more' in item.message) || item.message.more !== true) return;
  }
}

const showNames = (): boolean => settings.names ?? process.stdout.isTTY === true;

export async function portsOf(c: Connection): Promise<PhyPort[]> {
  if (c.version <= 3) {
    const features = (await c.collect({ type: 'features_request' }, 'features_reply'))[0];
    // A switch with many ports leaves them out of the features.
    if (c.version > 1 || features.ports.length > 0) return [...features.ports];
  }
  const parts = await c.collect({ type: 'port_desc_request', portNo: OFPP.NONE }, 'port_desc_reply');
  return parts.flatMap((p) => [...p.ports]);
}

async function tablesOf(c: Connection): Promise<Map<number, string>> {
  const tables = new Map<number, string>();
  if (c.version >= 4) {
    for (const part of await c.collect({ type: 'table_features_request', tables: [] }, 'table_features_reply'))
      for (const t of part.tables) if (t.name !== '') tables.set(t.table, t.name);
  } else {
    for (const part of await c.collect({ type: 'table_stats_request' }, 'table_stats_reply'))
      for (const t of part.tables) if (t.name !== '') tables.set(t.table, t.name);
  }
  // Tables whose name is only their number's are nameless.
  for (const [n, name] of tables) if (name === `table${n}`) tables.delete(n);
  return tables;
}

/** Names of a switch's ports and tables, each fetched over a connection of its own. */
export async function namesOf(target: string): Promise<Names> {
  const tableConnection = await connect(target);
  const tables = await tablesOf(tableConnection);
  tableConnection.close();
  const portConnection = await connect(target);
  const ports = await portsOf(portConnection);
  portConnection.close();
  const byNumber = new Map(ports.map((p) => [p.portNo, p.name]));
  const counts = new Map<string, number>();
  for (const p of ports) counts.set(p.name, (counts.get(p.name) ?? 0) + 1);
  return {
    port: (port) => byNumber.get(port),
    portByName: (name) => (counts.get(name) === 1 ? ports.find((p) => p.name === name)?.portNo : undefined),
    table: (table) => tables.get(table),
    tableByName: (name) => [...tables].find(([, n]) => n === name)?.[0],
  };
}

/** For what a user types: names count unless turned off. */
export async function namesToAccept(target: string): Promise<Names | undefined> {
  return settings.names === false ? undefined : namesOf(target);
}
/** For what is printed: names only when asked for, or on a terminal. */
export async function namesToShow(target: string): Promise<Names | undefined> {
  return showNames() ? namesOf(target) : undefined;
}
export const willShowNames = showNames;

/** The flow formats that a version of the connection has. */
export function protocolsOfVersion(version: number): number {
  return [0, PROTOCOLS.OpenFlow10 | PROTOCOLS.NXM, 4, 8, 16, 32, 64][version];
}
export function versionsOfProtocols(protocols: number): number {
  let versions = 0;
  for (let v = 1; v <= 6; v++) if (protocolsOfVersion(v) & protocols) versions |= 1 << v;
  return versions;
}

/** Sets the flow format on an OpenFlow 1.0 connection, if the switch takes it. */
async function trySetFormat(c: Connection, format: 'nxm' | 'openflow10'): Promise<boolean> {
  c.send({ type: 'nx_set_flow_format', format });
  let ok = true;
  await c.barrier(() => {
    ok = false;
  });
  return ok;
}

/** Lets flow_mods name their table on an OpenFlow 1.0 connection, if the switch takes it. */
async function trySetTableId(c: Connection): Promise<boolean> {
  c.send({ type: 'nx_flow_mod_table_id', set: true });
  let ok = true;
  await c.barrier(() => {
    ok = false;
  });
  return ok;
}

/**
 * Opens a connection over which these flows can be sent, in the first format that is allowed, usable and supported. `hasTable` says that
 * some flow names its table, which OpenFlow 1.0 has to be asked for.
 */
export async function connectForFlowMods(target: string, usable: number, hasTable = false): Promise<Connection> {
  const allowed = settings.protocols;
  if ((usable & allowed) === 0)
    fatal(
      `none of the usable flow formats (${formatProtocols(usable, hasTable)}) is among the allowed flow formats (${formatProtocols(allowed)})`,
    );
  const c = await connect(target);
  const isOld = c.version === 1;
  const current = isOld ? PROTOCOLS.OpenFlow10 : protocolsOfVersion(c.version);
  if (usable & allowed & current) {
    if (!isOld || !hasTable || (await trySetTableId(c))) return c;
  } else if (isOld && usable & allowed & PROTOCOLS.NXM && (await trySetFormat(c, 'nxm'))) {
    if (!hasTable || (await trySetTableId(c))) return c;
  }
  return fatal(`switch does not support any of the usable flow formats (${formatProtocols(usable, hasTable)})`);
}

/** Readies a connection to ask for flows in the richest format. */
export async function prepareFlowDump(c: Connection, usable: number): Promise<void> {
  if ((usable & settings.protocols) === 0)
    fatal(`switch does not support any of the usable flow formats (${formatProtocols(usable)})`);
  if (c.version !== 1) return;
  if (settings.protocols & usable & PROTOCOLS.NXM && (await trySetFormat(c, 'nxm'))) return;
  if ((settings.protocols & usable & PROTOCOLS.OpenFlow10) === 0)
    fatal('switch does not support any of the usable flow formats (NXM)');
}
