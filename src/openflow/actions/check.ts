/**
 * Do the actions of a flow fit its match? A field may be written only where the match, and the actions before, make sure
 * that the packet has it. `OpenFlow 1.5.1 7.2.6.7`, `ovs-actions(7)`, "Action and Instruction Consistency"
 *
 * OpenFlow 1.0 knew no such rule for its own actions, and is not held to it; what is written like them may only be sent in it.
 */
import type { Field, Subfield } from '../../flow/field.ts';
import { F } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';
import { bigintOfBytes, prereqsMet, setBits } from '../../flow/subfield.ts';
import type { OfErrorName } from '../errors.ts';
import { OFPP } from '../ports.ts';
import type { Ofpact } from './types.ts';

export interface CheckOptions {
  /** Wire number of the OpenFlow version, 6 when not given. */
  readonly version?: number;
  /** The table that the flow is in; 255 where it does not matter. */
  readonly table?: number;
  /** Number of tables that `goto_table` may name. */
  readonly nTables?: number;
  /** Port numbers from here to `OFPP.MAX` cannot exist. */
  readonly maxPorts?: number;
  /** Hears which field it was, by the module that the original logs it for. */
  readonly warn?: (module: 'ofp_actions' | 'meta_flow', text: string) => void;
}

const VLAN_CFI = 0x1000;
const OFPM_MAX = 0xffff0000;
const isIp = (t: number): boolean => t === 0x0800 || t === 0x86dd;
const isMpls = (t: number): boolean => t === 0x8847 || t === 0x8848;

/** A packet that the flow may see: what its match says, changed by the actions so far. */
interface State {
  readonly flow: FlowKey;
  readonly options: CheckOptions;
  /** Something passes in OpenFlow 1.0 only. */
  needs10: boolean;
}

/** Actions that no match can be at odds with. Most flows have no others. */
const EASY: ReadonlySet<Ofpact['kind']> = new Set(['note', 'exit', 'conjunction', 'clear_actions', 'write_metadata']);

const scratch = new FlowKey();

/**
 * The first thing that is wrong with `actions` on packets that `key` is what is known of, or null; and whether OpenFlow 1.0 is
 * the only one that lets them pass.
 */
export function inspectActions(
  actions: readonly Ofpact[],
  key: FlowKey,
  options: CheckOptions = {},
): { readonly error: OfErrorName | null; readonly needs10: boolean } {
  if (actions.every((a) => EASY.has(a.kind))) return FINE;
  scratch.copyFrom(key);
  const state: State = { flow: scratch, options, needs10: false };
  const error = checkList(actions, state);
  return { error, needs10: state.needs10 };
}

const FINE = { error: null, needs10: false } as const;

/** The first thing that is wrong with `actions` under `match`, or null. */
export function checkActions(actions: readonly Ofpact[], match: Match, options: CheckOptions = {}): OfErrorName | null {
  const { error, needs10 } = inspectActions(actions, match.key, options);
  return error ?? (needs10 && (options.version ?? 6) > 1 ? 'OFPBAC_MATCH_INCONSISTENT' : null);
}

function checkList(actions: readonly Ofpact[], s: State): OfErrorName | null {
  for (const a of actions) {
    const error = checkOne(a, s);
    if (error) return error;
  }
  return null;
}

function checkPort(port: number, { maxPorts = OFPP.MAX }: CheckOptions): OfErrorName | null {
  return port >= maxPorts && port < OFPP.IN_PORT ? 'OFPBAC_BAD_OUT_PORT' : null;
}

function checkSubfield(
  { field }: Subfield,
  { flow, options }: State,
  role: 'source' | 'destination',
): OfErrorName | null {
  if (prereqsMet(field, flow)) return null;
  options.warn?.('meta_flow', `${role} field ${field.name} lacks correct prerequisites`);
  return 'OFPBAC_MATCH_INCONSISTENT';
}

function checkOne(a: Ofpact, s: State): OfErrorName | null {
  const { flow, options } = s;
  const ethType = flow.get16(OFS.eth_type);
  const hasVlan = (flow.get16(OFS.vlan_tci) & VLAN_CFI) !== 0;
  // What OpenFlow 1.0 lets pass.
  const soft = (isWrong: boolean): null => {
    if (isWrong) s.needs10 = true;
    return null;
  };

  switch (a.kind) {
    case 'output':
    case 'output_trunc':
      return checkPort(a.port, options);
    case 'enqueue':
      return a.port >= OFPP.MAX && a.port !== OFPP.IN_PORT && a.port !== OFPP.LOCAL
        ? 'OFPBAC_BAD_OUT_PORT'
        : checkPort(a.port, options);
    case 'output_reg':
      return checkSubfield(a.src, s, 'source');
    case 'bundle':
      return a.dst ? checkSubfield(a.dst, s, 'destination') : null;
    case 'multipath':
      return checkSubfield(a.dst, s, 'destination');
    case 'set_field':
      return checkSetField(a, s);
    case 'reg_move':
      return checkSubfield(a.src, s, 'source') ?? checkSubfield(a.dst, s, 'destination');
    case 'stack_push':
      return checkSubfield(a.subfield, s, 'source');
    case 'stack_pop':
      return checkSubfield(a.subfield, s, 'destination');
    case 'check_pkt_larger':
      return checkSubfield(a.dst, s, 'destination');
    case 'set_vlan_vid':
    case 'set_vlan_pcp':
      if (!a.pushIfNeeded && !hasVlan) return soft(true);
      flow.set16(OFS.vlan_tci, flow.get16(OFS.vlan_tci) | VLAN_CFI);
      return null;
    case 'strip_vlan':
      if (!hasVlan) return soft(true);
      flow.set16(OFS.vlan_tci, flow.get16(OFS.vlan2_tci));
      flow.set16(OFS.vlan2_tci, 0);
      return null;
    case 'push_vlan':
      if ((flow.get16(OFS.vlan2_tci) & VLAN_CFI) !== 0) return 'OFPBAC_BAD_TAG';
      flow.set16(OFS.vlan2_tci, flow.get16(OFS.vlan_tci));
      flow.set16(OFS.vlan_tci, flow.get16(OFS.vlan_tci) | VLAN_CFI);
      return null;
    case 'dec_ttl':
      return soft(!isIp(ethType));
    case 'set_mpls_label':
    case 'set_mpls_tc':
    case 'set_mpls_ttl':
    case 'dec_mpls_ttl':
      return soft(!isMpls(ethType));
    case 'push_mpls':
      flow.set16(OFS.eth_type, a.ethertype);
      flow.u8[OFS.ip_proto] = 0;
      return null;
    case 'pop_mpls':
      if (!isMpls(ethType)) return soft(true);
      flow.set16(OFS.eth_type, a.ethertype);
      return null;
    case 'fin_timeout':
      return soft(!isIp(ethType) || flow.u8[OFS.ip_proto] !== 6);
    case 'resubmit':
      if (a.ct && (flow.get32(OFS.ct_state) & 0x20) === 0) return 'OFPBAC_MATCH_INCONSISTENT';
      return checkPort(a.inPort, options);
    case 'learn':
      return checkLearn(a.spec, s);
    case 'ct':
      if (!isIp(ethType)) return 'OFPBAC_MATCH_INCONSISTENT';
      if (!a.commit && a.actions.some((x) => x.kind === 'nat' && x.nat.type !== 'none')) return 'OFPBAC_BAD_ARGUMENT';
      if (typeof a.zone !== 'number') {
        const error = checkSubfield(a.zone, s, 'source');
        if (error) return error;
      }
      return checkList(a.actions, s);
    case 'clone': {
      const before = flow.clone();
      const error = checkList(a.actions, s);
      flow.copyFrom(before);
      return error;
    }
    case 'dec_nsh_ttl':
      return soft(ethType !== 0x894f);
    case 'encap':
      flow.set32(OFS.packet_type, a.packetType);
      if (a.packetType === 0) flow.set16(OFS.vlan_tci, 0);
      else flow.set16(OFS.eth_type, a.packetType & 0xffff);
      return null;
    case 'decap':
      if (flow.get32(OFS.packet_type) === 0) {
        if (hasVlan) return 'OFPBAC_MATCH_INCONSISTENT';
        flow.set32(OFS.packet_type, ((1 << 16) | ethType) >>> 0);
      } else {
        flow.set32(OFS.packet_type, a.packetType ?? 0);
        flow.set16(OFS.eth_type, a.packetType === null ? 0 : a.packetType & 0xffff);
      }
      return null;
    case 'meter':
      return a.meterId === 0 || a.meterId > OFPM_MAX ? 'OFPMMFC_INVALID_METER' : null;
    case 'write_actions':
      // What the packet is when the action set is carried out nobody knows here.
      return checkList(a.actions, { ...s, flow: flow.clone() });
    case 'goto_table':
      return ((options.table ?? 255) !== 255 && a.table <= (options.table ?? 0)) || a.table >= (options.nTables ?? 255)
        ? 'OFPBIC_BAD_TABLE_ID'
        : null;
    default:
      return null;
  }
}

function checkSetField(a: Extract<Ofpact, { kind: 'set_field' }>, s: State): OfErrorName | null {
  const { flow } = s;
  const ethType = flow.get16(OFS.eth_type);
  const soft = (isWrong: boolean): null => {
    if (isWrong) s.needs10 = true;
    return null;
  };
  switch (a.as) {
    case 'mod_dl_src':
    case 'mod_dl_dst':
    case 'set_tunnel':
    case 'set_tunnel64':
      return null;
    case 'mod_nw_src':
    case 'mod_nw_dst':
      return soft(ethType !== 0x0800);
    case 'mod_nw_tos':
    case 'mod_nw_ecn':
    case 'mod_nw_ttl':
      return soft(!isIp(ethType));
    case 'mod_tp_src':
    case 'mod_tp_dst':
      return soft(!isIp(ethType) || ![6, 17, 132].includes(flow.u8[OFS.ip_proto]) || (flow.u8[OFS.ip_frag] & 2) !== 0);
  }
  const lacksTag = a.field === F.vlan_vid && (flow.get16(OFS.vlan_tci) & VLAN_CFI) === 0;
  if (lacksTag || !prereqsMet(a.field, flow)) {
    s.options.warn?.('ofp_actions', `set_field ${a.field.name} lacks correct prerequisites`);
    return 'OFPBAC_MATCH_INCONSISTENT';
  }
  // A tag that is written makes the packet a tagged one.
  if ((a.field === F.vlan_tci || a.field === F.vlan_vid) && a.mask === null) {
    setBits(flow, { field: a.field, ofs: 0, nBits: a.field.nBits }, bigintOfBytes(a.value));
  }
  return null;
}

function checkLearn(spec: Extract<Ofpact, { kind: 'learn' }>['spec'], s: State): OfErrorName | null {
  const learned = new FlowKey();
  for (const x of spec.specs) {
    if (!(x.src instanceof Uint8Array)) {
      const error = checkSubfield(x.src, s, 'source');
      if (error) return error;
    }
    if (x.dst.type === 'output') continue;
    const dst = x.dst.subfield;
    const inner: State = { flow: learned, options: s.options, needs10: false };
    const error = checkSubfield(dst, inner, 'destination');
    if (error) return error;
    if (x.dst.type === 'match' && x.src instanceof Uint8Array) setBits(learned, dst, bigintOfBytes(x.src));
  }
  return null;
}

const TRANSPORT: Readonly<Record<number, readonly [src: Field, dst: Field]>> = {
  6: [F.tcp_src, F.tcp_dst],
  17: [F.udp_src, F.udp_dst],
  132: [F.sctp_src, F.sctp_dst],
};

const isUnresolved = (a: Ofpact): boolean =>
  a.kind === 'set_vlan_vid' || a.kind === 'set_vlan_pcp' || (a.kind === 'set_field' && a.as !== undefined);

/**
 * Fills in what old actions leave to the match: which protocol's ports `mod_tp_src` means, and whether `mod_vlan_vid` finds
 * a tag. Needed before such actions are sent in OpenFlow 1.2 or later.
 */
export function resolveActions(actions: readonly Ofpact[], match: Match): readonly Ofpact[] {
  if (!actions.some(isUnresolved)) return actions;
  const ports = TRANSPORT[match.key.u8[OFS.ip_proto]];
  let hasVlan = (match.key.get16(OFS.vlan_tci) & match.mask.get16(OFS.vlan_tci) & VLAN_CFI) !== 0;
  let changed = false;
  const out = actions.map((a): Ofpact => {
    if (a.kind === 'set_field' && ports && (a.as === 'mod_tp_src' || a.as === 'mod_tp_dst')) {
      const field = ports[a.as === 'mod_tp_src' ? 0 : 1];
      if (field === a.field) return a;
      changed = true;
      return { ...a, field };
    }
    if (a.kind === 'push_vlan') hasVlan = true;
    else if (a.kind === 'strip_vlan') hasVlan = false;
    else if ((a.kind === 'set_vlan_vid' || a.kind === 'set_vlan_pcp') && a.pushIfNeeded) {
      const flowHasVlan = hasVlan;
      hasVlan = true;
      if (flowHasVlan) {
        changed = true;
        return { ...a, flowHasVlan };
      }
    }
    return a;
  });
  return changed ? out : actions;
}
