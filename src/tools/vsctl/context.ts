/**
 * What the commands of one `ovs-vsctl` run share: the transaction they build, its view of the database, and the index of
 * bridges, ports and interfaces by name, fake bridges included.
 *
 * A "fake bridge" is a port with `fake_bridge` set and a VLAN `tag`: it and the ports of that bridge with the same tag
 * look like a bridge of their own (ovs-vsctl(8), "Linux VLAN Bridging Compatibility").
 */

import type { Table } from '../../base/table.ts';
import { vlog } from '../../base/vlog.ts';
import type { Idl, Row, RowView, Transaction } from '../../ovsdb/idl.ts';
import { newUuid, type Uuid } from '../../ovsdb/types.ts';

import { target } from './target.ts';

const log = vlog('vsctl');

/** A command cannot do what was asked; `ovs-vsctl` prints the message and exits with 1. */
export class CommandError extends Error {}

/** The database is not yet as a command needs it (`wait-until`); the run starts over when it changes. */
export class NotYet extends Error {}

export interface Bridge {
  readonly name: string;
  /** The row of the real bridge. */
  readonly row: Row;
  /** Of a fake bridge; else null. */
  readonly parent: Bridge | null;
  readonly vlan: number;
  /** The `Port` row that makes a fake bridge. */
  readonly port: Row | null;
  /** Fake bridges by VLAN. */
  readonly children: Map<number, Bridge>;
  readonly ports: Port[];
}

export interface Port {
  readonly name: string;
  readonly row: Row;
  readonly bridge: Bridge;
  readonly ifaces: Iface[];
}

export interface Iface {
  readonly name: string;
  readonly row: Row;
  readonly port: Port;
}

interface Symbol {
  readonly uuid: Uuid;
  created: boolean;
  referenced: boolean;
  stronglyReferenced: boolean;
}

export class Context {
  readonly idl: Idl;
  readonly txn: Transaction;
  /** Of the command that runs now, as are the four below. */
  commandName = '';
  args: readonly string[] = [];
  options: ReadonlyMap<string, string | null> = new Map();
  output = '';
  table: Table | null = null;
  /** Names given by `--id=@name`. */
  readonly symbols = new Map<string, Symbol>();
  private index: Index | null = null;

  constructor(idl: Idl, txn: Transaction) {
    this.idl = idl;
    this.txn = txn;
  }

  has(option: string): boolean {
    return this.options.has(option);
  }

  print(line: string): void {
    this.output += line + '\n';
  }

  view(row: Row): RowView {
    return this.txn.view(row);
  }

  rows(table: string): Row[] {
    return [...this.txn.rows(this.idl.table(table))];
  }

  /** The row of the `Open_vSwitch` table (or whichever is the root), made if there is none. */
  openVswitch(): Row {
    const { rootTable } = target();
    return this.rows(rootTable)[0] ?? this.txn.insert(this.idl.table(rootTable));
  }

  /** Rows that the transaction makes. */
  get insertedRows(): Iterable<Row> {
    return this.txn.insertedRows();
  }

  symbol(name: string): Symbol {
    let symbol = this.symbols.get(name);
    if (symbol === undefined) {
      symbol = { uuid: newUuid(), created: false, referenced: false, stronglyReferenced: false };
      this.symbols.set(name, symbol);
    }
    return symbol;
  }

  /** Bridges, ports and interfaces by name, as the transaction has them now. */
  get all(): Index {
    this.index ??= this.buildIndex();
    return this.index;
  }

  /** To be called by commands that changed what `all` shows. */
  invalidate(): void {
    this.index = null;
  }

  findBridge(name: string, mustExist: true): Bridge;
  findBridge(name: string, mustExist: boolean): Bridge | null;
  findBridge(name: string, mustExist: boolean): Bridge | null {
    const bridge = this.all.bridges.get(name) ?? null;
    if (bridge === null && mustExist) throw new CommandError(`no bridge named ${name}`);
    if (bridge !== null) this.txn.verify(this.openVswitch(), 'bridges');
    return bridge;
  }

  findRealBridge(name: string): Bridge {
    const bridge = this.findBridge(name, true);
    if (bridge.parent !== null) throw new CommandError(`${name} is a fake bridge`);
    return bridge;
  }

  /** Not the local ports of bridges, nor the ports that stand for fake bridges. */
  findPort(name: string, mustExist: true): Port;
  findPort(name: string, mustExist: boolean): Port | null;
  findPort(name: string, mustExist: boolean): Port | null {
    const port = this.all.ports.get(name) ?? null;
    const isBridge = port !== null && this.all.bridges.has(name);
    if ((port === null || isBridge) && mustExist) throw new CommandError(`no port named ${name}`);
    if (port !== null) this.txn.verify(port.bridge.row, 'ports');
    return port;
  }

  findIface(name: string, mustExist: true): Iface;
  findIface(name: string, mustExist: boolean): Iface | null;
  findIface(name: string, mustExist: boolean): Iface | null {
    const iface = this.all.ifaces.get(name) ?? null;
    const isBridge = iface !== null && this.all.bridges.has(name);
    if ((iface === null || isBridge) && mustExist) throw new CommandError(`no interface named ${name}`);
    if (iface !== null) this.txn.verify(iface.port.row, 'interfaces');
    return iface;
  }

  /** Refuses a name that a bridge, port or interface has. `what` begins the message. */
  checkConflicts(name: string, what: string): void {
    const { bridges, ports, ifaces } = this.all;
    this.txn.verify(this.openVswitch(), 'bridges');
    if (bridges.has(name)) throw new CommandError(`${what} because a bridge named ${name} already exists`);
    const port = ports.get(name);
    if (port !== undefined) {
      throw new CommandError(`${what} because a port named ${name} already exists on bridge ${port.bridge.name}`);
    }
    const iface = ifaces.get(name);
    if (iface !== undefined) {
      throw new CommandError(
        `${what} because an interface named ${name} already exists on bridge ${iface.port.bridge.name}`,
      );
    }
  }

  private buildIndex(): Index {
    const index: Index = { bridges: new Map(), ports: new Map(), ifaces: new Map() };
    const real: Bridge[] = [];
    for (const row of this.view(this.openVswitch()).refs('bridges')) {
      const name = this.view(row).string('name');
      if (index.bridges.has(name)) {
        log.warn(`${name}: database contains duplicate bridge name`);
        continue;
      }
      const bridge: Bridge = { name, row, parent: null, vlan: 0, port: null, children: new Map(), ports: [] };
      index.bridges.set(name, bridge);
      real.push(bridge);
    }
    for (const bridge of real) this.indexFakeBridges(index, bridge);
    for (const bridge of real) this.indexPorts(index, bridge);
    return index;
  }

  private indexFakeBridges(index: Index, parent: Bridge): void {
    for (const port of this.view(parent.row).refs('ports')) {
      const view = this.view(port);
      const vlan = view.integer('tag');
      if (!view.boolean('fake_bridge') || vlan === null || vlan > 4095) continue;
      const name = view.string('name');
      if (index.bridges.has(name)) {
        log.warn(`${name}: database contains duplicate bridge name`);
        continue;
      }
      const other = parent.children.get(vlan);
      if (other !== undefined) {
        log.warn(
          `${parent.name}: bridge has multiple VLAN bridges (${other.name} and ${name}) for VLAN ${vlan}, but only one is allowed`,
        );
        continue;
      }
      const bridge: Bridge = { name, row: parent.row, parent, vlan, port, children: new Map(), ports: [] };
      parent.children.set(vlan, bridge);
      index.bridges.set(name, bridge);
    }
  }

  private indexPorts(index: Index, real: Bridge): void {
    for (const row of this.view(real.row).refs('ports')) {
      const view = this.view(row);
      const name = view.string('name');
      const other = index.ports.get(name);
      if (other !== undefined) {
        log.warn(
          other.row === row
            ? `${name}: port is in multiple bridges (${real.name} and ${other.bridge.name})`
            : `${name}: database contains duplicate port name`,
        );
        continue;
      }
      const isLocalOfFake = view.boolean('fake_bridge') && index.bridges.get(name)?.port === row;
      const tag = view.integer('tag');
      const bridge = isLocalOfFake ? real : ((tag === null ? undefined : real.children.get(tag)) ?? real);
      const port: Port = { name, row, bridge, ifaces: [] };
      index.ports.set(name, port);
      if (!isLocalOfFake) bridge.ports.push(port);
      for (const iface of view.refs('interfaces')) {
        const ifaceName = this.view(iface).string('name');
        const before = index.ifaces.get(ifaceName);
        if (before !== undefined) {
          log.warn(
            before.row === iface
              ? `${ifaceName}: interface is in multiple ports (${name} and ${before.port.name})`
              : `${ifaceName}: database contains duplicate interface name`,
          );
          continue;
        }
        const entry: Iface = { name: ifaceName, row: iface, port };
        index.ifaces.set(ifaceName, entry);
        port.ifaces.push(entry);
      }
    }
  }
}

export interface Index {
  readonly bridges: Map<string, Bridge>;
  readonly ports: Map<string, Port>;
  readonly ifaces: Map<string, Iface>;
}

/** The order of `svec_sort`: bytes. */
export function sortedNames(names: Iterable<string>): string[] {
  return [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
