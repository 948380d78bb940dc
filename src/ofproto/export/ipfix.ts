/**
 * IPFIX: flows of sampled packets, by templates. RFC 7011; the information elements, and in which template they stand, are
 * those of the original, so that its collectors find the same records.
 *
 * A template is a combination of headers: 256 and up, by VLAN, network, transport, and whether there is an output interface.
 * Sampled packets of like headers make one record, kept until it is old enough or there are too many.
 */
import { clock } from '../../base/clock.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { Writer } from '../../openflow/bytes.ts';
import { ETH_TYPE, FRAG_LATER, hasVlan, IPPROTO } from '../xlate/prereq.ts';
import { Collectors } from './collectors.ts';

export const IPFIX_PORT = 4739;
const VERSION = 10;
const HEADER_LENGTH = 16;
const MAX_MESSAGE = 1280;
const SET = { template: 2, optionsTemplate: 3 } as const;
const FIRST_TEMPLATE = 256;
const OPTIONS_TEMPLATE = 462;
const EXPORTER_ID = 5;
const END = { active: 2, forced: 4, resources: 5 } as const;
const VARIABLE = 0xffff;

/** Information elements, `[id, bytes]`, in the order in which records have them. */
type Element = readonly [id: number, bytes: number];
const COMMON: readonly Element[] = [
  [138, 4],
  [61, 1],
  [56, 6],
  [80, 6],
  [256, 2],
  [240, 1],
];
const INPUT: readonly Element[] = [
  [10, 4],
  [368, 4],
  [82, VARIABLE],
  [83, VARIABLE],
];
const OUTPUT: readonly Element[] = [
  [14, 4],
  [369, 4],
  [82, VARIABLE],
  [83, VARIABLE],
];
const VLAN: readonly Element[] = [
  [58, 2],
  [243, 2],
  [244, 1],
];
const IP: readonly Element[] = [
  [60, 1],
  [192, 1],
  [4, 1],
  [195, 1],
  [196, 1],
  [5, 1],
];
const IPV4: readonly Element[] = [
  [8, 4],
  [12, 4],
];
const IPV6: readonly Element[] = [
  [27, 16],
  [28, 16],
  [31, 4],
];
const PORTS: readonly Element[] = [
  [7, 2],
  [11, 2],
];
const ICMP4: readonly Element[] = [
  [176, 1],
  [177, 1],
];
const ICMP6: readonly Element[] = [
  [178, 1],
  [179, 1],
];
const TIMES: readonly Element[] = [
  [158, 4],
  [159, 4],
];
const PACKETS: readonly Element[] = [
  ...([
    [133, 8],
    [135, 8],
    [2, 8],
    [86, 8],
    [354, 8],
    [355, 8],
    [356, 8],
    [357, 8],
    [358, 8],
  ] as const),
  ...([
    [19, 8],
    [174, 8],
    [352, 8],
    [353, 8],
    [136, 1],
  ] as const),
];
const OCTETS: readonly Element[] = [
  ...([
    [132, 8],
    [134, 8],
    [1, 8],
    [85, 8],
    [198, 8],
    [199, 8],
    [25, 8],
    [26, 8],
    [20, 8],
    [175, 8],
  ] as const),
];
const TCP_FLAGS: readonly Element[] = [
  [222, 8],
  [219, 8],
  [221, 8],
  [220, 8],
  [218, 8],
  [223, 8],
];
/** ACK, FIN, PSH, RST, SYN, URG, as `TCP_FLAGS` has them. */
const FLAG_BITS = [0x10, 0x01, 0x08, 0x04, 0x02, 0x20] as const;

const L3 = ['none', 'ipv4', 'ipv6'] as const;
const L4 = ['none', 'tcp', 'udp', 'sctp', 'icmp'] as const;

interface Shape {
  readonly isTagged: boolean;
  readonly l3: (typeof L3)[number];
  readonly l4: (typeof L4)[number];
  readonly hasOutput: boolean;
}

/** Two places for each: the second bit is for tunnels, of which nothing is told. */
const templateId = ({ isTagged, l3, l4, hasOutput }: Shape): number =>
  FIRST_TEMPLATE + (((isTagged ? 3 : 0) + L3.indexOf(l3)) * L4.length + L4.indexOf(l4)) * 4 + (hasOutput ? 1 : 0);

function elements({ isTagged, l3, l4, hasOutput }: Shape): Element[] {
  const isIp = l3 !== 'none';
  return [
    ...COMMON,
    ...INPUT,
    ...(hasOutput ? OUTPUT : []),
    ...(isTagged ? VLAN : []),
    ...(isIp ? IP : []),
    ...(l3 === 'ipv4' ? IPV4 : l3 === 'ipv6' ? IPV6 : []),
    ...(l4 === 'icmp' ? (l3 === 'ipv4' ? ICMP4 : ICMP6) : l4 === 'none' ? [] : PORTS),
    ...TIMES,
    ...PACKETS,
    ...(isIp ? OCTETS : []),
    ...(l4 === 'tcp' ? TCP_FLAGS : []),
  ];
}

function* shapes(): Generator<Shape> {
  for (const isTagged of [false, true])
    for (const l3 of L3)
      for (const l4 of L4)
        for (const hasOutput of [false, true])
          if (l3 !== 'none' || l4 === 'none') yield { isTagged, l3, l4, hasOutput };
}

export interface IpfixConfig {
  readonly targets: readonly string[];
  readonly obsDomainId: number;
  readonly obsPointId: number;
  readonly cacheActiveTimeoutMs: number;
  readonly cacheMaxFlows: number;
  readonly templateIntervalMs: number;
}

export interface IpfixInterface {
  readonly ifindex: number;
  readonly name: string;
}

export interface IpfixSample {
  readonly flow: FlowKey;
  readonly length: number;
  readonly obsDomainId: number;
  readonly obsPointId: number;
  readonly isEgress: boolean;
  readonly input: IpfixInterface | null;
  readonly output: IpfixInterface | null;
  /** Packets that this one stands for. */
  readonly weight: number;
}

interface Counts {
  packets: number;
  octets: number;
  squares: bigint;
  layer2: number;
  postMulticastPackets: number;
  postMulticastOctets: number;
}

interface CachedFlow extends Counts {
  readonly shape: Shape;
  readonly domain: number;
  /** From the observation point up to the transport header. */
  readonly head: Uint8Array;
  readonly startMs: number;
  usedMs: number;
  minLength: number;
  maxLength: number;
  totals: Totals;
}

interface Totals extends Counts {
  /** Ingress unicast, multicast, broadcast; egress unicast, broadcast. */
  readonly casts: readonly number[];
  readonly tcp: readonly number[];
}

const none = (): Counts => ({
  packets: 0,
  octets: 0,
  squares: 0n,
  layer2: 0,
  postMulticastPackets: 0,
  postMulticastOctets: 0,
});

export interface IpfixStats {
  totalFlows: number;
  sampled: number;
  ipv4: number;
  ipv6: number;
}

export class Ipfix {
  readonly config: IpfixConfig;
  readonly stats: IpfixStats = { totalFlows: 0, sampled: 0, ipv4: 0, ipv6: 0 };
  readonly collectors: Collectors;
  private readonly cache = new Map<string, CachedFlow>();
  private totals: Totals = { ...none(), casts: [0, 0, 0, 0, 0], tcp: [0, 0, 0, 0, 0, 0] };
  private seq = 1;
  private templatesAtMs = Number.NEGATIVE_INFINITY;
  private readonly toldDomains = new Set<number>();
  private readonly timer: Disposable;

  constructor(config: IpfixConfig) {
    this.config = config;
    this.collectors = new Collectors(config.targets, IPFIX_PORT);
    this.timer = clock.setInterval(() => this.run(), 500, { keepAlive: false });
  }

  get currentFlows(): number {
    return this.cache.size;
  }

  sampled(s: IpfixSample): void {
    const { flow } = s;
    const shape = shapeOf(flow, s.output !== null);
    const head = headOf(s, shape);
    const key = `${s.obsDomainId} ${templateId(shape)} ${Buffer.from(head).toString('latin1')}`;
    this.stats.sampled++;
    if (shape.l3 === 'ipv4') this.stats.ipv4++;
    else if (shape.l3 === 'ipv6') this.stats.ipv6++;
    const now = clock.nowMs();
    let entry = this.cache.get(key);
    if (!entry) {
      entry = {
        ...none(),
        shape,
        domain: s.obsDomainId,
        head,
        startMs: now,
        usedMs: now,
        minLength: Number.POSITIVE_INFINITY,
        maxLength: 0,
        totals: this.totals,
      };
      this.stats.totalFlows++;
    }
    this.count(s, shape, entry);
    entry.usedMs = now;
    const { cacheActiveTimeoutMs, cacheMaxFlows } = this.config;
    if (cacheActiveTimeoutMs === 0 || cacheMaxFlows === 0) {
      this.tell(entry, END.resources);
      return;
    }
    this.cache.set(key, entry);
    while (this.cache.size > cacheMaxFlows) {
      const [[oldest, first]] = this.cache;
      this.cache.delete(oldest);
      this.tell(first, END.resources);
    }
  }

  private count({ flow, length, isEgress, weight }: IpfixSample, shape: Shape, entry: CachedFlow): void {
    const isIp = shape.l3 !== 'none';
    const l2 = 14 + (shape.isTagged ? 4 : 0);
    const octets = isIp ? Math.max(0, length - l2) : 0;
    const isMulticast = (flow.u8[OFS.eth_dst] & 1) !== 0;
    const isBroadcast = flow.u8.subarray(OFS.eth_dst, OFS.eth_dst + 6).every((byte) => byte === 0xff);
    const post = isEgress && isMulticast && !isBroadcast ? weight : 0;
    const add = <T extends Counts>(c: T): T => ({
      ...c,
      packets: c.packets + weight,
      octets: c.octets + octets * weight,
      squares: c.squares + BigInt(octets) * BigInt(octets) * BigInt(weight),
      layer2: c.layer2 + length * weight,
      postMulticastPackets: c.postMulticastPackets + post,
      postMulticastOctets: c.postMulticastOctets + octets * post,
    });
    const cast = isEgress ? (isBroadcast ? 4 : isMulticast ? -1 : 3) : isBroadcast ? 2 : isMulticast ? 1 : 0;
    const flags = flow.get16(OFS.tcp_flags);
    this.totals = {
      ...add(this.totals),
      casts: this.totals.casts.map((n, i) => (i === cast ? n + weight : n)),
      tcp: this.totals.tcp.map((n, i) => (shape.l4 === 'tcp' && flags & FLAG_BITS[i] ? n + weight : n)),
    };
    Object.assign(entry, add(entry));
    entry.totals = this.totals;
    entry.minLength = Math.min(entry.minLength, octets);
    entry.maxLength = Math.max(entry.maxLength, octets);
  }

  private run(): void {
    const { cacheActiveTimeoutMs } = this.config;
    const now = clock.nowMs();
    for (const [key, entry] of this.cache) {
      if (now - entry.startMs < cacheActiveTimeoutMs) break;
      this.cache.delete(key);
      this.tell(entry, END.active);
    }
  }

  // ---- messages ----

  private message(domain: number, body: (w: Writer) => void): void {
    const w = new Writer(MAX_MESSAGE);
    w.u16(VERSION)
      .u16(0)
      .u32(Math.floor(clock.wallMs() / 1000))
      .u32(this.seq)
      .u32(domain);
    body(w);
    w.set16(2, w.len);
    this.collectors.send(w.finish().slice());
  }

  private set(w: Writer, id: number, body: () => void): void {
    const start = w.len;
    w.u16(id).u16(0);
    body();
    w.set16(start + 2, w.len - start);
  }

  private tellTemplates(domain: number): void {
    const now = clock.nowMs();
    if (now - this.templatesAtMs >= this.config.templateIntervalMs) {
      this.templatesAtMs = now;
      this.toldDomains.clear();
    }
    if (this.toldDomains.has(domain)) return;
    this.toldDomains.add(domain);
    let batch: { id: number; list: Element[] }[] = [];
    let size = HEADER_LENGTH;
    const flush = (): void => {
      const templates = batch;
      this.message(domain, (w) => {
        this.set(w, SET.template, () => {
          for (const { id, list } of templates) {
            w.u16(id).u16(list.length);
            for (const [element, bytes] of list) w.u16(element).u16(bytes);
          }
        });
      });
      batch = [];
      size = HEADER_LENGTH;
    };
    for (const shape of shapes()) {
      const list = elements(shape);
      const bytes = 4 + 4 * list.length;
      if (size + 4 + bytes > MAX_MESSAGE) flush();
      batch.push({ id: templateId(shape), list });
      size += bytes;
    }
    flush();
    this.message(0, (w) =>
      this.set(w, SET.optionsTemplate, () => w.u16(OPTIONS_TEMPLATE).u16(2).u16(1).u16(144).u16(4).u16(167).u16(8)),
    );
    this.message(0, (w) => this.set(w, OPTIONS_TEMPLATE, () => w.u32(EXPORTER_ID).u64(BigInt(this.collectors.errors))));
    this.seq = (this.seq + 1) >>> 0;
  }

  private tell(f: CachedFlow, reason: number): void {
    this.tellTemplates(f.domain);
    const now = clock.nowMs();
    const delta = (ms: number): number => Math.max(0, Math.round((now - ms) * 1000)) >>> 0;
    const { totals } = f;
    const [ingressUnicast, ingressMulticast, ingressBroadcast, egressUnicast, egressBroadcast] = totals.casts;
    this.message(f.domain, (w) => {
      this.set(w, templateId(f.shape), () => {
        const counters = (...list: (number | bigint)[]): void => {
          for (const n of list) w.u64(BigInt(n));
        };
        w.bytes(f.head).u32(delta(f.startMs)).u32(delta(f.usedMs));
        counters(0, 0, f.packets, totals.packets, ingressUnicast, ingressMulticast, ingressBroadcast);
        counters(egressUnicast, egressBroadcast, f.postMulticastPackets, totals.postMulticastPackets);
        counters(f.layer2, totals.layer2);
        w.u8(reason);
        if (f.shape.l3 === 'none') return;
        counters(0, 0, f.octets, totals.octets, f.squares, totals.squares, f.minLength, f.maxLength);
        counters(f.postMulticastOctets, totals.postMulticastOctets);
        if (f.shape.l4 === 'tcp') counters(...totals.tcp);
      });
    });
    this.seq = (this.seq + 1) >>> 0;
  }

  /** What has not been told yet is told now. */
  close(): void {
    for (const entry of this.cache.values()) this.tell(entry, END.forced);
    this.cache.clear();
    this.timer[Symbol.dispose]();
    setImmediate(() => this.collectors.close());
  }
}

const L4_OF: ReadonlyMap<number, (typeof L4)[number]> = new Map([
  [IPPROTO.tcp, 'tcp'],
  [IPPROTO.udp, 'udp'],
  [IPPROTO.sctp, 'sctp'],
]);

function shapeOf(flow: FlowKey, hasOutput: boolean): Shape {
  const type = flow.get16(OFS.eth_type);
  const l3 = type === ETH_TYPE.ip ? 'ipv4' : type === ETH_TYPE.ipv6 ? 'ipv6' : 'none';
  const proto = flow.get8(OFS.ip_proto);
  const isIcmp = l3 === 'ipv4' ? proto === IPPROTO.icmp : proto === IPPROTO.icmpv6;
  const isLater = (flow.get8(OFS.ip_frag) & FRAG_LATER) !== 0;
  const l4 = l3 === 'none' || isLater ? 'none' : isIcmp ? 'icmp' : (L4_OF.get(proto) ?? 'none');
  return { isTagged: hasVlan(flow), l3, l4, hasOutput };
}

/** The record from the observation point up to the transport header. */
function headOf(s: IpfixSample, shape: Shape): Uint8Array {
  const { flow } = s;
  const w = new Writer(128);
  const bytes = (ofs: number, n: number): void => void w.bytes(flow.u8.subarray(ofs, ofs + n));
  const face = (one: IpfixInterface | null): void => {
    const name = Buffer.from(one?.name ?? '').subarray(0, 254);
    w.u32(one?.ifindex ?? 0)
      .u32(0)
      .u8(name.length)
      .bytes(name)
      .u8(0);
  };
  w.u32(s.obsPointId).u8(s.isEgress ? 1 : 0);
  bytes(OFS.eth_src, 6);
  bytes(OFS.eth_dst, 6);
  w.u16(flow.get16(OFS.eth_type)).u8(shape.isTagged ? 18 : 14);
  face(s.input);
  if (shape.hasOutput) face(s.output);
  if (shape.isTagged) {
    const tci = flow.get16(OFS.vlan_tci);
    w.u16(tci & 0xfff)
      .u16(tci & 0xfff)
      .u8(tci >>> 13);
  }
  if (shape.l3 !== 'none') {
    const tos = flow.get8(OFS.ip_tos);
    w.u8(shape.l3 === 'ipv4' ? 4 : 6)
      .u8(flow.get8(OFS.ip_ttl))
      .u8(flow.get8(OFS.ip_proto));
    w.u8(tos >> 2)
      .u8(tos >> 5)
      .u8(tos);
    if (shape.l3 === 'ipv4') bytes(OFS.ip_src, 8);
    else {
      bytes(OFS.ipv6_src, 32);
      w.u32(flow.get32(OFS.ipv6_label));
    }
  }
  if (shape.l4 === 'icmp') w.u8(flow.get16(OFS.tp_src)).u8(flow.get16(OFS.tp_dst));
  else if (shape.l4 !== 'none') bytes(OFS.tp_src, 4);
  return w.finish().slice();
}
