/**
 * Datapath actions: what the slow path asks a datapath to do with the packets of a megaflow. The kinds and their meaning
 * are those of the kernel's `OVS_ACTION_ATTR_*`; `dp-text.ts` reads and writes them as `ovs-dpctl(8)` shows them.
 */
import type { FlowKey, FlowMask } from './key.ts';

export type DpAction =
  | { readonly kind: 'output'; readonly port: number }
  | { readonly kind: 'userspace'; readonly userspace: UserspaceAction }
  /**
   * Writes the masked bits of one header. `header` names the group that prints together (`eth`, `ipv4`, `tcp` …);
   * `key`/`mask` are full flow keys of which only that group's fields may be non-zero. Checksums follow.
   */
  | { readonly kind: 'set'; readonly header: DpHeader; readonly key: FlowKey; readonly mask: FlowMask }
  | { readonly kind: 'push_vlan'; readonly tpid: number; readonly tci: number }
  | { readonly kind: 'pop_vlan' }
  | { readonly kind: 'push_mpls'; readonly ethertype: number; readonly lse: number }
  | { readonly kind: 'pop_mpls'; readonly ethertype: number }
  | { readonly kind: 'push_eth'; readonly dst: Uint8Array; readonly src: Uint8Array }
  | { readonly kind: 'pop_eth' }
  /** Puts a network service header before all of the packet. `header` is complete. */
  | { readonly kind: 'push_nsh'; readonly header: Uint8Array }
  | { readonly kind: 'pop_nsh' }
  /** Puts a label before all of the packet, its Ethernet header included. */
  | { readonly kind: 'add_mpls'; readonly ethertype: number; readonly lse: number }
  | { readonly kind: 'recirc'; readonly id: number }
  | { readonly kind: 'hash'; readonly algorithm: 'l4' | 'sym_l4'; readonly basis: number }
  /** To the member of a bond that the packet's hash names. */
  | { readonly kind: 'lb_output'; readonly bondId: number }
  | { readonly kind: 'sample'; readonly probability: number; readonly actions: readonly DpAction[] }
  | { readonly kind: 'clone'; readonly actions: readonly DpAction[] }
  | { readonly kind: 'trunc'; readonly maxLen: number }
  | { readonly kind: 'meter'; readonly id: number }
  | {
      readonly kind: 'check_pkt_len';
      readonly size: number;
      readonly greater: readonly DpAction[];
      readonly lessOrEqual: readonly DpAction[];
    }
  | { readonly kind: 'ct'; readonly ct: CtAction }
  | { readonly kind: 'ct_clear' }
  /**
   * Puts the prepared outer headers before the packet, which from then on is one from `outPort`. Lengths, checksums, the
   * UDP source port and sequence numbers are for the datapath to fill in. `port` is the tunnel's, `type` a `TnlType`.
   */
  | {
      readonly kind: 'tnl_push';
      readonly port: number;
      readonly outPort: number;
      readonly type: number;
      readonly header: Uint8Array;
    }
  /** Takes the outer headers off; the packet comes in again by the tunnel port, knowing what they said. */
  | { readonly kind: 'tnl_pop'; readonly port: number }
  | { readonly kind: 'drop'; readonly reason: number };

export type DpActionOf<K extends DpAction['kind']> = Extract<DpAction, { readonly kind: K }>;

/** `OVS_VPORT_TYPE_*` of tunnels. */
export const TnlType = { gre: 3, vxlan: 4, geneve: 5, ip6gre: 109 } as const;

export type DpHeader =
  | 'eth'
  | 'vlan'
  | 'ipv4'
  | 'ipv6'
  | 'tcp'
  | 'udp'
  | 'sctp'
  | 'icmp'
  | 'icmpv6'
  | 'arp'
  | 'nd'
  | 'nd_ext'
  | 'mpls'
  | 'nsh'
  | 'tunnel'
  | 'skb_priority'
  | 'skb_mark';

export interface CtAction {
  readonly commit: boolean;
  readonly force: boolean;
  readonly zone: number;
  readonly mark: { readonly value: number; readonly mask: number } | null;
  readonly label: { readonly value: Uint8Array; readonly mask: Uint8Array } | null;
  readonly helper: string | null;
  readonly timeout: string | null;
  readonly nat: {
    readonly type: 'src' | 'dst' | null;
    readonly addrMin: Uint8Array | null;
    readonly addrMax: Uint8Array | null;
    readonly portMin: number;
    readonly portMax: number;
    readonly persistent: boolean;
    readonly hash: boolean;
    readonly random: boolean;
  } | null;
}

/** What comes back with the packet when a datapath hands it up. */
export type UserspaceAction =
  | { readonly type: 'slow_path'; readonly reasons: number }
  | {
      readonly type: 'controller';
      readonly reason: number;
      readonly dontSend: boolean;
      readonly continuation: boolean;
      readonly recircId: number;
      readonly ruleCookie: bigint;
      readonly controllerId: number;
      readonly maxLen: number;
    }
  /** A sampled packet for sFlow; `output` as its datagrams say where a packet went. */
  | { readonly type: 'sflow'; readonly vlanTci: number; readonly output: number }
  /** A sampled packet for a bridge's IPFIX; `outputPort` is 0xffffffff where it came in. */
  | { readonly type: 'ipfix'; readonly outputPort: number }
  | {
      readonly type: 'flow_sample';
      readonly probability: number;
      readonly collectorSetId: number;
      readonly obsDomainId: number;
      readonly obsPointId: number;
      readonly outputPort: number;
      readonly direction: 'default' | 'ingress' | 'egress';
    }
  | { readonly type: 'opaque'; readonly data: Uint8Array };

/** Reasons in a `slow_path` userspace action; text names as in `ovs-dpctl dump-flows`. */
export const SlowReason = {
  cfm: 1,
  bfd: 2,
  lacp: 4,
  stp: 8,
  lldp: 16,
  action: 32,
  match: 64,
  controller: 128,
} as const;

/** Do they say the same, word for word? */
export function sameActions(a: readonly DpAction[], b: readonly DpAction[]): boolean {
  return a.length === b.length && a.every((action, i) => sameValue(action, b[i]));
}

/** Actions are plain data: numbers, texts, bytes, keys and lists of such. */
function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    const x = a as Uint8Array;
    const y = b as Uint8Array;
    return x.length === y.length && x.every((v, i) => v === y[i]);
  }
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((k) => sameValue((a as Record<string, unknown>)[k], (b as Record<string, unknown>)[k]));
}
