/**
 * In-band control: hidden rules that let the switch reach its controllers through its own ports whatever the flow table
 * says: DHCP of the local port, ARP about it and about the controllers, and the controllers' TCP connections. Above all
 * priorities that a controller can give. Open vSwitch's design notes, "In-Band Control"
 */
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { OFPP } from '../openflow/ports.ts';

/** Priorities, lowest first. */
const PRIORITY = {
  fromLocalDhcp: 180_000,
  toLocalArp: 180_001,
  fromLocalArp: 180_002,
  toRemoteArp: 180_005,
  fromRemoteArp: 180_006,
  toRemoteTcp: 180_007,
  fromRemoteTcp: 180_008,
} as const;

export interface InBandRule {
  readonly match: Match;
  readonly priority: number;
}

/** An IPv4 address and TCP port, as in `tcp:10.0.0.1:6653`; null for controllers that are not reached by them. */
export function remoteAddress(target: string): { readonly ip: number; readonly port: number } | null {
  const found = target.match(/^(?:tcp|ssl):(\d+)\.(\d+)\.(\d+)\.(\d+)(?::(\d+))?$/);
  if (!found) return null;
  const ip = found.slice(1, 5).reduce((n, part) => n * 256 + Number(part), 0);
  return { ip, port: Number(found[5] ?? 6653) };
}

export function inBandRules(targets: readonly string[], localMac: Uint8Array): InBandRule[] {
  const remotes = targets.flatMap((target) => remoteAddress(target) ?? []);
  if (remotes.length === 0) return [];
  const rules: InBandRule[] = [
    { priority: PRIORITY.fromLocalDhcp, match: localDhcp(localMac) },
    { priority: PRIORITY.fromLocalArp, match: arp(ARP_REQUEST, OFS.eth_src, localMac) },
    { priority: PRIORITY.toLocalArp, match: arp(ARP_REPLY, OFS.eth_dst, localMac) },
  ];
  for (const { ip, port } of remotes) {
    rules.push({ priority: PRIORITY.toRemoteArp, match: arp(ARP_REPLY, OFS.ip_dst, word(ip)) });
    rules.push({ priority: PRIORITY.fromRemoteArp, match: arp(ARP_REQUEST, OFS.ip_src, word(ip)) });
    rules.push({ priority: PRIORITY.toRemoteTcp, match: tcp(OFS.ip_dst, ip, OFS.tp_dst, port) });
    rules.push({ priority: PRIORITY.fromRemoteTcp, match: tcp(OFS.ip_src, ip, OFS.tp_src, port) });
  }
  return rules;
}

const ETH_IP = 0x0800;
const ETH_ARP = 0x0806;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const DHCP_CLIENT = 68;
const DHCP_SERVER = 67;

function base(ethType: number, proto: number): Match {
  const match = new Match();
  set(match, OFS.eth_type, half(ethType));
  set(match, OFS.ip_proto, Uint8Array.of(proto));
  return match;
}

function localDhcp(localMac: Uint8Array): Match {
  const match = base(ETH_IP, IPPROTO_UDP);
  set(match, OFS.in_port, word(OFPP.LOCAL));
  set(match, OFS.eth_src, localMac);
  set(match, OFS.tp_src, half(DHCP_CLIENT));
  set(match, OFS.tp_dst, half(DHCP_SERVER));
  return match;
}

function arp(op: number, ofs: number, value: Uint8Array): Match {
  const match = base(ETH_ARP, op);
  set(match, ofs, value);
  return match;
}

function tcp(addressOfs: number, ip: number, portOfs: number, port: number): Match {
  const match = base(ETH_IP, IPPROTO_TCP);
  set(match, addressOfs, word(ip));
  set(match, portOfs, half(port));
  return match;
}

function set(match: Match, ofs: number, value: Uint8Array): void {
  match.key.u8.set(value, ofs);
  match.mask.u8.fill(0xff, ofs, ofs + value.length);
}

function word(n: number): Uint8Array {
  return Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
}

function half(n: number): Uint8Array {
  return Uint8Array.of(n >>> 8, n);
}
