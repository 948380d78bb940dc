/** The `dpctl` commands about connection tracking, in the original's words. `ovs-dpctl(8)` */
import { type CommandContext, registerCommand, UnixctlError } from '../../base/commands.ts';
import { TCP_STATES } from '../../datapath/ct/entry.ts';
import type { CtConnection, CtTuple } from '../../datapath/ct/host.ts';
import { SCALE_SEEN, SCALE_UNKNOWN } from '../../datapath/ct/tcp.ts';
import type { DpConntrack } from '../../dpif/dpif.ts';
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from '../../flow/address-text.ts';
import { type CtTupleFilter, connectionFilter, isWhole, NO_TUPLE } from '../ct-filter.ts';
import { connectionJson } from '../json/connection.ts';
import { type Backers, isNamed } from './find.ts';

function fail(text: string): never {
  throw new UnixctlError(`ovs-vswitchd: ${text}`);
}
const invalid = (text: string): never => fail(`${text} (Invalid argument)`);

/** Leading digits, as `atoi` reads them; null when there are none. */
function number(text: string, max = 0xffffffff): number | null {
  const m = /^\d+/.exec(text);
  if (!m) return null;
  const n = Number(m[0]);
  return n <= max ? n : null;
}

export function registerConntrackCommands(backers: Backers): void {
  /** The connections of the datapath named first in `args`, which is taken off, or of the only one. */
  function choose(args: string[], isName: boolean): DpConntrack {
    const all = [...backers()];
    let backer = all.length === 1 ? all[0] : undefined;
    if (isName) {
      const named = all.find((b) => isNamed(b, args[0]));
      if (!named) return invalid('datapath not found');
      args.shift();
      backer = named;
    }
    if (!backer) return fail(all.length === 0 ? 'no datapaths exist' : 'multiple datapaths, specify one');
    return backer.dpif.conntrack ?? fail('Operation not supported');
  }

  const register = (
    name: string,
    usage: string,
    min: number,
    max: number,
    run: (args: string[], options: ReadonlySet<string>, context: CommandContext) => string,
  ): void => {
    registerCommand(`dpctl/${name}`, usage, min, max, (args, context) => {
      const options = new Set(args.filter((a) => ['-m', '--more', '-s', '--statistics'].includes(a)));
      return run(
        args.filter((a) => !options.has(a)),
        options,
        context,
      );
    });
  };
  const isMore = (options: ReadonlySet<string>): boolean => options.has('-m') || options.has('--more');

  /** The number behind `word=` in the last argument, which is taken off. */
  function lastNumber(args: string[], word: string): number | null {
    const m = new RegExp(`^${word}=(\\d+)$`).exec(args.at(-1) ?? '');
    if (!m) return null;
    args.pop();
    return Number(m[1]);
  }
  const zoneOf = (args: string[]): number | null => {
    const zone = lastNumber(args, 'zone');
    return zone === null ? null : zone & 0xffff;
  };

  register('dump-conntrack', '[-m] [-s] [dp] [zone=N]', 0, 4, (args, options, { format }) => {
    const zone = zoneOf(args);
    const ct = choose(args, args.length > 0);
    const withStats = options.has('-s') || options.has('--statistics');
    const connections = ct.connections(zone);
    if (format === 'json') return JSON.stringify({ connections: connections.map(asJson) });
    return connections.map((c) => `${formatConnection(c, isMore(options), withStats)}\n`).join('');
  });

  register('flush-conntrack', '[dp] [zone=N] [ct-orig-tuple] [ct-reply-tuple]', 0, 4, (args) => {
    const named = args.length > 0 && [...backers()].some((b) => isNamed(b, args[0]));
    const ct = choose(args, named);
    let zone: number | null = null;
    if (args[0]?.startsWith('zone=')) {
      const n = number(args[0].slice(5));
      if (n === null) return invalid('failed to parse zone');
      zone = n & 0xffff;
      args.shift();
    }
    if (args.length === 0) {
      ct.flush(zone);
      return '';
    }
    const original = parseTuple(args[0]);
    const reply = args.length > 1 ? parseTuple(args[1]) : { proto: 0, tuple: NO_TUPLE };
    const proto = original.proto || reply.proto;
    const isOne = args.length === 1 && isWhole(proto, original.tuple);
    const n = ct.flush(isOne ? (zone ?? 0) : zone, connectionFilter(proto, original.tuple, reply.tuple));
    if (isOne && n === 0) fail('failed to flush conntrack (No such file or directory)');
    return '';
  });

  register('ct-stats-show', '[dp] [zone=N]', 0, 3, (args, options) => {
    const zone = zoneOf(args);
    return stats(choose(args, args.length > 0).connections(zone), isMore(options));
  });

  register('ct-bkts', '[dp] [gt=N]', 0, 2, (args) => {
    const over = lastNumber(args, 'gt') ?? -1;
    const n = choose(args, args.length > 0).count;
    // The original has had one bucket since it no longer locks buckets.
    let text = `Total Buckets: 1\nCurrent Connections: ${n}\n\n`;
    if (n > 0) {
      const line = '+-----------+-----------------------------------------+\n';
      text += `${line}|  Buckets  |         Connections per Buckets         |\n${line}`;
      if (n > over) text += `   0..  7   | ${String(n).padStart(5)}\n`;
      text += '\n';
    }
    return text;
  });

  register('ct-set-maxconns', '[dp] maxconns', 1, 2, (args) => {
    const ct = choose(args, args.length > 1);
    const max = /^\d+$/.test(args[0]) ? number(args[0]) : null;
    if (max === null) return invalid('maxconns missing or malformed');
    ct.maxConnections = max;
    return 'setting maxconns successful\n';
  });
  register('ct-get-maxconns', '[dp]', 0, 1, (args) => `${choose(args, args.length > 0).maxConnections}\n`);
  register('ct-get-nconns', '[dp]', 0, 1, (args) => `${choose(args, args.length > 0).count}\n`);

  for (const isOn of [true, false]) {
    const word = isOn ? 'enabl' : 'disabl';
    register(`ct-${word}e-tcp-seq-chk`, '[dp]', 0, 1, (args) => {
      choose(args, args.length > 0).isSequenceChecked = isOn;
      return `${word}ing TCP sequence checking successful\n`;
    });
  }
  register('ct-get-tcp-seq-chk', '[dp]', 0, 1, (args) => {
    const isOn = choose(args, args.length > 0).isSequenceChecked;
    return `TCP sequence checking: ${isOn ? 'enabled' : 'disabled'}\n`;
  });

  const limitsArguments = (args: string[]): DpConntrack =>
    choose(
      args,
      [...backers()].some((b) => isNamed(b, args[0] ?? '')),
    );

  register('ct-set-limits', '[dp] [default=L] [zone=N,limit=L]...', 1, 0x7fffffff, (args) => {
    const ct = limitsArguments(args);
    const limits: [number, number][] = [];
    let byDefault: number | null = null;
    for (const arg of args) {
      if (arg.startsWith('default=')) {
        byDefault = number(arg.slice(8)) ?? invalid('invalid default limit');
        continue;
      }
      limits.push(parseLimit(arg));
    }
    if (byDefault !== null) ct.defaultLimit = byDefault;
    for (const [zone, limit] of limits) ct.setZoneLimit(zone, limit);
    return '';
  });

  register('ct-del-limits', '[dp] zone=N1[,N2]...', 1, 2, (args) => {
    const ct = limitsArguments(args);
    for (const zone of parseZones(args[0] ?? '')) ct.setZoneLimit(zone, null);
    return '';
  });

  register('ct-get-limits', '[dp] [zone=N1[,N2]...]', 0, 2, (args) => {
    const ct = limitsArguments(args);
    const zones = args.length > 0 ? parseZones(args[0]) : ct.zonesWithLimit();
    return `default limit=${ct.defaultLimit}\n${zones
      .map((zone) => {
        const { limit, count } = ct.zoneLimit(zone);
        return `zone=${zone},limit=${limit},count=${count}\n`;
      })
      .join('')}`;
  });
}

// ---- arguments ----

function fields(text: string): [string, string][] {
  return text
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      return at < 0 ? invalid(`field ${part} missing value`) : [part.slice(0, at), part.slice(at + 1)];
    });
}

function parseLimit(text: string): [number, number] {
  let zone: number | null = null;
  let limit: number | null = null;
  for (const [key, value] of fields(text)) {
    if (key === 'zone') zone = number(value, 0xffff) ?? invalid('failed to parse field zone');
    else if (key === 'limit') limit = number(value) ?? invalid('failed to parse field limit');
    else return invalid(`invalid zone limit field: ${key}`);
  }
  return zone === null || limit === null ? invalid('failed to parse zone limit') : [zone, limit];
}

function parseZones(text: string): number[] {
  if (!text.startsWith('zone=')) return invalid(`invalid argument ${text}`);
  return text
    .slice(5)
    .split(',')
    .map((z) => (number(z) ?? invalid('invalid zone')) & 0xffff);
}

const isIpv4 = (text: string): boolean => text.split('.').every((part) => Number(part) <= 255);

function parseTuple(text: string): { proto: number; tuple: CtTupleFilter } {
  const t: { -readonly [K in keyof CtTupleFilter]: CtTupleFilter[K] } = { ...NO_TUPLE };
  let proto = 0;
  let bytes = 0;
  const bad = (key: string): never => invalid(`failed to parse field ${key}`);
  for (const [key, value] of fields(text)) {
    switch (key) {
      case 'ct_nw_src':
      case 'ct_nw_dst':
      case 'ct_ipv6_src':
      case 'ct_ipv6_dst': {
        const isV6 = key.startsWith('ct_ipv6');
        if (bytes !== 0 && bytes !== (isV6 ? 16 : 4)) return invalid(`the L3 protocol does not match ${value}`);
        const address = (isV6 ? parseIpv6(value) : isIpv4(value) ? parseIpv4(value) : null) ?? bad(key);
        bytes = address.length;
        if (key.endsWith('src')) t.src = address;
        else t.dst = address;
        break;
      }
      case 'ct_nw_proto':
        proto = number(value, 0xff) ?? bad(key);
        break;
      case 'ct_tp_src':
        t.srcPort = number(value, 0xffff) ?? bad(key);
        break;
      case 'ct_tp_dst':
        t.dstPort = number(value, 0xffff) ?? bad(key);
        break;
      case 'icmp_type':
      case 'icmp_code':
      case 'icmp_id': {
        if (proto !== 1 && proto !== 58) return invalid('invalid L4 fields');
        const n = number(value, key === 'icmp_id' ? 0xffff : 0xff) ?? bad(key);
        if (key === 'icmp_type') t.icmpType = n;
        else if (key === 'icmp_code') t.icmpCode = n;
        else t.icmpId = n;
        break;
      }
      default:
        return invalid(`invalid conntrack tuple field: ${key}`);
    }
  }
  if (proto === 0 && (t.srcPort !== null || t.dstPort !== null)) return invalid('port is set without protocol');
  return { proto, tuple: t };
}

// ---- text ----

const PROTOS: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  2: 'igmp',
  58: 'icmpv6',
  132: 'sctp',
  136: 'udplite',
};

/** States that the original shows alike. */
const SHOWN_STATE: Readonly<Record<string, string>> = { SYN_RECV: 'SYN_SENT', FIN_WAIT_2: 'TIME_WAIT' };

/** The connection's state is that of the peer which is further on. */
function tcpState(states: readonly [number, number]): string {
  const name = TCP_STATES[Math.max(...states)] ?? 'CLOSED';
  return SHOWN_STATE[name] ?? name;
}

function tcpDetails(states: readonly [number, number], scales: readonly [number, number]): string {
  const both = (name: string, values: readonly (string | number)[]): string =>
    `${name}_orig=${values[0]},${name}_reply=${values[1]}`;
  const shifts = scales.map((s) => (s & SCALE_SEEN ? s & 0xf : 0));
  return [
    both(
      'state',
      states.map((s) => TCP_STATES[s]),
    ),
    ...(shifts.some((s) => s !== 0) ? [both('wscale', shifts)] : []),
    both('flags', scales.map(scaleFlag)),
  ].join(',');
}

/** What the peer's window scale makes of its flags. */
function scaleFlag(scale: number): string {
  return scale & SCALE_SEEN ? 'WINDOW_SCALE' : scale & SCALE_UNKNOWN ? 'BE_LIBERAL' : '0';
}

const asJson = (c: CtConnection) =>
  connectionJson(c, { proto: PROTOS[c.proto] ?? null, state: c.tcp === null ? null : tcpState(c.tcp) });

export function formatConnection(c: CtConnection, isVerbose: boolean, withStats: boolean): string {
  let text = `${PROTOS[c.proto] ?? c.proto},orig=(${formatTuple(c.original)}),reply=(${formatTuple(c.reply)})`;
  if (isVerbose) text += ',id=0';
  if (c.zone !== 0) text += `,zone=${c.zone}`;
  if (isVerbose) text += ',status=0';
  if (withStats) text += `,timeout=${Math.trunc(c.expiresInMs / 1000)}`;
  if (c.mark !== 0) text += `,mark=${c.mark}`;
  if (c.label.some((b) => b !== 0)) text += `,labels=0x${Buffer.from(c.label).toString('hex').replace(/^0+/, '')}`;
  if (c.tcp !== null) text += `,protoinfo=(${isVerbose ? tcpDetails(c.tcp, c.scales) : `state=${tcpState(c.tcp)}`})`;
  if (c.helper !== 0) text += `,helper=${c.helper === 1 ? 'ftp' : 'tftp'}`;
  return text;
}

function formatTuple(t: CtTuple): string {
  const show = (a: Uint8Array): string => (a.length === 4 ? formatIpv4(a) : formatIpv6(a));
  const ports =
    t.icmp === null
      ? `sport=${t.srcPort},dport=${t.dstPort}`
      : `id=${t.icmp.id},type=${t.icmp.type},code=${t.icmp.code}`;
  return `src=${show(t.src)},dst=${show(t.dst)},${ports}`;
}

const GROUPS: readonly (readonly [string, number])[] = [
  ['TCP', 6],
  ['UDP', 17],
  ['SCTP', 132],
  ['ICMP', 1],
  ['DCCP', 33],
  ['IGMP', 2],
  ['UDPLITE', 136],
];

function stats(connections: readonly CtConnection[], isVerbose: boolean): string {
  let text = `Connections Stats:\n    Total: ${connections.length}\n`;
  let others = 0;
  const counts = new Map<number, number>();
  for (const { proto } of connections) {
    const group = proto === 58 ? 1 : proto;
    if (GROUPS.some(([, p]) => p === group)) counts.set(group, (counts.get(group) ?? 0) + 1);
    else others++;
  }
  for (const [name, proto] of GROUPS) {
    const n = counts.get(proto);
    if (!n) continue;
    text += `  ${name}: ${n}\n`;
    if (proto !== 6 || !isVerbose) continue;
    text += '    Conn per TCP states:\n';
    const shown = connections.flatMap((c) => (c.tcp ? [tcpState(c.tcp)] : []));
    for (const state of TCP_STATES) {
      const of = shown.filter((s) => s === state).length;
      if (of > 0) text += `\t  [${state}]=${of}\n`;
    }
  }
  if (others > 0) text += `  Other: ${others}\n`;
  return text;
}
