/**
 * What `ovs-testcontroller` does with one switch: learns where addresses are from the packets that the switch sends, and sets up
 * a flow for each conversation whose both ends it knows. The messages and their order are the original's.
 */
import { clock } from '../../base/clock.ts';
import { vlog } from '../../base/vlog.ts';
import { extractFlow } from '../../flow/extract.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { MacLearning, macText } from '../../ofproto/mac-learning.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import { parseFlow } from '../../openflow/flow-text.ts';
import type { FlowMod, OfMessage, PacketIn } from '../../openflow/messages.ts';
import { OFPP } from '../../openflow/ports.ts';

const log = vlog('learning_switch');

export interface ControllerSettings {
  /** `normal` leaves where known addresses are to the switch. */
  readonly mode: 'learn' | 'hub' | 'normal';
  /** Seconds, 0 for ever; null sets up no flows. */
  readonly maxIdle: number | null;
  /** OFPFW_* of OpenFlow 1.0 5.2.3: what the flows leave out. */
  readonly wildcards: number;
  readonly queue: number | null;
  /** By the name of the port that a packet came from. */
  readonly portQueues: ReadonlyMap<string, number>;
  readonly flows: readonly FlowMod[];
  /** Says nothing after the hello. */
  readonly mute: boolean;
}

const MISS_SEND_LEN = 128;
const NO_BUFFER = 0xffffffff;

/** What each wildcard bit stands for, in a key; IPv4 addresses have six bits each, a count of bits left out. */
const WILDCARDS: readonly (readonly [bit: number, ofs: number, bytes: number, mask: number])[] = [
  [0x000001, OFS.in_port, 4, 0xffffffff],
  [0x000002, OFS.vlan_tci, 2, 0x1fff],
  [0x000004, OFS.eth_src, 6, 0xff],
  [0x000008, OFS.eth_dst, 6, 0xff],
  [0x000010, OFS.eth_type, 2, 0xffff],
  [0x000020, OFS.ip_proto, 1, 0xff],
  [0x000040, OFS.tp_src, 2, 0xffff],
  [0x000080, OFS.tp_dst, 2, 0xffff],
  [0x200000, OFS.ip_tos, 1, 0xfc],
];
const WILD_PCP = 0x100000;
const ADDRESSES = [
  [8, OFS.ip_src],
  [14, OFS.ip_dst],
] as const;
const ETH_IP = 0x0800;
const ETH_ARP = 0x0806;
const PRESENT = 0x1000;

/** The flow of OpenFlow 1.0's fields that `key` is of, without those that `wildcards` names. */
export function matchOf(key: FlowKey, wildcards: number): Match {
  const match = new Match();
  const mask = match.mask;
  const type = key.get16(OFS.eth_type);
  const hasIp = (type === ETH_IP || type === ETH_ARP) && (wildcards & 0x10) === 0;
  const hasTransport = hasIp && type === ETH_IP && (wildcards & 0x20) === 0 && key.get8(OFS.ip_frag) < 2;
  for (const [bit, ofs, bytes, bits] of WILDCARDS) {
    if ((wildcards & bit) !== 0) continue;
    if ((ofs === OFS.ip_proto || ofs === OFS.ip_tos) && (!hasIp || (ofs === OFS.ip_tos && type !== ETH_IP))) continue;
    if ((ofs === OFS.tp_src || ofs === OFS.tp_dst) && !(hasTransport && hasPorts(key))) continue;
    if (bytes === 4) mask.set32(ofs, bits);
    else if (bytes === 2) mask.set16(ofs, bits);
    else mask.u8.fill(bits, ofs, ofs + bytes);
  }
  if ((wildcards & (WILD_PCP | 2)) === 0 && key.get16(OFS.vlan_tci) & PRESENT) mask.set16(OFS.vlan_tci, 0xffff);
  for (const [shift, ofs] of ADDRESSES) {
    const left = (wildcards >>> shift) & 63;
    if (hasIp && left < 32) mask.set32(ofs, (0xffffffff << left) >>> 0);
  }
  for (let i = 0; i < mask.w.length; i++) match.key.w[i] = key.w[i] & mask.w[i];
  return match;
}

const PORT_PROTOCOLS: ReadonlySet<number> = new Set([1, 6, 17, 132]);
const hasPorts = (key: FlowKey): boolean => PORT_PROTOCOLS.has(key.get8(OFS.ip_proto));

/** 01:80:c2:00:00:00–0f: never forwarded by a bridge. IEEE 802.1D 7.12.6 */
function isReserved(key: FlowKey): boolean {
  return key.get32(OFS.eth_dst) === 0x0180c200 && (key.get16(OFS.eth_dst + 4) & 0xfff0) === 0;
}

const plain = parseFlow('actions=drop', 'add');

export class LearningSwitch {
  private readonly settings: ControllerSettings;
  private readonly send: (message: OfMessage) => void;
  private readonly macs = new MacLearning<number>();
  /** By port number. */
  private readonly queues = new Map<number, number>();
  private readonly key = new FlowKey();

  constructor(settings: ControllerSettings, send: (message: OfMessage) => void) {
    this.settings = settings;
    this.send = send;
  }

  /** The connection is up; `version` is of the wire. */
  begin(version: number): void {
    if (this.settings.mute) return;
    this.send({ type: 'features_request' });
    this.send({ type: 'set_config', flags: 0, missSendLen: MISS_SEND_LEN });
    // From 1.3 on a table without a flow for the rest drops it.
    if (version >= 4) {
      const toController: Ofpact = {
        kind: 'controller',
        maxLen: MISS_SEND_LEN,
        controllerId: 0,
        reason: 1,
        userdata: null,
        pause: false,
        meterId: null,
      };
      this.send(this.flow(new Match(), [toController], 0, 0));
    }
    for (const flow of this.settings.flows) this.send(flow);
  }

  receive(message: OfMessage, raw: string): void {
    if (this.settings.mute) return;
    if (message.type === 'packet_in') this.packetIn(message);
    else if (message.type === 'error') log.warn(`received error: ${raw}`);
    else if (message.type === 'features_reply') for (const port of message.ports) this.port(port.name, port.portNo);
    else if (message.type === 'port_status') this.port(message.port.name, message.port.portNo);
    else if (message.type === 'port_desc_reply') for (const port of message.ports) this.port(port.name, port.portNo);
  }

  private port(name: string, number: number): void {
    const queue = this.settings.portQueues.get(name);
    if (queue !== undefined) this.queues.set(number, queue);
  }

  private packetIn(m: PacketIn): void {
    const { key, settings } = this;
    key.clear();
    extractFlow(m.packet, key);
    const inPort = m.metadata.key.get32(OFS.in_port);
    key.set32(OFS.in_port, inPort);
    const out = this.outPort(key, inPort);
    const actions = out === null ? [] : [this.output(out, inPort)];
    // What is flooded because nobody knows better yet must come again.
    const isSettled = settings.mode === 'hub' || out !== OFPP.FLOOD;
    let wasSent = false;
    if (settings.maxIdle !== null && isSettled) {
      const flow = this.flow(matchOf(key, settings.wildcards), actions, 1, settings.maxIdle);
      this.send({ ...flow, bufferId: m.bufferId });
      wasSent = m.bufferId !== NO_BUFFER;
    }
    if (actions.length === 0 || wasSent) return;
    const packet = m.bufferId === NO_BUFFER ? m.packet : new Uint8Array(0);
    const metadata = new Match();
    metadata.key.set32(OFS.in_port, inPort);
    metadata.mask.set32(OFS.in_port, 0xffffffff);
    this.send({ type: 'packet_out', bufferId: m.bufferId, metadata, packet, actions });
  }

  /** Null drops. */
  private outPort(key: FlowKey, inPort: number): number | null {
    if (isReserved(key)) return null;
    if (this.settings.mode === 'hub') return OFPP.FLOOD;
    const now = clock.nowMs();
    const src = macText(key.u8, OFS.eth_src);
    if (this.macs.learn(src, 0, inPort, false, false, now)) log.dbg(`learned that ${src} is on port ${inPort}`);
    const found = this.macs.lookup(macText(key.u8, OFS.eth_dst), 0, now);
    if (found === null) return OFPP.FLOOD;
    if (found.port === inPort) return null;
    return this.settings.mode === 'normal' ? OFPP.NORMAL : found.port;
  }

  private output(port: number, inPort: number): Ofpact {
    const queue = this.queues.get(inPort) ?? this.settings.queue;
    if (queue === null || port >= OFPP.MAX) return { kind: 'output', port, maxLen: 0 };
    return { kind: 'enqueue', port, queue };
  }

  private flow(match: Match, actions: readonly Ofpact[], priority: number, idleTimeout: number): FlowMod {
    if (!plain.ok) throw new Error(plain.error);
    return { ...plain.flow, match, actions, priority, idleTimeout };
  }
}
