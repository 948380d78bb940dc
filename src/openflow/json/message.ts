/**
 * Replies of a switch as JSON: each message one object, whose members are lists (or one object) under the name of what
 * they hold. The parts of a reply in several parts, and several replies, make one document: lists are appended.
 */
import { type Json, type JsonObject, valueJson } from '../../flow/json.ts';
import type { Names } from '../../flow/names.ts';
import type { OfMessage, OfMessageOf, TableStats } from '../messages.ts';
import type { TableDesc, TableFeatures } from '../messages-ext.ts';
import { capabilitiesText, FRAGS, INVALID_TTL_TO_CONTROLLER } from '../text/basic.ts';
import { bitNames } from '../text/common.ts';
import { EVICTION, EVICTION_FLAGS, MISS, VACANCY } from '../text/family.ts';
import { tableJson } from './actions.ts';
import { flowJson, known, words } from './flows.ts';
import {
  groupFeaturesJson,
  groupJson,
  groupStatsJson,
  meterFeaturesJson,
  meterJson,
  meterStatsJson,
} from './groups.ts';
import { phyPortJson, portStatsJson, queueConfigJson, queueStatsJson } from './ports.ts';

/** Null for a message that is no reply of a dump. */
export function messageJson(m: OfMessage, version: number, names?: Names): JsonObject | null {
  switch (m.type) {
    case 'flow_stats_reply':
      return { flows: m.flows.map((f) => flowJson(f, names)) };
    case 'aggregate_reply':
      return { aggregate: { packets: known(m.packets), bytes: known(m.bytes), flows: m.flows } };
    case 'port_desc_reply':
      return { ports: byPort(m.ports) };
    case 'port_stats_reply':
      return { port_stats: m.ports.map((p) => portStatsJson(p, names)) };
    case 'queue_stats_reply':
      return { queue_stats: m.queues.map((q) => queueStatsJson(q, names)) };
    case 'queue_get_config_reply':
      return { queues: m.queues.map((q) => queueConfigJson(q, m.portNo, names)) };
    case 'group_desc_reply':
      return { groups: m.groups.map((g) => groupJson(g, names)) };
    case 'group_stats_reply':
      return { group_stats: m.groups.map(groupStatsJson) };
    case 'group_features_reply':
      return { group_features: groupFeaturesJson(m.features) };
    case 'meter_config_reply':
      return { meters: m.meters.map(meterJson) };
    case 'meter_stats_reply':
      return { meter_stats: m.meters.map(meterStatsJson) };
    case 'meter_features_reply':
      return { meter_features: meterFeaturesJson(m.features) };
    case 'table_stats_reply':
      return { tables: m.tables.map((t) => tableStatsJson(t)) };
    case 'table_features_reply':
      return { table_features: m.tables.map(tableFeaturesJson) };
    case 'table_desc_reply':
      return { table_desc: m.tables.map((t) => tableDescJson(t, names)) };
    case 'features_reply':
      return featuresJson(m, version);
    case 'get_config_reply':
      return {
        config: {
          frags: FRAGS[m.flags & 3],
          invalid_ttl_to_controller: (m.flags & INVALID_TTL_TO_CONTROLLER) !== 0,
          miss_send_len: m.missSendLen,
        },
      };
    case 'desc_reply':
      return {
        desc: {
          manufacturer: m.desc.mfrDesc,
          hardware: m.desc.hwDesc,
          software: m.desc.swDesc,
          serial_num: m.desc.serialNum,
          dp_desc: m.desc.dpDesc,
        },
      };
    case 'tlv_table_reply':
      return {
        tlv_table: {
          max_option_space: m.maxOptionSpace,
          max_fields: m.maxFields,
          mappings: m.mappings.map((t) => ({
            class: t.optionClass,
            type: t.optionType,
            length: t.optionLen,
            field: `tun_metadata${t.index}`,
          })),
        },
      };
    case 'ipfix_bridge_stats_reply':
    case 'ipfix_flow_stats_reply':
      return { ipfix: valueJson(m.stats) };
    default:
      return null;
  }
}

/** Appends `part` to `document`: lists member by member, other members over what was there. */
export function mergeJson(document: Record<string, Json>, part: JsonObject): void {
  for (const [name, value] of Object.entries(part)) {
    const there = document[name];
    document[name] = Array.isArray(there) && Array.isArray(value) ? [...there, ...value] : value;
  }
}

const byPort = (ports: OfMessageOf<'port_desc_reply'>['ports']): JsonObject[] =>
  [...ports].sort((a, b) => a.portNo - b.portNo).map(phyPortJson);

function featuresJson(m: OfMessageOf<'features_reply'>, version: number): JsonObject {
  const features = {
    datapath_id: m.datapathId.toString(16).padStart(16, '0'),
    n_tables: m.nTables,
    n_buffers: m.nBuffers,
    auxiliary_id: m.auxiliaryId,
    capabilities: words(capabilitiesText(m.capabilities, version)),
  };
  // Since OpenFlow 1.3 ports are asked for by themselves.
  return version <= 3 ? { features, ports: byPort(m.ports) } : { features };
}

function tableStatsJson(t: TableStats): JsonObject {
  return {
    table: t.table,
    name: t.name,
    active: t.activeCount,
    lookup: known(t.lookupCount),
    matched: known(t.matchedCount),
    max_entries: t.maxEntries > 0 ? t.maxEntries : null,
    miss: MISS[t.missConfig] ?? null,
  };
}

function tableFeaturesJson(t: TableFeatures): JsonObject {
  return {
    table: t.table,
    name: t.name,
    max_entries: t.maxEntries,
    metadata_match: `0x${t.metadataMatch.toString(16)}`,
    metadata_write: `0x${t.metadataWrite.toString(16)}`,
    match: t.match.map((f) => f.name),
    mask: t.mask.map((f) => f.name),
    wildcard: t.wildcard.map((f) => f.name),
    next_tables: [...t.nonmiss.nextTables],
    set_fields: t.nonmiss.applySetFields.map((f) => f.name),
  };
}

function tableDescJson(t: TableDesc, names?: Names): JsonObject {
  const hasVacancy = (t.config & VACANCY) !== 0;
  return {
    ...tableJson('table', t.table, names),
    eviction: (t.config & EVICTION) !== 0,
    eviction_flags: t.evictionFlags < 0 ? [] : words(bitNames(t.evictionFlags, EVICTION_FLAGS, ' ')),
    vacancy: hasVacancy ? { down: t.vacancyDown, up: t.vacancyUp, now: t.vacancy } : null,
  };
}
