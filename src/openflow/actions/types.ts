/**
 * OpenFlow actions and instructions as values, the same for every OpenFlow version. One file beside this for each
 * action (or close family) says how it is parsed, printed, encoded and decoded.
 *
 * Ports are 16-bit OpenFlow port numbers (`OFPP` in `../ports.ts`), group and meter ids unsigned 32-bit numbers.
 * A list of actions ("ofpacts") is a plain array; instructions other than apply-actions are elements of it, in the
 * order the specification executes them. Apply-actions needs no element of its own: what stands before
 * `write_actions`, `write_metadata` and `goto_table` in the list *is* the apply-actions list.
 */
import type { Field, Subfield } from '../../flow/field.ts';

export type Ofpact =
  | { readonly kind: 'output'; readonly port: number; readonly maxLen: number }
  | { readonly kind: 'output_reg'; readonly src: Subfield; readonly maxLen: number }
  | { readonly kind: 'output_trunc'; readonly port: number; readonly maxLen: number }
  | { readonly kind: 'group'; readonly groupId: number }
  | {
      readonly kind: 'controller';
      readonly maxLen: number;
      readonly controllerId: number;
      readonly reason: number;
      readonly userdata: Uint8Array | null;
      readonly pause: boolean;
      readonly meterId: number | null;
      readonly providerMeterId?: number;
    }
  | { readonly kind: 'enqueue'; readonly port: number; readonly queue: number }
  | {
      readonly kind: 'bundle';
      readonly fields: string;
      readonly basis: number;
      readonly algorithm: 'active_backup' | 'hrw';
      readonly members: readonly number[];
      readonly dst: Subfield | null;
    }
  /** `value` and `mask` are big-endian, `field.bytes` long; `mask` null sets the whole field. */
  | {
      readonly kind: 'set_field';
      readonly field: Field;
      readonly value: Uint8Array;
      readonly mask: Uint8Array | null;
      /** Comes from a dedicated action (`mod_dl_src`, `set_tunnel`, `load` …) and prints as that one. */
      readonly as?: SetFieldForm;
    }
  | { readonly kind: 'reg_move'; readonly src: Subfield; readonly dst: Subfield }
  | { readonly kind: 'stack_push'; readonly subfield: Subfield }
  | { readonly kind: 'stack_pop'; readonly subfield: Subfield }
  | {
      readonly kind: 'set_vlan_vid';
      readonly vid: number;
      readonly pushIfNeeded: boolean;
      readonly flowHasVlan?: boolean;
    }
  | {
      readonly kind: 'set_vlan_pcp';
      readonly pcp: number;
      readonly pushIfNeeded: boolean;
      readonly flowHasVlan?: boolean;
    }
  /** `asPop`: prints under its name since OpenFlow 1.1. */
  | { readonly kind: 'strip_vlan'; readonly asPop?: boolean }
  | { readonly kind: 'push_vlan'; readonly ethertype: number }
  | { readonly kind: 'push_mpls'; readonly ethertype: number }
  | { readonly kind: 'pop_mpls'; readonly ethertype: number }
  | { readonly kind: 'set_mpls_label'; readonly label: number }
  | { readonly kind: 'set_mpls_tc'; readonly tc: number }
  | { readonly kind: 'set_mpls_ttl'; readonly ttl: number }
  | { readonly kind: 'dec_mpls_ttl' }
  | { readonly kind: 'dec_ttl'; readonly ids: readonly number[] }
  | { readonly kind: 'dec_nsh_ttl' }
  | { readonly kind: 'set_queue'; readonly queue: number }
  | { readonly kind: 'pop_queue' }
  | { readonly kind: 'fin_timeout'; readonly idle: number; readonly hard: number }
  /** `inPort` OFPP.IN_PORT keeps the packet's; `table` 255 is the current one. */
  | { readonly kind: 'resubmit'; readonly inPort: number; readonly table: number; readonly ct: boolean }
  | { readonly kind: 'learn'; readonly spec: LearnSpec }
  | { readonly kind: 'conjunction'; readonly id: number; readonly clause: number; readonly nClauses: number }
  | {
      readonly kind: 'multipath';
      readonly fields: string;
      readonly basis: number;
      readonly algorithm: 'modulo_n' | 'hash_threshold' | 'hrw' | 'iter_hash';
      readonly nLinks: number;
      readonly arg: number;
      readonly dst: Subfield;
    }
  | { readonly kind: 'note'; readonly data: Uint8Array }
  | { readonly kind: 'exit' }
  | {
      readonly kind: 'sample';
      readonly probability: number;
      readonly collectorSetId: number;
      readonly obsDomainId: number | Subfield;
      readonly obsPointId: number | Subfield;
      readonly samplingPort: number;
      readonly direction: 'default' | 'ingress' | 'egress';
    }
  | { readonly kind: 'unroll_xlate'; readonly table: number; readonly cookie: bigint; readonly hasRule: boolean }
  | {
      readonly kind: 'ct';
      readonly commit: boolean;
      readonly force: boolean;
      readonly zone: number | Subfield;
      readonly recircTable: number | null;
      readonly alg: number;
      readonly actions: readonly Ofpact[];
    }
  | { readonly kind: 'nat'; readonly nat: NatSpec }
  | { readonly kind: 'ct_clear' }
  | { readonly kind: 'clone'; readonly actions: readonly Ofpact[] }
  | { readonly kind: 'check_pkt_larger'; readonly pktLen: number; readonly dst: Subfield }
  | { readonly kind: 'encap'; readonly packetType: number; readonly props: readonly Uint8Array[] }
  | { readonly kind: 'decap'; readonly packetType: number | null }
  | { readonly kind: 'delete_field'; readonly field: Field }
  | { readonly kind: 'debug_recirc' }
  | { readonly kind: 'debug_slow' }
  // instructions
  | { readonly kind: 'meter'; readonly meterId: number }
  | { readonly kind: 'clear_actions' }
  | { readonly kind: 'write_actions'; readonly actions: readonly Ofpact[] }
  | { readonly kind: 'write_metadata'; readonly metadata: bigint; readonly mask: bigint }
  | { readonly kind: 'goto_table'; readonly table: number };

/**
 * `set_field` is the one action that writes fields; these are the other spellings that keep their own form in text
 * and on the wire.
 */
export type SetFieldForm =
  | 'load'
  | 'mod_dl_src'
  | 'mod_dl_dst'
  | 'mod_nw_src'
  | 'mod_nw_dst'
  | 'mod_nw_tos'
  | 'mod_nw_ecn'
  | 'mod_nw_ttl'
  | 'mod_tp_src'
  | 'mod_tp_dst'
  | 'set_tunnel'
  | 'set_tunnel64';

export type OfpactKind = Ofpact['kind'];
export type OfpactOf<K extends OfpactKind> = Extract<Ofpact, { kind: K }>;

export interface NatSpec {
  readonly type: 'src' | 'dst' | 'none';
  /** 4 or 16 bytes; null without a range. */
  readonly addrMin: Uint8Array | null;
  readonly addrMax: Uint8Array | null;
  readonly portMin: number;
  readonly portMax: number;
  readonly persistent: boolean;
  readonly hash: boolean;
  readonly random: boolean;
}

export interface LearnSpec {
  readonly idleTimeout: number;
  readonly hardTimeout: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly table: number;
  readonly finIdleTimeout: number;
  readonly finHardTimeout: number;
  readonly sendFlowRem: boolean;
  readonly deleteLearned: boolean;
  readonly limit: number;
  readonly resultDst: Subfield | null;
  readonly specs: readonly LearnFlowSpec[];
}

export interface LearnFlowSpec {
  readonly nBits: number;
  readonly src: Subfield | Uint8Array;
  readonly dst: { readonly type: 'match' | 'load'; readonly subfield: Subfield } | { readonly type: 'output' };
}
