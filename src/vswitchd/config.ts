/**
 * The database's configuration as plain values: read in one go, so that applying it, which takes time, works on one
 * consistent state however the database changes meanwhile. Rows are kept only to write status back to.
 */

import type { SslConfig } from '../base/ssl-config.ts';
import { VERSION } from '../base/version.ts';
import { vlog } from '../base/vlog.ts';
import type { Subfield } from '../flow/field.ts';
import { fieldByName } from '../flow/fields.ts';
import { parseSubfield } from '../flow/subfield.ts';
import type { Policing } from '../netdev/netdev.ts';
import type { QosConfig } from '../netdev/qos.ts';
import { PREFIX_FIELDS } from '../ofproto/classifier.ts';
import type { ExportersConfig } from '../ofproto/export/exporters.ts';
import type { LacpConfig } from '../ofproto/lacp.ts';
import type { AutoAttachConfig } from '../ofproto/lldp.ts';
import { MCAST_DEFAULT_AGING_S, MCAST_DEFAULT_SIZE } from '../ofproto/mcast-snooping.ts';
import type {
  BondConfig,
  BundleConfig,
  ControllerConfig,
  FlowTableConfig,
  McastSnoopingConfig,
  MirrorConfig,
  OfprotoConfig,
  PortVlanConfig,
} from '../ofproto/ofproto.ts';
import type { Row, RowView } from '../ovsdb/idl.ts';
import { readExporters } from './exporters.ts';

const log = vlog('bridge');

export interface InterfaceSpec {
  /** Null for a bridge's own device that the database does not mention. */
  readonly row: Row | null;
  readonly name: string;
  /** As in the database: '' is `system`. */
  readonly type: string;
  readonly options: ReadonlyMap<string, string>;
  readonly otherConfig?: ReadonlyMap<string, string>;
  readonly policing?: Policing;
  /** Of the port. */
  readonly qos?: QosConfig | null;
  readonly bfd?: ReadonlyMap<string, string>;
  readonly lldp?: boolean;
  readonly cfmMpid?: bigint | null;
  readonly ofportRequest: number | null;
  /** What the database last said; kept over a restart of the switch. */
  readonly lastOfport: number | null;
  readonly mac: Uint8Array | null;
  readonly mtuRequest: number | null;
}

export interface PortSpec {
  readonly row: Row | null;
  readonly name: string;
  readonly interfaces: readonly InterfaceSpec[];
  readonly vlan: PortVlanConfig;
  /** Null with one interface. */
  readonly bond: BondConfig | null;
  /** Null where LACP is off; its members are put in when their port numbers are known. */
  readonly lacp: LacpConfig | null;
  readonly otherConfig?: ReadonlyMap<string, string>;
}

export interface BridgeSpec {
  readonly row: Row;
  readonly name: string;
  readonly datapathType: string;
  readonly ports: readonly PortSpec[];
  /** `other_config:datapath-id`, else null. */
  readonly datapathId: bigint | null;
  /** `other_config:hwaddr`, else null. */
  readonly hwaddr: Uint8Array | null;
  readonly stp: boolean;
  readonly exporters: ExportersConfig;
  readonly autoAttach: AutoAttachConfig | null;
  readonly rstp: boolean;
  readonly otherConfig: ReadonlyMap<string, string>;
  readonly controllerRows: readonly Row[];
  readonly mirrors: readonly MirrorSpec[];
  readonly ofproto: Omit<OfprotoConfig, 'datapathId' | 'rundir'>;
}

export interface MirrorSpec {
  readonly row: Row;
  readonly config: MirrorConfig;
}

export interface SwitchSpec {
  readonly row: Row;
  readonly nextCfg: number | bigint;
  readonly otherConfig: ReadonlyMap<string, string>;
  readonly statsIntervalMs: number;
  /** Null leaves what the command line says. */
  readonly ssl: Partial<SslConfig> | null;
  readonly bridges: readonly BridgeSpec[];
}

/** Largest OpenFlow port number that a port can be asked to have. */
const MAX_OFPORT = 0xfeff;

export function readSwitch(row: Row): SwitchSpec {
  const otherConfig = row.map('other_config');
  const interval = integer(otherConfig.get('stats-update-interval')) ?? 5000;
  const seen = new Set<string>();
  const bridges: BridgeSpec[] = [];
  for (const bridge of row.refs('bridges')) {
    const name = bridge.string('name');
    if (seen.has(name)) continue;
    seen.add(name);
    // It becomes part of the names of sockets, which must not lead out of their directory.
    if (/[/\\]/.test(name)) {
      log.rl().warn(`ignoring bridge with invalid name "${name}"`);
      continue;
    }
    bridges.push(readBridge(bridge));
  }
  return {
    row,
    nextCfg: row.get('next_cfg').keys[0] as number | bigint,
    otherConfig,
    statsIntervalMs: Math.max(interval, 5000),
    ssl: row.refs('ssl').map(readSsl)[0] ?? null,
    bridges: bridges.sort(byName),
  };
}

function readSsl(row: Row): Partial<SslConfig> {
  return {
    privateKey: row.string('private_key'),
    certificate: row.string('certificate'),
    caCert: row.string('ca_cert'),
    bootstrapCaCert: row.boolean('bootstrap_ca_cert'),
  };
}

function readBridge(row: Row): BridgeSpec {
  const name = row.string('name');
  const otherConfig = row.map('other_config');
  const ports = row.refs('ports').map(readPort).sort(byName);
  const hasLocal = ports.some((port) => port.interfaces.some((iface) => iface.name === name));
  const controllerRows = row.refs('controller');
  return {
    row,
    name,
    datapathType: row.string('datapath_type'),
    ports: hasLocal ? ports : [...ports, localPort(name)],
    datapathId: parseDatapathId(otherConfig.get('datapath-id')),
    hwaddr: parseMac(otherConfig.get('hwaddr')),
    stp: row.boolean('stp_enable'),
    exporters: readExporters(row),
    autoAttach: readAutoAttach(row),
    rstp: row.boolean('rstp_enable'),
    otherConfig,
    controllerRows,
    mirrors: row.refs('mirrors').flatMap((mirror) => readMirror(mirror, name)),
    ofproto: {
      failMode: row.string('fail_mode') === 'secure' ? 'secure' : 'standalone',
      controllers: controllerRows.map(readController),
      protocols: readProtocols(row),
      macAgingSeconds: integer(otherConfig.get('mac-aging-time')) ?? 300,
      macTableSize: integer(otherConfig.get('mac-table-size')) ?? 8192,
      forwardBpdu: otherConfig.get('forward-bpdu') === 'true',
      floodVlans: row.integers('flood_vlans'),
      mcastSnooping: row.boolean('mcast_snooping_enable') ? readMcastSnooping(otherConfig) : null,
      flowTables: readFlowTables(row),
      desc: {
        mfr: otherConfig.get('dp-mfr') ?? 'Nicira, Inc.',
        hw: otherConfig.get('dp-hw') ?? 'Open vSwitch',
        sw: otherConfig.get('dp-sw') ?? VERSION,
        serial: otherConfig.get('dp-sn') ?? 'None',
        dp: otherConfig.get('dp-desc') ?? 'None',
      },
    },
  };
}

const VLAN_TRUNK: PortVlanConfig = {
  mode: 'trunk',
  tag: null,
  trunks: [],
  cvlans: [],
  priorityTags: 'no',
  protected: false,
};

/** The bridge's own device, where the database has no port for it. */
function localPort(name: string): PortSpec {
  const iface: InterfaceSpec = {
    row: null,
    name,
    type: 'internal',
    options: new Map(),
    ofportRequest: null,
    lastOfport: null,
    mac: null,
    mtuRequest: null,
  };
  return { row: null, name, interfaces: [iface], vlan: VLAN_TRUNK, bond: null, lacp: null };
}

function readPort(row: Row): PortSpec {
  return {
    row,
    name: row.string('name'),
    interfaces: readInterfaces(row),
    vlan: readVlan(row),
    bond: readBond(row),
    lacp: readLacp(row),
    otherConfig: row.map('other_config'),
  };
}

function readInterfaces(port: Row): InterfaceSpec[] {
  const qos = readQos(port.ref('qos'));
  return port
    .refs('interfaces')
    .map((row) => readInterface(row, qos))
    .sort(byName);
}

/** `ovs-vswitchd.conf.db(5)`, "QoS TABLE", "Queue TABLE" */
function readQos(row: Row | null): QosConfig | null {
  if (row === null) return null;
  const queues = new Map<number, ReadonlyMap<string, string>>();
  for (const [id, queue] of row.refMap('queues')) queues.set(Number(id), queue.map('other_config'));
  return { type: row.string('type'), details: row.map('other_config'), queues };
}

function readInterface(row: Row, qos: QosConfig | null): InterfaceSpec {
  const last = row.integer('ofport');
  return {
    row,
    qos,
    policing: {
      kbitsRate: row.integer('ingress_policing_rate') ?? 0,
      kbitsBurst: row.integer('ingress_policing_burst') ?? 0,
      kpktsRate: row.integer('ingress_policing_kpkts_rate') ?? 0,
      kpktsBurst: row.integer('ingress_policing_kpkts_burst') ?? 0,
    },
    name: row.string('name'),
    type: row.string('type'),
    options: row.map('options'),
    otherConfig: row.map('other_config'),
    bfd: row.map('bfd'),
    lldp: row.map('lldp').get('enable') === 'true',
    cfmMpid: cfmMpid(row),
    ofportRequest: row.integer('ofport_request'),
    lastOfport: last !== null && last >= 1 && last <= MAX_OFPORT ? last : null,
    mac: parseMac(row.optionalString('mac') ?? undefined),
    mtuRequest: row.integer('mtu_request'),
  };
}

function cfmMpid(row: Row): bigint | null {
  const [mpid] = row.get('cfm_mpid').keys;
  return typeof mpid === 'number' || typeof mpid === 'bigint' ? BigInt(mpid) : null;
}

/** ovs-vswitchd.conf.db(5), "VLAN Configuration". */
export function readVlan(port: RowView): PortVlanConfig {
  const tag = port.integer('tag');
  const mode = (port.optionalString('vlan_mode') ?? (tag === null ? 'trunk' : 'access')) as PortVlanConfig['mode'];
  const priorityTags = port.map('other_config').get('priority-tags');
  return {
    mode,
    tag: mode === 'trunk' ? null : (tag ?? 0),
    trunks: mode === 'access' || mode === 'dot1q-tunnel' ? [] : port.integers('trunks'),
    cvlans: mode === 'dot1q-tunnel' ? port.integers('cvlans') : [],
    priorityTags:
      priorityTags === 'always'
        ? 'always'
        : priorityTags === 'if-nonzero' || priorityTags === 'true'
          ? 'if-nonzero'
          : 'no',
    protected: port.boolean('protected'),
  };
}

/** `ovs-vswitchd.conf.db(5)`, "Bonding Configuration". */
function readBond(row: Row): BondConfig | null {
  const config = row.map('other_config');
  const text = row.optionalString('bond_mode') ?? 'active-backup';
  const lacp = row.optionalString('lacp');
  const interval = integer(config.get('bond-rebalance-interval')) ?? 10_000;
  const bond: BondConfig = {
    mode: text === 'balance-slb' || text === 'balance-tcp' ? text : 'active-backup',
    upDelayMs: Math.max(0, row.integer('bond_updelay') ?? 0),
    downDelayMs: Math.max(0, row.integer('bond_downdelay') ?? 0),
    rebalanceIntervalMs: interval === 0 ? Number.POSITIVE_INFINITY : Math.max(interval, 1000),
    hashBasis: integer(config.get('bond-hash-basis')) ?? 0,
    primary: config.get('bond-primary') ?? null,
    activeMac: parseMac(row.optionalString('bond_active_slave') ?? undefined),
    allMembersActive: config.get('all-members-active') === 'true',
    lacp: lacp === 'active' || lacp === 'passive' ? lacp : 'off',
    lacpFallback: config.get('lacp-fallback-ab') === 'true',
    lbOutput: config.get('lb-output-action') === 'true',
  };
  return row.refs('interfaces').length > 1 ? bond : null;
}

function readAutoAttach(bridge: Row): AutoAttachConfig | null {
  const [row] = bridge.refs('auto_attach');
  if (!row) return null;
  const { keys, values } = row.get('mappings');
  return {
    systemName: row.string('system_name'),
    systemDescription: row.string('system_description'),
    mappings: keys.map((isid, i) => ({ isid: Number(isid), vlan: Number(values?.[i] ?? 0) })),
  };
}

function readMcastSnooping(config: ReadonlyMap<string, string>): McastSnoopingConfig {
  return {
    agingSeconds: integer(config.get('mcast-snooping-aging-time')) ?? MCAST_DEFAULT_AGING_S,
    tableSize: integer(config.get('mcast-snooping-table-size')) ?? MCAST_DEFAULT_SIZE,
    floodsUnregistered: config.get('mcast-snooping-disable-flood-unregistered') !== 'true',
  };
}

/** `ovs-vswitchd.conf.db(5)`, "LACP Configuration". */
function readLacp(row: Row): LacpConfig | null {
  const mode = row.optionalString('lacp');
  if (mode !== 'active' && mode !== 'passive') return null;
  const config = row.map('other_config');
  return {
    isActive: mode === 'active',
    systemId: parseMac(config.get('lacp-system-id')),
    systemPriority: within(config.get('lacp-system-priority'), 0xffff) ?? 65534,
    isFast: config.get('lacp-time')?.toLowerCase() === 'fast',
    fallback: config.get('lacp-fallback-ab') === 'true',
    members: [],
  };
}

/** A number from 1 to `max`. */
function within(text: string | undefined, max: number): number | null {
  const value = integer(text);
  return value !== null && value >= 1 && value <= max ? value : null;
}

function readController(row: Row): ControllerConfig {
  return {
    target: row.string('target'),
    connectionMode: row.string('connection_mode') === 'out-of-band' ? 'out-of-band' : 'in-band',
    maxBackoffMs: row.integer('max_backoff') ?? 8000,
    inactivityProbeMs: row.integer('inactivity_probe') ?? 5000,
    rateLimit: row.integer('controller_rate_limit'),
    burstLimit: row.integer('controller_burst_limit'),
  };
}

/** `ovs-vswitchd.conf.db(5)`, "Mirror TABLE". */
function readMirror(row: Row, bridge: string): MirrorSpec[] {
  const name = row.string('name');
  const [port] = row.refs('output_port');
  const vlan = row.integer('output_vlan');
  if (!port && vlan === null) {
    log.err(`bridge ${bridge}: mirror ${name} does not specify output; ignoring`);
    return [];
  }
  if (port && vlan !== null) {
    log.err(`bridge ${bridge}: mirror ${name} specifies both output port and output vlan; ignoring output vlan`);
  }
  const names = (column: string): string[] => row.refs(column).map((one) => one.string('name'));
  const all = row.boolean('select_all');
  const config: MirrorConfig = {
    id: row.uuid,
    name,
    receivedBy: all ? 'all' : names('select_src_port'),
    sentBy: all ? 'all' : names('select_dst_port'),
    vlans: row.integers('select_vlan'),
    output: port ? { port: port.string('name') } : { vlan: vlan ?? 0 },
    snaplen: row.integer('snaplen') ?? 0,
  };
  return [{ row, config }];
}

const WIRE_VERSIONS: Readonly<Record<string, number>> = {
  OpenFlow10: 1,
  OpenFlow11: 2,
  OpenFlow12: 3,
  OpenFlow13: 4,
  OpenFlow14: 5,
  OpenFlow15: 6,
};

function readProtocols(row: Row): number[] {
  const named = row.strings('protocols').map((name) => WIRE_VERSIONS[name]);
  return named.length === 0 ? Object.values(WIRE_VERSIONS) : named;
}

/** Null without any that has tries. */
function readPrefixes(table: Row, bridge: string): string[] | null {
  const names: string[] = [];
  for (const text of table.strings('prefixes')) {
    const name = fieldByName(text)?.name;
    if (name !== undefined && PREFIX_FIELDS.has(name)) {
      names.push(name);
      continue;
    }
    log
      .rl()
      .warn(`bridge ${bridge}: 'prefixes' with ${name === undefined ? 'unknown' : 'incompatible'} field: ${text}`);
  }
  return names.length === 0 ? null : names;
}

function readGroups(table: Row, where: string): Subfield[] {
  return table.strings('groups').flatMap((text) => {
    const parsed = parseSubfield(text);
    if (parsed.ok) return parsed.subfield;
    log.rl().warn(`bridge ${where}: error parsing 'groups' (${parsed.error})`);
    return [];
  });
}

function readFlowTables(row: Row): Map<number, FlowTableConfig> {
  const bridge = row.string('name');
  const tables = new Map<number, FlowTableConfig>();
  for (const [id, table] of row.refMap('flow_tables')) {
    const groups = readGroups(table, `${bridge} table ${id}`);
    tables.set(Number(id), {
      name: table.string('name'),
      flowLimit: table.integer('flow_limit'),
      overflowPolicy: table.string('overflow_policy') === 'evict' ? 'evict' : 'refuse',
      groups,
      prefixes: readPrefixes(table, bridge),
    });
  }
  return tables;
}

export interface PortMember {
  readonly spec: InterfaceSpec;
  readonly ofport: number;
}

export function bundleOf(port: PortSpec, members: readonly PortMember[]): BundleConfig {
  const lacp = port.lacp && {
    ...port.lacp,
    members: members.map(({ spec: { otherConfig }, ofport }) => ({
      ofport,
      portId: within(otherConfig?.get('lacp-port-id'), 0xffff),
      portPriority: within(otherConfig?.get('lacp-port-priority'), 0xffff) ?? 0xffff,
      key: within(otherConfig?.get('lacp-aggregation-key'), 0xffff),
    })),
  };
  return {
    name: port.name,
    ofports: members.map((m) => m.ofport),
    vlan: port.vlan,
    bond: port.bond,
    lacp,
    mcastFlood: port.otherConfig?.get('mcast-snooping-flood') === 'true',
    mcastFloodReports: port.otherConfig?.get('mcast-snooping-flood-reports') === 'true',
  };
}

let collator: Intl.Collator | null = null;

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  collator ??= new Intl.Collator('en', { numeric: true });
  return collator.compare(a.name, b.name);
}

function integer(text: string | undefined): number | null {
  return text !== undefined && /^-?\d+$/.test(text) ? Number(text) : null;
}

/** 16 hexadecimal digits, or `0x` and up to 16; zero is none. */
export function parseDatapathId(text: string | undefined): bigint | null {
  if (text === undefined || !/^(?:[0-9a-fA-F]{16}|0x[0-9a-fA-F]{1,16})$/.test(text)) return null;
  const id = BigInt(text.startsWith('0x') ? text : `0x${text}`);
  return id === 0n ? null : id;
}

export function parseMac(text: string | undefined): Uint8Array | null {
  if (text === undefined || !/^[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}$/.test(text)) return null;
  return Uint8Array.from(text.split(':').map((byte) => Number.parseInt(byte, 16)));
}

export function formatMac(mac: Uint8Array): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
