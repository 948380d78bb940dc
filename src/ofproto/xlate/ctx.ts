/**
 * The state of one translation.
 *
 * `flow` is the packet as the actions so far have made it, `base` as the datapath has it after the datapath actions so far;
 * `commit` turns the difference into actions before an output. Whoever looks at `flow` adds the bits to `wc`.
 */
import type { DpAction } from '../../flow/dp-actions.ts';
import type { Subfield } from '../../flow/field.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { setFieldMask } from '../../flow/subfield.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import type { Rule } from '../rule.ts';
import type { ControllerRequest } from './controller.ts';
import { FRAG_LATER, hasVlan, hasVlan2, isIpAny } from './prereq.ts';
import { MAX_HOPS } from './recirc.ts';
import type { XlateBridge, XlateEffect, XlateError, XlateInput } from './types.ts';

export const MAX_DEPTH = 64;
export const MAX_RESUBMITS = 4096;

export class Ctx {
  readonly input: XlateInput;
  bridge: XlateBridge;
  readonly flow: FlowKey;
  readonly base: FlowKey;
  readonly wc: FlowKey = new FlowKey();
  actions: DpAction[] = [];
  readonly effects: XlateEffect[] = [];
  error: XlateError = 'OK';
  slow = 0;
  hasNormal = false;

  table = 0;
  rule: Rule | null = null;
  ruleCookie = 0n;
  depth = 0;
  resubmits = 0;
  /** Recirculations that led to this translation. */
  hops = 0;
  /** An `exit` action or an error ends everything. */
  exit = false;
  stack: Uint8Array[] = [];
  actionSet: Ofpact[] = [];
  inActionSet = false;
  inGroup = false;
  inPacketOut = false;
  conntracked = false;
  /** A label was popped: what lies behind is only known after recirculation. */
  wasMpls = false;
  /** Stop here; what is left goes to `frozenActions` to be done after recirculation. */
  freezing = false;
  /** Table to look up on the packet's return, when there is no remaining action. */
  frozenTable: number | null = null;
  frozenActions: Ofpact[] = [];
  /** What the datapath shall compute before the packet comes back. */
  /** A `controller` action that pauses: the packet goes there with all that is left. */
  pause: ControllerRequest | null = null;
  recircHash: { readonly algorithm: 'l4' | 'sym_l4'; readonly basis: number } | null = null;
  /** `skb_priority` on arrival, for `pop_queue`. */
  readonly origPriority: number;
  /** Tags pushed in so deep that a flow does not show them. */
  hiddenTags = 0;
  /** The flow has an outer header that the datapath has not. */
  pendingEncap = false;
  /** What the header of a pending NSH carries beyond its fields. */
  nshMetadata: Uint8Array | null = null;
  /** How often the packet got or lost an outer header in the datapath. */
  reshaped = 0;
  /** Where the sample for sFlow stands, to be completed in the end. */
  sflow: { readonly at: number; readonly probability: number } | null = null;
  /** NORMAL or FLOOD sent to all. */
  hasFlooded = false;
  /** Mirrors of this bridge that have had their copy, as bits. */
  mirrored = 0;
  /** While a mirror sends: bytes that are kept, 0 for all. */
  mirrorSnaplen = 0;

  constructor(input: XlateInput) {
    this.input = input;
    this.bridge = input.bridge;
    this.flow = input.flow.clone();
    tidyTags(this.flow);
    // Later fragments have no ports.
    if (isIpAny(this.flow) && this.flow.get8(OFS.ip_frag) & FRAG_LATER) this.flow.set32(OFS.tp_src, 0);
    this.base = this.flow.clone();
    this.origPriority = input.flow.get32(OFS.skb_priority);
  }

  note(type: 'detail' | 'warn' | 'error' | 'plain', text: string): void {
    this.input.observer?.note({ type, text });
  }

  /** Ends the translation of a packet that has come back over and over. */
  recirculatesTooOften(): boolean {
    if (this.hops < MAX_HOPS) return false;
    this.note('error', `over ${MAX_HOPS} recirculations, dropping`);
    this.fail('Recursion too deep');
    return true;
  }

  fail(error: XlateError): void {
    this.error = error;
    this.exit = true;
  }
}

/**
 * Runs what happens to a copy of the packet. Header fields that it changed are set back when they are needed; where the
 * packet got or lost a label, or a tag out of sight, that can't be, and the datapath is told to work on a clone.
 */
export function onCopy(ctx: Ctx, run: () => void): void {
  const first = ctx.actions.length;
  const base = ctx.base.clone();
  const { hiddenTags, reshaped, pendingEncap, nshMetadata } = ctx;
  run();
  ctx.pendingEncap = pendingEncap;
  ctx.nshMetadata = nshMetadata;
  if (
    ctx.hiddenTags === hiddenTags &&
    ctx.reshaped === reshaped &&
    ctx.base.get16(OFS.eth_type) === base.get16(OFS.eth_type) &&
    LABELS.every((w) => ctx.base.w[w] === base.w[w])
  )
    return;
  ctx.actions.push({ kind: 'clone', actions: ctx.actions.splice(first) });
  ctx.base.copyFrom(base);
  ctx.hiddenTags = hiddenTags;
}

const LABELS = [OFS.mpls_lse0 >> 2, OFS.mpls_lse1 >> 2, OFS.mpls_lse2 >> 2];

/** Makes a flow that no packet has into one that some packet has: a TPID just where there is a tag. */
function tidyTags(flow: FlowKey): void {
  if (!hasVlan(flow)) {
    flow.set32(OFS.vlan_tpid, 0);
    flow.set32(OFS.vlan2_tpid, 0);
    return;
  }
  if (flow.get16(OFS.vlan_tpid) === 0) flow.set16(OFS.vlan_tpid, 0x8100);
  if (!hasVlan2(flow)) flow.set32(OFS.vlan2_tpid, 0);
  else if (flow.get16(OFS.vlan2_tpid) === 0) flow.set16(OFS.vlan2_tpid, 0x8100);
}

export function maskSubfield(wc: FlowKey, sf: Subfield): void {
  setFieldMask(wc, sf.field, subfieldMask(sf));
}

/** Ones where the subfield is, right-aligned, as long as the field. */
export function subfieldMask(sf: Subfield): Uint8Array {
  const mask = new Uint8Array(sf.field.bytes);
  for (let bit = sf.ofs; bit < sf.ofs + sf.nBits; bit++) mask[mask.length - 1 - (bit >> 3)] |= 1 << (bit & 7);
  return mask;
}
