/**
 * Keeps the installed megaflows right.
 *
 * - A *pass* re-translates the megaflows that a change may have touched, and removes or replaces those that came out
 *   differently. Changes gather until a pass takes them; a barrier waits for the pass that has taken all before it.
 * - A *sweep*, on a timer, pushes statistics to rules, removes what is idle, and adjusts how many megaflows there may be
 *   to how long the sweep took.
 *
 * Both work in slices, so that the event loop is never kept long. The first slice is synchronous: few megaflows are
 * done at once.
 *
 * A changed address concerns the megaflows whose translation asked for it. A changed rule concerns a megaflow only if the megaflow's translation looked into the rule's table; and if that lookup
 * was the very first one, only if the two overlap.
 */

import { clock } from '../base/clock.ts';
import { coverage } from '../base/coverage.ts';
import { Histogram } from '../base/metrics.ts';
import { vlog } from '../base/vlog.ts';
import type { DpFlow } from '../dpif/dpif.ts';
import { type DpAction, sameActions } from '../flow/dp-actions.ts';
import { DP_WORDS } from '../flow/layout.ts';
import type { Backer } from './backer.ts';
import { MegaflowIndex, scopeOf } from './megaflow-index.ts';
import type { Rule } from './rule.ts';
import type { FlowTable } from './tables.ts';
import { Ukey } from './ukey.ts';

const COUNT = {
  reconfigure: coverage('rev_reconfigure'),
  macLearning: coverage('rev_mac_learning'),
};

const log = vlog('ofproto_dpif_upcall');
const dumpedFlow = coverage('dumped_new_flow');

/** New flows wait for as long as this. */
const SLICE_MS = 1;
/** Beyond so many changed rules in a table, all of the table counts as changed. */
const RULES_PER_TABLE = 64;
/** Beyond so many changed addresses, all count as changed. */
const MACS_PER_PASS = 10_000;
/** MAC changes gather for this long: a burst of new stations costs one pass. */
const MAC_DELAY_MS = 5;
const MIN_FLOW_LIMIT = 1000;

interface Changes {
  all: boolean;
  /** Keys of entries of MAC tables. */
  macs: Set<string> | 'all';
  /** `all` where too many rules changed. */
  readonly tables: Map<FlowTable, Rule[] | 'all'>;
}

const noChanges = (): Changes => ({ all: false, macs: new Set(), tables: new Map() });

/** Ends of the buckets of sweeps' times, in seconds. */
const SWEEP_BOUNDS = [1e-3, 5e-3, 25e-3, 0.1, 0.25, 0.5, 1, 2];

export class Revalidator {
  maxIdleMs = 10_000;
  maxIntervalMs = 500;
  /** `other_config:flow-limit`. */
  configuredLimit = 200_000;
  flowLimit = 10_000;
  readonly counts = { current: 0, average: 0, max: 0, dumpMs: 0 };
  readonly sweeps = new Histogram(SWEEP_BOUNDS);
  /** Megaflows translated again, and removed: by why. */
  readonly done = { revalidated: 0, removed_wrong: 0, removed_idle: 0, removed_over_limit: 0 };

  private readonly backer: Backer;
  private changes = noChanges();
  private hasChanges = false;
  private running: Promise<void> | null = null;
  private queued: Promise<void> | null = null;
  private macTimer: Disposable | null = null;
  private sweepTimer: Disposable;
  private sweeping: Promise<void> | null = null;
  /** Something was deleted or replaced in the datapath since it last came to rest. */
  private isDatapathDirty = false;
  private recircBefore: ReadonlySet<number> = new Set();
  private index = new MegaflowIndex();
  private isClosed = false;

  constructor(backer: Backer) {
    this.backer = backer;
    this.sweepTimer = clock.setInterval(() => void this.sweep(), this.maxIntervalMs);
  }

  setInterval(ms: number): void {
    if (ms === this.maxIntervalMs) return;
    this.maxIntervalMs = ms;
    this.sweepTimer[Symbol.dispose]();
    this.sweepTimer = clock.setInterval(() => void this.sweep(), ms);
  }

  // ---- changes ----

  ruleChanged(table: FlowTable, rule: Rule): void {
    this.hasChanges = true;
    const rules = this.changes.tables.get(table);
    if (rules === undefined) this.changes.tables.set(table, [rule]);
    else if (rules !== 'all') {
      if (rules.length < RULES_PER_TABLE) rules.push(rule);
      else this.changes.tables.set(table, 'all');
    }
    this.soon();
  }

  everythingChanged(): void {
    COUNT.reconfigure.inc();
    this.changes.all = true;
    this.hasChanges = true;
    this.soon();
  }

  macsChanged(key: string | null): void {
    COUNT.macLearning.inc();
    const { macs } = this.changes;
    if (key === null || macs === 'all' || macs.size >= MACS_PER_PASS) this.changes.macs = 'all';
    else macs.add(key);
    this.hasChanges = true;
    this.soon();
  }

  /** Changes are taken up a little later even when nobody sends a barrier. */
  private soon(): void {
    if (this.macTimer || this.isClosed) return;
    const handle = setTimeout(() => {
      this.macTimer = null;
      void this.inForce();
    }, MAC_DELAY_MS);
    this.macTimer = { [Symbol.dispose]: () => clearTimeout(handle) };
  }

  /** Null when every packet meets all that was configured already, else a promise of it. */
  inForce(): Promise<void> | null {
    this.startPass();
    const pass = this.queued ?? this.running;
    if (pass) return pass.then(() => this.backer.dpif.quiesce());
    if (!this.isDatapathDirty) return null;
    this.isDatapathDirty = false;
    return this.backer.dpif.quiesce();
  }

  private startPass(): void {
    if (!this.hasChanges || this.queued) return;
    if (this.running) {
      // Changes made since the running pass began are the next one's.
      this.queued = this.running.then(() => {
        this.queued = null;
        this.runPass();
        return this.running ?? undefined;
      });
      return;
    }
    this.runPass();
  }

  private runPass(): void {
    const changes = this.changes;
    this.changes = noChanges();
    this.hasChanges = false;
    // What is installed from now on is made from tables that have these changes.
    const { index } = this;
    const byScope = new Map([...changes.tables].map(([table, rules]) => [scopeOf(table), rules]));
    const isWide = changes.all || changes.macs === 'all' || changes.macs.size > 0;
    const pass = inSlices(index.ukeys.slice(), (ukey, slot) => {
      const scope = isWide ? 0 : index.scopeAt(slot);
      if (scope !== 0) {
        const rules = byScope.get(scope);
        if (rules === undefined || (rules !== 'all' && !rules.some((rule) => index.mayMeet(slot, rule)))) return;
      }
      if (ukey.flow?.user === ukey && isAffected(ukey, changes)) this.revalidate(ukey);
    });
    if (!pass) return;
    this.running = pass.then(() => {
      this.running = null;
    });
  }

  /** Translates anew and brings the datapath in line. False when the megaflow is gone. */
  private revalidate(ukey: Ukey): boolean {
    const { flow } = ukey;
    if (!flow) return false;
    ukey.push(this.backer.dpif);
    this.done.revalidated++;
    const result = this.backer.translateAgain(ukey);
    if (!result || !covers(ukey, result.mask.w)) {
      this.done.removed_wrong++;
      this.remove(ukey);
      return false;
    }
    ukey.take(result);
    this.index.update(ukey);
    const actions = this.backer.installable(result);
    if (sameActions(flow.actions, actions)) return true;
    const put = this.backer.dpif.flowPut(flow.key, flow.mask, actions, flow.pmdId, ukey);
    this.isDatapathDirty = true;
    if (put) {
      ukey.flow = put;
      return true;
    }
    ukey.flow = null;
    return false;
  }

  /** Every megaflow that is put in the datapath must be told here. */
  installed(ukey: Ukey): void {
    this.index.add(ukey);
  }

  /** Drops megaflows that are gone from the index when they are many. */
  private tidyIndex(flows: readonly DpFlow[]): void {
    if (this.index.ukeys.length <= flows.length * 1.25 + 64) return;
    const index = new MegaflowIndex(Math.max(256, flows.length));
    for (const { user } of flows) if (user instanceof Ukey) index.add(user);
    this.index = index;
  }

  remove(ukey: Ukey): void {
    if (!ukey.flow) return;
    ukey.push(this.backer.dpif);
    this.backer.dpif.flowDel(ukey.flow);
    ukey.flow = null;
    this.isDatapathDirty = true;
  }

  // ---- statistics and idleness ----

  pushStats(): void {
    for (const flow of this.backer.dpif.flows()) if (flow.user instanceof Ukey) flow.user.push(this.backer.dpif);
  }

  /** One round over all megaflows. Resolves when it is done. */
  sweep(): Promise<void> {
    this.sweeping ??= this.sweepNow().finally(() => {
      this.sweeping = null;
    });
    return this.sweeping;
  }

  private async sweepNow(): Promise<void> {
    const { dpif } = this.backer;
    const flows = [...dpif.flows()];
    const started = performance.now();
    this.count(flows.length);
    const isOver = flows.length > this.flowLimit;
    const isFarOver = flows.length > 2 * this.flowLimit;
    const maxIdle = isOver ? 100 : this.maxIdleMs;
    const recirc = new Set<number>();
    const slices = inSlices(flows, (flow) => {
      const ukey = flow.user instanceof Ukey ? flow.user : this.adopt(flow);
      if (!ukey?.flow) return;
      ukey.push(dpif);
      const used = ukey.usedMs || ukey.createdMs;
      if (isFarOver || clock.nowMs() - used > maxIdle) {
        this.done[isOver ? 'removed_over_limit' : 'removed_idle']++;
        this.remove(ukey);
        return;
      }
      collectRecircIds(flow.key.get32(RECIRC_OFS), flow.actions, recirc);
    });
    if (slices) await slices;
    if (this.isClosed) return;
    if (!this.running) this.tidyIndex([...dpif.flows()]);
    const took = performance.now() - started;
    this.sweeps.add(took);
    this.counts.dumpMs = Math.round(took);
    this.adjustLimit(flows.length);
    // An id may still be on its way in a packet when its last megaflow goes: keep it one round longer.
    this.backer.recirc.retain(new Set([...recirc, ...this.recircBefore]));
    this.recircBefore = recirc;
    this.backer.run();
  }

  /** Somebody else put a flow in the datapath (`dpctl/add-flow`): it stays if it is what we would have put there. */
  private adopt(flow: DpFlow): Ukey | null {
    dumpedFlow.inc();
    const ukey = this.backer.ukeyFor(flow);
    if (!ukey) {
      this.backer.dpif.flowDel(flow);
      return null;
    }
    flow.user = ukey;
    ukey.flow = flow;
    this.installed(ukey);
    return this.revalidate(ukey) ? ukey : null;
  }

  private count(n: number): void {
    const c = this.counts;
    c.current = n;
    c.average = Math.floor((c.average + n) / 2);
    c.max = Math.max(c.max, n);
  }

  /** As many megaflows as a sweep can visit in about a second. */
  private adjustLimit(flows: number): void {
    const { dumpMs } = this.counts;
    let limit = this.flowLimit;
    if (dumpMs > 2000) limit = Math.floor(limit / (dumpMs / 1000));
    else if (dumpMs > 1300) limit = Math.floor((limit * 3) / 4);
    else if (dumpMs < 1000 && flows > 2000 && limit < (flows * 1000) / Math.max(dumpMs, 1)) limit += 1000;
    this.flowLimit = Math.min(this.configuredLimit, Math.max(limit, MIN_FLOW_LIMIT));
    if (dumpMs > 2000) log.warn(`Spent an unreasonably long ${dumpMs}ms dumping flows`);
  }

  /** Removes every megaflow (`revalidator/purge`). */
  purge(): void {
    for (const flow of [...this.backer.dpif.flows()]) {
      if (flow.user instanceof Ukey) this.remove(flow.user);
      else this.backer.dpif.flowDel(flow);
    }
    this.isDatapathDirty = true;
  }

  close(): void {
    this.isClosed = true;
    this.sweepTimer[Symbol.dispose]();
    this.macTimer?.[Symbol.dispose]();
  }
}

const RECIRC_OFS = 4;

function isAffected(ukey: Ukey, changes: Changes): boolean {
  if (changes.all) return true;
  if (ukey.hasNormal && (changes.macs === 'all' || ukey.asksFor(changes.macs))) return true;
  if (changes.tables.size === 0) return false;
  const { tables } = ukey;
  for (let t = 0; t < tables.length; t++) {
    const rules = changes.tables.get(tables[t]);
    if (rules === undefined) continue;
    if (rules === 'all') return true;
    for (let r = 0; r < rules.length; r++) if (ukey.maybeMeets(tables[t], rules[r])) return true;
  }
  return false;
}

/** Does the installed mask look at everything that the new translation looked at? */
function covers(ukey: Ukey, mask: Int32Array): boolean {
  const installed = ukey.mask.w;
  for (let i = 0; i < DP_WORDS; i++) if ((mask[i] & ~installed[i]) !== 0) return false;
  return true;
}

/** Does `visit` for each item, within one slice at once (null) or, with pauses, later. */
function inSlices<T>(items: readonly T[], visit: (item: T, i: number) => void): Promise<void> | null {
  let i = 0;
  const slice = (): boolean => {
    const deadline = performance.now() + SLICE_MS;
    while (i < items.length) {
      visit(items[i], i);
      i++;
      if ((i & 15) === 0 && performance.now() > deadline) break;
    }
    return i >= items.length;
  };
  if (slice()) return null;
  return new Promise((resolve) => {
    const next = (): void => {
      if (slice()) resolve();
      else setImmediate(next);
    };
    setImmediate(next);
  });
}

function collectRecircIds(own: number, actions: readonly DpAction[], into: Set<number>): void {
  if (own !== 0) into.add(own);
  for (const a of actions) {
    if (a.kind === 'recirc') into.add(a.id);
    else if (a.kind === 'userspace' && a.userspace.type === 'controller') into.add(a.userspace.recircId);
    else if (a.kind === 'sample' || a.kind === 'clone') collectRecircIds(0, a.actions, into);
    else if (a.kind === 'check_pkt_len') {
      collectRecircIds(0, a.greater, into);
      collectRecircIds(0, a.lessOrEqual, into);
    }
  }
}
