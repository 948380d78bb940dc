/**
 * Listens to a translation for a story: the text of `ofproto/trace`, which step made the megaflow look at which bits, and,
 * should nothing come of it, why.
 */
import { type DropReason, SLOW_DROP_REASON } from '../../datapath/drop-reason.ts';
import { formatDpActions } from '../../flow/dp-text.ts';
import { FlowKey, type FlowMask } from '../../flow/key.ts';
import { FLOW_WORDS, OFS } from '../../flow/layout.ts';
import { formatActions } from '../../openflow/actions/index.ts';
import type { Bridge } from '../bridge.ts';
import { namesOf } from '../trace.ts';
import { formatMegaflow } from '../xlate/flow-text.ts';
import { TraceText } from '../xlate/trace-text.ts';
import type { XlateObserver, XlatePlace, XlateResult, XlateStep } from '../xlate/types.ts';
import { whyDropped } from './drops.ts';
import type { TranslationStory } from './story.ts';

interface Cause {
  readonly because: string;
  readonly bits: FlowKey;
}

type TablePlace = Extract<XlatePlace, { type: 'table' }>;

export class Telling implements XlateObserver {
  private readonly text = new TraceText((b) => namesOf(b as Bridge));
  private wc: FlowMask | null = null;
  private readonly seen = new FlowKey();
  private readonly causes: Cause[] = [];
  private because = 'every packet';
  /** When the translation was over, on the kernel's monotonic clock. */
  atMs = 0;
  private lastTable: TablePlace | null = null;
  private lastNote = '';
  private isReceiveDisabled = false;

  mask(wc: FlowMask): void {
    this.wc = wc;
  }

  enter(place: XlatePlace): void {
    if (place.type === 'table') {
      this.attribute(`lookup in table ${place.table}`);
      this.lastTable = place;
    } else this.attribute(this.because);
    this.text.enter(place);
  }

  leave(): void {
    this.attribute(this.because);
    this.text.leave();
    this.atMs = Number(process.hrtime.bigint()) / 1e6;
  }

  note(step: XlateStep): void {
    this.attribute(this.because);
    if (step.type === 'action') {
      const where = this.lastTable ? ` in table ${this.lastTable.table}` : '';
      this.because = `${formatActions([step.action])}${where}`;
    } else if (step.type === 'warn' || step.type === 'error' || step.type === 'detail') {
      this.lastNote = step.text;
      if (step.text.startsWith('OFPPC_NO_RECV')) this.isReceiveDisabled = true;
    }
    this.text.note(step);
  }

  /** Bits looked at since the last step were looked at for `because`. */
  private attribute(because: string): void {
    if (!this.wc) return;
    const { w } = this.wc;
    let bits: FlowKey | null = null;
    for (let i = 0; i < FLOW_WORDS; i++) {
      const fresh = w[i] & ~this.seen.w[i];
      if (fresh === 0) continue;
      bits ??= new FlowKey();
      bits.w[i] = fresh;
      this.seen.w[i] |= fresh;
    }
    if (bits) this.causes.push({ because, bits });
  }

  /** Why nothing came of it. */
  drop(result: XlateResult, bridge: Bridge): DropReason {
    if (this.isReceiveDisabled) return { name: 'recv-disabled', text: SLOW_DROP_REASON['recv-disabled'].text };
    const { name, text } = whyDropped(bridge, result);
    return { name, text: name === 'no-output' && this.lastNote ? `${this.lastNote}; ${text}` : text };
  }

  story(flow: FlowKey, result: XlateResult, bridge: Bridge): TranslationStory {
    this.attribute(this.because);
    const names = namesOf(bridge);
    const why = this.causes.flatMap(({ because, bits }) => {
      const key = new FlowKey();
      const mask = new FlowKey();
      for (let i = 0; i < FLOW_WORDS; i++) {
        mask.w[i] = bits.w[i] & result.mask.w[i];
        key.w[i] = flow.w[i] & mask.w[i];
      }
      const text = mask.isZero() ? '' : bitsText(key, mask, flow, names);
      return text === '' ? [] : [{ bits: text, because }];
    });
    return {
      trace: this.text.toString(),
      actions: formatDpActions(result.actions, (no) => bridge.backer.dpif.portByNo(no)?.netdev.name),
      megaflow: formatMegaflow(flow, result.mask, names),
      why: merge(why),
      error: result.error === 'OK' ? null : result.error,
    };
  }
}

/** The bits as match fields, in the terms of the packet's protocol, which is not said again. */
function bitsText(key: FlowKey, mask: FlowKey, flow: FlowKey, names: ReturnType<typeof namesOf>): string {
  if (mask.get16(OFS.eth_type) !== 0) return formatMegaflow(key, mask, names);
  const typed = (bits: FlowKey): string => {
    const both = bits.clone();
    both.set16(OFS.eth_type, 0xffff);
    return formatMegaflow(flow, both, names);
  };
  const text = typed(mask);
  const protocol = typed(new FlowKey());
  return text === protocol ? '' : text.startsWith(`${protocol},`) ? text.slice(protocol.length + 1) : text;
}

type Why = TranslationStory['why'][number];

function merge(list: readonly Why[]): Why[] {
  const out: Why[] = [];
  for (const item of list) {
    const same = out.findIndex((o) => o.because === item.because);
    if (same < 0) out.push(item);
    else out[same] = { because: item.because, bits: `${out[same].bits},${item.bits}` };
  }
  return out;
}
