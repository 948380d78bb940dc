/**
 * A PMD in a thread of its own: an endless loop that never returns to Node's event loop. Rare control comes by a
 * `MessagePort`, announced in the command ring so that it keeps its place among the commands.
 *
 * When there is nothing to do the loop spins for `SPIN_MS`, then says in the arena that it sleeps, looks once more (whoever
 * gives it work looks at that word afterwards, so one of the two sees the other), and sleeps on the ports' descriptors and
 * an eventfd.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Arena } from '../base/arena.ts';
import { RecordRing } from '../base/record-ring.ts';
import { bindToCore } from '../linux/affinity.ts';
import { drainEventFd, signalEventFd } from '../linux/eventfd.ts';
import { libc } from '../linux/libc.ts';
import { PollSet } from '../linux/poll.ts';
import { wakeAsUsual, yieldCore } from '../linux/scheduling.ts';
import { openNetdevPort, reclaimNetdevPort } from '../netdev/index.ts';
import type { PortSpec } from '../netdev/netdev.ts';
import { FramePool, type LargeFrames } from '../packet/frame.ts';
import { CONTROL } from './commands.ts';
import { makePmd, type Neighbor } from './pmd.ts';
import { PMD_STAT } from './pmd-stats.ts';
import { type UpcallPlaces, UpcallProducer } from './upcall-queue.ts';

/** What a worker is started with. Byte offsets in the arena unless said otherwise. */
export interface PmdWorkerData {
  readonly memory: WebAssembly.Memory;
  readonly control: MessagePort;
  readonly framesAt: number;
  readonly nFrames: number;
  readonly poolCapacity: number;
  readonly commandsAt: number;
  readonly commandWords: number;
  readonly upcalls: UpcallPlaces;
  /** Word index. */
  readonly controlAt: number;
  /** Float64 index. */
  readonly statsAt: number;
  readonly scratchAt: number;
  /** Word index. */
  readonly conntrackAt: number;
  readonly eventFd: number;
  /** -1: wherever the kernel likes. */
  readonly core: number;
  /** What to add to the kernel's monotonic milliseconds to have the datapath's clock. */
  readonly clockOffsetMs: number;
  readonly neighbors: readonly {
    readonly outAt: number;
    readonly inAt: number;
    readonly words: number;
    readonly controlAt: number;
    readonly eventFd: number;
  }[];
  readonly large: LargeFrames | null;
  /** Which of the threads this is. */
  readonly half: number;
  readonly settings: PmdWorkerSettings;
}

export interface PmdWorkerSettings {
  readonly emcInverse: number;
  readonly hasSmc: boolean;
  readonly vlanLimit: number;
  readonly txFlushUs: number;
  /** The longest nap while there is little to do; 0: only descriptors wake a PMD that has nothing to do. */
  readonly sleepUs: number;
}

/** Each is answered by `{ id, error: string | null }`. */
export type PmdControl = {
  readonly id: number;
} /** Polls `queues`; sends itself, or (`neighbor` not -1) by another. A half that is there already makes way. */ & (
  | {
      readonly type: 'add';
      readonly no: number;
      readonly spec: PortSpec;
      readonly queues: readonly number[];
      /** Float64 indices. */
      readonly queueStatsAt: readonly number[];
      readonly neighbor: number;
      /** Word indices. */
      readonly policerAt: number;
      readonly egressAt: number;
    }
  /** `neighbor` is an index of `PmdWorkerData.neighbors`. */
  | { readonly type: 'addRemote'; readonly no: number; readonly neighbor: number }
  | { readonly type: 'remove'; readonly no: number }
  /** The port is gone and its sockets are closed: what the kernel had is ours again. */
  | { readonly type: 'reclaim'; readonly spec: PortSpec }
  | { readonly type: 'configure'; readonly settings: PmdWorkerSettings }
  | { readonly type: 'exit' }
);

const SPIN_MS = 0.05;
const MAX_SLEEP_MS = 200;
/** With `pmd-sleep-max`, a PMD whose queues have less than this many packets in a round naps, longer each time. */
const NAP_BURST = 16;
const NAP_STEP_US = 10;
/** A descriptor that is ready without a packet for us (its device went down, say) must not keep us from sleeping. */
const SPURIOUS_SLEEP_MS = 2;

function run(data: PmdWorkerData): void {
  const arena = new Arena(data.memory);
  const { i32, f64 } = arena;
  const pool = new FramePool(arena, data.framesAt, data.nFrames, data.poolCapacity, data.large);
  // performance.now() makes no garbage; its origin differs from thread to thread.
  const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now() + data.clockOffsetMs;
  const now = (): number => performance.now() + offset;
  let isRunning = true;
  let sleepSet: PollSet | null = null;
  let mustPoll = false;
  const wakes = new Map<number, boolean>();
  wakeAsUsual();
  if (data.core >= 0) bindToCore(data.core);

  const pmd = makePmd({
    arena,
    pool,
    commands: new RecordRing(arena, data.commandsAt, data.commandWords, 'consumer'),
    upcalls: new UpcallProducer(arena, data.upcalls),
    controlAt: data.controlAt,
    statsAt: data.statsAt,
    scratchAt: data.scratchAt,
    conntrackAt: data.conntrackAt,
    readClock: (to, at) => {
      to[at] = performance.now() + offset;
    },
    onControl: () => {
      const received = receiveMessageOnPort(data.control);
      if (received) answer(received.message as PmdControl);
    },
  });
  let sleepUs = 0;
  configure(data.settings);
  const neighbors: Neighbor[] = data.neighbors.map((n) => ({
    out: new RecordRing(arena, n.outAt, n.words, 'producer'),
    in: new RecordRing(arena, n.inAt, n.words, 'consumer'),
    wake: () => {
      if (Atomics.compareExchange(i32, n.controlAt + CONTROL.SLEEPING, 1, 2) === 1) signalEventFd(n.eventFd);
    },
  }));
  for (const n of neighbors) pmd.addNeighbor(n);

  function answer(message: PmdControl): void {
    let error: string | null = null;
    let result: unknown = null;
    try {
      result = control(message);
    } catch (e) {
      error = e instanceof Error ? e.message : String(e);
    }
    data.control.postMessage({ id: message.id, error, result });
  }

  function configure(settings: PmdWorkerSettings): void {
    pmd.setEmcInsertInverseProbability(settings.emcInverse);
    pmd.setSmc(settings.hasSmc);
    pmd.setVlanLimit(settings.vlanLimit);
    pmd.setTxFlushInterval(settings.txFlushUs);
    sleepUs = settings.sleepUs;
  }

  function control(m: PmdControl): unknown {
    switch (m.type) {
      case 'add': {
        pmd.removePort(m.no);
        const half = openNetdevPort(m.spec, { arena, pool, now, queues: m.queues, half: data.half });
        const sender = m.neighbor < 0 ? null : neighbors[m.neighbor];
        pmd.addPort(m.no, half, m.queues, m.queueStatsAt, sender, m.spec.txClasses?.length, m.policerAt, m.egressAt);
        wakes.set(m.no, m.spec.wakes === true);
        break;
      }
      case 'reclaim':
        reclaimNetdevPort(m.spec, { arena, pool, now });
        break;
      case 'addRemote':
        pmd.addRemotePort(m.no, neighbors[m.neighbor]);
        break;
      case 'remove':
        pmd.removePort(m.no);
        wakes.delete(m.no);
        break;
      case 'configure':
        configure(m.settings);
        break;
      case 'exit':
        isRunning = false;
        break;
    }
    sleepSet = null;
    return null;
  }

  function prepareSleep(): PollSet {
    const queues = pmd.rxQueues();
    mustPoll = queues.some((q) => q.port.rxFds(q.q).length === 0 && !wakes.get(q.no));
    sleepSet = new PollSet([data.eventFd, ...pmd.rxFds()]);
    return sleepSet;
  }

  const tellMain = (): void => {
    Atomics.add(i32, data.controlAt + CONTROL.WAKE_MAIN, 1);
    Atomics.notify(i32, data.controlAt + CONTROL.WAKE_MAIN);
  };

  const nowAt = data.statsAt + PMD_STAT.NOW_MS;
  f64[data.statsAt + PMD_STAT.STARTED_MS] = now();
  const bell = new PollSet([data.eventFd]);
  // Times are plain locals of this function: a double that a closure shares would be garbage each time it changes.
  let lastMs = now();
  let idleSinceMs = lastMs;
  let wasBusy = false;
  let wasSpurious = false;
  let yields = false;
  let napUs = 0;
  const c = libc();

  while (isRunning) {
    const n = pmd.run();
    if (pmd.takeUpcalls()) {
      tellMain();
      yields = true;
    }
    // The round read the clock as it began: the time since the one before is that one's.
    const ms = f64[nowAt];
    f64[data.statsAt + (wasBusy ? PMD_STAT.BUSY_NS : PMD_STAT.IDLE_NS)] += (ms - lastMs) * 1e6;
    lastMs = ms;
    wasBusy = n !== 0;
    if (wasBusy) {
      wasSpurious = false;
      idleSinceMs = ms;
      if (sleepUs === 0 || pmd.longestBurst() >= NAP_BURST) napUs = 0;
      else {
        // Little to do: let more come.
        napUs = napUs + NAP_STEP_US < sleepUs ? napUs + NAP_STEP_US : sleepUs;
        pmd.settle();
        f64[data.statsAt + PMD_STAT.BUSY_NS] += (f64[nowAt] - lastMs) * 1e6;
        lastMs = f64[nowAt];
        wasBusy = false;
        f64[data.statsAt + PMD_STAT.SLEEPS]++;
        f64[data.statsAt + PMD_STAT.NAP_US] += napUs;
        c.usleep(napUs);
      }
      continue;
    }
    const set = sleepSet ?? prepareSleep();
    if (mustPoll || ms - idleSinceMs < SPIN_MS) {
      // The main thread, which is to answer, may have nowhere to run but here.
      if (yields) {
        yields = false;
        yieldCore();
      }
      continue;
    }
    Atomics.store(i32, data.controlAt + CONTROL.SLEEPING, 1);
    wasBusy = pmd.run() !== 0;
    if (!wasBusy) {
      pmd.flush();
      f64[data.statsAt + PMD_STAT.SLEEPS]++;
      wasSpurious = wasSpurious ? bell.wait(SPURIOUS_SLEEP_MS) < 0 : set.wait(MAX_SLEEP_MS) > 0;
    }
    Atomics.store(i32, data.controlAt + CONTROL.SLEEPING, 0);
    drainEventFd(data.eventFd);
    if (pmd.takeUpcalls()) tellMain();
    // One round of looking, then to sleep again: only packets and commands earn a spin.
    idleSinceMs = ms - SPIN_MS;
  }
  pmd.close();
  data.control.close();
}

// `workerData` is what `src/dpif/pmd-host.ts` passes.
if (workerData !== null && typeof workerData === 'object' && 'upcalls' in workerData) run(workerData as PmdWorkerData);
