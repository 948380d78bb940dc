/**
 * The argument of `-v` and `vlog/set`: words that name a module, a destination and a level in any order, or
 * `PATTERN:DESTINATION:PATTERN`, or `FACILITY:NAME`.
 *
 * A module counts as known when this program has it or the original has one of the name: a script that quiets
 * `jsonrpc` or raises `ofproto_dpif_xlate` must not fail because ours divides its work differently.
 */
import {
  DESTINATIONS,
  type Destination,
  LEVELS,
  type Level,
  vlogHasModule,
  vlogSetLevels,
  vlogSetPattern,
} from './vlog.ts';
import { setFacility } from './vlog-pattern.ts';

const ORIGINAL_MODULES = new Set(
  (
    'backtrace bfd bond bridge bundle bundles cfm collectors command_line connmgr conntrack conntrack_icmp conntrack_tcp ' +
    'coverage ct_dpif daemon daemon_unix db_ctl_base dns_resolve dpctl dpdk dpif dpif_lookup_autovalidator ' +
    'dpif_lookup_generic dpif_mfex_extract_study dpif_netdev dpif_netdev_extract dpif_netdev_impl dpif_netdev_lookup ' +
    'dpif_netlink entropy fail_open fatal_signal file flow_hw_offload fwd_odp hmap id_pool in_band ipf ipfix jsonrpc ' +
    'lacp learn lldp lldpd lldpd_structs lockfile loop memory meta_flow multipath mcast_snooping native_tnl netdev ' +
    'netdev_bsd netdev_dpdk netdev_dummy netdev_linux netdev_offload netdev_offload_tc netdev_vport netflow netlink ' +
    'netlink_conntrack netlink_notifier netlink_socket nsh nx_match odp_execute odp_execute_impl odp_util ofp_actions ' +
    'ofp_bundle ofp_errors ofp_flow ofp_group ofp_match ofp_meter ofp_monitor ofp_msgs ofp_packet ofp_port ofp_print ' +
    'ofp_protocol ofp_queue ofp_switch ofp_table ofp_util ofproto ofproto_dpif ofproto_dpif_mirror ' +
    'ofproto_dpif_monitor ofproto_dpif_rid ofproto_dpif_trace ofproto_dpif_upcall ofproto_dpif_xlate ovs_lldp ovs_numa ' +
    'ovs_rcu ovs_replay ovs_router ovs_thread ovsdb_client ovsdb_cs ovsdb_error ovsdb_file ovsdb_idl ovsdb_jsonrpc_server ' +
    'ovsdb_log ovsdb_relay ovsdb_server ovsdb_types packets pinsched pmd_perf poll_loop process raft rconn ' +
    'reconnect replication rstp rstp_sm rtbsd sflow signals socket_util socket_util_unix stopwatch storage stp stream ' +
    'stream_fd stream_ssl stream_tcp stream_unix svec syslog_direct syslog_libc syslog_null system_stats tc timeval ' +
    'transaction transaction_forward trigger tunnel unixctl userspace_tso util uuid vconn vconn_stream vlog vsctl vswitchd xenserver'
  ).split(' '),
);

/** Carries out one `-v` argument or word of `vlog/set`. Returns what is wrong with it, or null. */
export function vlogParse(spec: string): string | null {
  if (spec.startsWith('PATTERN:')) return setPattern(spec.slice('PATTERN:'.length));
  if (spec.startsWith('FACILITY:')) {
    return setFacility(spec.slice('FACILITY:'.length)) ? null : 'invalid facility';
  }
  let module: string | null = null;
  let destination: Destination | null = null;
  let level: Level | null = null;
  for (const word of spec.split(/[ ,:\t]+/).filter(Boolean)) {
    const lower = word.toLowerCase();
    if ((LEVELS as readonly string[]).includes(lower)) {
      if (level) return 'cannot specify multiple levels';
      level = lower as Level;
    } else if (isDestination(lower)) {
      if (destination) return 'cannot specify multiple destinations';
      destination = lower;
    } else if (lower !== 'any') {
      const name = lower.replaceAll('-', '_');
      if (!vlogHasModule(name) && !ORIGINAL_MODULES.has(name)) return `no destination, level, or module "${word}"`;
      if (module) return 'cannot specify multiple modules';
      module = name;
    }
  }
  vlogSetLevels(module, destination, level ?? 'dbg');
  return null;
}

function setPattern(spec: string): string | null {
  const colon = spec.indexOf(':');
  const name = (colon < 0 ? spec : spec.slice(0, colon)).toLowerCase();
  if (!isDestination(name) && name !== 'any') return `unknown destination "${colon < 0 ? spec : spec.slice(0, colon)}"`;
  if (colon < 0) return 'missing pattern';
  for (const d of name === 'any' ? DESTINATIONS : [name as Destination]) vlogSetPattern(d, spec.slice(colon + 1));
  return null;
}

function isDestination(word: string): word is Destination {
  return (DESTINATIONS as readonly string[]).includes(word);
}
