import { defaultDatum } from '../../src/ovsdb/datum.ts';
import { type Row, RowView } from '../../src/ovsdb/idl-replica.ts';
import { type DatabaseSchema, schemaFromJson } from '../../src/ovsdb/schema.ts';
import type { Datum } from '../../src/ovsdb/types.ts';
import { vswitchSchemaJson } from '../../src/ovsdb/vswitch-schema.ts';
import { readSwitch } from '../../src/vswitchd/config.ts';
import { SWITCH_TABLES } from '../../src/vswitchd/tables.ts';
import { code, sources, table, yes } from './text.ts';

/** A row that remembers what it was asked for; every reference leads to another such row. */
class AskedRow extends RowView {
  private readonly tableName: string;
  private readonly asked: Asked;

  constructor(tableName: string, asked: Asked) {
    super();
    this.tableName = tableName;
    this.asked = asked;
  }

  get(column: string): Datum {
    const { type } = this.columnSchema(column);
    this.asked.columns.add(`${this.tableName}.${column}`);
    if (column === 'vlan_mode') return { keys: [this.asked.vlanMode], values: null };
    if (type.value?.refTable) return { keys: [0], values: ['x'] };
    return type.key.refTable ? { keys: ['x'], values: null } : defaultDatum(type);
  }

  override map(column: string): Map<string, string> {
    const { asked, tableName } = this;
    const map = super.map(column);
    map.get = (key) => {
      asked.keys.add(`${tableName}.${column}:${key}`);
      return undefined;
    };
    return map;
  }

  rowsOf(table: string): Row[] {
    return [this.lookUp(table)];
  }

  protected lookUp(table: string): Row {
    return new AskedRow(table, this.asked) as unknown as Row;
  }

  protected columnSchema(column: string) {
    const found = this.asked.schema.tables.get(this.tableName)?.columnByName.get(column);
    if (!found) throw new Error(`${this.tableName} has no column ${column}`);
    return found;
  }
}

export interface Asked {
  readonly schema: DatabaseSchema;
  /** Decides which other columns are asked for. */
  vlanMode: string;
  readonly columns: Set<string>;
  readonly keys: Set<string>;
}

/** What the switch asks its database for. */
export function askDatabase(): Asked {
  const schema = schemaFromJson(vswitchSchemaJson() as never);
  const asked: Asked = { schema, vlanMode: '', columns: new Set(), keys: new Set() };
  for (asked.vlanMode of ['access', 'trunk', 'dot1q-tunnel']) {
    readSwitch(new AskedRow('Open_vSwitch', asked) as unknown as Row);
  }
  // Handed on whole, and read by those they concern.
  const datapath = sources('src/ofproto/backer.ts', 'src/dpif/netdev.ts', 'src/dpif/pmd-config.ts');
  for (const [, key] of datapath.matchAll(/(?:config\.get\(|number\((?:config, )?)'([a-z-]+)'/g)) {
    asked.keys.add(`Open_vSwitch.other_config:${key}`);
  }
  const devices = sources('src/netdev/*.ts');
  for (const [, key] of devices.matchAll(/options\.get\('([a-z_-]+)'\)/g)) asked.keys.add(`Interface.options:${key}`);
  asked.columns.add('Interface.options');
  for (const column of IGNORED) asked.columns.delete(column);
  return asked;
}

/** What of the database only its server heeds, when told to listen to `db:Open_vSwitch,Open_vSwitch,manager_options`. */
function serverDoes(tableName: string, column: string): string[] {
  if (tableName === 'Open_vSwitch' && column === 'manager_options') return ['database server acts on'];
  if (tableName !== 'Manager') return [];
  const source = sources('src/ovsdb/db-remotes.ts');
  if (new RegExp(`(?:first|number)\\('${column}'\\)`).test(source)) return ['database server acts on'];
  return source.includes(`  set('${column}', `) ? ['database server writes'] : [];
}

export function database(asked: Asked): string {
  const { schema } = asked;
  const status = sources('src/vswitchd/status.ts', 'src/vswitchd/switch.ts');

  const tables = [...schema.tables.values()].map(({ name, columns }) => {
    const lines = columns.map(({ name: column }) => {
      const keys = [...asked.keys].filter((k) => k.startsWith(`${name}.${column}:`)).map((k) => k.split(':')[1]);
      const isRead = asked.columns.has(`${name}.${column}`);
      const isOurs = SWITCH_TABLES[name]?.includes(column) ?? false;
      const isWritten = isOurs && writesColumn(status, name, column);
      const does = [isRead ? 'acts on' : '', isWritten ? 'writes' : '', ...serverDoes(name, column)]
        .filter((x) => x !== '')
        .join(', ');
      return [code(column), does === '' ? 'stores only' : does, keys.sort().map(code).join(', ')];
    });
    return `### ${name}\n\n${table(['column', 'the switch', 'keys it knows'], lines)}`;
  });
  return `## Database

Schema \`${schema.name}\` ${schema.version}. The database keeps every column, and \`ovs-vsctl\` reads and changes it; this says what the switch does with it.

${tables.join('\n\n')}`;
}

/** Read, but only to warn that it does nothing or for what is to come. */
const IGNORED: ReadonlySet<string> = new Set(['Port.lacp', 'Bridge.stp_enable', 'Bridge.rstp_enable']);

/** Which function of the switch writes a table's status. */
const WRITERS: Readonly<Record<string, string>> = {
  Open_vSwitch: 'writeSwitch|writeAll',
  Bridge: 'writeBridgeStatus',
  Interface: 'writeInterfaceStatus|writeStatistics',
  Controller: 'writeControllers',
};

function writesColumn(source: string, tableName: string, column: string): boolean {
  const writers = WRITERS[tableName];
  if (writers === undefined) return false;
  const whole = new RegExp(`(?:function|private async|private) (?:${writers})\\(.*?\\n {0,2}}\\n`, 'gs');
  const bodies = [...source.matchAll(whole)].map((m) => m[0]).join('\n');
  // Set by name, named in a list of what is set, or a property of one.
  return new RegExp(`(?:\\.set\\(|write\\(txn, )[\\w.]+, '${column}'|[[ ]'${column}'[,\\]]|^ {6}${column}: `, 'm').test(
    bodies,
  );
}

/** What the database turns on, by the column or the key that does it: a feature is here when that is asked for. */
const FEATURES: readonly (readonly [feature: string, by: string])[] = [
  ['access and trunk VLANs', 'Port.tag'],
  ['native-tagged and native-untagged VLANs', 'Port.vlan_mode'],
  ['trunks that carry some VLANs only', 'Port.trunks'],
  ['QinQ (`dot1q-tunnel`)', 'Port.cvlans'],
  ['priority tags', 'Port.other_config:priority-tags'],
  ['protected ports', 'Port.protected'],
  ['VLANs without learning', 'Bridge.flood_vlans'],
  ['MAC learning: aging time', 'Bridge.other_config:mac-aging-time'],
  ['MAC learning: table size', 'Bridge.other_config:mac-table-size'],
  ['forwarding of reserved addresses', 'Bridge.other_config:forward-bpdu'],
  ['standalone and secure', 'Bridge.fail_mode'],
  ['controllers in band', 'Controller.connection_mode'],
  ['limits of packet-ins', 'Controller.controller_rate_limit'],
  ['flow table limits and eviction', 'Flow_Table.flow_limit'],
  ['flow table prefixes', 'Flow_Table.prefixes'],
  ['patch ports', 'Interface.options:peer'],
  ['requested port numbers', 'Interface.ofport_request'],
  ['requested MTU', 'Interface.mtu_request'],
  ['CPUs for PMD threads', 'Open_vSwitch.other_config:pmd-cpu-mask'],
  ['exact match cache insertion', 'Open_vSwitch.other_config:emc-insert-inv-prob'],
  ['signature match cache', 'Open_vSwitch.other_config:smc-enable'],
  ['megaflow limits', 'Open_vSwitch.other_config:flow-limit'],
  ['TCP segmentation offload in user space', 'Open_vSwitch.other_config:userspace-tso-enable'],
  ['flow hardware offload', 'Open_vSwitch.other_config:hw-offload'],
  ['restoring flows (`flow-restore-wait`)', 'Open_vSwitch.other_config:flow-restore-wait'],
  ['bonds', 'Port.bond_mode'],
  ['LACP', 'Port.lacp'],
  ['mirrors', 'Bridge.mirrors'],
  ['multicast snooping', 'Bridge.mcast_snooping_enable'],
  ['STP', 'Bridge.stp_enable'],
  ['RSTP', 'Bridge.rstp_enable'],
  ['QoS and queues', 'Port.qos'],
  ['ingress policing', 'Interface.ingress_policing_rate'],
  ['BFD', 'Interface.bfd'],
  ['CFM', 'Interface.cfm_mpid'],
  ['LLDP', 'Interface.lldp'],
  ['auto-attach', 'Bridge.auto_attach'],
  ['NetFlow', 'Bridge.netflow'],
  ['sFlow', 'Bridge.sflow'],
  ['IPFIX', 'Bridge.ipfix'],
  ['conntrack zones and time-outs', 'Open_vSwitch.datapaths'],
  ['managers', 'Open_vSwitch.manager_options'],
];

export function features(asked: Asked): string {
  const has = (by: string): boolean =>
    asked.columns.has(by) || asked.keys.has(by) || serverDoes(...(by.split('.') as [string, string])).length > 0;
  const lines = FEATURES.map(([feature, by]) => [feature, code(by), yes(has(by))]);
  return `## Bridge and port features\n\n${table(['feature', 'turned on by', 'here'], lines)}`;
}
