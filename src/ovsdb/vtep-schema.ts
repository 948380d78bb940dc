/** The schema of the `hardware_vtep` database (vtep(5)), in the notation of `schema-text.ts`, for `vtep-ctl`. */
import type { TableSchema } from './schema.ts';
import { lazyTables, type TableTexts, tablesJson } from './schema-text.ts';

export const VTEP_SCHEMA_NAME = 'hardware_vtep';
export const VTEP_SCHEMA_VERSION = '1.7.0';
/** What the original's file carries. */
const VTEP_SCHEMA_CKSUM = '353943336 11434';

export const VTEP_TABLES = {
  Global: {
    isRoot: true,
    maxRows: 1,
    columns: {
      managers: '->Manager *',
      switches: '->Physical_Switch *',
      other_config: 'string = string *',
    },
  },
  Physical_Switch: {
    indexes: [['name']],
    columns: {
      ports: '->Physical_Port *',
      name: 'string',
      description: 'string',
      management_ips: 'string *',
      tunnel_ips: 'string *',
      tunnels: '->Tunnel *',
      other_config: 'string = string *',
      switch_fault_status: 'string * ephemeral',
    },
  },
  Physical_Port: {
    columns: {
      name: 'string',
      description: 'string',
      vlan_bindings: 'integer[0..4095] = ->Logical_Switch *',
      acl_bindings: 'integer[0..4095] = ->ACL *',
      vlan_stats: 'integer[0..4095] = ->Logical_Binding_Stats * ephemeral',
      other_config: 'string = string *',
      port_fault_status: 'string * ephemeral',
    },
  },
  Tunnel: {
    columns: {
      local: '->Physical_Locator',
      remote: '->Physical_Locator',
      bfd_config_local: 'string = string *',
      bfd_config_remote: 'string = string *',
      bfd_params: 'string = string *',
      bfd_status: 'string = string * ephemeral',
    },
  },
  Logical_Binding_Stats: {
    columns: {
      bytes_from_local: 'integer ephemeral',
      packets_from_local: 'integer ephemeral',
      bytes_to_local: 'integer ephemeral',
      packets_to_local: 'integer ephemeral',
    },
  },
  Logical_Switch: {
    isRoot: true,
    indexes: [['name']],
    columns: {
      name: 'string',
      description: 'string',
      tunnel_key: 'integer ?',
      replication_mode: 'string(service_node|source_node) ?',
      other_config: 'string = string *',
    },
  },
  Ucast_Macs_Local: {
    isRoot: true,
    columns: {
      MAC: 'string',
      logical_switch: '->Logical_Switch',
      locator: '->Physical_Locator',
      ipaddr: 'string',
    },
  },
  Ucast_Macs_Remote: {
    isRoot: true,
    columns: {
      MAC: 'string',
      logical_switch: '->Logical_Switch',
      locator: '->Physical_Locator',
      ipaddr: 'string',
    },
  },
  Mcast_Macs_Local: {
    isRoot: true,
    columns: {
      MAC: 'string',
      logical_switch: '->Logical_Switch',
      locator_set: '->Physical_Locator_Set',
      ipaddr: 'string',
    },
  },
  Mcast_Macs_Remote: {
    isRoot: true,
    columns: {
      MAC: 'string',
      logical_switch: '->Logical_Switch',
      locator_set: '->Physical_Locator_Set',
      ipaddr: 'string',
    },
  },
  Logical_Router: {
    isRoot: true,
    indexes: [['name']],
    columns: {
      name: 'string',
      description: 'string',
      switch_binding: 'string = ->Logical_Switch *',
      static_routes: 'string = string *',
      acl_binding: 'string = ->ACL *',
      other_config: 'string = string *',
      LR_fault_status: 'string * ephemeral',
    },
  },
  Arp_Sources_Local: {
    isRoot: true,
    columns: {
      src_mac: 'string',
      locator: '->Physical_Locator',
    },
  },
  Arp_Sources_Remote: {
    isRoot: true,
    columns: {
      src_mac: 'string',
      locator: '->Physical_Locator',
    },
  },
  Physical_Locator_Set: {
    columns: {
      locators: '->Physical_Locator + const',
    },
  },
  Physical_Locator: {
    indexes: [['encapsulation_type', 'dst_ip', 'tunnel_key']],
    columns: {
      encapsulation_type: 'string(vxlan_over_ipv4) const',
      dst_ip: 'string const',
      tunnel_key: 'integer ?',
    },
  },
  ACL_entry: {
    isRoot: true,
    columns: {
      sequence: 'integer',
      source_mac: 'string ?',
      dest_mac: 'string ?',
      ethertype: 'string ?',
      source_ip: 'string ?',
      source_mask: 'string ?',
      dest_ip: 'string ?',
      dest_mask: 'string ?',
      protocol: 'integer ?',
      source_port_min: 'integer ?',
      source_port_max: 'integer ?',
      dest_port_min: 'integer ?',
      dest_port_max: 'integer ?',
      tcp_flags: 'integer ?',
      tcp_flags_mask: 'integer ?',
      icmp_code: 'integer ?',
      icmp_type: 'integer ?',
      direction: 'string(ingress|egress)',
      action: 'string(permit|deny)',
      acle_fault_status: 'string * ephemeral',
    },
  },
  ACL: {
    isRoot: true,
    indexes: [['acl_name']],
    columns: {
      acl_entries: '->ACL_entry +',
      acl_name: 'string',
      acl_fault_status: 'string * ephemeral',
    },
  },
  Manager: {
    indexes: [['target']],
    columns: {
      target: 'string',
      max_backoff: 'integer[1000..] ?',
      inactivity_probe: 'integer ?',
      other_config: 'string = string *',
      is_connected: 'boolean ephemeral',
      status: 'string = string * ephemeral',
    },
  },
} as const satisfies TableTexts;

/** The schema as RFC 7047 3.2 writes it. */
export function vtepSchemaJson(): Record<string, unknown> {
  const tables = tablesJson(VTEP_TABLES);
  return { name: VTEP_SCHEMA_NAME, version: VTEP_SCHEMA_VERSION, cksum: VTEP_SCHEMA_CKSUM, tables };
}

export const vtepTable: (name: string) => TableSchema | undefined = lazyTables(VTEP_TABLES);
