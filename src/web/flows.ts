/**
 * A bridge's rules with their rates. They are asked for over OpenFlow as `ovs-ofctl dump-flows` does; subscribers hear of all
 * first, then of what came, went and was hit.
 *
 * A rule is known by table, priority and match. What its text is, is worked out once, when it is first seen.
 */
import { ovsRundir } from '../base/dirs.ts';
import { connectStream } from '../base/stream.ts';
import { Match } from '../flow/match.ts';
import { formatMatch, parseMatch, splitKeyValues } from '../flow/match-text.ts';
import type { Names } from '../flow/names.ts';
import { formatActions } from '../openflow/actions/index.ts';
import type { FlowStats, FlowStatsRequest, OfMessage, OfMessageOf, OfMessageType } from '../openflow/messages.ts';
import { OFPP } from '../openflow/ports.ts';
import { Vconn } from '../openflow/vconn.ts';
import type { FlowsData, RuleHit, RuleRow } from './api.ts';
import { Feed, repeat } from './feed.ts';
import { Refused } from './switch.ts';

const POLL_MS = 1500;
/** Of the time, for asking and telling. */
const SHARE = 0.2;
const REPLY_MS = 10_000;
const OFPG_ANY = 0xffffffff;
const ALL_TABLES = 0xff;
/** More than a person reads; who has more searches. */
const MAX_SHOWN = 50_000;
/** To dump more than that holds the switch up too long: it is asked only for what a search chooses. */
const MAX_DUMPED = 100_000;

/** How a query chooses rules: those that say at least as much, as `ovs-ofctl dump-flows` does, or all that such a packet may hit. */
export type QueryMode = 'says' | 'hits';

interface Known {
  readonly row: RuleRow;
  readonly isShown: boolean;
  seen: number;
}

export function flowsFeed(bridge: string, query: string, mode: QueryMode): Feed {
  return new Feed((publish) => {
    const known = new Map<string, Known>();
    let connection: OfConnection | null = null;
    let names: Names = {};
    let selects: Selection | null = null;
    let round = 0;
    let lastAt = 0;
    let nextId = 1;
    let error: string | null = null;
    let shown = 0;
    let left = 0;
    let total = 0;

    const all = (): FlowsData => {
      const rules = [...known.values()].filter((k) => k.isShown).map((k) => k.row);
      return { kind: 'all', error, rules, total, left };
    };

    const turn = async (): Promise<void> => {
      if (connection === null || connection.isClosed) {
        connection = await OfConnection.open(bridge);
        names = await connection.names();
        const choice = selection(query, mode, names);
        selects = typeof choice === 'string' ? { chooses: () => false, match: null, table: ALL_TABLES } : choice;
        error = typeof choice === 'string' ? choice : null;
        known.clear();
        [round, shown, left] = [0, 0, 0];
        total = await connection.count();
      }
      const stats = await connection.chosen(selects as Selection, total <= MAX_DUMPED);
      if (stats === null) {
        error = `this bridge has ${total.toLocaleString('en')} rules: search for what they say, such as table=0,ip, to see some`;
        round++;
        return publish(all());
      }
      if (stats.isAll) total = stats.flows.length;
      const now = Date.now();
      const seconds = Math.max((now - lastAt) / 1000, 1e-3);
      lastAt = now;
      round++;
      const added: RuleRow[] = [];
      const hits: RuleHit[] = [];
      const removed: number[] = [];
      for (const f of stats.flows) {
        const key = keyOf(f);
        const before = known.get(key);
        if (before) {
          before.seen = round;
          const hit = count(before.row, f, now, seconds);
          if (hit && before.isShown) hits.push(hit);
          continue;
        }
        const row = rowOf(f, nextId++, now, names);
        const isChosen = (selects as Selection).chooses(f, row);
        const isShown = isChosen && shown < MAX_SHOWN;
        if (isShown) shown++;
        else if (isChosen) left++;
        known.set(key, { row, isShown, seen: round });
        if (isShown) added.push(row);
      }
      for (const [key, { row, isShown, seen }] of known) {
        if (seen === round) continue;
        known.delete(key);
        if (!isShown) continue;
        shown--;
        removed.push(row.id);
      }
      if (round === 1) publish(all());
      else if (added.length + removed.length + hits.length > 0)
        publish({ kind: 'change', added, removed, hits, total, left } satisfies FlowsData);
    };
    const turns = repeat({ ms: POLL_MS, share: SHARE }, turn, (problem) => {
      connection?.close();
      connection = null;
      publish({
        kind: 'all',
        error: `${bridge}: ${problem.message}`,
        rules: [],
        total: 0,
        left: 0,
      } satisfies FlowsData);
    });
    return {
      snapshot: () => (round > 0 ? all() : undefined),
      close() {
        turns.close();
        connection?.close();
      },
    };
  });
}

/** Everything that tells one rule from another, and one rule from what replaced it. */
function keyOf(f: FlowStats): string {
  // Bytes as characters: cheaper than text for people, and as good to compare.
  const words = (w: Int32Array | Uint32Array): string => {
    let text = '';
    for (let i = 0; i < w.length; i++) if (w[i] !== 0) text += `${i}:${w[i]};`;
    return text;
  };
  return `${f.table}/${f.priority}/${f.cookie}/${words(f.match.key.w)}/${words(f.match.mask.w)}/${f.actions.length}/${JSON.stringify(
    f.actions,
    (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
  )}`;
}

function rowOf(f: FlowStats, id: number, now: number, names: Names): RuleRow {
  return {
    id,
    table: f.table,
    priority: f.priority,
    cookie: `0x${f.cookie.toString(16)}`,
    match: matchText(f.match, names),
    actions: formatActions(f.actions, names),
    packets: f.packets,
    bytes: f.bytes,
    rate: 0,
    lastHit: f.packets > 0 ? lastHitOf(f, now) : null,
    since: now - f.durationMs,
  };
}

/** Without the priority: 32768 is the one that is not written. */
export const matchText = (match: Match, names?: Names): string => formatMatch(match, 32768, names);

/** Some versions of OpenFlow do not say. */
const lastHitOf = (f: FlowStats, now: number): number | null => (f.idleAge >= 0 ? now - f.idleAge * 1000 : null);

function count(row: RuleRow, f: FlowStats, now: number, seconds: number): RuleHit | null {
  const rate = Math.round((Math.max(0, f.packets - row.packets) / seconds) * 10) / 10;
  if (rate === 0 && row.rate === 0) return null;
  if (f.packets > row.packets) row.lastHit = now;
  row.packets = f.packets;
  row.bytes = f.bytes;
  row.rate = rate;
  return [row.id, row.packets, row.bytes, row.rate, row.lastHit];
}

// ---- queries ----

type Chooses = (f: FlowStats, row: RuleRow) => boolean;

interface Selection {
  readonly chooses: Chooses;
  /** What the switch itself can choose by; null where it cannot. */
  readonly match: Match | null;
  readonly table: number;
}

/**
 * What a query chooses, or what is wrong with it: fields of a match, and `table=`, `cookie=`, `priority=` as `dump-flows` prints them.
 * A field need not come with its prerequisites. Words that are no match are looked for in the rules' text.
 */
export function selection(query: string, mode: QueryMode, names: Names): Selection | string {
  const text = query.trim();
  if (text === '') return { chooses: () => true, match: null, table: ALL_TABLES };
  const asMatch = matchSelection(text, mode, names);
  if (typeof asMatch !== 'string') return asMatch;
  // Nobody writes `=` first in a search for a word.
  if (/^[\w.:-]*=/.test(text)) return asMatch;
  const words = text.toLowerCase().split(/\s+/);
  const chooses: Chooses = (_f, row) => {
    const all = `table=${row.table},priority=${row.priority},${row.match} ${row.cookie} ${row.actions}`.toLowerCase();
    return words.every((word) => all.includes(word));
  };
  return { chooses, match: null, table: ALL_TABLES };
}

function matchSelection(text: string, mode: QueryMode, names: Names): Selection | string {
  const asked: Chooses[] = [];
  let table = ALL_TABLES;
  const fields: string[] = [];
  for (const { key, value, hasValue } of splitKeyValues(text)) {
    if (key === 'table' || key === 'priority') {
      const wanted = Number(value);
      if (!/^\d+$/.test(value)) return `${key}=${value}: not a number`;
      asked.push((f) => f[key] === wanted);
      if (key === 'table') table = wanted;
    } else if (key === 'cookie') {
      const found = /^(0x[0-9a-f]+|\d+)(?:\/(-1|0x[0-9a-f]+|\d+))?$/i.exec(value);
      if (!found) return `cookie=${value}: not a cookie`;
      const mask = found[2] === undefined || found[2] === '-1' ? 0xffffffffffffffffn : BigInt(found[2]);
      const wanted = BigInt(found[1]) & mask;
      asked.push((f) => (f.cookie & mask) === wanted);
    } else fields.push(hasValue ? `${key}=${value}` : key);
  }
  const parsed = parseMatch(fields.join(','), { names });
  if (!parsed.ok) return parsed.error;
  const { match } = parsed;
  asked.push((f) => (mode === 'says' ? f.match.isSubsetOf(match) : f.match.overlaps(match)));
  const chooses: Chooses = (f, row) => asked.every((one) => one(f, row));
  return { chooses, match: mode === 'says' ? match : null, table };
}

// ---- OpenFlow ----

const request = (match: Match, table: number): FlowStatsRequest => ({
  match,
  table,
  outPort: OFPP.NONE,
  outGroup: OFPG_ANY,
  cookie: 0n,
  cookieMask: 0n,
  nxm: true,
});

/** One request at a time to a bridge's `mgmt` socket. */
export class OfConnection {
  private readonly vconn: Vconn;
  private waiting: { xid: number; take(message: OfMessage): void; fail(error: Error): void } | null = null;
  isClosed = false;

  private constructor(vconn: Vconn) {
    this.vconn = vconn;
    vconn.onMessage((message, xid) => {
      if (message.type === 'echo_request') vconn.send({ type: 'echo_reply', data: message.data }, xid);
      else if (this.waiting?.xid === xid) this.waiting.take(message);
    });
    vconn.onBad((failure) => this.waiting?.fail(new Error(`the answer cannot be understood (${failure.error})`)));
    vconn.onClose((error) => {
      this.isClosed = true;
      this.waiting?.fail(new Error(error ?? 'the switch closed the connection'));
    });
  }

  static async open(bridge: string): Promise<OfConnection> {
    const target = `unix:${ovsRundir()}/${bridge}.mgmt`;
    const vconn = new Vconn(await connectStream(target), undefined, target);
    await vconn.connected();
    return new OfConnection(vconn);
  }

  close(): void {
    this.isClosed = true;
    this.vconn.close();
  }

  /** All parts of an answer. */
  private collect<T extends OfMessageType>(request: OfMessage, type: T): Promise<OfMessageOf<T>[]> {
    return new Promise((resolve, reject) => {
      const parts: OfMessageOf<T>[] = [];
      const end = (act: () => void): void => {
        clearTimeout(timer);
        this.waiting = null;
        act();
      };
      const fail = (error: Error): void => end(() => reject(error));
      const timer = setTimeout(() => {
        this.close();
        fail(new Error(`no answer within ${REPLY_MS / 1000} s`));
      }, REPLY_MS);
      const take = (message: OfMessage): void => {
        if (message.type === 'error') return fail(new Refused(`the switch refuses (${message.name})`));
        if (message.type !== type) return;
        // The type has just been compared.
        const part = message as unknown as OfMessageOf<T> & { more?: boolean };
        parts.push(part);
        if (part.more !== true) end(() => resolve(parts));
      };
      if (this.isClosed) return fail(new Error('the connection is closed'));
      this.waiting = { xid: this.vconn.send(request), take, fail };
    });
  }

  /**
   * At least the rules that a selection chooses; null when the switch cannot choose them, and all are not to be asked for.
   */
  async chosen(wanted: Selection, mayAskAll: boolean): Promise<{ flows: FlowStats[]; isAll: boolean } | null> {
    if (mayAskAll) return { flows: await this.flows(new Match(), ALL_TABLES), isAll: true };
    if (wanted.match === null && wanted.table === ALL_TABLES) return null;
    try {
      return { flows: await this.flows(wanted.match ?? new Match(), wanted.table), isAll: false };
    } catch (error) {
      // A field without its prerequisites.
      if (error instanceof Refused) throw new Error(`${error.message}; say of which protocol the packets are`);
      throw error;
    }
  }

  async flows(match: Match, table: number): Promise<FlowStats[]> {
    const parts = await this.collect({ type: 'flow_stats_request', ...request(match, table) }, 'flow_stats_reply');
    return parts.flatMap((part) => [...part.flows]);
  }

  async count(): Promise<number> {
    const all = request(new Match(), ALL_TABLES);
    const [reply] = await this.collect({ type: 'aggregate_request', ...all }, 'aggregate_reply');
    return reply.flows;
  }

  async names(): Promise<Names> {
    const parts = await this.collect({ type: 'port_desc_request', portNo: OFPP.NONE }, 'port_desc_reply');
    const ports = parts.flatMap((part) => [...part.ports]);
    const byNumber = new Map(ports.map((p) => [p.portNo, p.name]));
    const byName = new Map(ports.map((p) => [p.name, p.portNo]));
    return { port: (no) => byNumber.get(no), portByName: (name) => byName.get(name) };
  }
}
