/**
 * Answers what the datapath hands up: translates the packet, installs a megaflow for its like, sends the packet on its
 * way, and passes packets for controllers to the bridge's connections.
 *
 * Upcalls wait in a queue for each input port and are taken from the queues in turn, so that one port full of new flows
 * cannot starve the others; a queue that is full drops. Nothing thrown leaves this file.
 */
import { clock } from '../base/clock.ts';
import { coverage } from '../base/coverage.ts';
import { Histogram } from '../base/metrics.ts';
import { vlog } from '../base/vlog.ts';
import type { DpFlow, DpFlowStats, Upcall } from '../dpif/dpif.ts';
import type { UserspaceAction } from '../flow/dp-actions.ts';
import type { FlowKey } from '../flow/key.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import { PacketInReason } from '../openflow/messages.ts';
import type { Backer } from './backer.ts';
import { Bridge } from './bridge.ts';
import { writeContinuation } from './continuation.ts';
import { EXPLICIT_MISS, IMPLICIT_MISS } from './packet-in-reason.ts';
import { packetMetadata } from './packet-metadata.ts';
import { Ukey } from './ukey.ts';
import { creditEffects, type XlateResult } from './xlate.ts';

const log = vlog('ofproto_dpif_upcall');
const xlated = coverage('xlate_actions');
const dropped = coverage('upcall_queue_overflow');

const SLICE_MS = 8;
/** Ends of the buckets of times, in seconds. */
const TIME_BOUNDS = [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 100e-3];
const QUEUE_LIMIT = 512;
const NO_BUFFER = 0xffffffff;
const MISS_CAUSES = new Map<number, 'miss_flow' | 'implicit'>([
  [EXPLICIT_MISS, 'miss_flow'],
  [IMPLICIT_MISS, 'implicit'],
]);
const stats: DpFlowStats = { packets: 0, bytes: 0, usedMs: 0, tcpFlags: 0 };

const isTranslated = (upcall: Upcall): boolean => upcall.reason === 'miss' || upcall.userspace?.type === 'slow_path';

export class UpcallHandler {
  /** Off for tests of what a megaflow spares: every flow is then installed with all bits looked at. */
  usesMegaflows = true;
  /** Upcalls dropped because too many of their port waited. */
  overflows = 0;
  /** While flows are being restored (`flow-restore-wait`) what no megaflow carries is dropped. */
  isRestoring = false;
  /** Upcalls dropped for that. */
  withheld = 0;
  readonly times = new Histogram(TIME_BOUNDS);
  private readonly backer: Backer;
  private readonly queues = new Map<number, Upcall[]>();
  private isScheduled = false;

  constructor(backer: Backer) {
    this.backer = backer;
  }

  handle(batch: readonly Upcall[]): void {
    for (const upcall of batch) {
      if (this.isRestoring) {
        this.withheld++;
        this.backer.journeys?.lost(upcall, 'flow-restore-wait');
        continue;
      }
      const port = upcall.key.get32(OFS.in_port);
      const queue = this.queues.get(port);
      if (queue === undefined) this.queues.set(port, [upcall]);
      else if (queue.length < QUEUE_LIMIT) queue.push(upcall);
      else {
        dropped.inc();
        this.overflows++;
        this.backer.journeys?.lost(upcall, 'upcall-queue-full');
        if (upcall.stops) this.answered(upcall);
      }
    }
    if (!this.isScheduled) this.run();
  }

  private run(): void {
    this.isScheduled = false;
    const deadline = performance.now() + SLICE_MS;
    while (this.queues.size > 0) {
      for (const [port, queue] of this.queues) {
        const upcall = queue.shift();
        if (queue.length === 0) this.queues.delete(port);
        if (upcall) this.one(upcall);
      }
      if (this.queues.size > 0 && performance.now() > deadline) {
        this.isScheduled = true;
        setImmediate(() => this.run());
        return;
      }
    }
  }

  private one(upcall: Upcall): void {
    if (upcall.stops && isTranslated(upcall)) {
      const go = (now: Upcall | null): void => {
        if (now) this.answer(now, true);
        else {
          this.backer.journeys?.lost(upcall, 'breakpoint');
          this.answered(upcall);
        }
      };
      if (this.backer.journeys?.breaks.stopsTranslation(upcall, go)) return;
    }
    this.answer(upcall, (upcall.stops ?? 0) !== 0);
  }

  /** A breakpoint has to know when packets that wait behind this one may follow. */
  private answered(upcall: Upcall): void {
    this.backer.dpif.journeys?.answered(upcall.pmdId, upcall.journey ?? 0);
  }

  /** `isAwaited`: the datapath is told when this is done. */
  private answer(upcall: Upcall, isAwaited: boolean): void {
    const started = performance.now();
    let waits = false;
    try {
      if (isTranslated(upcall)) waits = this.translate(upcall);
      else if (upcall.userspace?.type === 'controller') this.toController(upcall, upcall.userspace);
      else this.toExporter(upcall);
    } catch (cause) {
      log.rl(5).err(`upcall failed: ${cause instanceof Error ? (cause.stack ?? cause.message) : cause}`);
    }
    if (isAwaited && !waits) this.answered(upcall);
    this.times.add(performance.now() - started);
  }

  /** True: its packet is about to be dropped, and waits at a breakpoint. */
  private translate(upcall: Upcall): boolean {
    const entry = this.backer.flowOf(upcall.key);
    if (!entry) {
      log.rl(5).info(`received packet on unassociated datapath port ${upcall.key.get32(OFS.in_port)}`);
      this.backer.journeys?.lost(upcall, 'unknown-port');
      return false;
    }
    const tcpFlags = entry.flow.get16(OFS.tcp_flags);
    const { journeys } = this.backer;
    const observer = journeys?.telling(upcall) ?? null;
    const result = this.backer.translate({ ...entry, packet: upcall.packet, tcpFlags, observer, sideEffects: true });
    xlated.inc();
    const installed = upcall.reason === 'miss' ? this.install(upcall, entry.flow, entry.bridge, result) : null;
    if (result.actions.length > 0) {
      const { packet, key, pmdId, journey, stops } = upcall;
      this.backer.dpif.execute(packet, key, result.actions, pmdId, journey, stops);
    }
    let waits = false;
    if (journeys && observer) {
      if (upcall.stops && result.actions.length === 0) {
        const reason = observer.drop(result, entry.bridge);
        waits = journeys.breaks.stopsDrop(upcall, reason, () => this.answered(upcall));
      }
      journeys.translated(upcall, observer, entry, result, installed);
    }
    const usedMs = clock.nowMs();
    creditEffects(result.effects, { packets: 1, bytes: upcall.packet.length, usedMs, tcpFlags });
    return waits;
  }

  private install(upcall: Upcall, flow: FlowKey, bridge: Bridge, result: XlateResult): DpFlow | null {
    const { dpif, revalidator } = this.backer;
    if (dpif.stats().flows >= revalidator.flowLimit) return null;
    const mask = result.mask;
    // The datapath tells megaflows apart by port and recirculation first of all.
    mask.set32(OFS.in_port, 0xffffffff);
    mask.set32(OFS.recirc_id, 0xffffffff);
    if (!this.usesMegaflows) mask.w.fill(-1, 0, DP_WORDS);
    const ukey = new Ukey(flow, bridge, result, clock.nowMs());
    const put = dpif.flowPut(upcall.key, mask, this.backer.installable(result), upcall.pmdId, ukey);
    if (!put) return null;
    // Two packets of a new flow may both come up: the second finds the first one's megaflow, whose packets so far have
    // their credit elsewhere.
    if (put.user !== ukey) put.user = ukey;
    dpif.flowStats(put, stats);
    ukey.packets = stats.packets;
    ukey.bytes = stats.bytes;
    ukey.flow = put;
    revalidator.installed(ukey);
    return put;
  }

  private toExporter(upcall: Upcall): void {
    const { userspace } = upcall;
    if (userspace?.type !== 'sflow' && userspace?.type !== 'ipfix' && userspace?.type !== 'flow_sample') return;
    const entry = this.backer.flowOf(upcall.key);
    entry?.bridge.exporters.received(upcall, entry.flow, userspace);
  }

  private toController(upcall: Upcall, action: Extract<UserspaceAction, { type: 'controller' }>): void {
    const state = this.backer.recirc.lookup(action.recircId);
    this.backer.journeys?.sentToController(upcall, action.reason, state?.table ?? null);
    if (!state || action.dontSend || !(state.bridge instanceof Bridge)) return;
    const cause = MISS_CAUSES.get(action.reason) ?? 'explicit';
    const reason = cause === 'explicit' ? action.reason : PacketInReason.no_match;
    state.bridge.connmgr.packetIn({
      controllerId: action.controllerId,
      cause,
      pin: {
        type: 'packet_in',
        packet: upcall.packet,
        totalLen: upcall.packet.length,
        bufferId: NO_BUFFER,
        reason,
        table: state.table,
        cookie: action.ruleCookie,
        metadata: packetMetadata(upcall.key, state),
        userdata: state.userdata,
        continuation: action.continuation
          ? writeContinuation(state, state.bridge.continuationId, upcall.key.get32(OFS.in_port))
          : null,
      },
    });
  }
}
