/**
 * Where the PMDs of a datapath run: in this thread (`main-engine.ts`), or each in a worker (`worker-engine.ts`). An engine
 * owns the PMDs and carries out which of them polls which queue; it knows nothing of flows.
 */
import type { PmdHost, UpcallRecord } from '../datapath/pmd-host.ts';
import type { Netdev, NetdevEnv } from '../netdev/netdev.ts';
import { FRAME_SIZE, LARGE_FRAME_SIZE } from '../packet/frame.ts';
import type { PmdConfig } from './pmd-config.ts';
import type { RxqPlan } from './rxq-plan.ts';

export interface PmdEngine {
  readonly hosts: readonly PmdHost[];
  readonly plan: RxqPlan;
  onUpcall: (host: PmdHost, record: UpcallRecord) => void;
  /** All PMDs are about to be replaced: what waits in them goes on before. */
  onLetGo: () => Promise<void>;
  /** The PMDs are new ones: ports are there again, flows are not. */
  onRestart: () => void;
  /** These PMDs are about to end; others go on. */
  onHostsGone: (hosts: readonly PmdHost[]) => void;
  /** How many threads died and were started again. */
  readonly deaths: number;
  start(): Promise<void>;
  /** Resolves with an error's text or null. */
  addPort(no: number, netdev: Netdev): Promise<string | null>;
  removePort(no: number, netdev: Netdev): Promise<void>;
  /** Resolves when the PMDs act by it. */
  configure(config: PmdConfig): Promise<void>;
  /** Assigns queues anew, by what they were measured to cost. */
  rebalance(): Promise<void>;
  /** Whether a packet from this port comes to a PMD rather than to the main thread. */
  isPolledByPmd(no: number): boolean;
  close(): Promise<void>;
}

export const textOf = (e: unknown): string => (e instanceof Error ? e.message : String(e));

/** Frames handed out from the region that AF_XDP registers: workers share its front, the main thread has the rest. */
export const MAIN_FRAMES = 2048;

export function workerFrames(env: NetdevEnv): number {
  const all = Math.floor(env.frames.bytes / FRAME_SIZE);
  return all > 4 * MAIN_FRAMES ? all - MAIN_FRAMES : all;
}

/** The region of large frames, fewer where memory is short. */
export function allocLarge(env: NetdevEnv, count: number): { at: number; count: number } | null {
  for (let n = count; n >= 4; n >>= 1) {
    if (n * LARGE_FRAME_SIZE * 4 > env.arena.size - env.arena.used) continue;
    const at = env.arena.alloc(n * LARGE_FRAME_SIZE, FRAME_SIZE);
    if (at >= 0) return { at, count: n };
  }
  return null;
}
