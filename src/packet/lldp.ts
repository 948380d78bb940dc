/** Link layer discovery (IEEE 802.1AB 8) with the auto-attach elements of Open vSwitch (Avaya's organization, 00-04-0d). */
import { get16, set16 } from './bytes.ts';
import { ETH, isVlanType, writeEthernet } from './ethernet.ts';

export const LLDP_TYPE = 0x88cc;
const ADDRESS = Uint8Array.of(0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e);
const TLV = {
  end: 0,
  chassisId: 1,
  portId: 2,
  ttl: 3,
  systemName: 5,
  systemDescription: 6,
  capabilities: 7,
  organization: 127,
} as const;
const CHASSIS_MAC = 4;
const PORT_IFNAME = 5;
const BRIDGE_CAPABLE = 4;
const AVAYA = [0x00, 0x04, 0x0d] as const;
const AA = { element: 11, mappings: 12 } as const;
const DIGEST_LENGTH = 32;
/** A client of an auto-attach server that is a virtual switch. */
const ELEMENT_TYPE = 14;
const SYSTEM_ID_LENGTH = 10;
const MAX_VALUE = 511;

export interface AutoAttachMapping {
  readonly isid: number;
  readonly vlan: number;
}

export interface LldpAdvert {
  readonly chassis: Uint8Array;
  readonly portName: string;
  readonly ttlSeconds: number;
  readonly systemName: string;
  readonly systemDescription: string;
  readonly mappings: readonly AutoAttachMapping[];
}

export interface LldpNeighbor {
  /** Whatever names the other system; a MAC address for most. */
  readonly chassis: Uint8Array;
  readonly ttlSeconds: number;
  readonly systemDescription: string;
  /** Of its auto-attach element, null without. */
  readonly systemId: Uint8Array | null;
  readonly mappings: readonly (AutoAttachMapping & { readonly status: number })[];
}

export function buildLldp(src: Uint8Array, a: LldpAdvert): Uint8Array {
  const parts: Uint8Array[] = [];
  const tlv = (type: number, ...value: number[]): void => {
    const out = new Uint8Array(2 + value.length);
    set16(out, 0, (type << 9) | value.length);
    out.set(value, 2);
    parts.push(out);
  };
  const text = (s: string): number[] => [...Buffer.from(s).subarray(0, 255)];
  tlv(TLV.chassisId, CHASSIS_MAC, ...a.chassis);
  tlv(TLV.portId, PORT_IFNAME, ...text(a.portName));
  tlv(TLV.ttl, a.ttlSeconds >> 8, a.ttlSeconds & 0xff);
  if (a.systemName) tlv(TLV.systemName, ...text(a.systemName));
  tlv(TLV.systemDescription, ...text(a.systemDescription));
  tlv(TLV.capabilities, 0, BRIDGE_CAPABLE, 0, BRIDGE_CAPABLE);
  const digest = new Array<number>(DIGEST_LENGTH).fill(0);
  tlv(TLV.organization, ...AVAYA, AA.element, ...digest, ELEMENT_TYPE << 2, 0, 0, 0, ...a.chassis, 0, 0, 0, 0);
  const mappings = a.mappings.slice(0, Math.floor((MAX_VALUE - 4 - DIGEST_LENGTH) / 5));
  if (mappings.length > 0) {
    const entries = mappings.flatMap(({ isid, vlan }) => [
      (vlan >> 8) & 0xf,
      vlan & 0xff,
      (isid >> 16) & 0xff,
      (isid >> 8) & 0xff,
      isid & 0xff,
    ]);
    tlv(TLV.organization, ...AVAYA, AA.mappings, ...digest, ...entries);
  }
  tlv(TLV.end);
  const frame = new Uint8Array(ETH.length + parts.reduce((n, p) => n + p.length, 0));
  let at = writeEthernet(frame, 0, ADDRESS, src, LLDP_TYPE);
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/** Null when a frame is no LLDPDU, or not a whole one. */
export function readLldp(frame: Uint8Array): LldpNeighbor | null {
  let at = ETH.type;
  while (frame.length - at >= 6 && isVlanType(get16(frame, at))) at += 4;
  at += 2;
  let chassis: Uint8Array | null = null;
  let ttlSeconds: number | null = null;
  let systemDescription = '';
  let systemId: Uint8Array | null = null;
  const mappings: (AutoAttachMapping & { status: number })[] = [];
  while (frame.length - at >= 2) {
    const head = get16(frame, at);
    const [type, length] = [head >>> 9, head & 0x1ff];
    const value = frame.subarray(at + 2, at + 2 + length);
    if (value.length < length) return null;
    at += 2 + length;
    if (type === TLV.end) break;
    if (type === TLV.chassisId && length > 1) chassis = value.slice(1);
    else if (type === TLV.ttl && length >= 2) ttlSeconds = get16(value, 0);
    else if (type === TLV.systemDescription) systemDescription = Buffer.from(value).toString();
    else if (type === TLV.organization && length >= 4 && AVAYA.every((byte, i) => value[i] === byte)) {
      const body = value.subarray(4 + DIGEST_LENGTH);
      if (value[3] === AA.element && body.length >= 4 + SYSTEM_ID_LENGTH)
        systemId = body.slice(4, 4 + SYSTEM_ID_LENGTH);
      if (value[3] === AA.mappings) {
        for (let i = 0; i + 5 <= body.length; i += 5) {
          const [statusVlan, isid] = [get16(body, i), (body[i + 2] << 16) | get16(body, i + 3)];
          mappings.push({ status: statusVlan >>> 12, vlan: statusVlan & 0xfff, isid });
        }
      }
    }
  }
  return chassis && ttlSeconds !== null ? { chassis, ttlSeconds, systemDescription, systemId, mappings } : null;
}
