/** sFlow version 5: heads of sampled packets, and counters of ports now and then. sflow.org, "sFlow Version 5" */
import { clock } from '../../base/clock.ts';
import { Writer } from '../../openflow/bytes.ts';
import type { PortStats } from '../../openflow/messages.ts';
import { Collectors } from './collectors.ts';

export const SFLOW_PORT = 6343;
const VERSION = 5;
const MAX_DATAGRAM = 1400;
const SAMPLE = { flow: 1, counters: 2 } as const;
const FLOW_RECORD = { header: 1, extendedSwitch: 1001 } as const;
const COUNTER_RECORD = { generic: 1, openflowPort: 1004, portName: 1005 } as const;
const HEADER_ETHERNET = 1;
/** Where samples come from: not a port, but all of the bridge. */
const SOURCE_CLASS = 2;
const BASE_INDEX = 1000;
const CRC_LENGTH = 4;
const ETHERNET_CSMACD = 6;
const FULL_DUPLEX = 1;
const UNKNOWN = -1;

export interface SflowConfig {
  readonly targets: readonly string[];
  /** An address of the agent; four or sixteen bytes. */
  readonly agent: Uint8Array;
  readonly samplingRate: number;
  readonly pollingMs: number;
  readonly headerLength: number;
}

export interface SflowSample {
  readonly packet: Uint8Array;
  readonly inIfindex: number;
  readonly output: number;
  /** As it came and as it leaves: tag control information, 0 without. */
  readonly inTci: number;
  readonly outTci: number;
}

export interface SflowPort {
  readonly name: string;
  readonly ofport: number;
  readonly ifindex: number;
  readonly speedBps: bigint;
  readonly isUp: boolean;
  readonly hasLink: boolean;
  readonly stats: PortStats;
}

export class Sflow {
  readonly config: SflowConfig;
  private readonly collectors: Collectors;
  private readonly ports: () => Iterable<SflowPort>;
  private readonly datapathId: () => bigint;
  private readonly bootMs = clock.nowMs();
  private samples: Uint8Array[] = [];
  private bytes = 0;
  private datagramSeq = 0;
  private sampleSeq = 0;
  private readonly counterSeq = new Map<number, number>();
  private readonly timers: Disposable[] = [];

  constructor(config: SflowConfig, ports: () => Iterable<SflowPort>, datapathId: () => bigint) {
    this.config = config;
    this.ports = ports;
    this.datapathId = datapathId;
    this.collectors = new Collectors(config.targets, SFLOW_PORT);
    this.timers.push(clock.setInterval(() => this.flush(), 1000, { keepAlive: false }));
    if (config.pollingMs > 0)
      this.timers.push(clock.setInterval(() => this.poll(), config.pollingMs, { keepAlive: false }));
  }

  sampled(s: SflowSample): void {
    const w = new Writer(256);
    const seq = ++this.sampleSeq;
    w.u32(seq)
      .u32((SOURCE_CLASS << 24) | BASE_INDEX)
      .u32(this.config.samplingRate);
    // Every packet had its chance, of which the sampled ones are an estimate.
    w.u32((seq * this.config.samplingRate) >>> 0)
      .u32(0)
      .u32(s.inIfindex)
      .u32(s.output)
      .u32(2);
    w.u32(FLOW_RECORD.extendedSwitch).u32(16);
    for (const tci of [s.inTci, s.outTci]) w.u32(tci & 0xfff).u32(tci >>> 13);
    const head = s.packet.subarray(0, this.config.headerLength);
    const padded = Math.ceil(head.length / 4) * 4;
    w.u32(FLOW_RECORD.header).u32(16 + padded);
    w.u32(HEADER_ETHERNET)
      .u32(s.packet.length + CRC_LENGTH)
      .u32(CRC_LENGTH)
      .u32(head.length);
    w.bytes(head).zero(padded - head.length);
    this.add(SAMPLE.flow, w.finish());
  }

  private poll(): void {
    for (const port of this.ports()) if (port.ifindex > 0) this.add(SAMPLE.counters, this.counters(port));
  }

  private counters({ name, ofport, ifindex, speedBps, isUp, hasLink, stats }: SflowPort): Uint8Array {
    const seq = (this.counterSeq.get(ifindex) ?? 0) + 1;
    this.counterSeq.set(ifindex, seq);
    const w = new Writer(256);
    w.u32(seq).u32(ifindex).u32(3);
    w.u32(COUNTER_RECORD.openflowPort).u32(12).u64(this.datapathId()).u32(ofport);
    const label = Buffer.from(name);
    const padded = Math.ceil(label.length / 4) * 4;
    w.u32(COUNTER_RECORD.portName)
      .u32(4 + padded)
      .u32(label.length)
      .bytes(label)
      .zero(padded - label.length);
    const narrow = (n: number): number => (n < 0 ? 0xffffffff : n % 0x100000000);
    const wide = (n: number): bigint => (n < 0 ? 0xffffffffffffffffn : BigInt(n));
    w.u32(COUNTER_RECORD.generic).u32(88).u32(ifindex).u32(ETHERNET_CSMACD).u64(speedBps).u32(FULL_DUPLEX);
    w.u32((isUp ? 1 : 0) | (hasLink ? 2 : 0));
    w.u64(wide(stats.rxBytes)).u32(narrow(stats.rxPackets));
    w.u32(narrow(UNKNOWN)).u32(narrow(UNKNOWN));
    w.u32(narrow(stats.rxDropped)).u32(narrow(stats.rxErrors)).u32(narrow(UNKNOWN));
    w.u64(wide(stats.txBytes)).u32(narrow(stats.txPackets));
    w.u32(narrow(UNKNOWN)).u32(narrow(UNKNOWN));
    w.u32(narrow(stats.txDropped)).u32(narrow(stats.txErrors)).u32(0);
    return w.finish();
  }

  private add(type: number, body: Uint8Array): void {
    const size = 8 + body.length;
    if (this.bytes + size > MAX_DATAGRAM) this.flush();
    const w = new Writer(size);
    w.u32(type).u32(body.length).bytes(body);
    this.samples.push(w.finish().slice());
    this.bytes += size;
  }

  private flush(): void {
    if (this.samples.length === 0) return;
    const { agent } = this.config;
    const w = new Writer(MAX_DATAGRAM);
    w.u32(VERSION)
      .u32(agent.length === 4 ? 1 : 2)
      .bytes(agent)
      .u32(0)
      .u32(++this.datagramSeq);
    w.u32(Math.round(clock.nowMs() - this.bootMs)).u32(this.samples.length);
    for (const sample of this.samples) w.bytes(sample);
    this.samples = [];
    this.bytes = 0;
    this.collectors.send(w.finish().slice());
  }

  close(): void {
    this.flush();
    for (const timer of this.timers) timer[Symbol.dispose]();
    setImmediate(() => this.collectors.close());
  }
}
