/** One client's monitors: what it has asked to be told of, under identifiers of its own (RFC 7047 4.1.5 to 4.1.7, ovsdb-server(7) 4.1.12 to 4.1.16). */
import { parseUuid, ZERO_UUID } from './atom.ts';
import { syntaxError } from './error.ts';
import { type Json, stringifyJson } from './json.ts';
import { type MonitorVersion, MonitorView } from './monitor.ts';
import type { Outbox } from './outbox.ts';
import type { Follower, Store } from './store.ts';
import { Updates } from './updates.ts';

/** Initial contents of more rows than these are sent in slices. */
const LARGE_ROWS = 300;

class SessionMonitor implements Follower {
  readonly store: Store;
  /** JSON text of the identifier that the client chose. */
  id: string;
  view: MonitorView;
  private readonly outbox: Outbox;

  constructor(outbox: Outbox, store: Store, id: string, view: MonitorView) {
    this.outbox = outbox;
    this.store = store;
    this.id = id;
    this.view = view;
  }

  onUpdates(updates: Updates): void {
    this.outbox.send(updates.bytes(this.view.version, this.id));
  }
}

/** Methods throw `OvsdbError` for parameters that are wrong. */
export class SessionMonitors {
  private readonly outbox: Outbox;
  private readonly byId = new Map<string, SessionMonitor>();

  constructor(outbox: Outbox) {
    this.outbox = outbox;
  }

  get size(): number {
    return this.byId.size;
  }

  /** Text of the initial contents, or undefined when they will be sent as the reply to `requestId`. */
  add(store: Store, params: Json[], version: MonitorVersion, requestId: string): string | undefined {
    if (params.length !== (version === 3 ? 4 : 3)) throw syntaxError(params, 'invalid parameters');
    if (version === 3) checkLastTransaction(params[3]);
    const id = stringifyJson(params[1]);
    if (this.byId.has(id)) throw syntaxError(params[1], 'duplicate monitor ID');
    const view = MonitorView.fromJson(store.db, version, params[2]);
    const monitor = new SessionMonitor(this.outbox, store, id, view);
    this.byId.set(id, monitor);
    store.follow(view, monitor);
    if (view.size > LARGE_ROWS) return this.sendInitial(monitor, requestId);
    const initial = stringifyJson(view.initial());
    // A standalone database keeps no history of transactions, so that nothing is ever found.
    return version === 3 ? `[false,"${ZERO_UUID}",${initial}]` : initial;
  }

  /** The reply is made in slices; whatever comes for this client meanwhile waits behind it. */
  private sendInitial({ store, view }: SessionMonitor, requestId: string): undefined {
    const place = this.outbox.reserve();
    void store.initial(view).then((bytes) => {
      const [open, close] = view.version === 3 ? [`[false,"${ZERO_UUID}",`, ']'] : ['', ''];
      const head = Buffer.from(`{"id":${requestId},"result":${open}`);
      this.outbox.fillLong(place, [head, ...bytes, Buffer.from(`${close},"error":null}`)]);
    });
  }

  /** `monitor_cond_change`. */
  change(params: Json[]): void {
    if (params.length !== 3) throw syntaxError(params, 'invalid parameters');
    const oldId = stringifyJson(params[0]);
    const newId = stringifyJson(params[1]);
    const monitor = this.byId.get(oldId);
    if (monitor === undefined) throw syntaxError(params[0], 'unknown monitor session');
    if (newId !== oldId && this.byId.has(newId)) throw syntaxError(params[1], 'duplicate monitor ID');
    const { store, view } = monitor;
    const next = view.withConditions(store.db, params[2]);
    const updates = next.transition(view);
    store.unfollow(view, monitor);
    this.byId.delete(oldId);
    monitor.id = newId;
    monitor.view = next;
    this.byId.set(newId, monitor);
    store.follow(next, monitor);
    if (updates !== null) monitor.onUpdates(new Updates([stringifyJson(updates)]));
  }

  /** What is wrong, or null. */
  cancel(params: Json[]): string | null {
    if (params.length !== 1) return 'invalid parameters';
    const monitor = this.byId.get(stringifyJson(params[0]));
    if (monitor === undefined) return 'unknown monitor';
    this.drop(monitor);
    return null;
  }

  /** The database is going away or changing its shape: ends its monitors, and tells the client. */
  endAll(store: Store): void {
    for (const monitor of [...this.byId.values()]) {
      if (monitor.store !== store) continue;
      this.drop(monitor);
      this.outbox.send(`{"id":null,"method":"monitor_canceled","params":[${monitor.id}]}`);
    }
  }

  close(): void {
    for (const monitor of [...this.byId.values()]) this.drop(monitor);
  }

  private drop(monitor: SessionMonitor): void {
    monitor.store.unfollow(monitor.view, monitor);
    this.byId.delete(monitor.id);
  }
}

function checkLastTransaction(last: Json | undefined): void {
  if (typeof last !== 'string') throw syntaxError(last, 'last-txn-id must be string');
  if (parseUuid(last) === null) throw syntaxError(last, 'last-txn-id must be UUID format.');
}
