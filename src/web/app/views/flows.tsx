/** A bridge's rules, live: rates, what was hit lately, what changed; and the way of a packet drawn over them. */
import type { JSX } from 'preact';
import { useEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';
import type { FlowsData, LintRule, NetData, RuleRow } from '../../api.ts';
import type { PathStep } from '../../trace-text.ts';
import { ago, count } from '../format.ts';
import { useChanges, useTopic } from '../live.ts';
import { Icon } from '../parts/icons.tsx';
import { ActionsText, MatchText } from '../parts/match-text.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { dropPath, keptPath } from '../path.ts';
import { setParams, useRoute } from '../route.ts';
import { LintPanel } from './lint.tsx';

const ROW = 34;
const LATELY_MS = 60_000;
const NEW_MS = 4000;

type Item =
  | { readonly kind: 'table'; readonly table: number; readonly rules: number }
  | { readonly kind: 'rule'; readonly rule: RuleRow };

export function FlowsView(): JSX.Element {
  const net = useTopic<NetData>('net');
  const { params } = useRoute();
  const bridges = net?.bridges ?? [];
  const bridge = params.get('bridge') ?? bridges[0]?.name ?? null;
  const query = params.get('q') ?? '';
  const mode = params.get('mode') ?? 'says';
  const isLately = params.get('lately') !== null;
  const onlyTable = params.get('table');
  const isLinted = params.get('lint') !== null;
  const [typed, setTyped] = useState(query);
  useEffect(() => setTyped(query), [query]);
  useEffect(() => {
    if (typed === query) return;
    const timer = setTimeout(() => setParams({ q: typed }), 300);
    return () => clearTimeout(timer);
  }, [typed]);

  const rules = useRef(new Map<number, RuleRow>());
  const news = useRef(new Map<number, number>());
  const state = useRef({ error: null as string | null, total: 0, left: 0, isKnown: false, order: 0, bridge: '' });
  const topic = bridge === null ? null : `flows:${bridge}?${new URLSearchParams({ q: query, mode })}`;
  const version = useChanges<FlowsData>(topic, (data) => {
    const s = state.current;
    s.total = data.total;
    s.left = data.left;
    if (data.kind === 'all') {
      s.error = data.error;
      s.isKnown = true;
      s.order++;
      rules.current = new Map(data.rules.map((rule) => [rule.id, rule]));
      news.current.clear();
      return;
    }
    const now = Date.now();
    for (const rule of data.added) {
      rules.current.set(rule.id, rule);
      news.current.set(rule.id, now);
    }
    for (const id of data.removed) rules.current.delete(id);
    if (data.added.length + data.removed.length > 0) s.order++;
    for (const [id, packets, bytes, rate, lastHit] of data.hits) {
      const rule = rules.current.get(id);
      if (rule) Object.assign(rule, { packets, bytes, rate, lastHit });
    }
  });
  // Ages go on while nothing happens.
  const [tick, bump] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(() => bump(), 1000);
    return () => clearInterval(timer);
  }, []);

  const sorted = useMemo(
    () => [...rules.current.values()].sort((a, b) => a.table - b.table || b.priority - a.priority || a.id - b.id),
    [state.current.order],
  );
  const path = params.get('path') === null ? null : keptPath();
  const isOnlyPath = params.get('path') === 'only';
  const marks = useMemo(
    () => (path && bridge ? marksOf(path.steps, bridge, sorted) : null),
    [path?.title, params.get('path'), bridge, sorted],
  );
  const latelyTurn = isLately ? tick : 0;
  const items = useMemo(() => {
    const now = Date.now();
    const list: Item[] = [];
    let shown = sorted;
    if (isLately) shown = shown.filter((r) => r.lastHit !== null && now - r.lastHit < LATELY_MS);
    if (onlyTable !== null) shown = shown.filter((r) => r.table === Number(onlyTable));
    if (marks && isOnlyPath) shown = shown.filter((r) => marks.byRule.has(r.id));
    const sizes = new Map<number, number>();
    for (const rule of shown) sizes.set(rule.table, (sizes.get(rule.table) ?? 0) + 1);
    for (const [i, rule] of shown.entries()) {
      if (shown[i - 1]?.table !== rule.table)
        list.push({ kind: 'table', table: rule.table, rules: sizes.get(rule.table) ?? 0 });
      list.push({ kind: 'rule', rule });
    }
    return list;
  }, [sorted, isLately, latelyTurn, onlyTable, marks, isOnlyPath, isLately ? version : 0]);
  // Rules come and go around the one that is looked at.
  const [activeKey, setActiveKey] = useState<string | null>(null);
  const active = useMemo(
    () => (activeKey === null ? -1 : items.findIndex((item) => itemKey(item) === activeKey)),
    [items, activeKey],
  );
  const setActive = (i: number): void => setActiveKey(items[i] ? itemKey(items[i]) : null);
  const chosen = items[active]?.kind === 'rule' ? (items[active] as Extract<Item, { kind: 'rule' }>).rule : null;
  const most = useMemo(() => sorted.reduce((n, r) => Math.max(n, r.rate), 1), [sorted, version]);
  const first = marks && items.findIndex((item) => item.kind === 'rule' && marks.byRule.has(item.rule.id));
  const shownPath = useRef<unknown>(null);
  useEffect(() => {
    // A path is looked at from its beginning on.
    if (marks && first !== null && first >= 0 && shownPath.current !== path?.title) {
      shownPath.current = path?.title;
      setActive(first);
    }
  });

  const placeOf = (wanted: LintRule): number =>
    items.findIndex(
      (item) =>
        item.kind === 'rule' &&
        item.rule.table === wanted.table &&
        item.rule.priority === wanted.priority &&
        wanted.text.includes(item.rule.match) &&
        wanted.text.endsWith(item.rule.actions),
    );
  // Lint asks the switch by itself, and may know a rule before this list does.
  const sought = useRef<LintRule | null>(null);
  const showRule = (wanted: LintRule): void => {
    sought.current = wanted;
    bump();
  };
  useEffect(() => {
    if (sought.current === null) return;
    const at = placeOf(sought.current);
    if (at < 0) return;
    sought.current = null;
    setActive(at);
  });

  return (
    <div class="flows">
      <div class="panel flows-panel">
        <div class="tools">
          <select
            aria-label="Bridge"
            value={bridge ?? ''}
            onChange={(e) => setParams({ bridge: e.currentTarget.value, table: null })}
          >
            {bridges.map((b) => (
              <option key={b.name}>{b.name}</option>
            ))}
          </select>
          <input
            type="search"
            class="search"
            name="q"
            aria-label="Search rules, as in ovs-ofctl(8)"
            placeholder="table=1,ip,nw_dst=10.0.0.2 — or any word"
            spellcheck={false}
            value={typed}
            onInput={(e) => setTyped(e.currentTarget.value)}
          />
          <select
            aria-label="How the search chooses"
            value={mode}
            onChange={(e) => setParams({ mode: e.currentTarget.value === 'says' ? null : 'hits' })}
          >
            <option value="says">rules that say so</option>
            <option value="hits">rules it may hit</option>
          </select>
          <label class="check">
            <input
              type="checkbox"
              checked={isLately}
              onChange={(e) => setParams({ lately: e.currentTarget.checked ? '1' : null })}
            />{' '}
            hit in the last minute
          </label>
          <button
            type="button"
            class="button"
            aria-pressed={isLinted}
            title="Rules that can never match, loops, what does not exist, …"
            onClick={() => setParams({ lint: isLinted ? null : '1' })}
          >
            Lint
          </button>
          <span class="count" role="status">
            {state.current.isKnown &&
              `${count(items.filter((i) => i.kind === 'rule').length)} of ${count(state.current.total)} rules`}
          </span>
        </div>
        {state.current.error !== null && (
          <p class="error" role="alert">
            {state.current.error}
          </p>
        )}
        {state.current.left > 0 && (
          <p class="remark">{count(state.current.left)} more are left out: search to see them.</p>
        )}
        {path && marks && (
          <div class="path-bar">
            <span>
              The way of <b>{path.title.length > 60 ? `${path.title.slice(0, 60)}…` : path.title}</b>:{' '}
              {path.steps.length} rules
              {marks.elsewhere > 0 && `, ${marks.elsewhere} of them in other bridges`}
              {marks.missing > 0 && `, ${marks.missing} not here (no match, or gone)`}
            </span>
            <label class="check">
              <input
                type="checkbox"
                checked={isOnlyPath}
                onChange={(e) => setParams({ path: e.currentTarget.checked ? 'only' : '1' })}
              />{' '}
              only these
            </label>
            <button
              type="button"
              class="icon-button"
              aria-label="Away with the path"
              onClick={() => {
                dropPath();
                setParams({ path: null });
              }}
            >
              <Icon name="close" size={16} />
            </button>
          </div>
        )}
        <div class="flows-head" aria-hidden="true">
          <span class="c-rate">packets/s</span>
          <span class="c-packets">packets</span>
          <span class="c-priority">priority</span>
          <span class="c-match">match → actions</span>
          <span class="c-hit">last hit</span>
        </div>
        <VirtualList
          label="rules"
          class={`rules${marks ? ' has-path' : ''}`}
          count={items.length}
          rowHeight={ROW}
          active={active}
          onActive={setActive}
          rowKey={(i) => itemKey(items[i])}
          rowClass={(i) => {
            const item = items[i];
            if (item.kind === 'table') return 'is-head';
            const isNew = Date.now() - (news.current.get(item.rule.id) ?? 0) < NEW_MS;
            return `${isNew ? 'is-new ' : ''}${item.rule.rate > 0 ? 'is-hot ' : ''}${marks?.byRule.has(item.rule.id) ? 'is-on-path' : ''}`;
          }}
          row={(i) => {
            const item = items[i];
            if (item.kind === 'table') return <TableHead item={item} />;
            return <RuleLine rule={item.rule} most={most} marks={marks?.byRule.get(item.rule.id)} />;
          }}
          overlay={() => marks && <PathLine items={items} steps={marks.order} />}
          empty={
            <p class="empty">
              {!state.current.isKnown
                ? 'Asking…'
                : state.current.error
                  ? ''
                  : query || isLately
                    ? 'No such rule.'
                    : 'This bridge has no rules.'}
            </p>
          }
        />
        {isLinted && bridge !== null && (
          <LintPanel bridge={bridge} show={showRule} close={() => setParams({ lint: null })} />
        )}
        {chosen && <RuleDetails rule={chosen} close={() => setActive(-1)} />}
      </div>
    </div>
  );
}

const itemKey = (item: Item): string => (item.kind === 'table' ? `t${item.table}` : `r${item.rule.id}`);

function TableHead({ item }: { readonly item: Extract<Item, { kind: 'table' }> }): JSX.Element {
  return (
    <>
      <b>Table {item.table}</b>
      <span class="dim">
        {count(item.rules)} {item.rules === 1 ? 'rule' : 'rules'}
      </span>
    </>
  );
}

function RuleLine({
  rule,
  most,
  marks,
}: {
  readonly rule: RuleRow;
  readonly most: number;
  readonly marks: readonly number[] | undefined;
}): JSX.Element {
  return (
    <>
      <span class="c-path">{marks && <i>{marks.map((n) => n + 1).join(',')}</i>}</span>
      <span class="c-rate">
        {rule.rate > 0 && (
          <i class="rate-bar" style={{ width: `${Math.max(4, Math.sqrt(rule.rate / most) * 100)}%` }} />
        )}
        <b>{rule.rate > 0 ? count(rule.rate) : ''}</b>
      </span>
      <span class="c-packets">{count(rule.packets)}</span>
      <span class="c-priority">{rule.priority}</span>
      <span class="c-match code">
        <MatchText text={rule.match} />
        <span class="t-mark"> → </span>
        <ActionsText text={rule.actions} />
      </span>
      <span class="c-hit">
        {rule.lastHit !== null ? ago((Date.now() - rule.lastHit) / 1000) : rule.packets === 0 ? 'never' : ''}
      </span>
    </>
  );
}

function RuleDetails({ rule, close }: { readonly rule: RuleRow; readonly close: () => void }): JSX.Element {
  return (
    <div class="rule-details">
      <button type="button" class="icon-button" aria-label="Close" onClick={close}>
        <Icon name="close" size={16} />
      </button>
      <p class="code">
        <span class="t-field">table</span>={rule.table}, <span class="t-field">priority</span>={rule.priority},{' '}
        <span class="t-field">cookie</span>={rule.cookie}
      </p>
      <p class="code">
        <MatchText text={rule.match} />
      </p>
      <p class="code">
        <span class="t-mark">→ </span>
        <ActionsText text={rule.actions} />
      </p>
      <p class="dim">
        {rule.packets.toLocaleString('en')} packets, {rule.bytes.toLocaleString('en')} bytes in{' '}
        {ago((Date.now() - rule.since) / 1000)}
      </p>
    </div>
  );
}

// ---- the way of a packet ----

interface Marks {
  /** Which steps of the way each rule is. */
  readonly byRule: ReadonlyMap<number, readonly number[]>;
  /** Rules in the order of the way. */
  readonly order: readonly number[];
  readonly elsewhere: number;
  readonly missing: number;
}

function marksOf(steps: readonly PathStep[], bridge: string, rules: readonly RuleRow[]): Marks {
  const key = (table: number, priority: number, match: string): string => `${table}/${priority}/${match}`;
  const known = new Map(rules.map((r) => [key(r.table, r.priority, r.match), r.id]));
  const byRule = new Map<number, number[]>();
  const order: number[] = [];
  let elsewhere = 0;
  let missing = 0;
  let last = bridge;
  for (const [i, step] of steps.entries()) {
    // A chapter that begins in the middle does not say its bridge again.
    if (step.bridge !== '') last = step.bridge;
    if (last !== bridge) {
      elsewhere++;
      continue;
    }
    const id = step.match === null ? undefined : known.get(key(step.table, step.priority, step.match));
    if (id === undefined) {
      missing++;
      continue;
    }
    order.push(id);
    byRule.set(id, [...(byRule.get(id) ?? []), i]);
  }
  return { byRule, order, elsewhere, missing };
}

/** A line from rule to rule in the margin, with a bow where it jumps. */
function PathLine({
  items,
  steps,
}: {
  readonly items: readonly Item[];
  readonly steps: readonly number[];
}): JSX.Element | null {
  const at = new Map<number, number>();
  items.forEach((item, i) => {
    if (item.kind === 'rule') at.set(item.rule.id, i);
  });
  const points = steps.flatMap((id) => (at.has(id) ? [(at.get(id) as number) * ROW + ROW / 2] : []));
  if (points.length < 2) return null;
  const x = 20;
  let d = `M${x} ${points[0]}`;
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1], points[i]];
    if (a === b) continue;
    const bow = b < a ? 16 : 12;
    d += `C${x - bow} ${a + (b - a) * 0.25} ${x - bow} ${b - (b - a) * 0.25} ${x} ${b}`;
  }
  return (
    <svg class="path-line" width="40" height={items.length * ROW} aria-hidden="true">
      <path d={d} />
    </svg>
  );
}
