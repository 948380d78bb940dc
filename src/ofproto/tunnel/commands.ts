/** `ovs/route/…`, `tnl/…` and `ofproto/list-tunnels`, in the original's words. */
import { clock } from '../../base/clock.ts';
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { formatEth, parseEth } from '../../flow/address-text.ts';
import { getLink } from '../../linux/link.ts';
import { formatIp, isAny, isMapped, parseIp } from '../../netdev/tunnel-config.ts';
import type { Backer } from '../backer.ts';
import { MAX_AGING_SECONDS } from './neighbors.ts';
import { network } from './network.ts';
import { describeTunnel } from './ports.ts';
import { ANY, contains } from './routes.ts';

type Backers = () => Iterable<Backer>;

export function registerTunnelCommands(backers: Backers): void {
  registerRouteCommands();
  for (const name of ['tnl/neigh', 'tnl/arp']) registerNeighborCommands(name);
  registerCommand('tnl/egress_port_range', 'min max', 0, 2, egressPortRange);
  registerCommand('tnl/ports/show', '-v', 0, 1, (args) => portsShow(backers, args[0] === '-v'));
  registerCommand('ofproto/list-tunnels', '', 0, 0, () =>
    tunnels(backers)
      .map((t) => `${describeTunnel(t)}\n`)
      .join(''),
  );
}

const tunnels = (backers: Backers) =>
  [...backers()].flatMap((b) => [...b.tunnels.ports.all()]).sort((a, b) => (a.name < b.name ? -1 : 1));

// ---- routes ----

function registerRouteCommands(): void {
  const usage = 'ip_addr/prefix_len out_br_name [gw] [pkt_mark=mark]';
  registerCommand('ovs/route/add', usage, 2, 4, ([prefixText, device, ...rest]) => {
    const { prefix, prefixLength } = readPrefix(prefixText);
    let mark = 0;
    let gateway = ANY;
    for (const text of rest) {
      const given = /^pkt_mark=(0x[0-9a-f]+|\d+)$/i.exec(text);
      const ip = given ? null : parseIp(text);
      if (given) mark = Number(given[1]);
      else if (ip && isMapped(ip) === isMapped(prefix)) gateway = ip;
      else throw new UnixctlError('Invalid pkt_mark or gateway');
    }
    const spec = { kind: 'User' as const, mark, prefix, prefixLength, device, gateway, source: null, isLocal: false };
    if (!network.routes.add(spec, network.addresses())) throw new UnixctlError('Error while inserting route.');
    network.changed();
    return 'OK';
  });
  registerCommand('ovs/route/del', 'ip_addr/prefix_len [pkt_mark=mark]', 1, 2, ([prefixText, markText]) => {
    const { prefix, prefixLength } = readPrefix(prefixText);
    if (!network.routes.remove(readMark(markText), prefix, prefixLength)) throw new UnixctlError('Not found');
    network.changed();
    return 'OK';
  });
  registerCommand('ovs/route/lookup', 'ip_addr [pkt_mark=mark]', 1, 2, ([text, markText]) => {
    const ip = parseIp(text);
    if (!ip) throw new UnixctlError('Invalid parameters');
    network.start();
    const route = network.routes.lookup(ip, readMark(markText));
    if (!route) throw new UnixctlError('Not found');
    return `src ${formatIp(route.source)}\ngateway ${formatIp(route.gateway)}\ndev ${route.device}\n`;
  });
  registerCommand('ovs/route/show', '', 0, 0, () => {
    network.start();
    return network.routes.show();
  });
}

function readMark(text: string | undefined): number {
  if (text === undefined) return 0;
  const given = /^pkt_mark=(0x[0-9a-f]+|\d+)$/i.exec(text);
  if (!given) throw new UnixctlError('Invalid pkt_mark');
  return Number(given[1]);
}

/** `ADDRESS/LENGTH`; bits behind the prefix are taken off. */
function readPrefix(text: string): { prefix: Uint8Array; prefixLength: number } {
  const [address, length, more] = text.split('/');
  const ip = parseIp(address);
  const max = ip && isMapped(ip) ? 32 : 128;
  const bits = length === undefined ? max : /^\d+$/.test(length) ? Number(length) : -1;
  if (!ip || more !== undefined || bits < 0 || bits > max) throw new UnixctlError('Invalid parameters');
  const prefixLength = bits + 128 - max;
  const prefix = ip.map((b, i) => b & (0xff00 >> Math.min(8, Math.max(0, prefixLength - i * 8))));
  return { prefix, prefixLength };
}

// ---- neighbors ----

function registerNeighborCommands(name: string): void {
  registerCommand(`${name}/show`, '', 0, 0, () => network.neighbors.show(clock.nowMs()));
  registerCommand(`${name}/set`, 'BRIDGE IP MAC', 3, 3, ([bridge, ipText, macText]) => {
    const ip = parseIp(ipText);
    if (!ip) throw new UnixctlError('bad IP address');
    const mac = parseEth(macText);
    if (!mac) throw new UnixctlError('bad MAC address');
    network.neighbors.set(bridge, ip, mac, clock.nowMs());
    return 'OK';
  });
  registerCommand(`${name}/flush`, '', 0, 0, () => {
    network.neighbors.flush();
    return 'OK';
  });
  registerCommand(`${name}/aging`, '[SECS]', 0, 1, ([text]) => {
    if (text === undefined) return String(network.neighbors.agingSeconds);
    const seconds = /^\d+$/.test(text) ? Number(text) : 0;
    if (seconds < 1 || seconds > MAX_AGING_SECONDS) throw new UnixctlError('bad aging value');
    network.neighbors.setAging(seconds, clock.nowMs());
    return 'OK';
  });
}

// ---- ports ----

function egressPortRange(args: string[]): string {
  if (args.length < 2) return `Tunnel UDP source port range: ${network.sourcePorts.join('-')}\n`;
  const [first, last] = args.map((text) => (/^\d+$/.test(text) ? Number(text) : 0));
  if (first < 1 || last > 0xffff || first > last) return 'OK';
  network.sourcePorts = [first, last];
  network.changed();
  return 'OK';
}

function portsShow(backers: Backers, isVerbose: boolean): string {
  network.start();
  let text = 'Listening ports:\n';
  for (const backer of backers()) {
    for (const { name, no, users } of backer.tunnels.ports.listening()) {
      if (!isVerbose) text += `${name} (${no}) ref_cnt=${users}\n`;
    }
  }
  return isVerbose ? text + verbosePorts(backers) : text;
}

/** For each device with an address to which a route leads: what a packet for a tunnel looks like there. */
function verbosePorts(backers: Backers): string {
  let text = '';
  const all = [...backers()];
  const bridges = all.flatMap((b) => [...b.bridges]);
  for (const { name, no, dstPort } of all.flatMap((b) => b.tunnels.ports.listening())) {
    for (const { device, ip } of network.addresses()) {
      const isUsed = network.routes.all().some((r) => r.device === device && contains(r.prefix, r.prefixLength, ip));
      const mac = bridges.map((b) => b.namedPort(device)?.netdev.mac()).find((m) => m) ?? getLink(device)?.mac;
      if (!isUsed || !mac || isAny(ip) || mac.every((b) => b === 0)) continue;
      const family = isMapped(ip) ? ['0x0800', 'ipv4'] : ['0x86dd', 'ipv6'];
      const proto = dstPort === 0 ? 47 : 17;
      const udp = dstPort === 0 ? '' : `,udp(dst=${dstPort})`;
      text += `${name} (${no}) : eth(dst=${formatEth(mac)}),eth_type(${family[0]}),${family[1]}(dst=${formatIp(ip)},proto=${proto},frag=no)${udp}\n`;
    }
  }
  return text;
}
