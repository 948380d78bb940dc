/** Ethernet II, 802.3 with 802.2 SNAP, and 802.1Q tags. */
import { get16, set16 } from './bytes.ts';

export const ETH = { dst: 0, src: 6, type: 12, length: 14 } as const;

export const ETH_TYPE = {
  ip: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  rarp: 0x8035,
  ipv6: 0x86dd,
  mpls: 0x8847,
  mplsMulticast: 0x8848,
  qinq: 0x88a8,
  nsh: 0x894f,
  teb: 0x6558,
} as const;

/** Types below are lengths. */
export const ETH_TYPE_MIN = 0x600;
/** Stands for an 802.2 frame that names no Ethertype. OpenFlow 1.0, OFP_DL_TYPE_NOT_ETH_TYPE */
export const ETH_TYPE_NONE = 0x05ff;

export const isVlanType = (type: number): boolean => type === ETH_TYPE.vlan || type === ETH_TYPE.qinq;
export const isMplsType = (type: number): boolean => type === ETH_TYPE.mpls || type === ETH_TYPE.mplsMulticast;

/**
 * The Ethertype at `at` and where what it describes begins; looks through LLC and SNAP.
 * The two bytes at `at` must be there.
 */
export function readEthertype(b: Uint8Array, at: number, end: number): { type: number; next: number } {
  const type = get16(b, at);
  const next = at + 2;
  if (type >= ETH_TYPE_MIN) return { type, next };
  const isSnap =
    end - next >= 8 &&
    b[next] === 0xaa &&
    b[next + 1] === 0xaa &&
    b[next + 2] === 3 &&
    (b[next + 3] | b[next + 4] | b[next + 5]) === 0;
  if (!isSnap) return { type: ETH_TYPE_NONE, next };
  const snap = get16(b, next + 6);
  return { type: snap >= ETH_TYPE_MIN ? snap : ETH_TYPE_NONE, next: next + 8 };
}

/** Addresses and type; returns where the payload begins. */
export function writeEthernet(b: Uint8Array, at: number, dst: Uint8Array, src: Uint8Array, type: number): number {
  b.set(dst, at + ETH.dst);
  b.set(src, at + ETH.src);
  set16(b, at + ETH.type, type);
  return at + ETH.length;
}
