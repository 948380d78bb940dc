/** The small messages for people. */

import type { OfMessageOf } from '../messages.ts';
import { bitNames, type TextContext } from './common.ts';
import { portsText } from './port.ts';

const CAPABILITIES_10 = [
  'FLOW_STATS',
  'TABLE_STATS',
  'PORT_STATS',
  'STP',
  null,
  'IP_REASM',
  'QUEUE_STATS',
  'ARP_MATCH_IP',
];
const CAPABILITIES_11 = [
  'FLOW_STATS',
  'TABLE_STATS',
  'PORT_STATS',
  'GROUP_STATS',
  null,
  'IP_REASM',
  'QUEUE_STATS',
  'ARP_MATCH_IP',
  'PORT_BLOCKED',
  'BUNDLES',
  'FLOW_MONITORING',
];
const CAPABILITIES_12 = CAPABILITIES_11.map((n) => (n === 'ARP_MATCH_IP' ? null : n));
const ACTIONS_10 = [
  'output',
  'set_vlan_vid',
  'set_vlan_pcp',
  'strip_vlan',
  'mod_dl_src',
  'mod_dl_dst',
  'mod_nw_src',
  'mod_nw_dst',
  'mod_nw_tos',
  'mod_tp_src',
  'mod_tp_dst',
  'enqueue',
];
/** The order in which actions are listed is not that of their numbers. */
const ACTION_ORDER_10 = [0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
export const FRAGS = ['normal', 'drop', 'reassemble', 'nx-match'];
export const INVALID_TTL_TO_CONTROLLER = 4;

export function helloText(m: OfMessageOf<'hello'>): string {
  const list: string[] = [];
  for (let v = 0; v < 32; v++) if (m.versions & (2 ** v)) list.push(`0x${v.toString(16).padStart(2, '0')}`);
  return `\n version bitmap: ${list.join(', ')}\n`;
}

/** OpenFlow 1.0's action bits. */
export function actions10Text(bits: number): string {
  return ACTION_ORDER_10.filter((n) => (bits >>> n) & 1)
    .map((n) => ACTIONS_10[n])
    .join(' ');
}

export function capabilitiesText(bits: number, version: number): string {
  return bitNames(bits, version === 1 ? CAPABILITIES_10 : version === 2 ? CAPABILITIES_11 : CAPABILITIES_12, ' ');
}

export function featuresText(m: OfMessageOf<'features_reply'>, { version }: TextContext): string {
  let out = ` dpid:${m.datapathId.toString(16).padStart(16, '0')}\n`;
  out += `n_tables:${m.nTables}, n_buffers:${m.nBuffers}`;
  if (m.auxiliaryId !== 0) out += `, auxiliary_id:${m.auxiliaryId}`;
  out += '\ncapabilities: ';
  out += `${capabilitiesText(m.capabilities, version)}\n`;
  if (version === 1) {
    out += `actions: ${actions10Text(m.actions)}\n`;
  }
  return out + portsText(m.ports);
}

export function configText(m: { flags: number; missSendLen: number }): string {
  let out = ` frags=${FRAGS[m.flags & 3]}`;
  if (m.flags & INVALID_TTL_TO_CONTROLLER) out += ' invalid_ttl_to_controller';
  return `${out} miss_send_len=${m.missSendLen}\n`;
}

const SHOW_ROLE = { nochange: 'nochange', equal: 'equal', primary: 'primary', secondary: 'secondary' } as const;
export function roleText(m: OfMessageOf<'role_request' | 'role_reply'>): string {
  const generation = m.generationId === null ? '' : ` generation_id=${m.generationId}`;
  return ` role=${SHOW_ROLE[m.role]}${generation}`;
}
const ROLE_REASONS = ['primary_request', 'configuration_changed', 'experimenter_data_changed'];
export function roleStatusText(m: OfMessageOf<'role_status'>): string {
  const role = m.role === 'nochange' ? 'nochange' : m.role;
  return ` role=${role} generation_id=${m.generationId} reason=${ROLE_REASONS[m.reason] ?? '(unknown)'}`;
}

export function descText({ desc }: OfMessageOf<'desc_reply'>): string {
  return (
    `\nManufacturer: ${desc.mfrDesc}\nHardware: ${desc.hwDesc}\nSoftware: ${desc.swDesc}\n` +
    `Serial Num: ${desc.serialNum}\nDP Description: ${desc.dpDesc}\n`
  );
}

export function setFlowFormatText(m: OfMessageOf<'nx_set_flow_format'>): string {
  return ` format=${m.format === 'nxm' ? 'nxm' : 'openflow10'}`;
}
export function packetInFormatText(m: OfMessageOf<'nx_set_packet_in_format'>): string {
  return ` format=${m.format}`;
}

const REASONS = {
  packetIn: ['no_match', 'action', 'invalid_ttl', 'action_set', 'group', 'packet_out'],
  portStatus: ['add', 'delete', 'modify'],
  flowRemoved: ['idle', 'hard', 'delete', 'group_delete', 'meter_delete', 'eviction'],
  roleStatus: ['primary_request', 'configuration_changed', 'experimenter_data_changed'],
  tableStatus: [null, null, null, 'vacancy_down', 'vacancy_up'],
  requestForward: ['group_mod_request', 'meter_mod_request'],
} as const;
const TITLES = {
  packetIn: 'PACKET_IN',
  portStatus: 'PORT_STATUS',
  flowRemoved: 'FLOW_REMOVED',
  roleStatus: 'ROLE_STATUS',
  tableStatus: 'TABLE_STATUS',
  requestForward: 'REQUESTFORWARD',
} as const;

export function asyncText(m: OfMessageOf<'set_async' | 'get_async_reply'>): string {
  const sides = ['primary', 'secondary'].map((who, i) => {
    let out = `\n ${who}:`;
    for (const key of Object.keys(TITLES) as (keyof typeof TITLES)[]) {
      const bits = m[key]?.[i] ?? 0;
      const words = REASONS[key].filter((name, n) => name !== null && (bits >>> n) & 1);
      out += `\n${TITLES[key].padStart(16)}: ${bits === 0 ? '(off)' : words.join(' ')}`;
    }
    return out;
  });
  return sides.join('\n');
}
