/**
 * Connectivity fault management on one port: a maintenance point that sends continuity checks and expects those of others.
 * IEEE 802.1ag; `ovs-vswitchd.conf.db(5)`, "Connectivity Fault Management"
 */
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { type Ccm, readCcm } from '../packet/ccm.ts';

const log = vlog('cfm');

export const CFM_FAULTS = ['recv', 'rdi', 'maid', 'loopback', 'overflow', 'override', 'interval'] as const;
export type CfmFault = (typeof CFM_FAULTS)[number];

const MAX_REMOTES = 256;
/** Health is counted over this many fault checks, each of 3.5 intervals. */
const HEALTH_CHECKS = 6;
const CHECK_INTERVALS = 3.5;
const MIN_DEMAND_MS = 500;
/** Milliseconds by the code in a standard CCM. IEEE 802.1ag table 21-16 */
const INTERVALS: readonly (readonly [ms: number, code: number])[] = [
  [600_000, 7],
  [60_000, 6],
  [10_000, 5],
  [1000, 4],
  [100, 3],
  [10, 2],
  [3, 1],
];

export interface CfmConfig {
  readonly mpid: bigint;
  readonly isExtended: boolean;
  readonly isDemand: boolean;
  readonly intervalMs: number;
  readonly isOpUp: boolean;
  /** Null without a tag. */
  readonly vlan: number | 'random' | null;
  readonly pcp: number;
  readonly checkTunnelKey: boolean;
}

export interface CfmRemote {
  readonly mpid: bigint;
  recv: boolean;
  isOpUp: boolean;
  rdi: boolean;
}

export interface CfmHost {
  readonly name: string;
  rxPackets(): number;
  send(ccm: Ccm, tci: number | null): void;
  changed(): void;
}

export class Cfm {
  config: CfmConfig;
  faults: ReadonlySet<CfmFault> = new Set();
  remotes: readonly CfmRemote[] = [];
  isRemoteOpUp = true;
  /** Percent of the messages that should have come; null while that can't be told. */
  health: number | null = null;
  flapCount = 0;
  override: boolean | null = null;
  nextTxMs: number;
  nextCheckMs: number;
  private readonly host: CfmHost;
  private readonly heard = new Map<bigint, CfmRemote>();
  private readonly found = new Set<CfmFault>();
  private seq = 0;
  private checks = 0;
  private healthCcms = 0;
  private rxSeen: number;
  private timer: Disposable | null = null;

  constructor(config: CfmConfig, host: CfmHost) {
    this.config = config;
    this.host = host;
    this.nextTxMs = clock.nowMs();
    this.nextCheckMs = clock.nowMs() + this.checkMs;
    this.rxSeen = host.rxPackets();
    this.run();
  }

  get intervalMs(): number {
    const { intervalMs, isExtended } = this.config;
    return isExtended ? intervalMs : (INTERVALS.find(([ms]) => intervalMs >= ms)?.[0] ?? 3);
  }

  private get checkMs(): number {
    const { isDemand, isExtended } = this.config;
    return CHECK_INTERVALS * (isDemand && isExtended ? Math.max(this.intervalMs, MIN_DEMAND_MS) : this.intervalMs);
  }

  get hasFault(): boolean {
    return this.override ?? this.faults.size > 0;
  }

  setConfig(config: CfmConfig): void {
    const before = this.intervalMs;
    const old = this.config;
    this.config = config;
    if (before !== this.intervalMs || old.isExtended !== config.isExtended) {
      this.nextTxMs = clock.nowMs();
      this.nextCheckMs = clock.nowMs() + this.checkMs;
    }
    this.run();
  }

  setOverride(value: boolean | null): void {
    this.override = value;
    this.host.changed();
  }

  receive(frame: Uint8Array): void {
    const { config, host } = this;
    const ccm = readCcm(frame, config.isExtended);
    if (ccm === null) {
      log.rl(20).info(`${host.name}: Received an unparseable 802.1ag CCM heartbeat.`);
      return;
    }
    if (ccm === 'maid') {
      this.found.add('maid');
      log.rl(20).warn(`${host.name}: Received unexpected remote MAID`);
      return;
    }
    if (config.isExtended ? ccm.intervalMs !== this.intervalMs : ccm.intervalCode !== this.intervalCode) {
      this.found.add('interval');
      const what = config.isExtended ? `extended interval (${ccm.intervalMs}ms)` : `interval (${ccm.intervalCode})`;
      log.rl(20).warn(`${host.name}: received a CCM with an unexpected ${what} from RMP ${ccm.mpid}`);
    }
    if (ccm.mpid === config.mpid) {
      this.found.add('loopback');
      log.rl(20).warn(`${host.name}: received CCM with local MPID ${ccm.mpid}`);
      return;
    }
    let remote = this.heard.get(ccm.mpid);
    if (!remote) {
      if (this.heard.size >= MAX_REMOTES) {
        this.found.add('overflow');
        return;
      }
      remote = { mpid: ccm.mpid, recv: false, isOpUp: true, rdi: false };
      this.heard.set(ccm.mpid, remote);
    }
    remote.recv = true;
    remote.isOpUp = !ccm.isOpDown;
    remote.rdi = ccm.rdi;
    this.healthCcms++;
  }

  private get intervalCode(): number {
    return INTERVALS.find(([ms]) => this.config.intervalMs >= ms)?.[1] ?? 1;
  }

  private run(): void {
    const now = clock.nowMs();
    if (now >= this.nextCheckMs) {
      this.check();
      this.nextCheckMs = now + this.checkMs;
    }
    if (now >= this.nextTxMs) {
      this.transmit();
      this.nextTxMs = now + this.intervalMs;
    }
    this.timer?.[Symbol.dispose]();
    const next = Math.min(this.nextTxMs, this.nextCheckMs);
    this.timer = clock.setTimeout(() => this.run(), Math.max(1, next - now), { keepAlive: false });
  }

  private check(): void {
    const before = this.hasFault;
    const rx = this.host.rxPackets();
    const isTrafficHeard =
      this.config.isDemand && this.config.isExtended && this.heard.size === 1 && rx !== this.rxSeen;
    this.rxSeen = rx;
    if (++this.checks % HEALTH_CHECKS === 0) this.countHealth();
    const faults = new Set(this.found);
    this.found.clear();
    let isRemoteOpUp = true;
    for (const [mpid, remote] of this.heard) {
      if (!remote.recv && !isTrafficHeard) {
        log.dbg(`${this.host.name}: Received no CCM from RMP ${mpid} in the last ${this.checkMs}ms`);
        this.heard.delete(mpid);
        continue;
      }
      remote.recv = false;
      if (remote.rdi) faults.add('rdi');
      if (!remote.isOpUp) isRemoteOpUp = false;
    }
    if (this.heard.size === 0) faults.add('recv');
    this.remotes = [...this.heard.values()];
    this.isRemoteOpUp = isRemoteOpUp;
    this.faults = faults;
    if (this.hasFault !== before) this.flapCount++;
    this.host.changed();
  }

  private countHealth(): void {
    if (this.heard.size > 1) this.health = null;
    else if (this.heard.size === 0) this.health = 0;
    else this.health = Math.min(100, Math.floor((this.healthCcms * 100) / (HEALTH_CHECKS * CHECK_INTERVALS)));
    this.healthCcms = 0;
  }

  private transmit(): void {
    const { config } = this;
    const vid = config.vlan === 'random' ? Math.floor(Math.random() * 4095) + 1 : config.vlan;
    const tci = vid === null && config.pcp === 0 ? null : (vid ?? 0) | (config.pcp << 13);
    const others = [...this.faults].some((fault) => fault !== 'rdi');
    this.host.send(
      {
        isExtended: config.isExtended,
        seq: ++this.seq,
        mpid: config.mpid,
        rdi: others,
        intervalCode: config.isExtended ? 0 : this.intervalCode,
        intervalMs: this.intervalMs,
        isOpDown: !config.isOpUp && config.isExtended,
      },
      tci,
    );
  }

  /** Which remote points were heard of since the last check, for people. */
  get current(): readonly CfmRemote[] {
    return [...this.heard.values()];
  }

  close(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
  }
}
