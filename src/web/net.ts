/** Bridges, ports, controllers as the topology draws them, from the database. */
import type { Idl, Row } from '../ovsdb/idl.ts';
import type { NetBridge, NetController, NetData, NetInterface, NetPort } from './api.ts';

export function netData(idl: Idl): NetData {
  if (!idl.hasTable('Bridge')) return { bridges: [], managers: [] };
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  const bridges = [...idl.table('Bridge').rows()].map(bridgeOf).sort(byName);
  const managers = [...idl.table('Manager').rows()].map(controllerOf);
  return { bridges, managers };
}

function bridgeOf(row: Row): NetBridge {
  const ports = row.refs('ports').map(portOf);
  return {
    uuid: row.uuid,
    name: row.string('name'),
    datapathType: row.string('datapath_type') || 'system',
    datapathId: row.string('datapath_id'),
    failMode: row.string('fail_mode') || 'standalone',
    controllers: row.refs('controller').map(controllerOf),
    ports: ports.sort((a, b) => (a.interfaces[0]?.ofport ?? 0xffff) - (b.interfaces[0]?.ofport ?? 0xffff)),
  };
}

function controllerOf(row: Row): NetController {
  const columns = row.table.schema.columnByName;
  return {
    uuid: row.uuid,
    target: row.string('target'),
    isConnected: row.boolean('is_connected'),
    role: columns.has('role') ? row.string('role') : '',
    status: Object.fromEntries(row.map('status')),
  };
}

function portOf(row: Row): NetPort {
  return {
    uuid: row.uuid,
    name: row.string('name'),
    tag: row.integer('tag'),
    trunks: row.integers('trunks'),
    bondMode: row.string('bond_mode'),
    interfaces: row.refs('interfaces').map(interfaceOf),
  };
}

function interfaceOf(row: Row): NetInterface {
  return {
    uuid: row.uuid,
    name: row.string('name'),
    type: row.string('type') || 'system',
    ofport: row.integer('ofport'),
    link: row.string('link_state'),
    admin: row.string('admin_state'),
    error: row.string('error'),
    mac: row.string('mac_in_use'),
    mtu: row.integer('mtu'),
    speed: row.integer('link_speed'),
    options: Object.fromEntries(row.map('options')),
  };
}
