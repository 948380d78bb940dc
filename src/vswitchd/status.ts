/** What the switch writes into the database about itself: states, counters, errors. Each column is written only when it differs. */

import type { ControllerStatus, StatusColumns } from '../ofproto/ofproto.ts';
import type { Row, Transaction, Value } from '../ovsdb/idl.ts';
import type { Bridge } from './bridge.ts';
import { formatMac } from './config.ts';
import type { Interface } from './interface.ts';

/** Writes a column, if the database has it: an older one may not. */
export function write(txn: Transaction, row: Row, column: string, value: Value): void {
  if (row.table.monitored.has(column)) txn.set(row, column, value);
}

export function writeBridgeStatus(txn: Transaction, bridge: Bridge): void {
  const { row } = bridge.spec;
  if (row.isDeleted) return;
  write(txn, row, 'datapath_id', bridge.datapathId.toString(16).padStart(16, '0'));
  write(txn, row, 'datapath_version', '<built-in>');
  for (const iface of bridge.interfaces.values()) writeInterfaceStatus(txn, bridge, iface);
  writeProtocolStatus(txn, bridge);
  for (const { row: port, name } of bridge.spec.ports) {
    const active = port && !port.isDeleted ? bridge.ofproto.bondActiveMac(name) : null;
    if (port && active) write(txn, port, 'bond_active_slave', formatMac(active));
  }
}

/** What the protocols that the bridge speaks report. */
export function writeProtocolStatus(txn: Transaction, bridge: Bridge): void {
  const { row } = bridge.spec;
  if (row.isDeleted) return;
  const put = (to: Row, columns: StatusColumns): void => {
    for (const [column, value] of Object.entries(columns)) {
      write(txn, to, column, value instanceof Map ? (new Map(value) as Value) : (value as Value));
    }
  };
  put(row, bridge.ofproto.bridgeStatus());
  bridge.autoAttachTrunks.write(txn, (name) => {
    const port = bridge.spec.ports.find((one) => one.name === name)?.row ?? null;
    return port?.isDeleted ? null : port;
  });
  for (const { row: port, name } of bridge.spec.ports)
    if (port && !port.isDeleted) put(port, bridge.ofproto.bundleStatus(name));
  for (const { ofport, spec } of bridge.interfaces.values())
    if (ofport !== null && spec.row && !spec.row.isDeleted) put(spec.row, bridge.ofproto.interfaceStatus(ofport));
}

/** Everything of an interface but counters. */
function writeInterfaceStatus(txn: Transaction, bridge: Bridge, iface: Interface): void {
  const { row } = iface.spec;
  if (row === null || row.isDeleted) return;
  const { netdev } = iface;
  if (netdev === null || iface.ofport === null) {
    write(txn, row, 'ofport', -1);
    write(txn, row, 'error', iface.error);
    for (const column of [
      'mac_in_use',
      'ifindex',
      'status',
      'admin_state',
      'link_state',
      'link_resets',
      'link_speed',
    ]) {
      write(txn, row, column, null);
    }
    for (const column of ['duplex', 'mtu', 'statistics', 'lacp_current']) write(txn, row, column, null);
    return;
  }
  const features = netdev.features();
  const isPatch = netdev.type === 'patch';
  write(txn, row, 'ofport', iface.ofport);
  write(txn, row, 'error', iface.error ?? patchError(bridge, iface));
  write(txn, row, 'mac_in_use', formatMac(netdev.mac()));
  write(txn, row, 'ifindex', netdev.ifindex());
  write(txn, row, 'status', isPatch ? null : new Map(netdev.status()));
  write(txn, row, 'admin_state', netdev.isUp() ? 'up' : 'down');
  write(txn, row, 'link_state', netdev.carrier() ? 'up' : 'down');
  write(txn, row, 'link_resets', netdev.linkResets());
  write(txn, row, 'link_speed', features.speedMbps === null ? null : features.speedMbps * 1_000_000);
  write(txn, row, 'lacp_current', bridge.ofproto.lacpCurrent(iface.ofport));
  write(txn, row, 'duplex', features.fullDuplex === null ? null : features.fullDuplex ? 'full' : 'half');
  write(txn, row, 'mtu', isPatch ? null : netdev.mtu());
}

let peerExists: (bridge: Bridge, iface: Interface) => boolean = () => true;

/** How to find out whether a patch port's other end is there; the switch knows all bridges. */
export function setPeerCheck(check: (bridge: Bridge, iface: Interface) => boolean): void {
  peerExists = check;
}

function patchError(bridge: Bridge, iface: Interface): string | null {
  if (iface.spec.type !== 'patch' || peerExists(bridge, iface)) return null;
  const peer = iface.spec.options.get('peer') ?? '';
  return `No usable peer '${peer}' exists in '${bridge.ofproto.type}' datapath.`;
}

/** `Interface.statistics`. */
export function writeStatistics(txn: Transaction, bridge: Bridge): void {
  for (const iface of bridge.interfaces.values()) {
    const { row } = iface.spec;
    if (row === null || row.isDeleted || iface.netdev === null || iface.ofport === null) continue;
    write(txn, row, 'statistics', statistics(bridge, iface));
  }
}

function statistics(bridge: Bridge, iface: Interface): Map<string, number> {
  const { netdev, ofport } = iface;
  const virtual = ofport === null ? null : bridge.ofproto.virtualPortStats(ofport);
  if (virtual !== null) {
    return new Map([
      ['rx_packets', virtual.rxPackets],
      ['tx_packets', virtual.txPackets],
      ['rx_bytes', virtual.rxBytes],
      ['tx_bytes', virtual.txBytes],
    ]);
  }
  const map = new Map<string, number>();
  for (const [name, value] of Object.entries(netdev?.stats() ?? {})) {
    if (typeof value === 'number' && !NOT_KEPT.has(name)) map.set(DATABASE_NAMES[name] ?? name, value);
  }
  for (const [name, value] of netdev?.customStats?.() ?? []) map.set(name, value);
  return map;
}

/** Where the database's word for a counter is not Linux's. */
const DATABASE_NAMES: Readonly<Record<string, string>> = {
  multicast: 'rx_multicast_packets',
  rx_over_errors: 'rx_over_err',
  rx_crc_errors: 'rx_crc_err',
  rx_frame_errors: 'rx_frame_err',
};

/** Counters of Linux for which the database has no word. */
const NOT_KEPT: ReadonlySet<string> = new Set(['rx_length_errors', 'rx_fifo_errors']);

/** Counters of mirrors. */
export function writeMirrors(txn: Transaction, bridge: Bridge): void {
  for (const { row } of bridge.spec.mirrors) {
    if (row.isDeleted) continue;
    const stats = bridge.ofproto.mirrorStats(row.uuid);
    if (!stats) continue;
    write(
      txn,
      row,
      'statistics',
      new Map([
        ['tx_packets', stats.packets],
        ['tx_bytes', stats.bytes],
      ]),
    );
  }
}

/** `Controller` rows of a bridge; `full` also writes what changes every second. */
export function writeControllers(txn: Transaction, bridge: Bridge, full: boolean): void {
  const byTarget = new Map(bridge.ofproto.controllerStatus().map((status) => [status.target, status]));
  for (const row of bridge.spec.controllerRows) {
    if (row.isDeleted) continue;
    const status = byTarget.get(row.string('target'));
    if (status === undefined) {
      write(txn, row, 'is_connected', false);
      write(txn, row, 'role', null);
      write(txn, row, 'status', null);
    } else if (full || changed(row, status)) {
      write(txn, row, 'is_connected', status.isConnected);
      write(txn, row, 'role', status.isConnected ? status.role : null);
      write(txn, row, 'status', new Map(status.status));
    }
  }
}

function changed(row: Row, status: ControllerStatus): boolean {
  return (
    row.boolean('is_connected') !== status.isConnected || (status.isConnected && row.string('role') !== status.role)
  );
}
