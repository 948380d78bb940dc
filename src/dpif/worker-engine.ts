/**
 * PMDs in threads of their own. A thread polls some queues of some ports; which, the plan says. To a port that it cannot send
 * to itself it hands frames over, to a neighbor that can.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { clock } from '../base/clock.ts';
import { ringBytes } from '../base/record-ring.ts';
import { vlog } from '../base/vlog.ts';
import { workerUrl } from '../base/worker-url.ts';
import { CMD, CONTROL } from '../datapath/commands.ts';
import type { Conntrack } from '../datapath/ct/host.ts';
import { PmdHost, type RingSizes } from '../datapath/pmd-host.ts';
import type { PmdControl, PmdWorkerData } from '../datapath/pmd-worker.ts';
import { openEventFd, signalEventFd } from '../linux/eventfd.ts';
import { libc } from '../linux/libc.ts';
import type { Netdev, NetdevEnv } from '../netdev/netdev.ts';
import { FRAME_SIZE } from '../packet/frame.ts';
import { assignsAnew } from './main-engine.ts';
import { allocLarge, type PmdEngine, textOf, workerFrames } from './netdev-engine.ts';
import { type PmdConfig, sleepUsOf } from './pmd-config.ts';
import { type PlannedPort, RxqPlan } from './rxq-plan.ts';

const log = vlog('dpif_netdev');

const RINGS: RingSizes = { commandWords: 1 << 19, upcallWords: 1 << 19 };
const NEIGHBOR_WORDS = 1 << 14;
const LARGE_FRAMES = 512;
const RESTART_DELAY_MS = 100;
const MAX_RESTARTS_A_MINUTE = 10;

/** What a thread does for a port: polls queues, and sends itself (-1) or by a neighbor. */
interface Part {
  readonly queues: readonly number[];
  /** The thread that sends for this one; null for itself. */
  readonly sender: Thread | null;
}

interface Thread {
  readonly host: PmdHost;
  readonly core: number;
  readonly eventFd: number;
  readonly worker: Worker;
  readonly control: MessagePort;
  readonly pending: Map<number, (reply: { error: string | null; result: unknown }) => void>;
  readonly parts: Map<number, Part>;
  /** It was asked to leave. */
  isLeaving: boolean;
  /** Nothing is to be expected of it any more. */
  isClosing: boolean;
}

type Request = PmdControl extends infer M ? (M extends { id: number } ? Omit<M, 'id'> : never) : never;

export class WorkerEngine implements PmdEngine {
  hosts: PmdHost[] = [];
  readonly plan: RxqPlan;
  deaths = 0;
  onUpcall: PmdEngine['onUpcall'] = () => {};
  onLetGo: PmdEngine['onLetGo'] = async () => {};
  onRestart: PmdEngine['onRestart'] = () => {};
  onHostsGone: PmdEngine['onHostsGone'] = () => {};
  private readonly env: NetdevEnv;
  private readonly conntrack: Conntrack;
  private readonly large: { readonly at: number; readonly count: number } | null;
  private threads: Thread[] = [];
  private rings: number[] = [];
  private nextControl = 1;
  private isClosed = false;
  private restarts: number[] = [];
  /** Port changes and restarts, one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(env: NetdevEnv, conntrack: Conntrack, config: PmdConfig) {
    this.env = env;
    this.conntrack = conntrack;
    this.plan = new RxqPlan(env.arena, config);
    this.plan.onImprovement = () => void this.rebalance();
    this.large = allocLarge(env, LARGE_FRAMES);
  }

  private inOrder<T>(fn: () => Promise<T>): Promise<T> {
    const result = this.last.then(fn, fn);
    this.last = result.catch(() => {});
    return result;
  }

  start(): Promise<void> {
    return this.inOrder(() => this.launch());
  }

  isPolledByPmd(): boolean {
    return true;
  }

  private async launch(): Promise<void> {
    const { arena } = this.env;
    const url = workerUrl('datapath/pmd-worker');
    // Without a mask: one PMD, on whatever core.
    const cores = this.plan.config.cores ?? [{ core: -1, numa: 0 }];
    const n = cores.length;
    const hosts = cores.map(({ core, numa }) => new PmdHost(Math.max(core, 0), arena, RINGS, numa));
    const fds = hosts.map(() => openEventFd());
    const ring = cores.map((_, a) => cores.map((_, b) => (a === b ? 0 : this.allocRing())));
    const frames = Math.floor(workerFrames(this.env) / n);
    const share = Math.floor((this.large?.count ?? 0) / n);
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
        large: this.large === null ? null : { ...this.large, first: a * share, share },
        half: a,
        commandsAt: host.commandsAt,
        commandWords: RINGS.commandWords,
        upcalls: host.upcallPlaces,
        controlAt: host.controlAt,
        statsAt: host.statsAt,
        scratchAt: host.scratchAt,
        conntrackAt: this.conntrack.at,
        eventFd: fds[a],
        core: cores[a].core,
        clockOffsetMs,
        neighbors: others.map((b) => ({
          outAt: ring[a][b],
          inAt: ring[b][a],
          words: NEIGHBOR_WORDS,
          controlAt: hosts[b].controlAt,
          eventFd: fds[b],
        })),
        settings: this.settingsOf(host),
      };
      const worker = new Worker(url, { workerData: data, transferList: [port2], name: `pmd${host.id}`, stdout: false });
      const thread: Thread = {
        host,
        core: cores[a].core,
        eventFd: fds[a],
        worker,
        control: port1,
        pending: new Map(),
        parts: new Map(),
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
      log.info(`PMD thread on numa_id: ${host.numa}, core id: ${String(host.id).padStart(2)} created.`);
      return thread;
    });
    for (const numa of new Set(hosts.map((h) => h.numa)))
      log.info(`There are ${hosts.filter((h) => h.numa === numa).length} pmd threads on numa node ${numa}`);
  }

  private settingsOf(host: PmdHost): PmdWorkerData['settings'] {
    const { config } = this.plan;
    const { emcInverse, hasSmc, vlanLimit, txFlushUs } = config;
    return { emcInverse, hasSmc, vlanLimit, txFlushUs, sleepUs: sleepUsOf(config, host.id) };
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

  private ask(thread: Thread, message: Request): Promise<{ error: string | null; result: unknown }> {
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
    return this.inOrder(async () => {
      const error = this.open(no, netdev) ?? (await this.place(no));
      if (error !== null) await this.drop(no, netdev);
      return error;
    });
  }

  private open(no: number, netdev: Netdev): string | null {
    try {
      if (this.plan.add(no, netdev, netdev.portSpec()) === null) return 'Cannot allocate memory';
    } catch (e) {
      return textOf(e);
    }
    netdev.onRxReady?.(() => {
      for (const thread of this.threads) if (thread.parts.get(no)?.queues.length) thread.host.kick();
    });
    return null;
  }

  /** Assigns queues to threads and makes it so. Resolves with what went wrong with port `watched`. */
  private async place(watched = -1): Promise<string | null> {
    this.plan.assign(this.hosts.map((h) => ({ core: h.id, numa: h.numa, statsAt: h.statsAt })));
    let wrong: string | null = null;
    for (const port of this.plan.all()) {
      const error = await this.placePort(port);
      if (error === null) continue;
      if (port.no === watched) wrong = error;
      else log.err(`${port.netdev.name}: ${error}`);
    }
    return wrong;
  }

  /** Threads that lose something of the port come first: no queue is ever polled by two. */
  private async placePort(port: PlannedPort): Promise<string | null> {
    const wanted = this.partsOf(port);
    const changed = this.threads.filter((t) => !isSame(t.parts.get(port.no), wanted.get(t)));
    const loses = (t: Thread): boolean => {
      const before = t.parts.get(port.no);
      if (before === undefined) return false;
      const queues = wanted.get(t)?.queues ?? [];
      return before.queues.some((q) => !queues.includes(q)) || before.sender !== wanted.get(t)?.sender;
    };
    const senders = this.threads.filter((t) => wanted.get(t)?.sender === null);
    await Promise.all(changed.filter(loses).map((t) => this.giveUp(t, port, wanted.get(t) as Part, senders)));
    const replies = await Promise.all(changed.map((t) => this.tell(t, port, wanted.get(t) as Part)));
    return replies.find((error) => error !== null) ?? null;
  }

  /** Of what the thread has of a port, that stays which it shall have. */
  private async giveUp(thread: Thread, port: PlannedPort, wanted: Part, others: readonly Thread[]): Promise<void> {
    const before = thread.parts.get(port.no);
    const queues = (before?.queues ?? []).filter((q) => wanted.queues.includes(q));
    const isOurs = port.spec.tx === 'any' || (port.spec.tx === 'queues' && queues.length > 0);
    // What is to be sent meanwhile waits with a thread that sends for the port, or is about to.
    const other = wanted.sender ?? others.find((t) => t !== thread) ?? null;
    if (isOurs || other !== null) {
      await this.tell(thread, port, { queues, sender: isOurs ? null : other });
      return;
    }
    await this.ask(thread, { type: 'remove', no: port.no });
    thread.parts.delete(port.no);
  }

  private async tell(thread: Thread, port: PlannedPort, part: Part): Promise<string | null> {
    const { no, spec } = port;
    thread.parts.set(no, part);
    const neighbor = part.sender === null ? -1 : this.neighborIndex(thread, part.sender);
    const isRemote = part.sender !== null && part.queues.length === 0;
    const statsAt = part.queues.map((q) => port.queues[q].statAt);
    const { error } = await this.ask(
      thread,
      isRemote
        ? { type: 'addRemote', no, neighbor }
        : {
            type: 'add',
            no,
            spec,
            queues: part.queues,
            queueStatsAt: statsAt,
            neighbor,
            policerAt: port.policerAt,
            egressAt: port.egressAt,
          },
    );
    return error;
  }

  private partsOf(port: PlannedPort): Map<Thread, Part> {
    const parts = new Map<Thread, Part>();
    const queuesOf = new Map<Thread, number[]>(this.threads.map((t) => [t, []]));
    for (const q of port.queues) {
      const thread = this.threads.find((t) => t.host.id === q.core);
      if (thread !== undefined) queuesOf.get(thread)?.push(q.queue);
    }
    const { tx } = port.spec;
    const withQueues = this.threads.filter((t) => queuesOf.get(t)?.length);
    const withFirst = this.threads.find((t) => queuesOf.get(t)?.includes(0));
    // A port that nobody polls is still sent to.
    const senders = tx === 'queues' && withQueues.length > 0 ? withQueues : [withFirst ?? this.threads[0]];
    this.threads.forEach((thread, i) => {
      const isSender = tx === 'any' || senders.includes(thread);
      const sender = isSender ? null : senders[i % senders.length];
      parts.set(thread, { queues: queuesOf.get(thread) ?? [], sender });
    });
    return parts;
  }

  /** Where `other` stands in the neighbors of `thread`. */
  private neighborIndex(thread: Thread, other: Thread): number {
    return this.threads.filter((t) => t !== thread).indexOf(other);
  }

  removePort(no: number, netdev: Netdev): Promise<void> {
    return this.inOrder(() => this.drop(no, netdev));
  }

  private async drop(no: number, netdev: Netdev): Promise<void> {
    netdev.onRxReady?.(null);
    await Promise.all(this.threads.map((t) => this.ask(t, { type: 'remove', no })));
    for (const thread of this.threads) thread.parts.delete(no);
    const spec = this.plan.get(no)?.spec;
    this.plan.remove(no);
    netdev.release?.();
    const [first] = this.threads;
    if (spec !== undefined && first !== undefined) await this.ask(first, { type: 'reclaim', spec });
  }

  configure(config: PmdConfig): Promise<void> {
    return this.inOrder(async () => {
      const before = this.plan.config;
      this.plan.config = config;
      if (this.isClosed) return;
      if (before.cores?.map((c) => c.core).join() !== config.cores?.map((c) => c.core).join()) await this.relaunch();
      else {
        await Promise.all(
          this.threads.map((t) => this.ask(t, { type: 'configure', settings: this.settingsOf(t.host) })),
        );
        if (assignsAnew(before, config)) await this.place();
      }
    }).catch((e) => log.err(`configuration of PMD threads failed: ${textOf(e)}`));
  }

  rebalance(): Promise<void> {
    return this.inOrder(async () => {
      if (!this.isClosed) await this.place();
    });
  }

  private died(thread: Thread, why: string): void {
    if (thread.isClosing) return;
    this.abandon(thread);
    if (thread.isLeaving) return;
    log.err(`PMD thread on core ${thread.host.id} died: ${why}`);
    this.deaths++;
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
    const ports = [...this.plan.all()];
    await this.onLetGo();
    await this.stopThreads();
    this.conntrack.recover();
    for (const { no, netdev } of ports) {
      this.plan.remove(no);
      netdev.release?.();
    }
    await this.launch();
    for (const { no, netdev } of ports) {
      const error = this.open(no, netdev);
      if (error !== null) log.err(`${netdev.name}: could not be reopened: ${error}`);
    }
    await this.place();
    this.onRestart();
    for (const thread of old) {
      if (!this.hosts.some((h) => h.id === thread.host.id))
        log.info(
          `PMD thread on numa_id: ${thread.host.numa}, core id: ${String(thread.host.id).padStart(2)} destroyed.`,
        );
      thread.host.dispose();
    }
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

  close(): Promise<void> {
    this.isClosed = true;
    return this.inOrder(async () => {
      const old = this.threads;
      await this.stopThreads();
      for (const thread of old) thread.host.dispose();
      this.plan.dispose();
      this.hosts = [];
    });
  }
}

function isSame(a: Part | undefined, b: Part | undefined): boolean {
  return a !== undefined && b !== undefined && a.sender === b.sender && a.queues.join() === b.queues.join();
}
