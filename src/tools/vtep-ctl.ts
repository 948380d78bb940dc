/** `vtep-ctl`: reads and changes the configuration of a hardware VTEP in its database (vtep-ctl(8)). */
import { VTEP_SCHEMA_NAME, VTEP_SCHEMA_VERSION, vtepTable } from '../ovsdb/vtep-schema.ts';
import { DATABASE_COMMANDS } from './vsctl/db-commands.ts';
import { main } from './vsctl/program.ts';
import { showCommand } from './vsctl/show-command.ts';
import type { Target } from './vsctl/target.ts';
import { helpText } from './vtep/help.ts';
import { MAC_COMMANDS } from './vtep/mac-commands.ts';
import { SWITCH_COMMANDS } from './vtep/switch-commands.ts';
import { RECORD_IDS, TABLE_NAMES } from './vtep/tables.ts';

const SHOW_COMMAND = showCommand({
  Global: { name: null, columns: ['managers', 'switches'] },
  Manager: { name: 'target', columns: ['is_connected'] },
  Physical_Switch: { name: 'name', columns: ['management_ips', 'tunnel_ips', 'ports'] },
  Physical_Port: { name: 'name', columns: ['vlan_bindings'] },
  Logical_Switch: { name: 'name', columns: [] },
});

const VTEP: Target = {
  program: 'vtep-ctl',
  module: 'vtep_ctl',
  schemaName: VTEP_SCHEMA_NAME,
  schemaVersion: VTEP_SCHEMA_VERSION,
  rootTable: 'Global',
  tableNames: TABLE_NAMES,
  recordIds: RECORD_IDS,
  commands: new Map(
    [...DATABASE_COMMANDS, SHOW_COMMAND, ...SWITCH_COMMANDS, ...MAC_COMMANDS].map((one) => [one.name, one]),
  ),
  lackedOptions: new Set([
    ...['no-wait', 'retry', 'commands', 'options'],
    ...['leader-only', 'no-leader-only', 'shuffle-remotes', 'no-shuffle-remotes', 'bootstrap-ca-cert'],
  ]),
  waits: false,
  table: vtepTable,
  help: (db, logdir) => helpText({ recordIds: RECORD_IDS, tableNames: TABLE_NAMES }, db, logdir),
};

void main(process.argv.slice(2), VTEP);
