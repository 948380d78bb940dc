/**
 * How a person may name a row of each table besides by UUID: by a column that identifies it, or by the name of the one
 * row that refers to it. `.` is the only row of a table that has at most one. One table for finding and for `--help`.
 */
import { VSWITCH_TABLES } from '../../ovsdb/vswitch-schema.ts';
import type { RecordId, Target } from './target.ts';

export const NAMED = (nameTable: string, nameColumn = 'name'): RecordId => ({ nameTable, nameColumn, via: null });
const VIA = (nameTable: string, via: string): RecordId => ({ nameTable, nameColumn: 'name', via });
export const SINGLETON = (nameTable: string): RecordId => ({ nameTable, nameColumn: null, via: null });

export const RECORD_IDS: Readonly<Record<string, readonly RecordId[]>> = {
  AutoAttach: [VIA('Bridge', 'auto_attach')],
  Bridge: [NAMED('Bridge')],
  Controller: [VIA('Bridge', 'controller')],
  Flow_Sample_Collector_Set: [NAMED('Flow_Sample_Collector_Set', 'id')],
  Flow_Table: [NAMED('Flow_Table')],
  IPFIX: [VIA('Bridge', 'ipfix')],
  Interface: [NAMED('Interface')],
  Manager: [NAMED('Manager', 'target')],
  Mirror: [NAMED('Mirror')],
  NetFlow: [VIA('Bridge', 'netflow')],
  Open_vSwitch: [SINGLETON('Open_vSwitch')],
  Port: [NAMED('Port')],
  QoS: [VIA('Port', 'qos')],
  SSL: [SINGLETON('SSL')],
  sFlow: [VIA('Bridge', 'sflow')],
};

/** Tables in byte order, so `sFlow` comes last. */
export const TABLE_NAMES: readonly string[] = Object.keys(VSWITCH_TABLES).sort();

export function identifyingText({ recordIds, tableNames }: Pick<Target, 'recordIds' | 'tableNames'>): string {
  let out = 'Database commands may reference a row in each table in the following ways:\n';
  for (const table of tableNames) {
    out += `  ${table}:\n    by UUID\n`;
    for (const id of recordIds[table] ?? []) {
      if (id.nameColumn === null) out += '    as "."\n';
      else if (id.via === null) out += `    by "${id.nameColumn}"\n`;
      else out += `    via "${id.via}" of ${id.nameTable} with matching "${id.nameColumn}"\n`;
    }
  }
  return out;
}
