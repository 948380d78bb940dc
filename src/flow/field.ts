/** The shape of one row of the field registry (`fields.ts`), from which parser, printer, codecs and docs derive. */

/** How a field may be masked in a match. */
export type FieldMasking = 'none' | 'any';

/** How a value is written for people. `ovs-fields(7)` */
export type FieldFormat =
  | 'decimal'
  | 'hex'
  | 'ethernet'
  | 'ipv4'
  | 'ipv6'
  | 'be16_hex'
  | 'frag'
  | 'ct_state'
  | 'tcp_flags'
  | 'tunnel_flags'
  | 'ofp_port'
  | 'ofp_port_oxm'
  | 'packet_type';

/** What a packet must be before the field means anything. `ovs-fields(7)`, "Prerequisites" */
export type FieldPrereq =
  | 'none'
  | 'ethernet'
  | 'arp'
  | 'vlan'
  | 'ipv4'
  | 'ipv6'
  | 'ip'
  | 'nsh'
  | 'mpls'
  | 'tcp'
  | 'udp'
  | 'sctp'
  | 'icmpv4'
  | 'icmpv6'
  | 'nd'
  | 'nd_solicit'
  | 'nd_advert'
  | 'ct_tuple';

/** One number of a field on the wire. */
export interface OxmHeader {
  /** `NXM_OF_IN_PORT`, `OXM_OF_ETH_DST`, … */
  readonly name: string;
  /** 0x0000, 0x0001, 0x8000, 0x8001, or 0xffff for an experimenter's. */
  readonly class: number;
  readonly field: number;
  /** Only with class 0xffff. */
  readonly experimenter?: number;
  /** First OpenFlow version that defines it (wire number: 1 for 1.0 … 6 for 1.5); 1 for NXM. */
  readonly since: number;
  /** The Open vSwitch release that brought it, for the documentation. */
  readonly ovs?: string;
}

export interface Field {
  /** The name that `ovs-ofctl` prints and `ovs-fields(7)` heads its section with. */
  readonly name: string;
  readonly aliases: readonly string[];
  /** First bit in the key's bytes, counted from the most significant bit of byte 0. */
  readonly bit: number;
  /** Width in bits. */
  readonly width: number;
  /** Bytes on the wire, value right-aligned. */
  readonly bytes: number;
  /** Bits that a subfield can name; differs from `width` where the wire or the text knows more or fewer than the key. */
  readonly nBits: number;
  readonly masking: FieldMasking;
  readonly format: FieldFormat;
  readonly prereq: FieldPrereq;
  /** May actions write it? */
  readonly writable: boolean;
  readonly headers: readonly OxmHeader[];
  /** Position in the table: a stable small number. */
  readonly index: number;
}

/** Part of a field, `NXM_NX_REG0[4..7]`. `ovs-actions(7)`, "Fields and subfields" */
export interface Subfield {
  readonly field: Field;
  /** First bit, 0 is the least significant. */
  readonly ofs: number;
  readonly nBits: number;
}
