/** Groups: changes, descriptions, statistics, features; buckets in the forms of OpenFlow 1.1 and 1.5. */
import type { Field } from '../../flow/field.ts';
import type { Reader, Writer } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import { OfDecodeError } from '../errors.ts';
import type { OfpVersion } from '../messages.ts';
import {
  type Bucket,
  type GroupCommand,
  type GroupDesc,
  type GroupProps,
  type GroupStats,
  type GroupType,
  OFPG_ALL,
  OFPG_ANY,
  OFPG15_BUCKET_ALL,
} from '../messages-ext.ts';
import { OFPP } from '../ports.ts';
import { readDuration, writeDuration } from './duration.ts';
import { entry } from './entry.ts';
import { readActions, readFieldValue, writeActions, writeFieldHeader } from './parts.ts';
import { properties, property, readPort, writePort } from './phy-port.ts';

const TYPES: readonly GroupType[] = ['all', 'select', 'indirect', 'ff'];
const COMMANDS: Readonly<Record<GroupCommand, number>> = {
  add: 0,
  modify: 1,
  delete: 2,
  insert_bucket: 3,
  remove_bucket: 5,
  add_or_mod: 0x8000,
};
const COMMAND_OF = new Map(Object.entries(COMMANDS).map(([k, v]) => [v, k as GroupCommand]));
const WEIGHT = 0;
const WATCH_PORT = 1;
const WATCH_GROUP = 2;
const EXPERIMENTER = 0xffff;
/** Netronome's vendor id and property, which Open vSwitch took over. */
const NTR_VENDOR_ID = 0x154d;
const NTRT_SELECTION_METHOD = 1;

function writeBuckets11(w: Writer, buckets: readonly Bucket[], version: OfpVersion): void {
  for (const b of buckets) {
    const start = w.len;
    w.u16(0).u16(b.weight);
    writePort(w, b.watchPort, version);
    w.u32(b.watchGroup).zero(4);
    writeActions(w, b.actions, version);
    w.length16(start, start);
  }
}
function readBuckets11(r: Reader, version: OfpVersion): Bucket[] {
  const buckets: Bucket[] = [];
  while (r.left > 0) {
    const e = entry(r, 16, 'OFPGMFC_BAD_BUCKET');
    const weight = e.u16();
    const watchPort = readPort(e, version);
    const watchGroup = e.u32();
    const actions = readActions(e.skip(4), version);
    buckets.push({ bucketId: buckets.length, weight, watchPort, watchGroup, actions });
  }
  return buckets;
}

function writeBuckets15(w: Writer, buckets: readonly Bucket[], groupType: GroupType, version: OfpVersion): void {
  for (const b of buckets) {
    const start = w.len;
    w.u16(0).u16(0).u32(b.bucketId);
    writeActions(w, b.actions, version);
    w.set16(start + 2, w.len - start - 8);
    if (groupType === 'select') property(w, WEIGHT, () => w.u16(b.weight).zero(2));
    if (b.watchPort !== OFPP.NONE) property(w, WATCH_PORT, () => writePort(w, b.watchPort, 6));
    if (b.watchGroup !== OFPG_ANY) property(w, WATCH_GROUP, () => w.u32(b.watchGroup));
    w.length16(start, start);
  }
}
function readBuckets15(r: Reader, groupType: GroupType, version: OfpVersion): Bucket[] {
  const buckets: Bucket[] = [];
  while (r.left > 0) {
    const e = entry(r, 8, 'OFPGMFC_BAD_BUCKET');
    const actionsLength = e.u16();
    const bucketId = e.u32();
    if (actionsLength > e.left) e.fail('OFPGMFC_BAD_BUCKET');
    const actions = readActions(e.sub(actionsLength), version);
    let weight = groupType === 'select' ? 1 : 0;
    let watchPort: number = OFPP.NONE;
    let watchGroup = OFPG_ANY;
    for (const [type, p] of properties(e)) {
      if (type === WEIGHT) weight = p.u16();
      else if (type === WATCH_PORT) watchPort = readPort(p, 6);
      else if (type === WATCH_GROUP) watchGroup = p.u32();
      else p.fail('OFPBPC_BAD_TYPE');
    }
    if (bucketId > 0xffffff00) e.fail('OFPGMFC_BAD_BUCKET');
    buckets.push({ bucketId, weight, watchPort, watchGroup, actions });
  }
  return buckets;
}

function writeProps(w: Writer, props: GroupProps | null, version: OfpVersion): void {
  if (props === null || props.selectionMethod === '') return;
  property(w, EXPERIMENTER, () => {
    w.u32(NTR_VENDOR_ID)
      .u32(NTRT_SELECTION_METHOD)
      .zero(4)
      .text(props.selectionMethod, 16)
      .u64(props.selectionMethodParam);
    for (const { field, value } of props.fields) {
      writeFieldHeader(w, field, version, value.length);
      w.bytes(value);
    }
  });
}
function readProps(r: Reader): GroupProps | null {
  let props: GroupProps | null = null;
  for (const [type, p] of properties(r)) {
    if (type !== EXPERIMENTER) p.fail('OFPBPC_BAD_TYPE');
    if (p.u32() !== NTR_VENDOR_ID) p.fail('OFPBPC_BAD_EXPERIMENTER');
    if (p.u32() !== NTRT_SELECTION_METHOD) p.fail('OFPBPC_BAD_EXP_TYPE');
    const selectionMethod = p.skip(4).text(16);
    const selectionMethodParam = p.u64();
    const fields: { field: Field; value: Uint8Array }[] = [];
    while (p.left > 0) {
      const { field, value } = readFieldValue(p);
      if (field === null) throw new OfDecodeError('OFPBPC_BAD_VALUE');
      fields.push({ field, value });
    }
    props = { selectionMethod, selectionMethodParam, fields };
  }
  return props;
}

const typeOf = (r: Reader, n: number): GroupType => TYPES[n] ?? r.fail('OFPGMFC_BAD_TYPE');
const commandOf = (r: Reader, n: number): GroupCommand => COMMAND_OF.get(n) ?? r.fail('OFPGMFC_BAD_COMMAND');

const groupMod11 = codec(
  'group_mod',
  [spot('of', 2, 5, 15, 'OFPT_GROUP_MOD')],
  (w, m, { version }) => {
    w.u16(COMMANDS[m.command]).u8(TYPES.indexOf(m.groupType)).zero(1).u32(m.groupId);
    writeBuckets11(w, m.buckets, version);
  },
  (r, { version }) => {
    const command = commandOf(r, r.u16());
    if (command === 'insert_bucket' || command === 'remove_bucket') r.fail('OFPGMFC_BAD_COMMAND');
    const groupType = typeOf(r, r.u8());
    const groupId = r.skip(1).u32();
    const buckets = readBuckets11(r, version);
    return { type: 'group_mod', command, groupType, groupId, commandBucketId: OFPG15_BUCKET_ALL, buckets, props: null };
  },
  (m, version) =>
    version >= 2 && version <= 5 && m.command !== 'insert_bucket' && m.command !== 'remove_bucket' && m.props === null,
);
/** The 1.5 layout, which Nicira's message brings to the versions before. */
const groupMod15 = codec(
  'group_mod',
  [spot('of', 6, 6, 15, 'OFPT_GROUP_MOD'), spot('nx', 1, 5, 31, 'NXT_GROUP_MOD')],
  (w, m, { version }) => {
    w.u16(COMMANDS[m.command]).u8(TYPES.indexOf(m.groupType)).zero(1).u32(m.groupId);
    const lengthAt = w.len;
    w.u16(0).zero(2).u32(m.commandBucketId);
    const start = w.len;
    writeBuckets15(w, m.buckets, m.groupType, version);
    w.length16(lengthAt, start);
    writeProps(w, m.props, version);
  },
  (r, { version }) => {
    const command = commandOf(r, r.u16());
    const groupType = typeOf(r, r.u8());
    const groupId = r.skip(1).u32();
    const length = r.u16();
    const commandBucketId = r.skip(2).u32();
    if (length > r.left) r.fail('OFPGMFC_BAD_BUCKET');
    const buckets = readBuckets15(r.sub(length), groupType, version);
    return { type: 'group_mod', command, groupType, groupId, commandBucketId, buckets, props: readProps(r) };
  },
);

const descRequest = codec(
  'group_desc_request',
  [
    spot('req', 2, 5, 7, 'OFPST_GROUP_DESC request', 16),
    spot('req', 6, 6, 7, 'OFPST_GROUP_DESC request', 24),
    spot('nxreq', 1, 1, 8, 'NXST_GROUP_DESC request'),
  ],
  (w, m, { version, spot: s }) => {
    if (version === 6 || s.kind === 'nxreq') w.u32(m.groupId).zero(4);
  },
  (r, { version, spot: s }) => ({
    type: 'group_desc_request',
    groupId: version === 6 || (s.kind === 'nxreq' && r.left >= 4) ? r.u32() : OFPG_ALL,
  }),
);
const descReply = codec(
  'group_desc_reply',
  [spot('rep', 2, 6, 7, 'OFPST_GROUP_DESC reply'), spot('nxrep', 1, 1, 8, 'NXST_GROUP_DESC reply')],
  (w, m, { version, spot: s }) => {
    const is15 = version === 6 || s.kind === 'nxrep';
    w.boundary();
    for (const g of m.groups) {
      const start = w.len;
      w.u16(0).u8(TYPES.indexOf(g.groupType)).zero(1).u32(g.groupId);
      if (is15) {
        const lengthAt = w.len;
        w.u16(0).zero(6);
        const first = w.len;
        writeBuckets15(w, g.buckets, g.groupType, version);
        w.length16(lengthAt, first);
        writeProps(w, g.props, version);
      } else writeBuckets11(w, g.buckets, version);
      w.length16(start, start);
      w.boundary();
    }
  },
  (r, { version, more, spot: s }) => {
    const is15 = version === 6 || s.kind === 'nxrep';
    const groups: GroupDesc[] = [];
    while (r.left > 0) {
      const e = entry(r, is15 ? 16 : 8);
      const groupType = typeOf(e, e.u8());
      const groupId = e.skip(1).u32();
      if (is15) {
        const length = e.u16();
        e.skip(6);
        if (length > e.left) e.fail('OFPBRC_BAD_LEN');
        const buckets = readBuckets15(e.sub(length), groupType, version);
        groups.push({ groupId, groupType, buckets, props: readProps(e) });
      } else groups.push({ groupId, groupType, buckets: readBuckets11(e, version), props: null });
    }
    return { type: 'group_desc_reply', more, groups };
  },
);

const statsRequest = codec(
  'group_stats_request',
  [spot('req', 2, 6, 6, 'OFPST_GROUP request', 24), spot('nxreq', 1, 1, 7, 'NXST_GROUP request')],
  (w, m) => void w.u32(m.groupId).zero(4),
  (r) => ({ type: 'group_stats_request', groupId: r.u32() }),
);
const statsReply = codec(
  'group_stats_reply',
  [spot('rep', 2, 6, 6, 'OFPST_GROUP reply'), spot('nxrep', 1, 1, 7, 'NXST_GROUP reply')],
  (w, m, { version, spot: s }) => {
    const hasDuration = version >= 4 || s.kind === 'nxrep';
    w.boundary();
    for (const g of m.groups) {
      const start = w.len;
      w.u16(0).zero(2).u32(g.groupId).u32(g.refCount).zero(4).count64(g.packets).count64(g.bytes);
      if (hasDuration) writeDuration(w, g.durationMs);
      for (const b of g.buckets) w.count64(b.packets).count64(b.bytes);
      w.length16(start, start);
      w.boundary();
    }
  },
  (r, { version, more, spot: s }) => {
    const hasDuration = version >= 4 || s.kind === 'nxrep';
    const groups: GroupStats[] = [];
    while (r.left > 0) {
      const e = entry(r, hasDuration ? 40 : 32).skip(2);
      const groupId = e.u32();
      const refCount = e.u32();
      e.skip(4);
      const head = { groupId, refCount, packets: e.count64(), bytes: e.count64() };
      const durationMs = hasDuration ? readDuration(e) : -1;
      const buckets = [];
      while (e.left > 0) buckets.push({ packets: e.count64(), bytes: e.count64() });
      groups.push({ ...head, durationMs, buckets });
    }
    return { type: 'group_stats_reply', more, groups };
  },
);

const featuresRequest = codec(
  'group_features_request',
  [spot('req', 3, 6, 8, 'OFPST_GROUP_FEATURES request', 16), spot('nxreq', 1, 2, 9, 'NXST_GROUP_FEATURES request')],
  () => {},
  () => ({ type: 'group_features_request' }),
);
const featuresReply = codec(
  'group_features_reply',
  [spot('rep', 3, 6, 8, 'OFPST_GROUP_FEATURES reply', 56), spot('nxrep', 1, 2, 9, 'NXST_GROUP_FEATURES reply')],
  (w, { features: f }) => {
    w.u32(f.types).u32(f.capabilities);
    for (let i = 0; i < 4; i++) w.u32(f.maxGroups[i] ?? 0);
    for (let i = 0; i < 4; i++) w.u32(f.actions[i] ?? 0);
  },
  (r) => {
    const four = () => [r.u32(), r.u32(), r.u32(), r.u32()];
    const features = { types: r.u32(), capabilities: r.u32(), maxGroups: four(), actions: four() };
    return { type: 'group_features_reply', features };
  },
);

export const groupCodecs = [
  groupMod11,
  groupMod15,
  descRequest,
  descReply,
  statsRequest,
  statsReply,
  featuresRequest,
  featuresReply,
];
