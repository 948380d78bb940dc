/**
 * Where the PMDs of a datapath run: in this thread, or each in a worker. An engine owns the PMDs and says which of them
 * has which port; it knows nothing of flows.
 */
import { availableParallelism } from 'node:os';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { clock } from '../base/clock.ts';
import { RecordRing, ringBytes } from '../base/record-ring.ts';
import { vlog } from '../base/vlog.ts';
import { workerUrl } from '../base/worker-url.ts';
import { CMD, CONTROL } from '../datapath/commands.ts';
import type { Conntrack } from '../datapath/ct/host.ts';
import { makePmd, type Pmd } from '../datapath/pmd.ts';
import { PmdHost, type RingSizes, type UpcallRecord } from '../datapath/pmd-host.ts';
import { PMD_STAT } from '../datapath/pmd-stats.ts';
import type { PmdControl, PmdWorkerData } from '../datapath/pmd-worker.ts';
import { openEventFd, signalEventFd } from '../linux/eventfd.ts';
import { libc } from '../linux/libc.ts';
import { openNetdevPort } from '../netdev/index.ts';
import type { Netdev, NetdevEnv } from '../netdev/netdev.ts';
import { FRAME_SIZE, FramePool } from '../packet/frame.ts';

const log = vlog('dpif_netdev');

export interface PmdSettings {
  readonly emcInverse: number;
  readonly vlanLimit: number;
}

export interface RxqInfo {
  readonly pmdId: number;
  readonly port: string;
  readonly queue: number;
  readonly packets: number;
}

export interface PmdEngine {
  readonly hosts: readonly PmdHost[];
  onUpcall: (host: PmdHost, record: UpcallRecord) => void;
  /** The PMDs are new ones: ports are there again, flows are not. */
  onRestart: () => void;
  start(settings: PmdSettings): Promise<void>;
  /** Resolves with an error's text or null. */
  addPort(no: number, netdev: Netdev): Promise<string | null>;
  removePort(no: number, netdev: Netdev): Promise<void>;
  configure(settings: PmdSettings, cpuMask: string | null): void;
  rxQueues(): Promise<readonly RxqInfo[]>;
  close(): Promise<void>;
}

const textOf = (e: unknown): string => (e instanceof Error ? e.message : String(e));

/** Frames handed out from the region that AF_XDP registers: workers share its front, the main thread has the rest. */
const MAIN_FRAMES = 2048;

function workerFrames(env: NetdevEnv): number {
  const all = Math.floor(env.frames.bytes / FRAME_SIZE);
  return all > 4 * MAIN_FRAMES ? all - MAIN_FRAMES : all;
}

// ---- in this thread ----

const MAIN_RINGS: RingSizes = { commandWords: 1 << 16, upcallWords: 1 << 16 };
const MAIN_POLL_MS = 1;

export class MainEngine implements PmdEngine {
  readonly hosts: PmdHost[];
  onUpcall: PmdEngine['onUpcall'] = () => {};
  onRestart: PmdEngine['onRestart'] = () => {};
  private readonly env: NetdevEnv;
  private readonly conntrack: Conntrack;
  private readonly pool: FramePool;
  private readonly pmd: Pmd;
  private readonly netdevs = new Map<number, Netdev>();
  private isRunning = false;
  private timer: NodeJS.Timeout | null = null;

  constructor(env: NetdevEnv, conntrack: Conntrack) {
    const { arena } = env;
    this.env = env;
    this.conntrack = conntrack;
    const host = new PmdHost(-1, arena, MAIN_RINGS);
    this.hosts = [host];
    const at = arena.alloc(MAIN_FRAMES * FRAME_SIZE, FRAME_SIZE);
    if (at < 0) throw new Error('out of packet memory');
    this.pool = new FramePool(arena, at, MAIN_FRAMES, MAIN_FRAMES);
    this.pmd = makePmd({
      arena,
      pool: this.pool,
      commands: new RecordRing(arena, host.commandsAt, MAIN_RINGS.commandWords, 'consumer'),
      upcalls: new RecordRing(arena, host.upcallsAt, MAIN_RINGS.upcallWords, 'producer'),
      controlAt: host.controlAt,
      statsAt: host.statsAt,
      scratchAt: host.scratchAt,
      conntrackAt: conntrack.at,
      readClock: (f64, at) => {
        f64[at] = clock.nowMs();
      },
      onControl: () => {},
    });
    arena.f64[host.statsAt + PMD_STAT.STARTED_MS] = clock.nowMs();
    host.kick = () => this.run();
  }

  /** Free frames of the pool; when nothing is under way, all there are. */
  get freeFrames(): number {
    return this.pool.available;
  }

  /** Runs until nothing is left to do. Calls from within (an upcall's answers) are picked up by the running loop. */
  run(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    const host = this.hosts[0];
    try {
      for (;;) {
        const n = this.pmd.run(1);
        this.conntrack.supply();
        const more = host.drain((record) => this.onUpcall(host, record));
        if (n === 0 && !more && !this.pmd.takeUpcalls()) break;
      }
    } finally {
      this.isRunning = false;
    }
    for (const netdev of this.netdevs.values()) netdev.afterRun?.();
  }

  async start(settings: PmdSettings): Promise<void> {
    this.configure(settings);
  }

  async addPort(no: number, netdev: Netdev): Promise<string | null> {
    try {
      const port = openNetdevPort(netdev.portSpec(), {
        arena: this.env.arena,
        pool: this.pool,
        now: () => clock.nowMs(),
      });
      this.pmd.addPort(no, port);
    } catch (e) {
      return textOf(e);
    }
    this.netdevs.set(no, netdev);
    netdev.onRxReady?.(() => this.run());
    this.pollIfNeeded();
    this.run();
    return null;
  }

  /** Devices of the kernel do not call us. */
  private pollIfNeeded(): void {
    const needed = this.pmd.rxFds().length > 0;
    if (needed && !this.timer) this.timer = setInterval(() => this.run(), MAIN_POLL_MS).unref();
    if (!needed && this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    }
  }

  async removePort(no: number, netdev: Netdev): Promise<void> {
    netdev.onRxReady?.(null);
    this.netdevs.delete(no);
    this.pmd.removePort(no);
    this.pollIfNeeded();
  }

  configure(settings: PmdSettings): void {
    this.pmd.setEmcInsertInverseProbability(settings.emcInverse);
    this.pmd.setVlanLimit(settings.vlanLimit);
  }

  async rxQueues(): Promise<readonly RxqInfo[]> {
    return this.pmd.rxQueues().map((q) => ({ pmdId: -1, port: q.port.name, queue: q.q, packets: q.packets }));
  }

  async close(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    this.pmd.close();
  }
}

// ---- in workers ----

const WORKER_RINGS: RingSizes = { commandWords: 1 << 19, upcallWords: 1 << 19 };
const NEIGHBOR_WORDS = 1 << 14;
const RESTART_DELAY_MS = 100;
const MAX_RESTARTS_A_MINUTE = 10;

interface Thread {
  readonly host: PmdHost;
  readonly core: number;
  readonly eventFd: number;
  readonly worker: Worker;
  readonly control: MessagePort;
  readonly pending: Map<number, (reply: { error: string | null; result: unknown }) => void>;
  /** It was asked to leave. */
  isLeaving: boolean;
  /** Nothing is to be expected of it any more. */
  isClosing: boolean;
}

export class WorkerEngine implements PmdEngine {
  hosts: PmdHost[] = [];
  onUpcall: PmdEngine['onUpcall'] = () => {};
  onRestart: PmdEngine['onRestart'] = () => {};
  private readonly env: NetdevEnv;
  private readonly conntrack: Conntrack;
  private threads: Thread[] = [];
  private rings: number[] = [];
  private settings: PmdSettings = { emcInverse: 100, vlanLimit: 1 };
  /** -1: one PMD, on whatever core. */
  private cores: readonly number[] = [-1];
  private readonly assigned = new Map<number, { readonly netdev: Netdev; thread: Thread }>();
  private nextControl = 1;
  private isClosed = false;
  private restarts: number[] = [];
  /** Port changes and restarts, one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(env: NetdevEnv, conntrack: Conntrack) {
    this.env = env;
    this.conntrack = conntrack;
  }

  private inOrder<T>(fn: () => Promise<T>): Promise<T> {
    const result = this.last.then(fn, fn);
    this.last = result.catch(() => {});
    return result;
  }

  start(settings: PmdSettings): Promise<void> {
    this.settings = settings;
    return this.inOrder(() => this.launch());
  }

  private async launch(): Promise<void> {
    const { arena } = this.env;
    const url = workerUrl('datapath/pmd-worker');
    const n = this.cores.length;
    const hosts = this.cores.map((core) => new PmdHost(Math.max(core, 0), arena, WORKER_RINGS));
    const fds = hosts.map(() => openEventFd());
    const ring = this.cores.map((_, a) => this.cores.map((_, b) => (a === b ? 0 : this.allocRing())));
    const frames = Math.floor(workerFrames(this.env) / n);
    const clockOffsetMs = clock.nowMs() - Number(process.hrtime.bigint()) / 1e6;
    this.hosts = hosts;
    this.threads = hosts.map((host, a) => {
      const { port1, port2 } = new MessageChannel();
      const others = hosts.map((_, b) => b).filter((b) => b !== a);
      const data: PmdWorkerData = {
        memory: arena.memory,
        control: port2,
        framesAt: this.env.frames.at + a * frames * FRAME_SIZE,
        nFrames: frames,
        poolCapacity: frames * n,
        commandsAt: host.commandsAt,
        commandWords: WORKER_RINGS.commandWords,
        upcallsAt: host.upcallsAt,
        upcallWords: WORKER_RINGS.upcallWords,
        controlAt: host.controlAt,
        statsAt: host.statsAt,
        scratchAt: host.scratchAt,
        conntrackAt: this.conntrack.at,
        eventFd: fds[a],
        core: this.cores[a],
        clockOffsetMs,
        neighbors: others.map((b) => ({
          outAt: ring[a][b],
          inAt: ring[b][a],
          words: NEIGHBOR_WORDS,
          controlAt: hosts[b].controlAt,
          eventFd: fds[b],
        })),
        ...this.settings,
      };
      const worker = new Worker(url, { workerData: data, transferList: [port2], name: `pmd${host.id}`, stdout: false });
      const thread: Thread = {
        host,
        core: this.cores[a],
        eventFd: fds[a],
        worker,
        control: port1,
        pending: new Map(),
        isLeaving: false,
        isClosing: false,
      };
      port1.on('message', (m: { id: number; error: string | null; result: unknown }) => {
        thread.pending.get(m.id)?.(m);
        thread.pending.delete(m.id);
      });
      port1.unref();
      host.kick = () => {
        if (Atomics.compareExchange(arena.i32, host.controlAt + CONTROL.SLEEPING, 1, 2) === 1)
          signalEventFd(thread.eventFd);
      };
      let isKicking = false;
      host.kickSoon = () => {
        if (isKicking) return;
        isKicking = true;
        queueMicrotask(() => {
          isKicking = false;
          host.kick();
        });
      };
      worker.on('error', (e) => this.died(thread, e instanceof Error ? (e.stack ?? e.message) : String(e)));
      worker.on('exit', (code) => this.died(thread, `exit status ${code}`));
      this.listen(thread);
      return thread;
    });
  }

  private allocRing(): number {
    const at = this.env.arena.alloc(ringBytes(NEIGHBOR_WORDS));
    if (at < 0) throw new Error('out of packet memory');
    this.rings.push(at);
    return at;
  }

  /** Waits for the PMD's word without keeping the event loop busy. */
  private listen(thread: Thread): void {
    const { i32 } = this.env.arena;
    const at = thread.host.controlAt + CONTROL.WAKE_MAIN;
    const look = (): void => {
      if (thread.isClosing) return;
      const seen = Atomics.load(i32, at);
      if (thread.host.drain((record) => this.onUpcall(thread.host, record))) {
        setImmediate(look);
        return;
      }
      const wait = Atomics.waitAsync(i32, at, seen);
      if (wait.async) void wait.value.then(look);
      else setImmediate(look);
    };
    look();
  }

  private ask(
    thread: Thread,
    message: PmdControl extends infer M ? (M extends { id: number } ? Omit<M, 'id'> : never) : never,
  ): Promise<{ error: string | null; result: unknown }> {
    return new Promise((resolve) => {
      if (thread.isClosing) {
        resolve({ error: 'the thread has ended', result: null });
        return;
      }
      const id = this.nextControl++;
      thread.pending.set(id, resolve);
      thread.control.postMessage({ id, ...message });
      thread.host.send(CMD.CONTROL);
    });
  }

  addPort(no: number, netdev: Netdev): Promise<string | null> {
    return this.inOrder(() => this.attach(no, netdev));
  }

  private async attach(no: number, netdev: Netdev): Promise<string | null> {
    const load = (thread: Thread): number => [...this.assigned.values()].filter((p) => p.thread === thread).length;
    const thread = this.threads.reduce((a, b) => (load(b) < load(a) ? b : a));
    try {
      const reply = await this.ask(thread, { type: 'add', no, spec: netdev.portSpec() });
      if (reply.error !== null) return reply.error;
    } catch (e) {
      return textOf(e);
    }
    this.assigned.set(no, { netdev, thread });
    netdev.onRxReady?.(() => {
      const t = this.assigned.get(no)?.thread;
      t?.host.kick();
    });
    await Promise.all(
      this.threads
        .filter((t) => t !== thread)
        .map((t) => this.ask(t, { type: 'addRemote', no, neighbor: this.neighborIndex(t, thread) })),
    );
    return null;
  }

  /** Where `other` stands in the neighbors of `thread`. */
  private neighborIndex(thread: Thread, other: Thread): number {
    return this.threads.filter((t) => t !== thread).indexOf(other);
  }

  removePort(no: number, netdev: Netdev): Promise<void> {
    return this.inOrder(async () => {
      netdev.onRxReady?.(null);
      this.assigned.delete(no);
      await Promise.all(this.threads.map((t) => this.ask(t, { type: 'remove', no })));
    });
  }

  configure(settings: PmdSettings, cpuMask: string | null): void {
    this.settings = settings;
    const cores = coresOf(cpuMask);
    void this.inOrder(async () => {
      if (this.isClosed) return;
      if (cores.join() !== this.cores.join()) {
        this.cores = cores;
        await this.relaunch();
      } else await Promise.all(this.threads.map((t) => this.ask(t, { type: 'configure', ...settings })));
    }).catch((e) => log.err(`configuration of PMD threads failed: ${textOf(e)}`));
  }

  private died(thread: Thread, why: string): void {
    if (thread.isClosing) return;
    this.abandon(thread);
    if (thread.isLeaving) return;
    log.err(`PMD thread on core ${thread.host.id} died: ${why}`);
    const now = performance.now();
    this.restarts = this.restarts.filter((t) => now - t < 60_000);
    if (this.restarts.push(now) > MAX_RESTARTS_A_MINUTE) {
      log.emer(`PMD threads keep dying; not starting them again`);
      return;
    }
    void this.inOrder(async () => {
      await new Promise((resolve) => setTimeout(resolve, RESTART_DELAY_MS));
      if (!this.isClosed) await this.relaunch();
    }).catch((e) => log.err(`restart of PMD threads failed: ${textOf(e)}`));
  }

  private abandon(thread: Thread): void {
    thread.isClosing = true;
    for (const resolve of thread.pending.values()) resolve({ error: 'the thread has ended', result: null });
    thread.pending.clear();
    Atomics.add(this.env.arena.i32, thread.host.controlAt + CONTROL.WAKE_MAIN, 1);
    Atomics.notify(this.env.arena.i32, thread.host.controlAt + CONTROL.WAKE_MAIN);
  }

  /** Ends all threads and starts new ones with the same ports. */
  private async relaunch(): Promise<void> {
    const old = this.threads;
    const ports = [...this.assigned];
    await this.stopThreads();
    this.conntrack.recover();
    this.assigned.clear();
    await this.launch();
    for (const [no, { netdev }] of ports) {
      const error = await this.attach(no, netdev);
      if (error !== null) log.err(`${netdev.name}: could not be reopened: ${error}`);
    }
    this.onRestart();
    for (const thread of old) thread.host.dispose();
  }

  /** Lets each thread close its ports and leave; one that does not is terminated. */
  private async stopThreads(): Promise<void> {
    await Promise.all(
      this.threads.map(async (thread) => {
        if (!thread.isClosing) {
          const exited = new Promise<void>((resolve) => thread.worker.once('exit', () => resolve()));
          thread.isLeaving = true;
          await this.ask(thread, { type: 'exit' });
          this.abandon(thread);
          await exited;
        } else await thread.worker.terminate();
        thread.control.close();
        libc().close(thread.eventFd);
      }),
    );
    for (const at of this.rings) this.env.arena.free(at, ringBytes(NEIGHBOR_WORDS));
    this.rings = [];
    this.threads = [];
  }

  async rxQueues(): Promise<readonly RxqInfo[]> {
    const lists = await Promise.all(
      this.threads.map(async (thread) => {
        const { result } = await this.ask(thread, { type: 'rxqs' });
        // The worker's answer to 'rxqs'.
        const queues = (result ?? []) as { port: string; queue: number; packets: number }[];
        return queues.map((q) => ({ pmdId: thread.host.id, ...q }));
      }),
    );
    return lists.flat();
  }

  close(): Promise<void> {
    this.isClosed = true;
    return this.inOrder(async () => {
      const old = this.threads;
      await this.stopThreads();
      for (const thread of old) thread.host.dispose();
      this.hosts = [];
    });
  }
}

/** The cores of a `pmd-cpu-mask`: hex digits, `0x` allowed. Cores this machine has not are left out. */
function coresOf(mask: string | null): readonly number[] {
  if (mask === null) return [-1];
  let bits: bigint;
  try {
    bits = BigInt(/^0x/i.test(mask) ? mask : `0x${mask}`);
  } catch {
    return [-1];
  }
  const cores: number[] = [];
  for (let core = 0; core < availableParallelism(); core++) if ((bits >> BigInt(core)) & 1n) cores.push(core);
  return cores.length > 0 ? cores : [-1];
}
