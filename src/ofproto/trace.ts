/**
 * `ofproto/trace`: translates an imaginary packet and prints every step. `ovs-vswitchd(8)`
 *
 * A packet that would be recirculated is followed through its return; connection tracking is imagined to answer
 * `trk,new` unless `--ct-next` says otherwise.
 */
import { registerCommand, UnixctlError } from '../base/commands.ts';
import { composePacket } from '../flow/compose.ts';
import { type CtAction, type DpAction, SlowReason } from '../flow/dp-actions.ts';
import { formatDpActions, parseDpKey } from '../flow/dp-text.ts';
import { extractFlow } from '../flow/extract.ts';
import { fieldByName } from '../flow/fields.ts';
import { FlowKey } from '../flow/key.ts';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { parseMatch, parseMatchField, parseProtocol, splitKeyValues } from '../flow/match-text.ts';
import type { Names } from '../flow/names.ts';
import { parseActions } from '../openflow/actions/index.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import type { Backer } from './backer.ts';
import type { Bridge } from './bridge.ts';
import { formatFlow, formatMegaflow } from './xlate/flow-text.ts';
import { hasVlan, prereqMet } from './xlate/prereq.ts';
import { TraceText } from './xlate/trace-text.ts';

export type Backers = () => Iterable<Backer>;

interface Request {
  readonly bridge: Bridge;
  readonly flow: FlowKey;
  readonly packet: Uint8Array | null;
  readonly actions: readonly Ofpact[] | null;
  readonly ctNext: number[];
  readonly names: Names | undefined;
  readonly dpNames: ((port: number) => string | undefined) | undefined;
}

const RULE = '='.repeat(79);
const CT_TRK = 0x20;
const CT_NEW = 0x01;

export function registerTrace(backers: Backers): void {
  registerCommand(
    'ofproto/trace',
    '{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]',
    1,
    Number.POSITIVE_INFINITY,
    (args) => trace(parseRequest(backers, args, false)),
  );
  registerCommand(
    'ofproto/trace-packet-out',
    '[-consistent] {[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet] actions',
    2,
    Number.POSITIVE_INFINITY,
    (args) => trace(parseRequest(backers, args, true)),
  );
}

function trace(request: Request): string {
  const { bridge, names } = request;
  const out: string[] = [];
  const waiting: { flow: FlowKey; bridge: Bridge; head: string }[] = [{ flow: request.flow, bridge, head: '' }];
  const ctNext = [...request.ctNext];
  const seen = new Set<number>();
  let actions = request.actions;
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const text = new TraceText(names ? (b) => namesOf(b as Bridge) : null);
    const result = bridge.backer.translate({
      bridge: next.bridge,
      flow: next.flow,
      packet: request.packet,
      ...(actions ? { actions } : {}),
      observer: text,
      // A packet, imaginary or not, is a packet: its addresses are learned and its `learn` actions done.
      isTrace: request.packet === null,
      sideEffects: request.packet !== null,
    });
    actions = null;
    const unchanged = next.flow.equals(result.finalFlow);
    out.push(next.head, `Flow: ${formatFlow(next.flow, names)}\n`, text.toString());
    out.push(`\nFinal flow: ${unchanged ? 'unchanged' : formatFlow(result.finalFlow, names)}\n`);
    out.push(`Megaflow: ${formatMegaflow(next.flow, result.mask, names)}\n`);
    out.push(`Datapath actions: ${formatDpActions(result.actions, request.dpNames)}`);
    if (result.error !== 'OK') out.push(`\nTranslation failed (${result.error}), packet is dropped.`);
    else if (result.slow !== 0) out.push(slowText(result.slow));
    for (const { id, ct } of returns(result.actions)) {
      // Only what comes back from connection tracking can be foretold.
      if (seen.has(id) || !ct) continue;
      seen.add(id);
      const flow = result.finalFlow.clone();
      const state = bridge.backer.recirc.lookup(id);
      flow.set32(OFS.recirc_id, id);
      if (!state) continue;
      const asked = ctNext.shift();
      const ctState = asked ?? CT_TRK | CT_NEW;
      flow.set32(OFS.ct_state, ctState);
      flow.set16(OFS.ct_zone, ct.zone);
      if (ct.mark) flow.set32(OFS.ct_mark, ct.mark.value);
      if (ct.label) flow.u8.set(ct.label.value, OFS.ct_label);
      flow.w.fill(0, OFS.metadata >> 2);
      const head = `\n\n${RULE}\nrecirc(0x${id.toString(16)}) - resume conntrack with ${ctText(asked)}`;
      waiting.push({ flow, bridge: state.bridge as Bridge, head: `${head}\n${RULE}\n\n` });
    }
  }
  return `${out.join('')}\n`;
}

function ctText(asked: number | undefined): string {
  if (asked === undefined) return 'default ct_state=trk|new (use --ct-next to customize)';
  return `ct_state=${CT_STATES.filter((_, bit) => asked & (1 << bit)).join('|')}`;
}

const CT_STATES = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'];

function slowText(reasons: number): string {
  const why = SLOW_TEXTS.flatMap(([bit, text]) => (reasons & bit ? [`\n  - ${text}.`] : []));
  return `\nThis flow is handled by the userspace slow path because it:${why.join('')}`;
}

const SLOW_TEXTS: readonly (readonly [number, string])[] = [
  [SlowReason.cfm, 'Consists of CFM packets'],
  [SlowReason.bfd, 'Consists of BFD packets'],
  [SlowReason.lacp, 'Consists of LACP packets'],
  [SlowReason.stp, 'Consists of STP packets'],
  [SlowReason.lldp, 'Consists of LLDP packets'],
  [SlowReason.action, 'Uses action(s) not supported by datapath'],
];

/** Recirculation ids in actions, at any depth, with the `ct` that the packet returns from. */
function returns(actions: readonly DpAction[]): { id: number; ct: CtAction | null }[] {
  const found: { id: number; ct: CtAction | null }[] = [];
  let ct: CtAction | null = null;
  for (const a of actions) {
    if (a.kind === 'recirc') found.push({ id: a.id, ct });
    else if (a.kind === 'clone' || a.kind === 'sample') found.push(...returns(a.actions));
    else if (a.kind === 'check_pkt_len') found.push(...returns(a.greater), ...returns(a.lessOrEqual));
    ct = a.kind === 'ct' ? a.ct : null;
  }
  return found;
}

function parseRequest(backers: Backers, args: readonly string[], hasActions: boolean): Request {
  const plain: string[] = [];
  const ctNext: number[] = [];
  let generate = false;
  let isNamed = false;
  let payload: Uint8Array | null = null;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    const value = (): string => {
      if (i + 1 >= args.length) throw new UnixctlError(`Missing argument for option ${arg}`);
      return args[++i];
    };
    if (arg === '-generate' || arg === '--generate') generate = true;
    else if (arg === '--names') isNamed = true;
    else if (arg === '--no-names') isNamed = false;
    else if (arg === '-consistent' || arg === '--consistent') continue;
    else if (arg === '--ct-next') ctNext.push(parseCtState(value()));
    else if (arg === '--l7') payload = parseHex(value());
    else if (arg === '--l7-len') payload = Uint8Array.from({ length: Number(value()) || 0 }, (_, n) => n & 0xff);
    else if (arg.startsWith('-')) throw new UnixctlError(`${arg}: unknown option`);
    else plain.push(arg);
  }
  const actionsText = hasActions ? plain.pop() : undefined;
  if (plain.length > 3) throw new UnixctlError('too many arguments');
  let packet: Uint8Array | null = null;
  const last = plain[plain.length - 1] ?? '';
  if (plain.length > 1 && (plain.length === 3 || /^[0-9a-fA-F\s]+$/.test(last))) packet = parsePacket(last);
  if (packet) plain.pop();
  const found = findFlow(backers, plain);
  const { bridge } = found;
  let { flow } = found;
  const names = isNamed ? namesOf(bridge) : undefined;
  if (packet) {
    const metadata = flow;
    flow = new FlowKey();
    extractFlow(packet, flow);
    copyMetadata(metadata, flow);
  } else if (generate) {
    packet = composePacket(flow);
    if (payload && packet) packet = Uint8Array.of(...packet, ...payload);
  }
  let actions: readonly Ofpact[] | null = null;
  if (actionsText !== undefined) {
    const parsed = parseActions(actionsText, { names: namesOf(bridge) });
    if (!parsed.ok) throw new UnixctlError(parsed.error);
    actions = parsed.actions;
  }
  return {
    bridge,
    flow,
    packet,
    actions,
    ctNext,
    names,
    dpNames: isNamed ? (no) => bridge.backer.dpif.portByNo(no)?.netdev.name : undefined,
  };
}

/** All that no packet says: port, recirculation, connection, tunnel, registers. */
function copyMetadata(from: FlowKey, to: FlowKey): void {
  for (const [first, end] of [
    [OFS.in_port, OFS.eth_dst],
    [OFS.ct_state, OFS.vlan2_tpid],
    [OFS.ct_label, OFS.nsh_flags - 3],
    [OFS.tun_id, OFS.tun_id + (184 - 63) * 4],
  ]) {
    to.u8.set(from.u8.subarray(first, end), first);
  }
  to.set16(OFS.ct_zone, from.get16(OFS.ct_zone));
}

function findFlow(backers: Backers, args: readonly string[]): { bridge: Bridge; flow: FlowKey } {
  const text = args[args.length - 1];
  const odp = parseDpKey(text);
  if (odp.ok) {
    const backer = args.length === 2 ? backerNamed(backers, args[0]) : onlyBacker(backers);
    const entry = backer.flowOf(odp.key);
    if (!entry && backer.tunnels.ports.isTunnelPort(odp.key.get32(OFS.in_port))) {
      throw new UnixctlError('no OpenFlow tunnel port for this packet');
    }
    if (!entry) throw new UnixctlError(`no OpenFlow port for datapath port ${odp.key.get32(OFS.in_port)}`);
    return entry;
  }
  if (args.length < 2) throw new UnixctlError(`syntax error at ${text} (or the bridge name was omitted)`);
  const bridge = [...backers()].flatMap((b) => [...b.bridges]).find((b) => b.name === args[0]);
  if (!bridge) throw new UnixctlError(`${args[0]}: unknown bridge`);
  return { bridge, flow: parseExactFlow(bridge, text) };
}

function backerNamed(backers: Backers, name: string): Backer {
  const type = name.startsWith('ovs-') ? name.slice(4) : name;
  const backer = [...backers()].find((b) => b.type === type);
  if (!backer) throw new UnixctlError('Cannot find the datapath');
  return backer;
}

function onlyBacker(backers: Backers): Backer {
  const all = [...backers()];
  if (all.length !== 1) throw new UnixctlError('Must specify bridge name');
  return all[0];
}

function parseExactFlow(bridge: Bridge, text: string): FlowKey {
  const bad = (error: string): never => {
    throw new UnixctlError(`Bad openflow flow syntax: ${text}: ${error}`);
  };
  const ctx = { names: namesOf(bridge) };
  const match = new Match();
  const { key: flow, mask } = match;
  for (const { key, value, hasValue } of splitKeyValues(text)) {
    const protocol = new Match();
    if (!hasValue && parseProtocol(protocol, key)) {
      const type = protocol.mask.get16(OFS.eth_type) !== 0;
      if (type && mask.get16(OFS.eth_type) !== 0) bad('Ethernet type set multiple times');
      if (protocol.mask.get8(OFS.ip_proto) !== 0 && mask.get8(OFS.ip_proto) !== 0)
        bad('network protocol set multiple times');
      parseProtocol(match, key);
      continue;
    }
    const field = fieldByName(key);
    if (!field) return bad(`unknown field ${key}`);
    if (!prereqMet(field.prereq, flow, new FlowKey())) bad(`prerequisites not met for setting ${key}`);
    if (value.includes('/')) bad(`bad value for ${key} (${value}: wildcards not allowed here)`);
    const error = parseMatchField(match, key, value, ctx);
    if (error) bad(`bad value for ${key} (${error.startsWith(value) ? error : `${value}: ${error}`})`);
  }
  if (hasVlan(flow) && flow.get16(OFS.vlan_tpid) === 0) flow.set16(OFS.vlan_tpid, 0x8100);
  if (mask.get32(OFS.in_port) === 0) flow.set32(OFS.in_port, 0xffff);
  return flow;
}

/** A bridge's names of ports and tables. */
export function namesOf(bridge: Bridge): Names {
  return {
    port: (no) => bridge.port(no)?.name,
    portByName: (name) => bridge.ofportOf(name),
    table: (id) => bridge.tables.tables[id]?.name || undefined,
  };
}

function parseCtState(text: string): number {
  const scratch = parseMatch(
    `ct_state=${text
      .split(/[|,\s]+/)
      .map((f) => `+${f}`)
      .join('')}`,
  );
  if (!scratch.ok) throw new UnixctlError(scratch.error);
  return scratch.match.key.get32(OFS.ct_state);
}

function parseHex(text: string): Uint8Array | null {
  const digits = text.replace(/\s+/g, '');
  if (!/^[0-9a-fA-F]*$/.test(digits) || digits.length % 2 !== 0) return null;
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16));
}

function parsePacket(text: string): Uint8Array {
  const packet = parseHex(text);
  if (!packet) throw new UnixctlError('Trailing garbage in packet data');
  if (packet.length < 14) throw new UnixctlError('Packet data too short for Ethernet');
  return packet;
}
