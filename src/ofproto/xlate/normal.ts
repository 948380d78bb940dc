/** NORMAL: the bridge as a learning Ethernet switch with VLANs. */
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { OFPP } from '../../openflow/ports.ts';
import { macKey, macText } from '../mac-learning.ts';
import { bondAdmits, hashedBy, memberFor, sendHashed } from './bond.ts';
import type { Ctx } from './ctx.ts';
import { snoop } from './multicast.ts';
import { sendTo } from './output.ts';
import { ETH_TYPE, hasVlan, VLAN_CFI } from './prereq.ts';
import type { XlateBundle } from './types.ts';

/** The tags of a packet inside the switch: outer, then inner. A VID of 0 is none. */
export interface Tags {
  readonly tpid: number;
  readonly vid: number;
  readonly pcp: number;
  readonly inner: Tags | null;
}

/** What controllers, and the switch itself, send comes from no port; NORMAL treats it as if from a trunk. */
const SOURCES: ReadonlySet<number> = new Set([OFPP.NONE, OFPP.CONTROLLER]);
const NO_BUNDLE: XlateBundle = {
  name: 'OFPP_NONE',
  vlan: { mode: 'trunk', tag: null, trunks: [], cvlans: [], priorityTags: 'no', protected: false },
  ports: [],
  isFloodable: false,
};

export function normal(ctx: Ctx): void {
  const { flow, wc, bridge } = ctx;
  ctx.hasNormal = true;
  wc.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 12);
  wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | 0x0fff | VLAN_CFI);
  const inPort = bridge.port(flow.get32(OFS.in_port));
  const isNobodys = SOURCES.has(flow.get32(OFS.in_port));
  const inBundle = isNobodys ? NO_BUNDLE : (inPort?.bundle ?? null);
  if (!inBundle) {
    ctx.note('warn', 'no input bundle, dropping');
    return;
  }
  const tags = readTags(ctx, inBundle);
  if (!admitsVid(ctx, tags, inBundle)) {
    ctx.note('warn', 'disallowed VLAN VID for this input port, dropping');
    return;
  }
  const inside = enter(tags, inBundle);
  if (!bridge.forwardBpdu && isReserved(flow.u8)) {
    ctx.note('detail', 'packet has reserved destination MAC, dropping');
    return;
  }
  const isGratuitousArp = isGratuitous(ctx);
  const mac = macText(flow.u8, OFS.eth_src);
  if (inPort && inBundle.bond && !bondAdmits(ctx, inBundle, inPort, mac, inside.vid, isGratuitousArp)) return;
  if (!isNobodys && bridge.macs?.mayLearn(mac, inside.vid)) {
    if (ctx.input.sideEffects) learnNow(ctx, mac, inside.vid, inBundle, isGratuitousArp);
    ctx.effects.push({ kind: 'learn_mac', bridge, mac, vlan: inside.vid, bundle: inBundle, isGratuitousArp });
  }
  const flood = (): void => {
    ctx.hasFlooded = true;
    for (const bundle of bridge.bundles()) {
      if (bundle === inBundle || !bundle.isFloodable || bridge.mirrors?.isOutput(bundle)) continue;
      if (carries(ctx, bundle, inside)) send(ctx, bundle, inside);
    }
  };
  const toBundle = (bundle: XlateBundle): void => {
    if (carries(ctx, bundle, inside) && !bridge.mirrors?.isOutput(bundle)) send(ctx, bundle, inside);
  };
  if (bridge.mcast && snoop(ctx, bridge.mcast, { inBundle, vlan: inside.vid, send: toBundle, flood })) return;
  const destination = macText(flow.u8, OFS.eth_dst);
  ctx.effects.push({ kind: 'mac_lookup', key: macKey(destination, inside.vid) });
  const entry = bridge.macs?.lookup(destination, inside.vid, ctx.input.nowMs);
  if (!entry) {
    ctx.note('detail', 'no learned MAC for destination, flooding');
    flood();
  } else if (entry.port === inBundle) {
    ctx.note('detail', 'learned port is input port, dropping');
  } else {
    ctx.note('detail', 'forwarding to learned port');
    send(ctx, entry.port, inside);
  }
}

/** Before the lookup, which for a packet to its own sender must already find it. */
function learnNow(ctx: Ctx, mac: string, vlan: number, bundle: XlateBundle, isGratuitousArp: boolean): void {
  const { bridge, input } = ctx;
  const isNew = bridge.macs?.learn(mac, vlan, bundle, isGratuitousArp, bundle.ports.length > 1, input.nowMs);
  if (isNew) ctx.note('detail', `learned that ${mac} is on port ${bundle.name} in VLAN ${vlan}`);
}

export function readTags(ctx: Ctx, bundle: XlateBundle): Tags {
  const { flow, wc } = ctx;
  if (hasVlan(flow)) {
    // A tunnel's outer tag takes its priority from this one.
    if (bundle.vlan.mode === 'dot1q-tunnel') wc.set32(OFS.vlan_tpid, 0xffffffff);
    wc.set16(OFS.vlan2_tci, wc.get16(OFS.vlan2_tci) | VLAN_CFI);
  }
  return tagsOf(flow);
}

export function tagsOf(flow: FlowKey): Tags {
  const tci = flow.get16(OFS.vlan_tci);
  if ((tci & VLAN_CFI) === 0) return { tpid: 0, vid: 0, pcp: 0, inner: null };
  const inner = flow.get16(OFS.vlan2_tci);
  return {
    tpid: flow.get16(OFS.vlan_tpid),
    vid: tci & 0xfff,
    pcp: tci & 0xe000,
    inner:
      inner & VLAN_CFI
        ? { tpid: flow.get16(OFS.vlan2_tpid), vid: inner & 0xfff, pcp: inner & 0xe000, inner: null }
        : null,
  };
}

/** Ports with a native VLAN carry it besides their trunks, and never packets of no VLAN. */
const trunks = ({ vlan }: XlateBundle, vid: number): boolean => {
  const isNative = vlan.mode === 'native-tagged' || vlan.mode === 'native-untagged';
  if (isNative && vid === 0) return false;
  return vlan.trunks.length === 0 || vlan.trunks.includes(vid) || (isNative && vid === vlan.tag);
};

export function admitsVid(ctx: Ctx, { vid }: Tags, bundle: XlateBundle): boolean {
  const { vlan } = bundle;
  switch (vlan.mode) {
    case 'access':
      if (vid === 0) return true;
      ctx.note(
        'error',
        `dropping VLAN ${vid} tagged packet received on port ${bundle.name} configured as VLAN ${vlan.tag ?? 0} access port`,
      );
      return false;
    case 'native-tagged':
    case 'native-untagged':
      if (vid === 0 || trunks(bundle, vid)) return true;
      break;
    case 'trunk':
      if (trunks(bundle, vid)) return true;
      break;
    case 'dot1q-tunnel':
      if (vlan.cvlans.length === 0 || vlan.cvlans.includes(vid)) return true;
      ctx.note(
        'error',
        `dropping VLAN ${vid} packet received on dot1q-tunnel port ${bundle.name} that excludes this VLAN`,
      );
      return false;
  }
  ctx.note(
    'error',
    `dropping VLAN ${vid} packet received on port ${bundle.name} not configured for trunking VLAN ${vid}`,
  );
  return false;
}

/** From the tags on the wire of a port to those inside the switch. */
export function enter(tags: Tags, bundle: XlateBundle): Tags {
  const native = bundle.vlan.tag ?? 0;
  switch (bundle.vlan.mode) {
    case 'access':
      return { tpid: tags.tpid || 0x8100, vid: native, pcp: tags.pcp, inner: tags.inner };
    case 'native-tagged':
    case 'native-untagged':
      return tags.vid === 0 ? { tpid: tags.tpid || 0x8100, vid: native, pcp: tags.pcp, inner: tags.inner } : tags;
    case 'dot1q-tunnel':
      return { tpid: 0x88a8, vid: native, pcp: tags.pcp, inner: tags.vid === 0 ? null : tags };
    case 'trunk':
      return tags;
  }
}

/** From the tags inside the switch to those on the wire of a port. */
function leave(tags: Tags, bundle: XlateBundle): Tags {
  const pcp = bundle.vlan.priorityTags === 'no' ? 0 : tags.pcp;
  switch (bundle.vlan.mode) {
    case 'access':
      return { tpid: tags.tpid, vid: 0, pcp, inner: tags.inner };
    case 'native-untagged':
      return tags.vid === bundle.vlan.tag ? { tpid: tags.tpid, vid: 0, pcp, inner: tags.inner } : tags;
    case 'dot1q-tunnel':
      return tags.inner ?? { tpid: 0x8100, vid: 0, pcp: tags.pcp, inner: null };
    default:
      return tags;
  }
}

export function carries(ctx: Ctx, bundle: XlateBundle, tags: Tags): boolean {
  switch (bundle.vlan.mode) {
    case 'access':
      // A tag inside the one that is taken off would make it a packet of another VLAN.
      if (tags.inner) ctx.wc.set32(OFS.vlan2_tpid, 0xffffffff);
      return tags.vid === (bundle.vlan.tag ?? 0) && (tags.inner?.vid ?? 0) === 0;
    case 'dot1q-tunnel':
      if (tags.vid !== (bundle.vlan.tag ?? 0)) return false;
      lookAtTags(ctx, bundle);
      return bundle.vlan.cvlans.length === 0 || bundle.vlan.cvlans.includes(tags.inner?.vid ?? 0);
    default:
      return trunks(bundle, tags.vid);
  }
}

export function send(ctx: Ctx, bundle: XlateBundle, inside: Tags): void {
  const toHash = bundle.bond ? hashedBy(bundle.bond, bundle) : null;
  const port = toHash || !bundle.bond ? bundle.ports[0] : memberFor(ctx, bundle.bond, inside.vid);
  if (!port) return;
  const { flow } = ctx;
  lookAtTags(ctx, bundle);
  const outer = flow.get32(OFS.vlan_tpid);
  const inner = flow.get32(OFS.vlan2_tpid);
  const tags = leave(inside, bundle);
  // A tag of VLAN 0 stands for its priority, if it has one.
  if (tags.vid === 0 && bundle.vlan.mode !== 'access' && hasVlan(flow)) {
    ctx.wc.set16(OFS.vlan_tci, ctx.wc.get16(OFS.vlan_tci) | 0xe000);
  }
  writeTags(ctx, tags, bundle.vlan.priorityTags === 'always');
  if (toHash) sendHashed(ctx, toHash, bundle.bond?.lbOutput ?? false);
  else sendTo(ctx, port.ofport);
  flow.set32(OFS.vlan_tpid, outer);
  flow.set32(OFS.vlan2_tpid, inner);
}

/** What a port's VLAN configuration looks at, beyond the outer VID, when a packet leaves by it. */
function lookAtTags(ctx: Ctx, { vlan }: XlateBundle): void {
  const { wc } = ctx;
  if (vlan.priorityTags === 'if-nonzero') wc.set16(OFS.vlan_tci, wc.get16(OFS.vlan_tci) | 0xe000);
  // The inner tag becomes the outer one, if it is a tag and not a mere priority.
  if (vlan.mode === 'dot1q-tunnel') wc.set32(OFS.vlan2_tpid, 0xffffffff);
}

function writeTags(ctx: Ctx, tags: Tags, isAlwaysTagged: boolean): void {
  const places: (readonly [number, number])[] = [
    [OFS.vlan_tpid, OFS.vlan_tci],
    [OFS.vlan2_tpid, OFS.vlan2_tci],
  ];
  const { flow, wc } = ctx;
  flow.set32(OFS.vlan_tpid, 0);
  flow.set32(OFS.vlan2_tpid, 0);
  const isTagged = tags.vid !== 0 || tags.pcp !== 0 || isAlwaysTagged;
  // Who looks at the outer tag now looks at what was the inner one.
  if (!isTagged && tags.inner) wc.set32(OFS.vlan2_tpid, 0xffffffff);
  let next = isTagged ? tags : tags.inner;
  for (const [tpid, tci] of places) {
    if (!next) break;
    flow.set16(tpid, next.tpid || 0x8100);
    flow.set16(tci, next.vid | next.pcp | VLAN_CFI);
    next = next.inner;
  }
}

function isGratuitous(ctx: Ctx): boolean {
  const { flow, wc } = ctx;
  if (flow.get16(OFS.eth_type) !== ETH_TYPE.arp) return false;
  for (let i = 0; i < 6; i++) if (flow.u8[OFS.eth_dst + i] !== 0xff) return false;
  wc.set8(OFS.ip_proto, 0xff);
  const op = flow.get8(OFS.ip_proto);
  if (op === 2) return true;
  if (op !== 1) return false;
  wc.set32(OFS.ip_src, 0xffffffff);
  wc.set32(OFS.ip_dst, 0xffffffff);
  return flow.get32(OFS.ip_src) === flow.get32(OFS.ip_dst);
}

/** Addresses of protocols between neighbours. `ovs-vswitchd.conf.db(5)`, `forward-bpdu` */
const RESERVED: readonly (readonly [address: string, bits: number])[] = [
  ['0180c2000000', 44],
  ['00e02b000000', 48],
  ['00e02b000004', 48],
  ['00e02b000006', 48],
  ['01000c000000', 48],
  ['01000ccccccc', 48],
  ['01000ccccccd', 48],
  ['01000ccdcdcd', 48],
  ['01000cccccc0', 45],
];

const reservedNumbers = RESERVED.map(([address, bits]) => ({
  value: Number.parseInt(address, 16),
  span: 2 ** (48 - bits),
}));

export function isReserved(u8: Uint8Array): boolean {
  let address = 0;
  for (let i = 0; i < 6; i++) address = address * 256 + u8[OFS.eth_dst + i];
  return reservedNumbers.some(({ value, span }) => address >= value && address < value + span);
}
