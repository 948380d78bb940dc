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
  /** `skb_priority` on arrival, for `pop_queue`. */
  readonly origPriority: number;
  /** Cuts the next output to this length. */
  truncate = 0;

  constructor(input: XlateInput) {
    this.input = input;
    this.bridge = input.bridge;
    this.flow = input.flow.clone();
    this.base = input.flow.clone();
    this.origPriority = input.flow.get32(OFS.skb_priority);
  }

  note(type: 'detail' | 'warn' | 'error' | 'bucket', text: string): void {
    this.input.observer?.note({ type, text });
  }

  fail(error: XlateError): void {
    this.error = error;
    this.exit = true;
  }
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
