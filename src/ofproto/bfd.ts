/**
 * Bidirectional forwarding detection on one port: asynchronous mode without echo or authentication. RFC 5880 6.8;
 * `ovs-vswitchd.conf.db(5)`, "Bidirectional Forwarding Detection (BFD)"
 */
import { randomBytes } from 'node:crypto';
import { clock } from '../base/clock.ts';
import { vlog } from '../base/vlog.ts';
import { BFD_DIAG, BFD_FLAG, type BfdAddresses, type BfdPacket, type BfdState, readBfd } from '../packet/bfd.ts';

const log = vlog('bfd');

/** While a session is not up nobody sends faster than this. RFC 5880 6.8.3 */
const SLOW_MS = 1000;

export interface BfdConfig {
  readonly minRxMs: number;
  readonly minTxMs: number;
  /** 0 for never: the interval of reception while nothing else comes in. */
  readonly decayMinRxMs: number;
  readonly forwardingIfRx: boolean;
  readonly cpathDown: boolean;
  readonly checkTunnelKey: boolean;
  readonly mult: number;
  readonly oam: boolean;
  /** Null for the port's address. */
  readonly localSrcMac: Uint8Array | null;
  readonly localDstMac: Uint8Array;
  /** Packets to other addresses are not ours; null for any. */
  readonly remoteDstMac: Uint8Array | null;
  readonly srcIp: Uint8Array;
  readonly dstIp: Uint8Array;
}

export interface BfdHost {
  readonly name: string;
  mac(): Uint8Array;
  /** Packets that the port has received, of any kind. */
  rxPackets(): number;
  send(addresses: BfdAddresses, packet: BfdPacket): void;
  /** `Bfd.status` or `Bfd.isForwarding` has changed. */
  changed(): void;
}

const DIAGNOSTICS: readonly string[] = [
  'No Diagnostic',
  'Control Detection Time Expired',
  'Echo Function Failed',
  'Neighbor Signaled Session Down',
  'Forwarding Plane Reset',
  'Path Down',
  'Concatenated Path Down',
  'Administratively Down',
  'Reverse Concatenated Path Down',
];
export const diagnostic = (diag: number): string => DIAGNOSTICS[diag] ?? 'Invalid Diagnostic';

export class Bfd {
  config: BfdConfig;
  state: BfdState = 'down';
  diag: number = BFD_DIAG.none;
  readonly discriminator = randomBytes(4).readUInt32BE() || 1;
  /** In force; another is wanted while a poll goes on. */
  minTxMs = SLOW_MS;
  minRxMs: number;
  isPolling = false;
  remoteState: BfdState = 'down';
  remoteDiag: number = BFD_DIAG.none;
  remoteDiscriminator = 0;
  remoteFlags = 0;
  remoteMinTxMs = 0;
  remoteMinRxMs = 1;
  remoteMult = 0;
  detectAtMs = 0;
  nextTxMs: number;
  lastTxMs: number | null = null;
  flapCount = 0;
  /** Set by `bfd/set-forwarding`; null for what the session says. */
  override: boolean | null = null;
  private wasForwarding = false;
  private readonly host: BfdHost;
  private timer: Disposable | null = null;
  private rxSeen: number;
  private rxAtMs = Number.NEGATIVE_INFINITY;
  private controlAtMs = Number.NEGATIVE_INFINITY;
  private decayAtMs = 0;
  private isDecayed = false;

  constructor(config: BfdConfig, host: BfdHost) {
    this.config = config;
    this.host = host;
    this.minRxMs = config.minRxMs;
    this.nextTxMs = clock.nowMs();
    this.rxSeen = host.rxPackets();
    this.run();
  }

  setConfig(config: BfdConfig): void {
    const old = this.config;
    this.config = config;
    if (config.minRxMs !== old.minRxMs || config.decayMinRxMs !== old.decayMinRxMs) {
      this.isDecayed = false;
      this.setIntervals(this.wantedTx(), config.minRxMs);
    } else if (config.minTxMs !== old.minTxMs) {
      this.setIntervals(this.wantedTx(), this.minRxMs);
    }
    if (config.cpathDown !== old.cpathDown) {
      this.setDiag();
      this.startPoll();
    }
    this.run();
  }

  private wantedTx(): number {
    return this.state === 'up' ? this.config.minTxMs : Math.max(this.config.minTxMs, SLOW_MS);
  }

  /** RFC 5880 6.8.3: both sides agree on other intervals by a poll. */
  private setIntervals(tx: number, rx: number): void {
    if (tx === this.minTxMs && rx === this.minRxMs) return;
    this.minTxMs = tx;
    this.minRxMs = rx;
    this.startPoll();
  }

  private startPoll(): void {
    if (this.state === 'up') this.isPolling = true;
    this.nextTxMs = Math.min(this.nextTxMs, clock.nowMs() + this.interval());
  }

  get txIntervalMs(): number {
    return Math.max(this.minTxMs, this.remoteMinRxMs);
  }

  get rxIntervalMs(): number {
    return Math.max(this.minRxMs, this.remoteMinTxMs);
  }

  get flags(): number {
    return this.isPolling ? BFD_FLAG.poll : 0;
  }

  get isForwarding(): boolean {
    if (this.override !== null) return this.override;
    const pathDown =
      this.remoteDiag === BFD_DIAG.concatenatedPathDown || this.remoteDiag === BFD_DIAG.reverseConcatenatedPathDown;
    const now = clock.nowMs();
    const isHeard =
      this.config.forwardingIfRx &&
      now < this.rxAtMs + this.rxIntervalMs * this.config.mult &&
      now < this.controlAtMs + 100 * this.config.minRxMs;
    return (this.state === 'up' || isHeard) && !pathDown;
  }

  setOverride(value: boolean | null): void {
    this.override = value;
    this.judge();
  }

  /** Tells when it is another than before. */
  private judge(): void {
    const { isForwarding } = this;
    if (isForwarding !== this.wasForwarding) {
      this.wasForwarding = isForwarding;
      this.flapCount++;
    }
    this.host.changed();
  }

  receive(frame: Uint8Array): void {
    const p = readBfd(frame);
    if (typeof p === 'string') {
      log.rl(20).warn(`${this.host.name}: Received BFD control message with ${p}`);
      return;
    }
    if (p.yourDiscriminator !== 0 && p.yourDiscriminator !== this.discriminator) {
      log.rl(20).warn(`${this.host.name}: Received BFD control message for another discriminator`);
      return;
    }
    const now = clock.nowMs();
    this.controlAtMs = now;
    this.remoteState = p.state;
    this.remoteFlags = p.flags;
    this.remoteDiscriminator = p.myDiscriminator;
    this.remoteMult = p.mult;
    this.remoteMinRxMs = Math.floor(p.minRxUs / 1000);
    this.remoteMinTxMs = Math.floor(p.minTxUs / 1000);
    if (p.diag !== this.remoteDiag) {
      this.remoteDiag = p.diag;
      this.setDiag();
    }
    if (p.flags & BFD_FLAG.final) this.isPolling = false;
    this.detectAtMs = now + this.rxIntervalMs * p.mult;
    this.advance(p.state);
    if (p.flags & BFD_FLAG.poll) this.transmit(BFD_FLAG.final);
    this.judge();
    this.nextTxMs = Math.min(this.nextTxMs, now + this.txIntervalMs);
    this.run();
  }

  private advance(remote: BfdState): void {
    if (remote === 'admin_down') {
      if (this.state !== 'down') this.setState('down', BFD_DIAG.neighborDown);
    } else if (this.state === 'down') {
      if (remote === 'down') this.setState('init', BFD_DIAG.none);
      else if (remote === 'init') this.setState('up', BFD_DIAG.none);
    } else if (this.state === 'init') {
      if (remote === 'init' || remote === 'up') this.setState('up', BFD_DIAG.none);
    } else if (this.state === 'up' && remote === 'down') {
      this.setState('down', BFD_DIAG.neighborDown);
    }
  }

  private setState(state: BfdState, diag: number): void {
    log
      .rl(20)
      .info(
        `${this.host.name}: BFD state change: ${this.state}->${state} "${diagnostic(this.diag)}"->"${diagnostic(diag)}".`,
      );
    this.state = state;
    this.diag = diag;
    this.setDiag();
    this.isPolling = false;
    this.setIntervals(this.wantedTx(), this.minRxMs);
    if (state === 'up') this.decayAtMs = clock.nowMs() + this.decayTime();
    else if (state === 'down') {
      this.isDecayed = false;
      this.minRxMs = this.config.minRxMs;
    }
  }

  /** A path behind this end is down, or behind the other: said only where nothing worse is. */
  private setDiag(): void {
    const { concatenatedPathDown } = BFD_DIAG;
    if (this.config.cpathDown) {
      if (this.diag === BFD_DIAG.none) this.diag = concatenatedPathDown;
    } else if (this.diag === concatenatedPathDown) this.diag = BFD_DIAG.none;
  }

  private transmit(extra: number): void {
    const now = clock.nowMs();
    const { config, host } = this;
    this.lastTxMs = now;
    host.send(
      { srcMac: config.localSrcMac ?? host.mac(), dstMac: config.localDstMac, src: config.srcIp, dst: config.dstIp },
      {
        diag: this.diag,
        state: this.state,
        // A final is no poll.
        flags: extra !== 0 ? extra : this.flags,
        mult: config.mult,
        myDiscriminator: this.discriminator,
        yourDiscriminator: this.remoteDiscriminator,
        minTxUs: this.minTxMs * 1000,
        minRxUs: this.minRxMs * 1000,
      },
    );
  }

  /** With the jitter of RFC 5880 6.8.7. */
  private interval(): number {
    const [least, range] = this.config.mult === 1 ? [0.75, 0.15] : [0.75, 0.25];
    return this.txIntervalMs * (least + range * Math.random());
  }

  private run(): void {
    const now = clock.nowMs();
    if ((this.state === 'up' || this.state === 'init') && now >= this.detectAtMs) this.expired();
    this.lookAtTraffic(now);
    if (now >= this.nextTxMs) {
      if (this.remoteMinRxMs > 0) this.transmit(0);
      this.nextTxMs = now + this.interval();
    }
    if (this.isForwarding !== this.wasForwarding) this.judge();
    this.arm(now);
  }

  private expired(): void {
    this.setState('down', BFD_DIAG.expired);
    this.remoteState = 'down';
    this.remoteDiscriminator = 0;
    this.remoteMinRxMs = 1;
    this.remoteMinTxMs = 0;
    this.remoteFlags = 0;
    this.remoteDiag = BFD_DIAG.none;
    this.judge();
  }

  private decayTime(): number {
    return Math.max(2000, this.config.decayMinRxMs);
  }

  /** Other packets than ours show that the other end is there, or that few come and seldom need be heard. */
  private lookAtTraffic(now: number): void {
    const { forwardingIfRx, decayMinRxMs, minRxMs } = this.config;
    if (!forwardingIfRx && decayMinRxMs === 0) return;
    const rx = this.host.rxPackets();
    if (rx !== this.rxSeen) {
      this.rxAtMs = now;
    }
    if (decayMinRxMs >= minRxMs && this.state === 'up' && now >= this.decayAtMs) {
      // Its own packets are about one in each interval.
      const isIdle = rx - this.rxSeen <= Math.ceil((2 * this.decayTime()) / this.rxIntervalMs) + 5;
      if (isIdle !== this.isDecayed) {
        this.isDecayed = isIdle;
        this.setIntervals(this.minTxMs, isIdle ? decayMinRxMs : minRxMs);
      }
      this.decayAtMs = now + this.decayTime();
      this.rxSeen = rx;
    } else if (decayMinRxMs === 0) this.rxSeen = rx;
  }

  private arm(now: number): void {
    this.timer?.[Symbol.dispose]();
    let next = this.nextTxMs;
    if (this.state === 'up' || this.state === 'init') next = Math.min(next, this.detectAtMs);
    this.timer = clock.setTimeout(() => this.run(), Math.max(1, next - now), { keepAlive: false });
  }

  /** `Interface.bfd_status`. */
  status(): Map<string, string> {
    return new Map([
      ['diagnostic', diagnostic(this.diag)],
      ['flap_count', String(this.flapCount)],
      ['forwarding', String(this.isForwarding)],
      ['remote_diagnostic', diagnostic(this.remoteDiag)],
      ['remote_state', this.remoteState],
      ['state', this.state],
    ]);
  }

  close(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = null;
    this.state = 'admin_down';
  }
}
