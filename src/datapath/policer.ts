/**
 * Policing: token buckets of bits and of packets for what a port receives, or sends, refilled each millisecond. All threads
 * that poll the port share them. `ovs-vswitchd.conf.db(5)`, "Ingress Policing", "Configuration for egress-policer QoS"
 */

/** Words. Rates are bits and packets a millisecond, 0 for no limit. */
const P = {
  IS_ON: 0,
  BITS_RATE: 1,
  BITS_BURST: 2,
  BITS: 3,
  PACKETS_RATE: 4,
  PACKETS_BURST: 5,
  PACKETS: 6,
  LAST_MS: 7,
} as const;
export const POLICER_BYTES = 64;

/** What the manual gives a port that names a rate and no burst. */
const DEFAULT_KBITS_BURST = 8000;
const DEFAULT_KPKTS_BURST = 16;
const MAX_TOKENS = 0x7fffffff;

export interface PolicerLimits {
  readonly kbitsRate: number;
  readonly kbitsBurst: number;
  readonly kpktsRate: number;
  readonly kpktsBurst: number;
}

/** Buckets start full. */
export function setPolicer(i32: Int32Array, at: number, limits: PolicerLimits): void {
  const clamp = (n: number): number => Math.min(MAX_TOKENS, Math.floor(n));
  const bits = clamp((limits.kbitsBurst || DEFAULT_KBITS_BURST) * 1000);
  const packets = clamp((limits.kpktsBurst || DEFAULT_KPKTS_BURST) * 1000);
  i32[at + P.BITS_RATE] = clamp(limits.kbitsRate);
  i32[at + P.BITS_BURST] = bits;
  i32[at + P.PACKETS_RATE] = clamp(limits.kpktsRate);
  i32[at + P.PACKETS_BURST] = packets;
  Atomics.store(i32, at + P.BITS, bits);
  Atomics.store(i32, at + P.PACKETS, packets);
  Atomics.store(i32, at + P.IS_ON, limits.kbitsRate > 0 || limits.kpktsRate > 0 ? 1 : 0);
}

/** `cir` and `cbs` are bytes a second and bytes; 0 lets everything pass. */
export function setEgressPolicer(i32: Int32Array, at: number, cir: number, cbs: number): void {
  setPolicer(i32, at, {
    kbitsRate: Math.ceil((cir * 8) / 1000),
    kbitsBurst: (cbs * 8) / 1000,
    kpktsRate: 0,
    kpktsBurst: 0,
  });
}

export function refillPolicer(i32: Int32Array, at: number, ms: number): void {
  const now = ms | 0;
  const last = Atomics.load(i32, at + P.LAST_MS);
  const passed = (now - last) | 0;
  if (passed <= 0 || Atomics.compareExchange(i32, at + P.LAST_MS, last, now) !== last) return;
  fill(i32, at + P.BITS, i32[at + P.BITS_RATE] * passed, i32[at + P.BITS_BURST]);
  fill(i32, at + P.PACKETS, i32[at + P.PACKETS_RATE] * passed, i32[at + P.PACKETS_BURST]);
}

function fill(i32: Int32Array, at: number, tokens: number, burst: number): void {
  const has = Atomics.load(i32, at);
  const room = burst - has;
  if (room > 0) Atomics.add(i32, at, tokens < room ? tokens : room);
}

/** Whether a packet of `bytes` may pass; what it takes is taken. */
export function takeFromPolicer(i32: Int32Array, at: number, bytes: number): boolean {
  const bits = i32[at + P.BITS_RATE] === 0 ? 0 : bytes * 8;
  const packets = i32[at + P.PACKETS_RATE] === 0 ? 0 : 1;
  if (bits !== 0 && Atomics.load(i32, at + P.BITS) < bits) return false;
  if (packets !== 0 && Atomics.load(i32, at + P.PACKETS) < packets) return false;
  if (bits !== 0) Atomics.sub(i32, at + P.BITS, bits);
  if (packets !== 0) Atomics.sub(i32, at + P.PACKETS, packets);
  return true;
}
