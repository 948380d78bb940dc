/** Groups and meters as JSON. The schema is `docs/schema/openflow.json`. */
import { fieldValueJson, hexNumber, type Json, type JsonObject } from '../../flow/json.ts';
import type { Names } from '../../flow/names.ts';
import {
  type Bucket,
  type GroupDesc,
  type GroupFeatures,
  type GroupProps,
  type GroupStats,
  type MeterConfig,
  type MeterFeatures,
  type MeterStats,
  OFPG_ANY,
} from '../messages-ext.ts';
import { OFPP } from '../ports.ts';
import { bitNames, meterText } from '../text/common.ts';
import { actionBitsText, GROUP_KINDS, METER_BAND_NAMES, METER_FLAG_NAMES } from '../text/family.ts';
import { actionsJson, portJson } from './actions.ts';
import { known, seconds, words } from './flows.ts';

export function groupJson(g: GroupDesc, names?: Names): JsonObject {
  return {
    group_id: g.groupId,
    type: g.groupType,
    selection: selectionJson(g.props),
    buckets: g.buckets.map((b) => bucketJson(b, names)),
  };
}

function bucketJson(b: Bucket, names?: Names): JsonObject {
  return {
    bucket_id: b.bucketId,
    weight: b.weight,
    ...(b.watchPort === OFPP.NONE ? { watch_port: null } : portJson('watch_port', b.watchPort, names)),
    watch_group: b.watchGroup === OFPG_ANY ? null : b.watchGroup,
    actions: actionsJson(b.actions, names) as Json,
  };
}

/** How a select group chooses; null for the switch's own way. */
function selectionJson(props: GroupProps | null): Json {
  if (props === null || props.selectionMethod === '') return null;
  return {
    method: props.selectionMethod,
    param: hexNumber(props.selectionMethodParam),
    fields: Object.fromEntries(
      props.fields.map(({ field, value }) => [field.name, fieldValueJson(field, value, value)]),
    ),
  };
}

export function groupStatsJson(g: GroupStats): JsonObject {
  return {
    group_id: g.groupId,
    ref_count: g.refCount,
    packets: known(g.packets),
    bytes: known(g.bytes),
    duration_s: seconds(g.durationMs),
    buckets: g.buckets.map((b) => ({ packets: known(b.packets), bytes: known(b.bytes) })),
  };
}

/** By kind of group: how many there may be, and what their buckets may do. */
export function groupFeaturesJson(f: GroupFeatures): JsonObject {
  const kinds = ['all', 'select', 'indirect', 'ff'];
  return Object.fromEntries(
    GROUP_KINDS.flatMap((_, i) =>
      (f.types >>> i) & 1
        ? [[kinds[i], { max_groups: f.maxGroups[i], actions: words(actionBitsText(BigInt(f.actions[i]))) }]]
        : [],
    ),
  );
}

/** Numbers of meters that are none have their name beside them. */
function meterId(id: number): JsonObject {
  const text = meterText(id);
  return text === String(id) ? { meter_id: id } : { meter_id: id, meter_name: text };
}

export function meterJson(m: MeterConfig): JsonObject {
  return {
    ...meterId(m.meterId),
    flags: words(bitNames(m.flags, METER_FLAG_NAMES, ' ')),
    bands: m.bands.map((b) => ({
      type: b.type,
      rate: b.rate,
      burst_size: m.flags & 4 ? b.burstSize : null,
      prec_level: b.type === 'dscp_remark' ? b.precLevel : null,
    })),
  };
}

export function meterStatsJson(m: MeterStats): JsonObject {
  return {
    ...meterId(m.meterId),
    flow_count: m.flowCount,
    packets: known(m.packets),
    bytes: known(m.bytes),
    duration_s: seconds(m.durationMs),
    bands: m.bands.map((b) => ({ packets: known(b.packets), bytes: known(b.bytes) })),
  };
}

export function meterFeaturesJson(f: MeterFeatures): JsonObject {
  return {
    max_meters: f.maxMeters,
    max_bands: f.maxBands,
    max_color: f.maxColor,
    band_types: words(bitNames(f.bandTypes, METER_BAND_NAMES, ' ')),
    capabilities: words(bitNames(f.capabilities, METER_FLAG_NAMES, ' ')),
  };
}
