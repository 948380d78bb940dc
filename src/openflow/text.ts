/**
 * A whole message for people, as `ovs-ofctl ofp-print`, `snoop`, `monitor` and `-v` write it: one line with the message's name,
 * version and transaction, then whatever it says. The text always ends with a newline.
 */
import type { Names } from '../flow/names.ts';
import type { WireOptions } from './codec.ts';
import type { OfMessage, OfpVersion } from './messages.ts';
import * as basic from './text/basic.ts';
import { bitNames, groupText, hexDump, meterText, type TextContext } from './text/common.ts';
import * as family from './text/family.ts';
import * as flow from './text/flow.ts';
import { packetInText, packetOutText } from './text/packet.ts';
import * as port from './text/port.ts';
import { tableFeaturesText, tableStatsText } from './text/table-features.ts';
import { type Decoded, decodeMessage, spotFor } from './wire.ts';

export interface FormatOptions {
  readonly names?: Names;
  readonly wire?: WireOptions;
  /** The message's name when it is known from decoding. */
  readonly name?: string;
}

/** ` (OF1.3)`, nothing for 1.0. */
export function versionText(version: number): string {
  if (version === 1) return '';
  return version >= 2 && version <= 6 ? ` (OF1.${version - 1})` : ` (OF 0x${version.toString(16).padStart(2, '0')})`;
}

function header(name: string, version: number, xid: number): string {
  return `${name}${versionText(version)} (xid=0x${xid.toString(16)}):`;
}

const REASONS_FORWARD = { group_mod: 'group_mod', meter_mod: 'meter_mod' } as const;

function body(m: OfMessage, ctx: TextContext): string {
  switch (m.type) {
    case 'hello':
      return basic.helloText(m);
    case 'error':
      return errorText(m, ctx);
    case 'echo_request':
    case 'echo_reply':
      return ` ${m.data.length} bytes of payload\n${ctx.verbosity > 1 || m.data.length > 0 ? hexDump(m.data) : ''}`;
    case 'features_reply':
      return basic.featuresText(m, ctx);
    case 'get_config_reply':
    case 'set_config':
      return basic.configText(m);
    case 'role_request':
    case 'role_reply':
      return basic.roleText(m);
    case 'role_status':
      return basic.roleStatusText(m);
    case 'desc_reply':
      return basic.descText(m);
    case 'nx_set_flow_format':
      return basic.setFlowFormatText(m);
    case 'nx_flow_mod_table_id':
      return ` ${m.set ? 'enable' : 'disable'}`;
    case 'nx_set_packet_in_format':
      return basic.packetInFormatText(m);
    case 'nx_set_controller_id':
      return ` id=${m.controllerId}`;
    case 'set_async':
    case 'get_async_reply':
      return basic.asyncText(m);
    case 'packet_in':
      return packetInText(m, ctx);
    case 'nx_resume':
      return packetInText(m.packetIn, ctx);
    case 'packet_out':
      return packetOutText(m, ctx);
    case 'flow_removed':
      return flow.flowRemovedText(m, ctx);
    case 'flow_mod':
      return flow.flowModText(m, ctx);
    case 'flow_stats_request':
    case 'aggregate_request':
      return flow.flowStatsRequestText(m, ctx);
    case 'flow_stats_reply':
      return flow.flowStatsText(m, ctx);
    case 'aggregate_reply':
      return flow.aggregateText(m);
    case 'flow_monitor_request':
      return flow.monitorRequestText(m, ctx);
    case 'flow_monitor_reply':
      return flow.monitorReplyText(m, ctx);
    case 'flow_monitor_cancel':
      return ` id=${m.id}`;
    case 'port_status':
      return port.portStatusText(m);
    case 'port_mod':
      return port.portModText(m, ctx);
    case 'port_desc_request':
      return port.portDescRequestText(m, ctx);
    case 'port_desc_reply':
      return `\n${port.portsText(m.ports)}`;
    case 'port_stats_request':
      return port.portStatsRequestText(m, ctx);
    case 'port_stats_reply':
      return port.portStatsText(m, ctx);
    case 'table_mod':
      return family.tableModText(m, ctx);
    case 'table_desc_reply':
      return m.tables.map((t) => family.tableDescText(t, ctx)).join('');
    case 'table_status':
      return ` reason=${m.reason === 3 ? 'VACANCY_DOWN' : 'VACANCY_UP'}\ntable_desc:-${family.tableDescText(m.desc, ctx)}`;
    case 'table_stats_reply':
      return tableStatsText(m, ctx);
    case 'table_features_request':
    case 'table_features_reply':
      return tableFeaturesText(m.tables, ctx);
    case 'queue_stats_request':
      return family.queueStatsRequestText(m, ctx);
    case 'queue_stats_reply':
      return family.queueStatsText(m, ctx);
    case 'queue_get_config_request':
      return family.queueConfigRequestText(m, ctx);
    case 'queue_get_config_reply':
      return family.queueConfigText(m, ctx);
    case 'group_mod':
      return family.groupModText(m, ctx);
    case 'group_desc_request':
    case 'group_stats_request':
      return ` group_id=${groupText(m.groupId)}`;
    case 'group_desc_reply':
      return family.groupDescText(m, ctx);
    case 'group_stats_reply':
      return family.groupStatsText(m);
    case 'group_features_reply':
      return family.groupFeaturesText(m, ctx);
    case 'meter_mod':
      return family.meterModText(m);
    case 'meter_config_request':
    case 'meter_stats_request':
      return ` meter=${meterText(m.meterId)}`;
    case 'meter_config_reply':
      return family.meterConfigsText(m);
    case 'meter_stats_reply':
      return family.meterStatsText(m);
    case 'meter_features_reply':
      return family.meterFeaturesText(m);
    case 'bundle_control':
      return family.bundleControlText(m);
    case 'bundle_add': {
      const inner = formatMessage(m.message, ctx.version, m.messageXid, ctx.verbosity, { names: ctx.names });
      return family.bundleAddText(m) + inner;
    }
    case 'request_forward': {
      const kind = m.request.type === 'group_mod' ? REASONS_FORWARD.group_mod : REASONS_FORWARD.meter_mod;
      return ` reason=${kind}${body(m.request, ctx)}`;
    }
    case 'tlv_table_mod':
      return family.tlvModText(m);
    case 'tlv_table_reply':
      return family.tlvReplyText(m);
    case 'ct_flush_zone':
      return ` zone_id=${m.zone}`;
    default:
      return '';
  }
}

function errorText(m: Extract<OfMessage, { type: 'error' }>, ctx: TextContext): string {
  const name = ` ${m.name}\n`;
  if (m.name.startsWith('OFPHFC_')) {
    const said = new TextDecoder().decode(m.data).replace(/\0.*$/s, '');
    return said === '' ? name : `${name}${said}\n`;
  }
  const request =
    m.data.length >= 8 ? formatBytes(m.data, ctx.verbosity, { names: ctx.names, inError: true }) : hexDump(m.data);
  return name + request;
}

/** `verbosity` 0 to 2 and up, as `-m` counts. */
export function formatMessage(
  message: OfMessage,
  version: OfpVersion,
  xid: number,
  verbosity = 1,
  options: FormatOptions = {},
): string {
  const name = options.name ?? spotFor(version, message, options.wire)?.name ?? message.type;
  const more = 'more' in message && message.more === true;
  const ctx: TextContext = { version, xid, verbosity, names: options.names ?? {}, more };
  const text = `${header(name, version, xid)}${more ? ` flags=${bitNames(1, ['[more]'], ' ')}` : ''}${body(message, ctx)}`;
  return text.endsWith('\n') ? text : `${text}\n`;
}

/** Text of a message that was decoded, or why it could not be, with its bytes. */
export function formatDecoded(decoded: Decoded, bytes: Uint8Array, verbosity = 1, options: FormatOptions = {}): string {
  if (decoded.ok) {
    const name = decoded.spot.name;
    let text = formatMessage(decoded.message, decoded.version, decoded.xid, verbosity, { ...options, name });
    if (verbosity >= 3) text += hexDump(bytes);
    return text;
  }
  const start = decoded.spot === null ? '' : `${header(decoded.spot.name, decoded.version, decoded.xid)} `;
  return `${start}***decode error: ${decoded.error}***\n${hexDump(bytes)}`;
}

/** Text of one message as bytes. */
export function formatBytes(
  bytes: Uint8Array,
  verbosity = 1,
  options: FormatOptions & { readonly inError?: boolean } = {},
): string {
  const declared = bytes.length >= 4 ? (bytes[2] << 8) | bytes[3] : 0;
  if (bytes.length < 8) return `OpenFlow packet too short (only ${bytes.length} bytes):\n${hexDump(bytes)}`;
  if (declared > bytes.length && options.inError)
    return `(***truncated to ${bytes.length} bytes from ${declared}***)\n${hexDump(bytes)}`;
  return formatDecoded(decodeMessage(bytes, { tableId: true, ...options.wire }), bytes, verbosity, options);
}
