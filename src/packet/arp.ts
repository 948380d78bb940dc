/** ARP and RARP for IPv4 over Ethernet. RFC 826 */
import { get16, set16 } from './bytes.ts';
import { ETH_TYPE } from './ethernet.ts';

export const ARP = { hrd: 0, pro: 2, hln: 4, pln: 5, op: 6, sha: 8, spa: 14, tha: 18, tpa: 24, length: 28 } as const;

/** Is there a whole ARP packet for IPv4 over Ethernet in `[at, end)`? */
export function checkArp(b: Uint8Array, at: number, end: number): boolean {
  return (
    end - at >= ARP.length &&
    get16(b, at + ARP.hrd) === 1 &&
    get16(b, at + ARP.pro) === ETH_TYPE.ip &&
    b[at + ARP.hln] === 6 &&
    b[at + ARP.pln] === 4
  );
}

export interface ArpFields {
  readonly op: number;
  readonly sha: Uint8Array;
  readonly spa: Uint8Array;
  readonly tha: Uint8Array;
  readonly tpa: Uint8Array;
}

export function writeArp(b: Uint8Array, at: number, arp: ArpFields): number {
  set16(b, at + ARP.hrd, 1);
  set16(b, at + ARP.pro, ETH_TYPE.ip);
  b[at + ARP.hln] = 6;
  b[at + ARP.pln] = 4;
  set16(b, at + ARP.op, arp.op);
  b.set(arp.sha, at + ARP.sha);
  b.set(arp.spa, at + ARP.spa);
  b.set(arp.tha, at + ARP.tha);
  b.set(arp.tpa, at + ARP.tpa);
  return at + ARP.length;
}
