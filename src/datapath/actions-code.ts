/**
 * Datapath actions as the fast path runs them: a run of words in the arena.
 *
 * Each action begins with a word `opcode | length in words << 8`; nested lists stand inside their action's words.
 * `set` carries the key's words of its header and then the mask's, in the ranges of `SET_RANGES`.
 */
import { type DpAction, type DpHeader, TnlType, type UserspaceAction } from '../flow/dp-actions.ts';
import { OFS } from '../flow/layout.ts';
import { encodeCt, unsupportedCt } from './ct/code.ts';

export const OP = {
  OUTPUT: 1,
  USERSPACE: 2,
  SET: 3,
  PUSH_VLAN: 4,
  POP_VLAN: 5,
  PUSH_MPLS: 6,
  POP_MPLS: 7,
  PUSH_ETH: 8,
  POP_ETH: 9,
  RECIRC: 10,
  HASH: 11,
  SAMPLE: 12,
  CLONE: 13,
  TRUNC: 14,
  CHECK_PKT_LEN: 15,
  DROP: 16,
  TNL_PUSH: 17,
  TNL_POP: 18,
  CT: 19,
  CT_CLEAR: 20,
  METER: 21,
  PUSH_NSH: 22,
  POP_NSH: 23,
  ADD_MPLS: 24,
  LB_OUTPUT: 25,
} as const;

/** Position in this list is the header's number in code. */
export const SET_HEADERS = [
  'eth',
  'vlan',
  'ipv4',
  'ipv6',
  'tcp',
  'udp',
  'sctp',
  'icmp',
  'icmpv6',
  'arp',
  'nd',
  'nd_ext',
  'mpls',
  'tunnel',
  'skb_priority',
  'skb_mark',
  'nsh',
] as const satisfies readonly DpHeader[];

const w = (ofs: number): number => ofs >> 2;
const TP: readonly (readonly [number, number])[] = [[10, 11]];

/** Key words that a `set` of each header carries, as `[first, end)` ranges. */
export const SET_RANGES: Record<(typeof SET_HEADERS)[number], readonly (readonly [number, number])[]> = {
  eth: [[2, 5]],
  vlan: [[5, 6]],
  ipv4: [[7, 10]],
  ipv6: [
    [7, 8],
    [w(OFS.ipv6_src), w(OFS.ipv6_label) + 1],
  ],
  tcp: TP,
  udp: TP,
  sctp: TP,
  icmp: TP,
  icmpv6: TP,
  arp: [
    [7, 10],
    [w(OFS.arp_sha), w(OFS.nd_reserved)],
  ],
  nd: [[w(OFS.nd_target), w(OFS.nd_reserved)]],
  nd_ext: [[w(OFS.nd_reserved), w(OFS.nd_options_type) + 1]],
  mpls: [[w(OFS.mpls_lse0), w(OFS.mpls_lse0) + 1]],
  tunnel: [[w(OFS.tun_id), 148]],
  skb_priority: [[16, 17]],
  skb_mark: [[15, 16]],
  nsh: [[w(OFS.nsh_flags), w(OFS.nsh_c4) + 1]],
};

/** Numbers `userspace` actions, so that their meaning comes back with the packet. */
export interface UserspaceIds {
  add(userspace: UserspaceAction): number;
  /** Without it there are no tunnels, and what `tnl_pop` pops is nobody's. */
  readonly tunnels?: TunnelFacts | undefined;
  /** The word of a bond's table, 0 when there is none. Without it there are no bonds. */
  bondAt?(id: number): number;
  /** The word of a meter's block, 0 when there is none. Without it there are no meters. */
  meterAt?(id: number): number;
  /** The port number that stands for queue `priority` (`skb_priority`) of a port; `port` itself where there is none. */
  queueOf?(port: number, priority: number): number;
}

/** What tunnel actions do not say themselves. */
export interface TunnelFacts {
  /** The `TnlType` of a tunnel port, 0 when it is none. */
  typeOf(port: number): number;
  /** The word of the counter of a GRE port's sequence numbers. */
  sequenceAt(port: number): number;
  /** The range of UDP source ports: the first, and how many. */
  readonly sourcePorts: readonly [min: number, count: number];
  /** The word of the table of Geneve options, 0 for none. */
  readonly optionsAt: number;
}

const TNL_TYPES: ReadonlySet<number> = new Set(Object.values(TnlType));

/** Why the datapath cannot carry out these actions, or null. */
export function unsupportedAction(actions: readonly DpAction[]): string | null {
  for (const a of actions) {
    if (a.kind === 'ct') {
      const refusal = unsupportedCt(a.ct);
      if (refusal !== null) return refusal;
    }
    if (a.kind === 'tnl_push' && (!TNL_TYPES.has(a.type) || a.header.length % 2 !== 0 || a.header.length < 38)) {
      return `tnl_push of type ${a.type} is not supported`;
    }
    if (a.kind === 'push_nsh' && (a.header.length < 8 || a.header.length % 4 !== 0)) {
      return 'push_nsh of this length is not supported';
    }
    const nested =
      a.kind === 'clone' || a.kind === 'sample'
        ? unsupportedAction(a.actions)
        : a.kind === 'check_pkt_len'
          ? (unsupportedAction(a.greater) ?? unsupportedAction(a.lessOrEqual))
          : null;
    if (nested !== null) return nested;
  }
  return null;
}

const be16 = (v: number): number => ((v >> 8) & 0xff) | ((v & 0xff) << 8);
const be32 = (v: number): number => be16(v >>> 16) | (be16(v & 0xffff) << 16);

/** `tnl/egress_port_range` as it is without being set. */
export const DEFAULT_SOURCE_PORTS = [32768, 61000 - 32768 + 1] as const;

/** Encodes actions that `unsupportedAction` has no objection to. */
export function encodeActions(actions: readonly DpAction[], ids: UserspaceIds): number[] {
  const out: number[] = [];
  let priority = 0;
  for (const a of actions) {
    const at = out.length;
    out.push(0);
    if (a.kind === 'set' && a.header === 'skb_priority') priority = a.key.get32(OFS.skb_priority);
    const isQueued = a.kind === 'output' && priority !== 0 && ids.queueOf !== undefined;
    out[at] = encodeOne(isQueued ? { ...a, port: ids.queueOf?.(a.port, priority) ?? a.port } : a, out, ids);
    out[at] |= (out.length - at) << 8;
  }
  return out;
}

function encodeOne(a: DpAction, out: number[], ids: UserspaceIds): number {
  switch (a.kind) {
    case 'output':
      out.push(a.port | 0);
      return OP.OUTPUT;
    case 'userspace':
      out.push(ids.add(a.userspace));
      return OP.USERSPACE;
    case 'set': {
      const header = SET_HEADERS.indexOf(a.header as (typeof SET_HEADERS)[number]);
      out.push(header);
      for (const key of [a.key, a.mask])
        for (const [first, end] of SET_RANGES[SET_HEADERS[header]])
          for (let i = first; i < end; i++) out.push(key.w[i]);
      // A tag on the wire has no "present" bit: that bit (CFI) stays as it is.
      if (a.header === 'vlan') out[out.length - 1] &= ~0x100000;
      return OP.SET;
    }
    case 'push_vlan':
      out.push(be16(a.tpid) | (be16(a.tci & ~0x1000) << 16));
      return OP.PUSH_VLAN;
    case 'pop_vlan':
      return OP.POP_VLAN;
    case 'push_mpls':
      out.push(be16(a.ethertype), be32(a.lse));
      return OP.PUSH_MPLS;
    case 'pop_mpls':
      out.push(be16(a.ethertype));
      return OP.POP_MPLS;
    case 'push_eth': {
      const mac = new Uint8Array(12);
      mac.set(a.dst.subarray(0, 6));
      mac.set(a.src.subarray(0, 6), 6);
      out.push(...new Int32Array(mac.buffer));
      return OP.PUSH_ETH;
    }
    case 'pop_eth':
      return OP.POP_ETH;
    case 'push_nsh': {
      out.push(a.header.length, ...new Int32Array(a.header.slice().buffer, 0, a.header.length >> 2));
      return OP.PUSH_NSH;
    }
    case 'pop_nsh':
      return OP.POP_NSH;
    case 'add_mpls':
      out.push(be16(a.ethertype), be32(a.lse));
      return OP.ADD_MPLS;
    case 'lb_output':
      out.push(ids.bondAt?.(a.bondId) ?? 0, a.bondId);
      return OP.LB_OUTPUT;
    case 'recirc':
      out.push(be32(a.id));
      return OP.RECIRC;
    case 'hash':
      out.push(a.algorithm === 'l4' ? 0 : 1, a.basis | 0);
      return OP.HASH;
    case 'sample':
      out.push(a.probability | 0, ...encodeActions(a.actions, ids));
      return OP.SAMPLE;
    case 'clone':
      out.push(...encodeActions(a.actions, ids));
      return OP.CLONE;
    case 'trunc':
      out.push(a.maxLen | 0);
      return OP.TRUNC;
    case 'check_pkt_len': {
      const greater = encodeActions(a.greater, ids);
      out.push(a.size, greater.length, ...greater, ...encodeActions(a.lessOrEqual, ids));
      return OP.CHECK_PKT_LEN;
    }
    case 'drop':
      out.push(a.reason);
      return OP.DROP;
    case 'tnl_push': {
      const [min, count] = ids.tunnels?.sourcePorts ?? DEFAULT_SOURCE_PORTS;
      const bytes = new Uint8Array(Math.ceil(a.header.length / 4) * 4);
      bytes.set(a.header);
      out.push(a.type, be32(a.outPort), ids.tunnels?.sequenceAt(a.port) ?? 0, min, count, a.header.length);
      // The port is for whoever tells of it.
      out.push(...new Int32Array(bytes.buffer), a.port);
      return OP.TNL_PUSH;
    }
    case 'tnl_pop':
      out.push(ids.tunnels?.typeOf(a.port) ?? 0, be32(a.port), ids.tunnels?.optionsAt ?? 0);
      return OP.TNL_POP;
    case 'ct':
      out.push(...encodeCt(a.ct));
      return OP.CT;
    case 'ct_clear':
      return OP.CT_CLEAR;
    case 'meter':
      out.push(ids.meterAt?.(a.id) ?? 0, a.id);
      return OP.METER;
  }
}
