/**
 * A connection in the arena: 64 words, 256 bytes, aligned to its size. What a packet of plain IPv4 needs stands in its first
 * cache line, TCP's windows in the second, the rest of IPv6 addresses in the third.
 *
 * A connection has two tuples: what packets of the original direction look like when they come to connection tracking, and
 * what packets of the reply direction look like. Without address translation one is the other turned round. Both are
 * linked into the hash table; a link is the entry's word index, its low bit says which tuple. Addresses, ports, mark and
 * label are network-order bytes, loaded as words, as in a flow key.
 */
export const ENTRY_WORDS = 64;
export const ENTRY_BYTES = ENTRY_WORDS * 4;

/** Protocol, family, zone: `kindOf`. 0 while the entry is free. */
export const E_KIND = 0;
export const E_FLAGS = 1;
/** TCP: four bytes, the peers' states and then their window scales. Others: one of `OTHER`. */
export const E_STATE = 2;
export const E_MARK = 3;
/** Next link of the hash chain, for either tuple. A free entry's first is the next free one. */
export const E_NEXT = 4;
/** A double: milliseconds of the datapath's clock. */
export const E_EXPIRES = 6;
/** First words of the tuples: source, destination, ports; three words each. */
export const E_TUPLE = 8;
export const TUPLE_WORDS = 3;
/** The second at which the timer wheel looks at the entry. */
export const E_WHEEL_SECOND = 14;
export const E_LABEL = 16;
/** Per peer: lowest sequence number not yet seen, end of what the other allows, largest window. */
export const E_PEER = 20;
export const PEER_WORDS = 3;
export const E_WHEEL_NEXT = 26;
export const E_WHEEL_PREV = 27;
/** Buckets of both tuples. */
export const E_BUCKET = 28;
/** Words 1 to 3 of the IPv6 addresses: source and destination, for either tuple. */
export const E_REST = 32;
export const REST_WORDS = 6;
/** A double. */
export const E_CREATED = 44;
export const E_HELPER = 46;
/** Last of what a helper's connection announced; and of that, the connection. Entries, which may be others' by now. */
export const E_EXPECTED = 58;
export const E_OWNER = 59;
/** Of a related connection: kind and tuple (`T_…`) of the connection that announced it. */
export const E_PARENT = 48;

export const FLAG = {
  SNAT: 1,
  DNAT: 2,
  /** Announced by another connection. */
  RELATED: 4,
} as const;

/** A tuple on its own, in scratch memory. Of IPv4 only the first words of the addresses mean something. */
export const T_KIND = 0;
export const T_SRC = 1;
export const T_DST = 5;
export const T_PORTS = 9;
export const T_WORDS = 10;

export const PROTO = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;

const KIND_V6 = 0x100;
const KIND_USED = 0x200;
/** Not a connection, but one that is expected. */
export const KIND_EXPECTED = 0x400;

export const kindOf = (zone: number, proto: number, isV6: boolean): number =>
  (zone << 16) | KIND_USED | (isV6 ? KIND_V6 : 0) | proto;
export const kindZone = (kind: number): number => kind >>> 16;
export const kindProto = (kind: number): number => kind & 0xff;
export const kindIsV6 = (kind: number): boolean => (kind & KIND_V6) !== 0;

/** States of connections that are not TCP's. */
export const OTHER = { FIRST: 0, MULTIPLE: 1, BOTH_WAYS: 2 } as const;

/** States of a TCP peer, in the order of a connection's life. `ovs-dpctl(8)` names them so. */
export const TCP_STATES = [
  'CLOSED',
  'LISTEN',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'CLOSE_WAIT',
  'FIN_WAIT_1',
  'CLOSING',
  'LAST_ACK',
  'FIN_WAIT_2',
  'TIME_WAIT',
] as const;

export const TCPS = {
  CLOSED: 0,
  SYN_SENT: 2,
  ESTABLISHED: 4,
  CLOSING: 7,
  FIN_WAIT_2: 9,
  TIME_WAIT: 10,
} as const;

/** Seconds that a connection lives without a packet. The original's values. */
export const TIMEOUT = {
  TCP_FIRST: 30,
  TCP_OPENING: 30,
  TCP_ESTABLISHED: 86400,
  TCP_CLOSING: 900,
  TCP_FIN_WAIT: 45,
  TCP_CLOSED: 30,
  OTHER_FIRST: 60,
  OTHER_MULTIPLE: 60,
  OTHER_BOTH_WAYS: 30,
  ICMP_FIRST: 60,
  ICMP_REPLY: 30,
} as const;

const swap16 = (x: number): number => ((x & 0xff) << 8) | ((x >>> 8) & 0xff);

/** `ports` of ICMP: identifier, type, code. Others: source and destination. */
export const icmpPorts = (id: number, type: number, code: number): number => id | (type << 16) | (code << 24);

/** What answers an ICMP query of this type, and the other way round; -1 when it is neither. */
export function icmpPartner(type: number, isV6: boolean): number {
  if (isV6) return type === 128 ? 129 : type === 129 ? 128 : -1;
  if (type === 8) return 0;
  if (type === 0) return 8;
  // 13 asks and 14 answers, 15 asks and 16 answers.
  return type >= 13 && type <= 16 ? ((type - 1) ^ 1) + 1 : -1;
}

/** The ports word of the other direction. */
export function reversePorts(ports: number, kind: number): number {
  const proto = kind & 0xff;
  if (proto === PROTO.ICMP || proto === PROTO.ICMPV6)
    return (ports & ~0xff0000) | ((icmpPartner((ports >>> 16) & 0xff, kindIsV6(kind)) & 0xff) << 16);
  return (ports >>> 16) | (ports << 16);
}

/** The ports word as `ct_tp_src` and `ct_tp_dst` show it: type and code for ICMP. */
export function shownPorts(ports: number, kind: number): number {
  const proto = kind & 0xff;
  if (proto === PROTO.ICMP || proto === PROTO.ICMPV6) return ((ports >>> 8) & 0xff00) | (ports & ~0xffffff);
  return ports;
}

export const portSrc = (ports: number): number => swap16(ports & 0xffff);
export const portDst = (ports: number): number => swap16(ports >>> 16);
