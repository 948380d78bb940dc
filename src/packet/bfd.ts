/** BFD control packets (RFC 5880 4.1) over UDP and IPv4 (RFC 5881). */
import { get16, get32, set16, set32 } from './bytes.ts';
import { checksum } from './checksum.ts';
import { ETH, ETH_TYPE, isVlanType, readEthertype, writeEthernet } from './ethernet.ts';
import { checkIpv4, IPPROTO, IPV4 } from './ipv4.ts';

export const BFD_PORT = 3784;
const SOURCE_PORT = 49152;
const TTL = 255;
/** Internetwork control. */
const TOS = 0xc0;
const LENGTH = 24;
const VERSION = 1;

export const BFD_STATES = ['admin_down', 'down', 'init', 'up'] as const;
export type BfdState = (typeof BFD_STATES)[number];

export const BFD_FLAG = { multipoint: 1, demand: 2, auth: 4, controlPlaneIndependent: 8, final: 16, poll: 32 } as const;

export const BFD_DIAG = {
  none: 0,
  expired: 1,
  neighborDown: 3,
  concatenatedPathDown: 6,
  adminDown: 7,
  reverseConcatenatedPathDown: 8,
} as const;

export interface BfdPacket {
  readonly diag: number;
  readonly state: BfdState;
  readonly flags: number;
  readonly mult: number;
  readonly myDiscriminator: number;
  readonly yourDiscriminator: number;
  readonly minTxUs: number;
  readonly minRxUs: number;
}

export interface BfdAddresses {
  readonly srcMac: Uint8Array;
  readonly dstMac: Uint8Array;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
}

export function buildBfd(to: BfdAddresses, p: BfdPacket): Uint8Array {
  const frame = new Uint8Array(ETH.length + 20 + 8 + LENGTH);
  const ip = writeEthernet(frame, 0, to.dstMac, to.srcMac, ETH_TYPE.ip);
  frame[ip] = 0x45;
  frame[ip + IPV4.tos] = TOS;
  set16(frame, ip + 2, 20 + 8 + LENGTH);
  frame[ip + IPV4.ttl] = TTL;
  frame[ip + IPV4.proto] = IPPROTO.udp;
  frame.set(to.src, ip + IPV4.src);
  frame.set(to.dst, ip + IPV4.dst);
  set16(frame, ip + 10, checksum(frame, ip, 20));
  const udp = ip + 20;
  set16(frame, udp, SOURCE_PORT);
  set16(frame, udp + 2, BFD_PORT);
  set16(frame, udp + 4, 8 + LENGTH);
  const at = udp + 8;
  frame[at] = (VERSION << 5) | p.diag;
  frame[at + 1] = (BFD_STATES.indexOf(p.state) << 6) | p.flags;
  frame[at + 2] = p.mult;
  frame[at + 3] = LENGTH;
  set32(frame, at + 4, p.myDiscriminator);
  set32(frame, at + 8, p.yourDiscriminator);
  set32(frame, at + 12, p.minTxUs);
  set32(frame, at + 16, p.minRxUs);
  return frame;
}

/** The packet of a whole frame, or what is wrong with it. RFC 5880 6.8.6, as far as that needs no session. */
export function readBfd(frame: Uint8Array): BfdPacket | string {
  let at = 12;
  while (frame.length - at >= 6 && isVlanType(get16(frame, at))) at += 4;
  if (frame.length - at < 2) return 'too short';
  const { type, next } = readEthertype(frame, at, frame.length);
  const lengths = type === ETH_TYPE.ip ? checkIpv4(frame, next, frame.length) : null;
  if (!lengths || frame[next + IPV4.proto] !== IPPROTO.udp) return 'not over UDP';
  if (frame[next + IPV4.ttl] !== TTL) return `TTL of ${frame[next + IPV4.ttl]}`;
  const p = next + lengths.headerLength + 8;
  if (next + lengths.totalLength - p < LENGTH) return 'too short';
  const length = frame[p + 3];
  if (frame[p] >> 5 !== VERSION) return `version ${frame[p] >> 5}`;
  if (length < LENGTH || length > next + lengths.totalLength - p) return `a length of ${length}`;
  const flags = frame[p + 1] & 0x3f;
  if (flags & BFD_FLAG.auth) return 'authentication';
  if (flags & BFD_FLAG.multipoint) return 'Unsupported multipoint flag';
  if (frame[p + 2] === 0) return 'a detection multiplier of zero';
  const packet: BfdPacket = {
    diag: frame[p] & 0x1f,
    state: BFD_STATES[frame[p + 1] >> 6],
    flags,
    mult: frame[p + 2],
    myDiscriminator: get32(frame, p + 4),
    yourDiscriminator: get32(frame, p + 8),
    minTxUs: get32(frame, p + 12),
    minRxUs: get32(frame, p + 16),
  };
  if (packet.myDiscriminator === 0) return 'no discriminator';
  if (packet.yourDiscriminator === 0 && (packet.state === 'init' || packet.state === 'up'))
    return 'no discriminator of ours';
  return packet;
}
