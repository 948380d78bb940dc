/**
 * Quality of service of a Linux device, as the original keeps it: `linux-htb` with a class for each queue, below one class
 * for all; other types where the kernel has the discipline. `ovs-vswitchd.conf.db(5)`, "QoS TABLE"
 *
 * Queue N is class 1:(N+1), queue 0 takes what names no queue. Rates and bursts in the database are bits.
 */
import { vlog } from '../base/vlog.ts';
import { LinuxError } from '../linux/libc.ts';
import {
  addHtb,
  addRootQdisc,
  type ClassStats,
  classStats,
  deleteClass,
  deleteRootQdisc,
  setHtbClass,
} from '../linux/tc.ts';

const log = vlog('netdev_linux');

export type QosDetails = ReadonlyMap<string, string>;

export interface QosConfig {
  readonly type: string;
  readonly details: QosDetails;
  readonly queues: ReadonlyMap<number, QosDetails>;
}

/** What `qos/show-types` lists, in the original's order. */
export const QOS_TYPES = [
  'linux-netem',
  'linux-fq_codel',
  'linux-codel',
  'linux-hfsc',
  'linux-noop',
  'linux-sfq',
  'linux-htb',
] as const;

/** Inner class of all queues, and the largest queue number. */
const INNER_MINOR = 0xfffe;
const MAX_QUEUE = 0xf000 - 1;
const DEFAULT_RATE_BITS = 10_000_000_000;
const MIN_RATE_BYTES = 1500;
/** Beyond the MTU, what the kernel needs of a burst. */
const BURST_SLACK = 64;

export interface QueueView {
  readonly queue: number;
  readonly details: readonly (readonly [key: string, value: number])[];
  readonly stats: ClassStats | null;
  readonly sinceMs: number;
}

interface Queue {
  readonly rate: number;
  readonly ceil: number;
  readonly burst: number;
  readonly priority: number;
  readonly sinceMs: number;
}

export class LinuxQos {
  private readonly name: string;
  /** '' while the device has none of ours; `linux-other` when putting it there failed. */
  type = '';
  private maxRate = 0;
  private queues = new Map<number, Queue>();
  /** Null until the device was looked after for the first time: what another program left there goes. */
  private applied: string | null = null;

  constructor(name: string) {
    this.name = name;
  }

  /** Brings the device in line; null takes everything away. True when queues may be others now. */
  set(config: QosConfig | null, ifindex: number, mtu: number, nowMs: number): boolean {
    const wanted =
      config === null
        ? ''
        : JSON.stringify([
            config.type,
            [...config.details],
            [...config.queues].map(([q, d]) => [q, [...d]]),
            ifindex,
            mtu,
          ]);
    if (wanted === this.applied) return false;
    const isFirst = this.applied === null;
    const had = this.type;
    this.applied = wanted;
    const isKnown = config !== null && (QOS_TYPES as readonly string[]).includes(config.type);
    if (config === null || !isKnown || config.type === 'linux-noop') {
      if (config !== null && !isKnown && config.type !== '') log.warn(`${this.name}: unknown QoS type ${config.type}`);
      if ((had !== '' || isFirst) && config?.type !== 'linux-noop') this.attempt(() => deleteRootQdisc(ifindex));
      this.type = '';
      this.queues = new Map();
      return had !== '';
    }
    this.type = config.type;
    const done =
      config.type === 'linux-htb'
        ? this.attempt(() => this.setHtb(config, had, ifindex, mtu, nowMs))
        : this.attempt(() => {
            deleteRootQdisc(ifindex);
            addRootQdisc(ifindex, config.type.replace('linux-', ''));
            this.queues = new Map();
          });
    if (!done) {
      this.type = 'linux-other';
      this.queues = new Map();
    }
    return true;
  }

  private attempt(action: () => void): boolean {
    try {
      action();
      return true;
    } catch (e) {
      if (!(e instanceof LinuxError)) throw e;
      const reason = /\(([^()]+)\)$/.exec(e.message)?.[1] ?? e.message;
      log.warn(`${this.name}: Failed to install new qdisc: ${reason}`);
      return false;
    }
  }

  private setHtb(config: QosConfig, had: string, ifindex: number, mtu: number, nowMs: number): void {
    const bits = number(config.details.get('max-rate')) ?? DEFAULT_RATE_BITS;
    if (had !== 'linux-htb') {
      deleteRootQdisc(ifindex);
      addHtb(ifindex, 1);
      this.queues = new Map();
    }
    this.maxRate = bits / 8;
    const minBurst = mtu + BURST_SLACK;
    setHtbClass(ifindex, INNER_MINOR, 0, { rate: this.maxRate, ceil: this.maxRate, burst: minBurst, priority: 0 });
    const wanted = new Map(config.queues);
    if (!wanted.has(0)) wanted.set(0, new Map());
    for (const queue of this.queues.keys()) {
      if (wanted.has(queue)) continue;
      deleteClass(ifindex, queue + 1);
      this.queues.delete(queue);
    }
    for (const [id, details] of wanted) {
      if (id < 0 || id > MAX_QUEUE) continue;
      const ceil = (number(details.get('max-rate')) ?? bits) / 8;
      const rate = Math.min(Math.max((number(details.get('min-rate')) ?? 0) / 8, MIN_RATE_BYTES), ceil);
      const burst = Math.max((number(details.get('burst')) ?? 0) / 8, minBurst);
      const priority = number(details.get('priority')) ?? 0;
      setHtbClass(ifindex, id + 1, INNER_MINOR, { rate, ceil, burst, priority });
      this.queues.set(id, { rate, ceil, burst, priority, sinceMs: this.queues.get(id)?.sinceMs ?? nowMs });
    }
  }

  /** Of the whole device, as `qos/show` prints it. */
  details(): readonly (readonly [string, number])[] {
    return this.type === 'linux-htb' ? [['max-rate', this.maxRate * 8]] : [];
  }

  queueIds(): number[] {
    return [...this.queues.keys()].sort((a, b) => a - b);
  }

  /** By number, lowest first. */
  views(ifindex: number): QueueView[] {
    let stats = new Map<number, ClassStats>();
    if (this.queues.size > 0) this.attempt(() => (stats = classStats(ifindex)));
    return this.queueIds().map((queue) => {
      const q = this.queues.get(queue) as Queue;
      const priority: [string, number][] = q.priority === 0 ? [] : [['priority', q.priority]];
      return {
        queue,
        details: [['burst', q.burst * 8], ...priority, ['min-rate', q.rate * 8], ['max-rate', q.ceil * 8]],
        stats: stats.get(queue + 1) ?? null,
        sinceMs: q.sinceMs,
      };
    });
  }

  /** The kernel's `skb->priority` that leads to a queue. */
  static priorityOf(queue: number): number {
    return 0x10000 + queue + 1;
  }
}

function number(text: string | undefined): number | null {
  const n = Number(text ?? '');
  return text === undefined || !Number.isFinite(n) || n <= 0 ? null : n;
}

/** `egress-policer`: what a port may send, in bytes of IP packets. It needs nothing of the kernel, so any port can have it. */
export class EgressPolicer {
  cir = 0;
  cbs = 0;
  get isOn(): boolean {
    return this.cir > 0;
  }

  /** True when anything changed. Other types of QoS take it away. */
  set(config: QosConfig | null): boolean {
    const isMine = config?.type === EGRESS_POLICER;
    const cir = isMine ? (number(config.details.get('cir')) ?? 0) : 0;
    const cbs = isMine ? (number(config.details.get('cbs')) ?? DEFAULT_CBS) : 0;
    const isChanged = cir !== this.cir || cbs !== this.cbs;
    this.cir = cir;
    this.cbs = cbs;
    return isChanged;
  }

  details(): readonly (readonly [string, number])[] {
    return [
      ['cir', this.cir],
      ['cbs', this.cbs],
    ];
  }
}

export const EGRESS_POLICER = 'egress-policer';
const DEFAULT_CBS = 2048;
