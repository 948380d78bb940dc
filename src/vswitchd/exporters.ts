/** `NetFlow`, `sFlow`, `IPFIX` and `Flow_Sample_Collector_Set` rows, as exporters want them. `ovs-vswitchd.conf.db(5)` */
import { networkInterfaces } from 'node:os';
import { vlog } from '../base/vlog.ts';
import { parseIpv4, parseIpv6 } from '../flow/address-text.ts';
import type { BridgeIpfixConfig, ExportersConfig } from '../ofproto/export/exporters.ts';
import type { IpfixConfig } from '../ofproto/export/ipfix.ts';
import type { NetflowConfig } from '../ofproto/export/netflow.ts';
import type { SflowConfig } from '../ofproto/export/sflow.ts';
import type { Row } from '../ovsdb/idl.ts';

const log = vlog('bridge');
const DEFAULT_SFLOW = { sampling: 400, polling: 30, header: 128 } as const;
const DEFAULT_IPFIX = { sampling: 400, templateInterval: 600 } as const;

export function readExporters(bridge: Row): ExportersConfig {
  const flowIpfix = new Map<number, IpfixConfig>();
  for (const set of bridge.rowsOf('Flow_Sample_Collector_Set')) {
    const [owner] = set.refs('bridge');
    const [ipfix] = set.refs('ipfix');
    const id = set.integer('id');
    if (owner?.uuid === bridge.uuid && ipfix && id !== null) flowIpfix.set(id, readIpfix(ipfix));
  }
  const [netflow] = bridge.refs('netflow');
  const [sflow] = bridge.refs('sflow');
  const [ipfix] = bridge.refs('ipfix');
  return {
    netflow: netflow ? readNetflow(netflow) : null,
    sflow: sflow ? readSflow(sflow) : null,
    ipfix: ipfix ? readBridgeIpfix(ipfix) : null,
    flowIpfix,
  };
}

function readNetflow(row: Row): NetflowConfig {
  return {
    targets: row.strings('targets'),
    engineType: (row.integer('engine_type') ?? 0) & 0xff,
    engineId: (row.integer('engine_id') ?? 0) & 0xff,
    // -1 is never, 0 the default of ten minutes.
    activeTimeoutMs: Math.max(0, (row.integer('active_timeout') ?? 0) || 600) * 1000,
    addsId: row.boolean('add_id_to_interface'),
  };
}

/** Null without an address to speak for. */
function readSflow(row: Row): SflowConfig | null {
  const agent = agentAddress(row.optionalString('agent'));
  if (!agent) {
    log.rl().err('sFlow: could not determine IP address for sFlow agent');
    return null;
  }
  return {
    targets: row.strings('targets'),
    agent,
    samplingRate: Math.max(1, row.integer('sampling') ?? DEFAULT_SFLOW.sampling),
    pollingMs: (row.integer('polling') ?? DEFAULT_SFLOW.polling) * 1000,
    headerLength: row.integer('header') ?? DEFAULT_SFLOW.header,
  };
}

/** An address as it stands, or that of a device; without either, any of the machine's. */
function agentAddress(agent: string | null): Uint8Array | null {
  const literal = agent === null ? null : (parseIpv4(agent) ?? parseIpv6(agent));
  if (literal) return literal;
  const devices = networkInterfaces();
  const candidates = agent === null ? Object.values(devices).flat() : devices[agent];
  const own = candidates?.filter((one) => one !== undefined && (agent !== null || !one.internal)) ?? [];
  const best = own.find((one) => one?.family === 'IPv4') ?? own[0];
  return best ? (parseIpv4(best.address) ?? parseIpv6(best.address)) : null;
}

function readIpfix(row: Row): IpfixConfig {
  const interval = Number(row.map('other_config').get('template-interval') ?? DEFAULT_IPFIX.templateInterval);
  return {
    targets: row.strings('targets'),
    obsDomainId: row.integer('obs_domain_id') ?? 0,
    obsPointId: row.integer('obs_point_id') ?? 0,
    cacheActiveTimeoutMs: (row.integer('cache_active_timeout') ?? 0) * 1000,
    cacheMaxFlows: row.integer('cache_max_flows') ?? 0,
    templateIntervalMs: Math.max(1, Number.isFinite(interval) ? interval : DEFAULT_IPFIX.templateInterval) * 1000,
  };
}

function readBridgeIpfix(row: Row): BridgeIpfixConfig {
  const config = row.map('other_config');
  return {
    ...readIpfix(row),
    sampling: Math.max(1, row.integer('sampling') ?? DEFAULT_IPFIX.sampling),
    samplesInput: config.get('enable-input-sampling') !== 'false',
    samplesOutput: config.get('enable-output-sampling') !== 'false',
  };
}
