/**
 * The other end of a veth pair. A veth hands its peer's packets over as the peer's stack left them: checksum to be
 * completed later, VLAN tag beside the packet. AF_XDP cannot see either, so the peer is told to finish both itself; that
 * is what people otherwise type `ethtool -K PEER tx off txvlan off` for.
 */
import { readdirSync } from 'node:fs';
import { CLONE_NEWNET, O } from './constants.ts';
import { deviceFlags, disableFeatures, ETH_FLAG, txChecksum, withControlSocket } from './ethtool.ts';
import { libc } from './libc.ts';
import { getLinkByIndexName, type LinkInfo, netnsidOf } from './link.ts';

/** A descriptor of the network namespace our namespace numbers `nsid`, or -1. Named namespaces first, then processes'. */
function openNetns(nsid: number): number {
  const candidates = function* (): Generator<string> {
    for (const dir of ['/run/netns', '/run/docker/netns']) {
      try {
        for (const n of readdirSync(dir)) yield `${dir}/${n}`;
      } catch {
        // No such directory: nobody named namespaces that way.
      }
    }
    for (const n of readdirSync('/proc')) if (/^\d+$/.test(n)) yield `/proc/${n}/ns/net`;
  };
  for (const path of candidates()) {
    const fd = libc().open(path, O.RDONLY | O.CLOEXEC);
    if (fd < 0) continue;
    if (netnsidOf(fd) === nsid) return fd;
    libc().close(fd);
  }
  return -1;
}

/** Runs `body` with this thread inside the peer's namespace. Null when the peer is out of reach. */
function atPeer<T>(link: LinkInfo, body: (peerName: string) => T): T | null {
  if (link.kind !== 'veth' || link.peerIfindex === 0) return null;
  if (link.peerNetnsid === null) {
    const name = getLinkByIndexName(link.peerIfindex);
    return name === null ? null : body(name);
  }
  const c = libc();
  const there = openNetns(link.peerNetnsid);
  if (there < 0) return null;
  const here = c.open('/proc/thread-self/ns/net', O.RDONLY | O.CLOEXEC);
  try {
    if (here < 0 || c.setns(there, CLONE_NEWNET) < 0) return null;
    try {
      const name = getLinkByIndexName(link.peerIfindex);
      return name === null ? null : body(name);
    } finally {
      c.setns(here, CLONE_NEWNET);
    }
  } finally {
    c.close(there);
    if (here >= 0) c.close(here);
  }
}

/**
 * Makes the peer send finished packets. True when it will; false when the peer is out of reach, and AF_XDP must not be
 * used on this end.
 */
export function makePeerSendFinishedPackets(link: LinkInfo): boolean {
  return (
    atPeer(link, (peer) =>
      withControlSocket((fd) => {
        const flags = deviceFlags.get(fd, peer);
        if (flags === null) return false;
        if (flags & ETH_FLAG.TXVLAN && !deviceFlags.set(fd, peer, flags & ~ETH_FLAG.TXVLAN)) return false;
        return txChecksum.get(fd, peer) === 0 || txChecksum.set(fd, peer, 0);
      }),
    ) ?? false
  );
}

/**
 * Makes the peer cut what it sends through tunnels of its own: a `virtio_net_hdr` has no words for segments within a
 * tunnel, and the kernel would drop them. False when the peer is out of reach.
 */
export function makePeerSegmentTunnels(link: LinkInfo): boolean {
  const isOfTunnels = (feature: string): boolean => /^tx-(udp_tnl|gre|ipxip\d)-/.test(feature);
  return atPeer(link, (peer) => withControlSocket((fd) => disableFeatures(fd, peer, isOfTunnels))) ?? false;
}
