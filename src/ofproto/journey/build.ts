/** Puts the parts of a journey in order and into words. */
import { DROP, DROP_REASON, type DropReason, SLOW_DROP_REASON } from '../../datapath/drop-reason.ts';
import type { JourneyEvent } from '../../datapath/journey-record.ts';
import type { DpFlow } from '../../dpif/dpif.ts';
import type { DpAction } from '../../flow/dp-actions.ts';
import { formatDpActions } from '../../flow/dp-text.ts';
import { extractFlow } from '../../flow/extract.ts';
import { F } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { bytesOfNumber } from '../../flow/subfield.ts';
import { formatFieldValue } from '../../flow/value-text.ts';
import type { Backer } from '../backer.ts';
import { formatUfid } from '../commands/flow-text.ts';
import { namesOf } from '../trace.ts';
import { Ukey } from '../ukey.ts';
import { formatFlow } from '../xlate/flow-text.ts';
import { BREAK_STAGES } from './breaks.ts';
import { changesOf, withHeaders } from './changes.ts';
import type { JourneyCollector, Part, Pending, SlowStep } from './collector.ts';
import { megaflowStory, replayOf } from './megaflow.ts';
import type { PortName, Step, Story } from './story.ts';

interface Timed {
  readonly atMs: number;
  readonly step: Step;
}

/** What `buildStory` carries along. */
interface Context {
  readonly collector: JourneyCollector;
  readonly backer: Backer;
  readonly number: number;
  readonly startMs: number;
  readonly packet: Uint8Array;
  /** What the tables said of a megaflow without actions. */
  dropByTables: DropReason | null;
  /** Bytes of the packet that a device refused just now. */
  refused: number;
}

/** `number` 0: what is known so far of a packet that is still on its way. */
export function buildStory(collector: JourneyCollector, p: Pending, number: number): Story {
  const { backer } = collector;
  // The caller has seen to it that there is a first part.
  const first = p.first as Part;
  const { record } = first;
  const context: Context = {
    collector,
    backer,
    number,
    startMs: record.startMs,
    packet: record.packet,
    dropByTables: null,
    refused: 0,
  };
  const timed: Timed[] = [];
  for (const s of p.slow) timed.push(...slowSteps(context, s));
  for (const part of p.parts) timed.push(...recordSteps(context, part));
  timed.sort((a, b) => a.atMs - b.atMs);
  const steps = timed.map((t) => t.step);
  const outputs = steps.flatMap((s) => (s.step === 'sent' ? [s.port] : []));
  const owner = backer.owner(record.port);
  const drop = outputs.length > 0 ? null : dropOf(steps);
  const wasSeen = steps.some((s) => s.step === 'controller');
  return {
    journey: number,
    time: isoMicros(record.startMs + collector.wallOffsetMs),
    bridge: owner?.bridge.name ?? null,
    in_port: portName(backer, record.port),
    queue: record.queue,
    pmd: first.pmdId,
    length: record.length,
    packet: Buffer.from(record.packet).toString('hex'),
    flow: flowText(backer, record.key),
    verdict: outputs.length > 0 ? 'forwarded' : wasSeen ? 'controller' : drop ? 'dropped' : 'consumed',
    outputs,
    drop: wasSeen ? null : drop,
    ns: Math.max(
      ...p.parts.map((part) => nsAt(context, part.record.startMs) + part.record.ns),
      ...steps.map((s) => s.ns),
    ),
    steps,
    is_incomplete: p.isLate || p.parts.some((part) => part.record.isTruncated),
  };
}

function dropOf(steps: readonly Step[]): Story['drop'] {
  for (let i = steps.length - 1; i >= 0; i--) {
    const s = steps[i];
    if (s.step === 'drop') return { name: s.reason, text: s.text, ...(s.port === null ? {} : { port: s.port }) };
  }
  return null;
}

const nsAt = (c: Context, atMs: number): number => Math.max(0, Math.round((atMs - c.startMs) * 1e6));

function isoMicros(wallMs: number): string {
  const whole = Math.floor(wallMs);
  const micros = Math.floor((wallMs - whole) * 1000);
  return `${new Date(whole).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`;
}

export function portName(backer: Backer, no: number): PortName {
  const owner = backer.owner(no);
  const name = owner?.port.name ?? backer.dpif.portByNo(no)?.netdev.name ?? `port ${no}`;
  return { name, dp_port: no, of_port: owner?.port.ofport ?? null };
}

const dpNames =
  (backer: Backer) =>
  (no: number): string | undefined =>
    backer.dpif.portByNo(no)?.netdev.name;

function flowText(backer: Backer, key: FlowKey): string {
  const entry = backer.flowOf(key);
  return entry ? formatFlow(entry.flow, namesOf(entry.bridge)) : formatFlow(key);
}

// ---- the slow path ----

function slowSteps(c: Context, s: SlowStep): Timed[] {
  const at = { ns: nsAt(c, s.atMs), pmd: -1 };
  const drop = (reason: DropReason): Timed => ({
    // Behind what it follows from.
    atMs: s.atMs + 1e-6,
    step: { ...at, step: 'drop', reason: reason.name, text: reason.text, port: null },
  });
  switch (s.type) {
    case 'translation': {
      const translation = s.telling.story(s.flow, s.result, s.bridge);
      const installed = s.installed ? formatUfid(s.installed.ufid) : null;
      if (s.installed && c.number !== 0) {
        c.collector.toldIn.set(s.installed.ufid, c.number);
        if (s.installed.user instanceof Ukey) c.collector.madeBy.set(s.installed.user, c.number);
      }
      const step: Step = { ...at, step: 'translation', bridge: s.bridge.name, translation, installed };
      const told = { atMs: s.atMs, step };
      return s.result.actions.length > 0 ? [told] : [told, drop(s.telling.drop(s.result, s.bridge))];
    }
    case 'overtaken': {
      const megaflow = s.flow ? megaflowStory(c.collector, s.flow) : null;
      if (s.flow) replay(c, s.flow);
      return [{ atMs: s.atMs, step: { ...at, step: 'overtaken', megaflow } }];
    }
    case 'controller':
      return [{ atMs: s.atMs, step: { ...at, step: 'controller', reason: s.reason, table: s.table } }];
    case 'held':
      return [{ atMs: s.atMs, step: { ...at, step: 'held', stage: s.stage } }];
    case 'released':
      return [{ atMs: s.atMs, step: { ...at, step: 'released', how: s.how, edits: s.edits } }];
    case 'lost':
      return [drop(SLOW_DROP_REASON[s.reason])];
  }
}

// ---- the fast path ----

function recordSteps(c: Context, part: Part): Timed[] {
  const { record, pmdId } = part;
  const out: Timed[] = [];
  const base = nsAt(c, record.startMs);
  let headers = record.packet;
  /** The last action told, whose outcome the next look at the packet shows. */
  let open: { readonly index: number; readonly before: Uint8Array } | null = null;
  const settle = (after: Uint8Array): void => {
    if (!open) return;
    const { index, before } = open;
    open = null;
    const { atMs, step } = out[index];
    if (step.step !== 'action') return;
    const changes = step.action.startsWith('tnl_push(') ? wrapped(before, after) : changesOf(before, after);
    out[index] = { atMs, step: { ...step, changes, before: shown(before), after: shown(after) } };
  };
  let ct: CtWords = {
    state: record.key.get32(OFS.ct_state),
    zone: record.key.get16(OFS.ct_zone),
    mark: record.key.get32(OFS.ct_mark),
    label: 0n,
  };
  record.events.forEach((event, i) => {
    if (event.type === 'ct') {
      const told = open === null ? null : out[(open as { index: number }).index];
      if (told?.step.step === 'action') {
        const step = { ...told.step, changes: [...told.step.changes, ...ctChanges(ct, event)] };
        out[out.indexOf(told)] = { ...told, step };
      }
      ct = event;
      return;
    }
    if (event.type === 'step') {
      if (event.headers) {
        const now = withHeaders(record.packet, event.headers, event.length);
        settle(now);
        headers = now;
      }
      open = null;
    }
    if (event.type === 'held') {
      if (Buffer.compare(event.hold.packet, headers) !== 0) settle(event.hold.packet);
      open = null;
    }
    // Events of one reading of the clock stay in their order.
    const atMs = record.startMs + event.ns / 1e6 + i * 1e-7;
    const at = { ns: base + event.ns, pmd: pmdId };
    const step = eventStep(c, event, at, pmdId, record.kind === 'handed');
    if (!step) return;
    out.push({ atMs, step });
    if (event.type === 'step') open = { index: out.length - 1, before: headers };
  });
  return out;
}

type CtWords = Pick<Extract<JourneyEvent, { type: 'ct' }>, 'state' | 'zone' | 'mark' | 'label'>;

/** What connection tracking decided. */
function ctChanges(before: CtWords, after: CtWords): string[] {
  const hex = (v: number | bigint): string => `0x${v.toString(16)}`;
  const state = (v: number): string => formatFieldValue(F.ct_state, bytesOfNumber(v, 4)) || '0';
  const changes: string[] = [];
  if (before.state !== after.state) changes.push(`ct_state: ${state(before.state)} -> ${state(after.state)}`);
  if (before.zone !== after.zone) changes.push(`ct_zone: ${before.zone} -> ${after.zone}`);
  if (before.mark !== after.mark) changes.push(`ct_mark: ${hex(before.mark)} -> ${hex(after.mark)}`);
  if (before.label !== after.label) changes.push(`ct_label: ${hex(before.label)} -> ${hex(after.label)}`);
  return changes;
}

/** A packet that went into a tunnel: what is around it now. */
function wrapped(before: Uint8Array, after: Uint8Array): string[] {
  const outer = new FlowKey();
  extractFlow(after, outer);
  const text = formatFlow(outer).replace(/,(in_port=[^,]*|vlan_tci=0x0000)/g, '');
  return [`outer headers: ${text}`, `length: ${before.length} -> ${after.length}`];
}

const SHOWN = 96;
const shown = (packet: Uint8Array): string => Buffer.from(packet.subarray(0, SHOWN)).toString('hex');

function eventStep(
  c: Context,
  event: JourneyEvent,
  at: { ns: number; pmd: number },
  pmdId: number,
  isHanded: boolean,
): Step | null {
  const names = dpNames(c.backer);
  switch (event.type) {
    case 'simple':
    case 'emc':
    case 'smc':
    case 'megaflow': {
      const flow = c.collector.source.journeyFlow(event.entry, event.flowId);
      const subtables =
        event.type === 'megaflow'
          ? { tried: event.tried, subtables: event.subtables, is_indexed: event.isIndexed }
          : { tried: 0, subtables: null, is_indexed: false };
      return {
        ...at,
        step: 'lookup',
        cache: event.type,
        asked: event.type === 'megaflow' ? event.caches : [],
        ...subtables,
        megaflow: flow ? megaflowStory(c.collector, flow) : null,
        ...replay(c, flow),
      };
    }
    case 'miss':
      return {
        ...at,
        step: 'lookup',
        cache: 'none',
        asked: event.caches,
        tried: event.tried,
        subtables: event.subtables,
        is_indexed: event.isIndexed,
        megaflow: null,
        replay: null,
        replayed_in: null,
      };
    case 'upcall':
      return { ...at, step: 'upcall', reason: event.reason, is_sent: event.isSent };
    case 'actions':
      if (event.isRest) return null;
      return {
        ...at,
        step: 'actions',
        level: event.level,
        actions:
          event.actions.map((a) => (typeof a === 'string' ? a : formatDpActions([a], names))).join(',') || 'drop',
      };
    case 'step': {
      const action = event.action ? formatDpActions([event.action], names) : event.name;
      if (event.action?.kind === 'output' || isOnlyRecirc(event.action)) return null;
      return { ...at, step: 'action', level: event.level, action, changes: [], before: null, after: null };
    }
    case 'held':
      return { ...at, step: 'held', stage: BREAK_STAGES[31 - Math.clz32(event.hold.stage)] ?? '?' };
    case 'ct':
      return null;
    case 'again': {
      const flow = flowText(c.backer, event.key);
      return { ...at, step: 'recirculated', recirc_id: event.recircId, flow };
    }
    case 'sent': {
      if (!event.isTaken) {
        c.refused = event.length;
        return null;
      }
      const port = portName(c.backer, event.port);
      if (event.neighbor < 0) {
        return { ...at, step: 'sent', port, queue: event.txClass, length: event.length, by_pmd: pmdId };
      }
      // Its own record tells how that ends.
      const by = c.collector.source.neighborOf(pmdId, event.neighbor);
      return isHanded ? null : { ...at, step: 'handed', port, by_pmd: by };
    }
    case 'drop': {
      const known =
        event.reason === DROP.NO_ACTIONS ? c.dropByTables : event.reason === DROP.TX ? refusal(c, event.port) : null;
      const reason = known ?? DROP_REASON[event.reason] ?? { name: 'unknown', text: `reason ${event.reason}` };
      const port = event.port >= 0 ? portName(c.backer, event.port).name : null;
      return { ...at, step: 'drop', reason: reason.name, text: reason.text, port };
    }
  }
}

/** Why a device did not take a packet, if it can be seen. */
function refusal(c: Context, port: number): DropReason | null {
  const netdev = c.backer.dpif.portByNo(port)?.netdev;
  if (!netdev) return null;
  if (!netdev.isUp() || !netdev.carrier()) return SLOW_DROP_REASON['port-down'];
  if (c.refused <= netdev.mtu() + ETHERNET_AND_TAG) return null;
  return { name: 'mtu', text: `${c.refused} bytes, and the MTU of ${netdev.name} is ${netdev.mtu()}` };
}

const ETHERNET_AND_TAG = 18;

const isOnlyRecirc = (action: DpAction | null): boolean => action?.kind === 'recirc';

type Replayed = Pick<Extract<Step, { step: 'lookup' }>, 'replay' | 'replayed_in'>;

/** What the tables say now of the packet that a megaflow was made for; once for each megaflow. */
function replay(c: Context, flow: DpFlow | undefined): Replayed {
  if (!flow) return { replay: null, replayed_in: null };
  const isEmpty = flow.actions.length === 0;
  const toldIn = c.collector.toldIn.get(flow.ufid) ?? null;
  if (toldIn !== null && !isEmpty) return { replay: null, replayed_in: toldIn };
  const again = replayOf(c.collector, flow);
  if (!again) return { replay: null, replayed_in: null };
  const isCurrent = again.replay.is_current;
  if (isEmpty && isCurrent) c.dropByTables = again.drop;
  if (c.number !== 0) c.collector.toldIn.set(flow.ufid, c.number);
  if (toldIn !== null && isCurrent) return { replay: null, replayed_in: toldIn };
  return { replay: again.replay, replayed_in: null };
}
