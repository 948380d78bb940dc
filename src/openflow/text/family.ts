/** Queues, groups, meters, tables, bundles, tunnel options: for people. */

import { formatActions } from '../actions/index.ts';
import type { OfMessageOf } from '../messages.ts';
import {
  BUNDLE_CTRL,
  type Bucket,
  type GroupProps,
  type MeterConfig,
  OFPG_ANY,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
  OFPG15_BUCKET_LAST,
  type TableDesc,
  type TlvMap,
} from '../messages-ext.ts';
import { OFPP } from '../ports.ts';
import { actions10Text } from './basic.ts';
import {
  bitNames,
  counter,
  durationText,
  groupText,
  hex,
  meterText,
  portText,
  type TextContext,
  tableText,
} from './common.ts';

const ALL_QUEUES = 0xffffffff;
const queueText = (q: number): string => (q === ALL_QUEUES ? 'ALL' : `${q}`);

export function queueStatsRequestText(m: OfMessageOf<'queue_stats_request'>, { names }: TextContext): string {
  return ` port=${portText(m.portNo, names)} queue=${queueText(m.queueId)}`;
}
export function queueStatsText(m: OfMessageOf<'queue_stats_reply'>, { names }: TextContext): string {
  let out = ` ${m.queues.length} queues\n`;
  for (const q of m.queues) {
    out += `  port ${portText(q.portNo, names)} queue ${queueText(q.queueId)}: bytes=${counter(q.txBytes)}, `;
    out += `pkts=${counter(q.txPackets)}, errors=${counter(q.txErrors)}, duration=${durationText(q.durationMs)}\n`;
  }
  return out;
}
export function queueConfigRequestText(m: OfMessageOf<'queue_get_config_request'>, { names }: TextContext): string {
  return ` port=${portText(m.portNo, names)}${m.queueId === ALL_QUEUES ? '' : ` queue=${m.queueId}`}`;
}
const NO_RATE = 0xffff;
export const FULL_RATE = 1000;
function rateText(rate: number): string {
  return rate <= FULL_RATE ? `${Math.floor(rate / 10)}.${rate % 10}%` : '(disabled)';
}
export function queueConfigText(m: OfMessageOf<'queue_get_config_reply'>, { names, version }: TextContext): string {
  // Until 1.3 the message has one port, since then every queue says its own.
  let port = version <= 4 ? m.portNo : -1;
  let out = version <= 4 ? ` port=${portText(port, names)}\n` : '';
  for (const q of [...m.queues].sort((a, b) => a.portNo - b.portNo || a.queueId - b.queueId)) {
    if (version >= 5 && q.portNo !== port) {
      port = q.portNo;
      out += `${out === '' ? ' ' : ''}port=${portText(port, names)}\n`;
    }
    out += `queue ${q.queueId}:`;
    if (q.minRate !== NO_RATE) out += ` min_rate:${rateText(q.minRate)}`;
    if (q.maxRate !== NO_RATE) out += ` max_rate:${rateText(q.maxRate)}`;
    out += '\n';
  }
  return out;
}

export const METER_BAND_NAMES = [null, 'drop', 'dscp_remark'];
export const METER_FLAG_NAMES = ['kbps', 'pktps', 'burst', 'stats'];
const flagWords = (flags: number): string => (flags === 0 ? '' : `${bitNames(flags, METER_FLAG_NAMES, ' ')} `);
export function meterConfigText(meter: MeterConfig): string {
  let out = `meter=${meterText(meter.meterId)} ${flagWords(meter.flags)}bands=\n`;
  for (const band of meter.bands) {
    out += `type=${band.type} rate=${band.rate}`;
    if (meter.flags & 4) out += ` burst_size=${band.burstSize}`;
    if (band.type === 'dscp_remark') out += ` prec_level=${band.precLevel}`;
    out += '\n';
  }
  return out;
}
const METER_COMMANDS = { add: 'ADD', modify: 'MOD', delete: 'DEL' } as const;
export function meterModText(m: OfMessageOf<'meter_mod'>): string {
  return ` ${METER_COMMANDS[m.command]} ${meterConfigText(m.meter)}`;
}
export function meterStatsText(m: OfMessageOf<'meter_stats_reply'>): string {
  let out = '\n';
  for (const s of m.meters) {
    out += `meter:${meterText(s.meterId)} flow_count:${s.flowCount} packet_in_count:${counter(s.packets)} `;
    out += `byte_in_count:${counter(s.bytes)} duration:${durationText(s.durationMs)} bands:\n`;
    s.bands.forEach((b, i) => {
      out += `${i}: packet_count:${counter(b.packets)} byte_count:${counter(b.bytes)}\n`;
    });
  }
  return out;
}
export function meterConfigsText(m: OfMessageOf<'meter_config_reply'>): string {
  return `\n${m.meters.map(meterConfigText).join('')}`;
}
export function meterFeaturesText({ features: f }: OfMessageOf<'meter_features_reply'>): string {
  let out = `\nmax_meter:${f.maxMeters} max_bands:${f.maxBands} max_color:${f.maxColor}\n`;
  out += `band_types: ${bitNames(f.bandTypes, METER_BAND_NAMES, ' ')}\n`;
  return `${out}capabilities: ${bitNames(f.capabilities, METER_FLAG_NAMES, ' ')}\n`;
}

const GROUP_COMMANDS = {
  add: 'ADD',
  modify: 'MOD',
  delete: 'DEL',
  add_or_mod: 'ADD_OR_MOD',
  insert_bucket: 'INSERT_BUCKET',
  remove_bucket: 'REMOVE_BUCKET',
} as const;
const GROUP_TYPES = { all: 'all', select: 'select', indirect: 'indirect', ff: 'ff' } as const;

function propsText(props: GroupProps | null): string {
  if (props === null || props.selectionMethod === '') return '';
  let out = `,selection_method=${props.selectionMethod}`;
  if (props.selectionMethodParam !== 0n) out += `,selection_method_param=${props.selectionMethodParam}`;
  const exact = (value: Uint8Array) => value.every((b) => b === 0xff);
  if (props.fields.length === 1) {
    const { field, value } = props.fields[0];
    out += `,fields=${field.name}${exact(value) ? '' : `=0x${toHex(value)}`}`;
  } else if (props.fields.length > 1) {
    const list = props.fields.map(({ field, value }) =>
      exact(value) ? field.name : `${field.name}=0x${toHex(value)}`,
    );
    out += `,fields(${list.join(',')})`;
  }
  return out;
}
const toHex = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');

const NAMED_BUCKETS: Readonly<Record<number, string>> = {
  [OFPG15_BUCKET_FIRST]: 'first',
  [OFPG15_BUCKET_LAST]: 'last',
  [OFPG15_BUCKET_ALL]: 'all',
};

/** What groups, their changes and their descriptions have in common. */
export function groupBodyText(
  groupId: number,
  type: keyof typeof GROUP_TYPES | null,
  commandBucketId: number | null,
  props: GroupProps | null,
  buckets: readonly Bucket[],
  { names, version }: TextContext,
): string {
  let out = `group_id=${groupText(groupId)}`;
  if (type !== null) out += `,type=${GROUP_TYPES[type]}`;
  if (commandBucketId !== null) out += `,command_bucket_id:${NAMED_BUCKETS[commandBucketId] ?? commandBucketId}`;
  out += propsText(props);
  for (const b of buckets) {
    out += ',bucket=';
    // OpenFlow 1.0 has groups only in Nicira's form, which is that of 1.5.
    if (version === 6 || version === 1) out += `bucket_id:${b.bucketId},`;
    if (b.weight !== 1 && (b.weight !== 0 || type === 'select')) out += `weight:${b.weight},`;
    if (b.watchPort !== OFPP.NONE) out += `watch_port:${portText(b.watchPort, names)},`;
    if (b.watchGroup !== OFPG_ANY) out += `watch_group:${b.watchGroup},`;
    out += `actions=${formatActions(b.actions, names)}`;
  }
  return out;
}

export function groupModText(m: OfMessageOf<'group_mod'>, ctx: TextContext): string {
  const bucketCommand = m.command === 'insert_bucket' || m.command === 'remove_bucket';
  const type = bucketCommand || m.command === 'delete' ? null : m.groupType;
  const commandBucket = bucketCommand ? m.commandBucketId : null;
  return `\n ${GROUP_COMMANDS[m.command]} ${groupBodyText(m.groupId, m.command === 'delete' ? m.groupType : type, commandBucket, m.props, m.buckets, ctx)}`;
}
export function groupDescText(m: OfMessageOf<'group_desc_reply'>, ctx: TextContext): string {
  return (
    m.groups.map((g) => `\n ${groupBodyText(g.groupId, g.groupType, null, g.props, g.buckets, ctx)}`).join('') || ''
  );
}
export function groupStatsText(m: OfMessageOf<'group_stats_reply'>): string {
  let out = '';
  for (const g of m.groups) {
    out += `\n group_id=${g.groupId},`;
    if (g.durationMs >= 0) out += `duration=${durationText(g.durationMs)},`;
    out += `ref_count=${g.refCount},packet_count=${counter(g.packets)},byte_count=${counter(g.bytes)}`;
    g.buckets.forEach((b, i) => {
      if (b.packets >= 0) out += `,bucket${i}:packet_count=${b.packets},byte_count=${counter(b.bytes)}`;
    });
  }
  return out;
}

/** OpenFlow 1.1+ actions by number, in the order they are listed. */
const ACTIONS_11: readonly (readonly [number, string])[] = [
  [0, 'output'],
  [22, 'group'],
  [25, 'set_field'],
  [1, 'set_vlan_vid'],
  [2, 'set_vlan_pcp'],
  [18, 'strip_vlan'],
  [17, 'push_vlan'],
  [3, 'mod_dl_src'],
  [4, 'mod_dl_dst'],
  [5, 'mod_nw_src'],
  [6, 'mod_nw_dst'],
  [7, 'mod_nw_tos'],
  [8, 'mod_nw_ecn'],
  [23, 'mod_nw_ttl'],
  [9, 'mod_tp_src'],
  [10, 'mod_tp_dst'],
  [24, 'dec_ttl'],
  [13, 'set_mpls_label'],
  [14, 'set_mpls_tc'],
  [15, 'set_mpls_ttl'],
  [16, 'dec_mpls_ttl'],
  [19, 'push_mpls'],
  [20, 'pop_mpls'],
  [21, 'set_queue'],
];
/** OpenFlow 1.1 numbers before `set_field` replaced the single setters; 1.2 and later keep only these few. */
export function actionBitsText(bits: bigint): string {
  const words = ACTIONS_11.filter(([n]) => (bits >> BigInt(n)) & 1n).map(([, name]) => name);
  return words.length === 0 ? '(none)' : words.join(' ');
}

export const GROUP_KINDS = ['all', 'select', 'indirect', 'fast failover'];
export function groupFeaturesText(
  { features: f }: OfMessageOf<'group_features_reply'>,
  { version }: TextContext,
): string {
  const actions = (bits: number) => (version === 1 ? actions10Text(bits) : actionBitsText(BigInt(bits)));
  let out = `\n Group table:\n    Types:  ${hex(f.types)}\n    Capabilities:  ${hex(f.capabilities)}\n`;
  GROUP_KINDS.forEach((kind, i) => {
    if (!((f.types >>> i) & 1)) return;
    out += `    ${kind} group:\n       max_groups=${hex(f.maxGroups[i])}\n       actions: ${actions(f.actions[i])}\n`;
  });
  return out;
}

export const MISS = ['controller', 'continue', 'drop'];
export const EVICTION = 4;
export const VACANCY = 8;
export function tableModText(m: OfMessageOf<'table_mod'>, { version, names }: TextContext): string {
  let out = m.table === 255 ? ' table_id: ALL_TABLES' : ` table_id=${tableText(m.table, names)}`;
  if (version <= 3) {
    const miss = MISS[m.config & 3];
    if (miss !== undefined) out += `, flow_miss_config=${miss}`;
  } else if (version >= 5) {
    out += `, eviction=${m.config & EVICTION ? 'on' : 'off'}`;
    if (m.evictionFlags !== undefined) out = out.replace(/eviction=\w+$/, 'eviction=***error***');
    out += `, vacancy=${m.config & VACANCY ? 'on' : 'off'}`;
    if (m.config & VACANCY && m.vacancyUp !== undefined) out += ` vacancy:${m.vacancyDown},${m.vacancyUp}`;
  }
  return out;
}
export const EVICTION_FLAGS = ['OTHER', 'IMPORTANCE', 'LIFETIME'];
export function tableDescText(t: TableDesc, { names }: TextContext): string {
  let out = `\n  table ${tableText(t.table, names)}:\n`;
  out += `   eviction=${t.config & EVICTION ? 'on' : 'off'}`;
  out += ` eviction_flags=${t.evictionFlags < 0 ? '(none)' : bitNames(t.evictionFlags, EVICTION_FLAGS, '|')}\n`;
  out += `   vacancy=${t.config & VACANCY ? 'on' : 'off'}`;
  if (t.config & VACANCY) out += ` vacancy_down=${t.vacancyDown}% vacancy_up=${t.vacancyUp}% vacancy=${t.vacancy}%`;
  return `${out}\n`;
}

const CTRL_NAMES = new Map(Object.entries(BUNDLE_CTRL).map(([name, n]) => [n as number, name.toUpperCase()]));
const bundleFlags = (flags: number): string => bitNames(flags, ['atomic', 'ordered'], ' ');
export function bundleControlText(m: OfMessageOf<'bundle_control'>): string {
  return `\n bundle_id=${m.bundleId === 0 ? '0' : hex(m.bundleId)} type=${CTRL_NAMES.get(m.ctrl) ?? m.ctrl} flags=${bundleFlags(m.flags)}`;
}
export function bundleAddText(m: OfMessageOf<'bundle_add'>): string {
  return `\n bundle_id=${m.bundleId === 0 ? '0' : hex(m.bundleId)} flags=${bundleFlags(m.flags)}\n`;
}

function mapsText(maps: readonly TlvMap[]): string {
  let out = ' mapping table:\n  class  type  length  match field\n ------  ----  ------  --------------';
  for (const m of maps)
    out += `\n ${hex(m.optionClass).padStart(6)}  ${hex(m.optionType).padStart(4)}  ${String(m.optionLen).padStart(6)}  tun_metadata${m.index}`;
  return out;
}
export function tlvModText(m: OfMessageOf<'tlv_table_mod'>): string {
  if (m.command === 'clear') return '\n CLEAR';
  return `\n ${m.command === 'add' ? 'ADD' : 'DEL'}${mapsText(m.mappings)}`;
}
export function tlvReplyText(m: OfMessageOf<'tlv_table_reply'>): string {
  const allocated = m.mappings.reduce((sum, map) => sum + map.optionLen, 0);
  const head = `\n max option space=${m.maxOptionSpace} max fields=${m.maxFields}\n allocated option space=${allocated}\n\n`;
  return head + mapsText(m.mappings);
}
