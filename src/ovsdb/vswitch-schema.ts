/**
 * The schema of the `Open_vSwitch` database (ovs-vswitchd.conf.db(5)), in the notation of `schema-text.ts`: it creates a new
 * database, and lets `ovs-vsctl` judge its arguments before it has spoken to any server.
 */
import type { TableSchema } from './schema.ts';
import { lazyTables, type TableTexts, tablesJson } from './schema-text.ts';

export const VSWITCH_SCHEMA_NAME = 'Open_vSwitch';
export const VSWITCH_SCHEMA_VERSION = '8.3.1';
/** What the original's file carries; a checksum over its text, by which tools tell that a schema is unmodified. */
const VSWITCH_SCHEMA_CKSUM = '3012963480 26720';

export const VSWITCH_TABLES = {
  Open_vSwitch: {
    isRoot: true,
    maxRows: 1,
    columns: {
      datapaths: 'string = ->Datapath *',
      bridges: '->Bridge *',
      manager_options: '->Manager *',
      ssl: '->SSL ?',
      other_config: 'string = string *',
      external_ids: 'string = string *',
      next_cfg: 'integer',
      cur_cfg: 'integer',
      statistics: 'string = string * ephemeral',
      ovs_version: 'string ?',
      db_version: 'string ?',
      system_type: 'string ?',
      system_version: 'string ?',
      datapath_types: 'string *',
      iface_types: 'string *',
      dpdk_initialized: 'boolean',
      dpdk_version: 'string ?',
    },
  },
  Bridge: {
    indexes: [['name']],
    columns: {
      name: 'string const',
      datapath_type: 'string',
      datapath_version: 'string',
      datapath_id: 'string ? ephemeral',
      stp_enable: 'boolean',
      rstp_enable: 'boolean',
      mcast_snooping_enable: 'boolean',
      ports: '->Port *',
      mirrors: '->Mirror *',
      netflow: '->NetFlow ?',
      sflow: '->sFlow ?',
      ipfix: '->IPFIX ?',
      controller: '->Controller *',
      protocols: 'string(OpenFlow10|OpenFlow11|OpenFlow12|OpenFlow13|OpenFlow14|OpenFlow15) *',
      fail_mode: 'string(standalone|secure) ?',
      status: 'string = string * ephemeral',
      rstp_status: 'string = string * ephemeral',
      other_config: 'string = string *',
      external_ids: 'string = string *',
      flood_vlans: 'integer[0..4095] {0,4096}',
      flow_tables: 'integer[0..254] = ->Flow_Table *',
      auto_attach: '->AutoAttach ?',
    },
  },
  Port: {
    indexes: [['name']],
    columns: {
      name: 'string const',
      interfaces: '->Interface +',
      trunks: 'integer[0..4095] {0,4096}',
      cvlans: 'integer[0..4095] {0,4096}',
      tag: 'integer[0..4095] ?',
      vlan_mode: 'string(trunk|access|native-tagged|native-untagged|dot1q-tunnel) ?',
      qos: '->QoS ?',
      mac: 'string ?',
      bond_mode: 'string(balance-tcp|balance-slb|active-backup) ?',
      lacp: 'string(active|passive|off) ?',
      bond_updelay: 'integer',
      bond_downdelay: 'integer',
      bond_active_slave: 'string ?',
      bond_fake_iface: 'boolean',
      fake_bridge: 'boolean',
      status: 'string = string * ephemeral',
      rstp_status: 'string = string * ephemeral',
      rstp_statistics: 'string = integer * ephemeral',
      statistics: 'string = integer * ephemeral',
      protected: 'boolean',
      other_config: 'string = string *',
      external_ids: 'string = string *',
    },
  },
  Interface: {
    indexes: [['name']],
    columns: {
      name: 'string const',
      type: 'string',
      options: 'string = string *',
      ingress_policing_rate: 'integer[0..]',
      ingress_policing_burst: 'integer[0..]',
      ingress_policing_kpkts_rate: 'integer[0..]',
      ingress_policing_kpkts_burst: 'integer[0..]',
      mac_in_use: 'string ? ephemeral',
      mac: 'string ?',
      ifindex: 'integer[0..4294967295] ? ephemeral',
      external_ids: 'string = string *',
      ofport: 'integer ?',
      ofport_request: 'integer[1..65279] ?',
      bfd: 'string = string *',
      bfd_status: 'string = string * ephemeral',
      cfm_mpid: 'integer ?',
      cfm_remote_mpids: 'integer * ephemeral',
      cfm_flap_count: 'integer ?',
      cfm_fault: 'boolean ? ephemeral',
      cfm_fault_status: 'string * ephemeral',
      cfm_remote_opstate: 'string(up|down) ? ephemeral',
      cfm_health: 'integer[0..100] ? ephemeral',
      lacp_current: 'boolean ? ephemeral',
      lldp: 'string = string *',
      other_config: 'string = string *',
      statistics: 'string = integer * ephemeral',
      status: 'string = string * ephemeral',
      admin_state: 'string(up|down) ? ephemeral',
      link_state: 'string(up|down) ? ephemeral',
      link_resets: 'integer ? ephemeral',
      link_speed: 'integer ? ephemeral',
      duplex: 'string(half|full) ? ephemeral',
      mtu: 'integer ? ephemeral',
      mtu_request: 'integer[1..] ?',
      error: 'string ?',
    },
  },
  Flow_Table: {
    columns: {
      name: 'string ?',
      flow_limit: 'integer[0..] ?',
      overflow_policy: 'string(refuse|evict) ?',
      groups: 'string *',
      prefixes: 'string {0,3}',
      external_ids: 'string = string *',
    },
  },
  QoS: {
    isRoot: true,
    columns: {
      type: 'string',
      queues: 'integer[0..4294967295] = ->Queue *',
      other_config: 'string = string *',
      external_ids: 'string = string *',
    },
  },
  Queue: {
    isRoot: true,
    columns: {
      dscp: 'integer[0..63] ?',
      other_config: 'string = string *',
      external_ids: 'string = string *',
    },
  },
  Mirror: {
    columns: {
      name: 'string',
      select_all: 'boolean',
      select_src_port: '~>Port *',
      select_dst_port: '~>Port *',
      select_vlan: 'integer[0..4095] {0,4096}',
      output_port: '~>Port ?',
      output_vlan: 'integer[1..4095] ?',
      snaplen: 'integer[14..65535] ?',
      statistics: 'string = integer * ephemeral',
      external_ids: 'string = string *',
    },
  },
  NetFlow: {
    columns: {
      targets: 'string +',
      engine_type: 'integer[0..255] ?',
      engine_id: 'integer[0..255] ?',
      add_id_to_interface: 'boolean',
      active_timeout: 'integer[-1..]',
      external_ids: 'string = string *',
    },
  },
  sFlow: {
    columns: {
      targets: 'string +',
      sampling: 'integer ?',
      polling: 'integer ?',
      header: 'integer ?',
      agent: 'string ?',
      external_ids: 'string = string *',
    },
  },
  IPFIX: {
    columns: {
      targets: 'string *',
      sampling: 'integer[1..4294967295] ?',
      obs_domain_id: 'integer[0..4294967295] ?',
      obs_point_id: 'integer[0..4294967295] ?',
      cache_active_timeout: 'integer[0..4200] ?',
      cache_max_flows: 'integer[0..4294967295] ?',
      other_config: 'string = string *',
      external_ids: 'string = string *',
    },
  },
  Flow_Sample_Collector_Set: {
    isRoot: true,
    indexes: [['id', 'bridge']],
    columns: {
      id: 'integer[0..4294967295]',
      bridge: '->Bridge',
      ipfix: '->IPFIX ?',
      external_ids: 'string = string *',
    },
  },
  Controller: {
    columns: {
      type: 'string(primary|service) ?',
      target: 'string',
      max_backoff: 'integer[1000..] ?',
      inactivity_probe: 'integer ?',
      connection_mode: 'string(in-band|out-of-band) ?',
      local_ip: 'string ?',
      local_netmask: 'string ?',
      local_gateway: 'string ?',
      enable_async_messages: 'boolean ?',
      controller_queue_size: 'integer[1..512] ?',
      controller_rate_limit: 'integer[100..] ?',
      controller_burst_limit: 'integer[25..] ?',
      other_config: 'string = string *',
      external_ids: 'string = string *',
      is_connected: 'boolean ephemeral',
      role: 'string(other|master|slave) ? ephemeral',
      status: 'string = string * ephemeral',
    },
  },
  Manager: {
    indexes: [['target']],
    columns: {
      target: 'string',
      max_backoff: 'integer[1000..] ?',
      inactivity_probe: 'integer ?',
      connection_mode: 'string(in-band|out-of-band) ?',
      other_config: 'string = string *',
      external_ids: 'string = string *',
      is_connected: 'boolean ephemeral',
      status: 'string = string * ephemeral',
    },
  },
  Datapath: {
    columns: {
      datapath_version: 'string',
      ct_zones: 'integer[0..65535] = ->CT_Zone *',
      capabilities: 'string = string *',
      external_ids: 'string = string *',
    },
  },
  CT_Zone: {
    columns: {
      timeout_policy: '->CT_Timeout_Policy ?',
      external_ids: 'string = string *',
    },
  },
  CT_Timeout_Policy: {
    columns: {
      timeouts:
        'string(tcp_syn_sent|tcp_syn_recv|tcp_established|tcp_fin_wait|tcp_close_wait|tcp_last_ack|tcp_time_wait|tcp_close|tcp_syn_sent2|tcp_retransmit|tcp_unack|udp_first|udp_single|udp_multiple|icmp_first|icmp_reply) = integer[0..4294967295] *',
      external_ids: 'string = string *',
    },
  },
  SSL: {
    maxRows: 1,
    columns: {
      private_key: 'string',
      certificate: 'string',
      ca_cert: 'string',
      bootstrap_ca_cert: 'boolean',
      external_ids: 'string = string *',
    },
  },
  AutoAttach: {
    columns: {
      system_name: 'string',
      system_description: 'string',
      mappings: 'integer[0..16777215] = integer[0..4095] *',
    },
  },
} as const satisfies TableTexts;

/** The schema as RFC 7047 3.2 writes it. */
export function vswitchSchemaJson(): Record<string, unknown> {
  const tables = tablesJson(VSWITCH_TABLES);
  return { name: VSWITCH_SCHEMA_NAME, version: VSWITCH_SCHEMA_VERSION, cksum: VSWITCH_SCHEMA_CKSUM, tables };
}

export const vswitchTable: (name: string) => TableSchema | undefined = lazyTables(VSWITCH_TABLES);
