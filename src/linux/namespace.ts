/**
 * Small networks: a network namespace of one's own, veth pairs into others', addresses. `network_namespaces(7)`,
 * `veth(4)`, `rtnetlink(7)`
 */
import { AF, CLONE_NEWNET } from './constants.ts';
import { check, libc } from './libc.ts';
import { getLink } from './link.ts';
import { attribute, cstring, NetlinkSocket, NLM_F, u32 } from './netlink.ts';

const NETLINK_ROUTE = 0;
const RTM = { NEWLINK: 16, DELLINK: 17, NEWADDR: 20 } as const;
const IFLA = { ADDRESS: 1, IFNAME: 3, LINKINFO: 18, NET_NS_PID: 19 } as const;
const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
const VETH_INFO_PEER = 1;
const IFA = { ADDRESS: 1, LOCAL: 2 } as const;
const IFINFOMSG = 16;
const SYS_UNSHARE: Readonly<Record<string, number>> = { x64: 272, arm64: 97 };

/**
 * Moves this thread into a new, empty network namespace, which lasts as long as somebody is in it. Before any other call of
 * this room, which might keep a socket into the old one.
 */
export function unshareNetwork(): void {
  const number = SYS_UNSHARE[process.arch] ?? -1;
  check(Number(libc().syscall(number, CLONE_NEWNET, new Uint8Array(8), 0)), 'new network namespace');
}

function request(type: number, flags: number, payload: Uint8Array, what: string): void {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  socket.request(type, flags | NLM_F.ACK, payload, what);
}

/** A veth pair: `name` here, `peer.name` in the namespace of process `peer.pid`. Throws `LinuxError`. */
export function createVeth(name: string, peer: { readonly name: string; readonly pid: number }): void {
  const far = Buffer.concat([
    Buffer.alloc(IFINFOMSG),
    attribute(IFLA.IFNAME, cstring(peer.name)),
    attribute(IFLA.NET_NS_PID, u32(peer.pid)),
  ]);
  const info = Buffer.concat([
    attribute(IFLA_INFO.KIND, cstring('veth')),
    attribute(IFLA_INFO.DATA, attribute(VETH_INFO_PEER, far)),
  ]);
  const payload = Buffer.concat([
    Buffer.alloc(IFINFOMSG),
    attribute(IFLA.IFNAME, cstring(name)),
    attribute(IFLA.LINKINFO, info),
  ]);
  request(RTM.NEWLINK, NLM_F.CREATE | NLM_F.EXCL, payload, `${name}: creating veth pair`);
}

/** Removes a device if it is there. */
export function deleteLink(name: string): void {
  const link = getLink(name);
  if (link === null) return;
  const header = Buffer.alloc(IFINFOMSG);
  header.writeInt32LE(link.ifindex, 4);
  request(RTM.DELLINK, 0, header, `${name}: removing`);
}

/** Gives device `ifindex` an IPv4 address. Throws `LinuxError`. */
export function addAddress(ifindex: number, address: string, prefixLength: number): void {
  const header = Buffer.alloc(8);
  header[0] = AF.INET;
  header[1] = prefixLength;
  header.writeUInt32LE(ifindex, 4);
  const bytes = Uint8Array.from(address.split('.').map(Number));
  const payload = Buffer.concat([header, attribute(IFA.LOCAL, bytes), attribute(IFA.ADDRESS, bytes)]);
  request(RTM.NEWADDR, NLM_F.CREATE | NLM_F.EXCL, payload, `adding address ${address}`);
}
