/** The database: its tables, their rows, references to follow, and changes as they come. */
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { DbCell, DbChange, DbRow, DbRowsData, DbTableInfo } from '../../api.ts';
import { clockTime, count } from '../format.ts';
import { useChanges, useTopic } from '../live.ts';
import { Icon } from '../parts/icons.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { linkTo, setParams, useRoute } from '../route.ts';

const FRESH_MS = 2500;

export function DatabaseView(): JSX.Element {
  const tables = useTopic<DbTableInfo[]>('tables');
  const { params } = useRoute();
  const table = params.get('table') ?? 'Bridge';
  const isChanges = table === 'changes';
  return (
    <div class="database">
      <nav class="panel tables" aria-label="Tables">
        <a href={linkTo('database', { table: 'changes' })} class={isChanges ? 'is-here' : ''}>
          Changes
        </a>
        {[...(tables ?? [])]
          .sort((a, b) => Number(b.rows > 0) - Number(a.rows > 0))
          .map(({ name, rows }) => (
            <a
              key={name}
              href={linkTo('database', { table: name })}
              class={`${name === table ? 'is-here' : ''}${rows === 0 ? ' is-empty' : ''}`}
              aria-current={name === table ? 'page' : undefined}
            >
              <span title={name}>{name}</span> <span class="count">{count(rows)}</span>
            </a>
          ))}
      </nav>
      {isChanges ? <Changes /> : <Rows key={table} table={table} />}
    </div>
  );
}

const isEmpty = (cell: DbCell): boolean => cell.length === 0 || cell === '[]' || cell === '{}' || cell === '""';

const isFreshTime = (at: number | undefined): boolean => at !== undefined && Date.now() - at < FRESH_MS;
const isFresh = (news: ReadonlyMap<number, number> | undefined): boolean =>
  [...(news?.values() ?? [])].some(isFreshTime);

function Rows({ table }: { readonly table: string }): JSX.Element {
  const { params } = useRoute();
  const rows = useRef(new Map<string, DbRow>());
  const fresh = useRef(new Map<string, Map<number, number>>());
  const columns = useRef<readonly { name: string; type: string }[]>([]);
  const isKnown = useRef(false);
  const version = useChanges<DbRowsData>(`rows:${table}`, (data) => {
    if (data.kind === 'all') {
      isKnown.current = true;
      columns.current = data.columns;
      rows.current = new Map(data.rows.map((row) => [row.uuid, row]));
      return;
    }
    for (const row of data.rows) {
      const old = rows.current.get(row.uuid);
      rows.current.set(row.uuid, row);
      const news = fresh.current.get(row.uuid) ?? new Map<number, number>();
      fresh.current.set(row.uuid, news);
      row.cells.forEach((cell, i) => {
        if (JSON.stringify(cell) !== JSON.stringify(old?.cells[i])) news.set(i, Date.now());
      });
    }
    for (const uuid of data.removed) rows.current.delete(uuid);
  });
  const [search, setSearch] = useState('');
  const list = useMemo(() => {
    const words = search
      .toLowerCase()
      .split(/\s+/)
      .filter((w) => w !== '');
    const all = [...rows.current.values()].sort((a, b) => (a.label < b.label ? -1 : 1));
    if (words.length === 0) return all;
    return all.filter((row) => {
      const text = `${row.uuid} ${row.label} ${JSON.stringify(row.cells)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }, [version, search]);
  const uuid = params.get('row');
  const active = list.findIndex((row) => row.uuid === uuid);
  const row = list[active] ?? list[0];
  return (
    <>
      <section class="panel row-list">
        <div class="tools">
          <input
            type="search"
            class="search"
            aria-label={`Search ${table}`}
            placeholder={`search ${table}`}
            value={search}
            onInput={(e) => setSearch(e.currentTarget.value)}
          />
          <span class="count">{isKnown.current && `${count(list.length)} rows`}</span>
        </div>
        <VirtualList
          label="rows"
          count={list.length}
          rowHeight={46}
          active={row ? list.indexOf(row) : -1}
          onActive={(i) => setParams({ row: list[i].uuid })}
          rowKey={(i) => list[i].uuid}
          rowClass={(i) => (isFresh(fresh.current.get(list[i].uuid)) ? 'is-fresh' : '')}
          row={(i) => (
            <div class="grow two-lines">
              <b>{list[i].label}</b>
              <span class="dim code">{list[i].uuid.slice(0, 8)}</span>
            </div>
          )}
          empty={<p class="empty">{isKnown.current ? 'No rows.' : 'Asking…'}</p>}
        />
      </section>
      <section class="panel row-details">
        {row && (
          <>
            <h2>{row.label}</h2>
            <p class="dim code">
              {table} {row.uuid}
            </p>
            <Cells row={row} columns={columns.current} fresh={fresh.current.get(row.uuid)} />
          </>
        )}
      </section>
    </>
  );
}

function Cells({
  row,
  columns,
  fresh,
}: {
  readonly row: DbRow;
  readonly columns: readonly { name: string; type: string }[];
  readonly fresh: ReadonlyMap<number, number> | undefined;
}): JSX.Element {
  const [isAll, setAll] = useState(false);
  const shown = columns
    .map((column, i) => ({ column, cell: row.cells[i], i }))
    .filter(({ cell }) => isAll || !isEmpty(cell));
  return (
    <>
      <dl class="facts cells">
        {shown.map(({ column, cell, i }) => (
          <div key={column.name} class={isFreshTime(fresh?.get(i)) ? 'is-fresh' : ''}>
            <dt title={column.type}>{column.name}</dt>
            <dd>
              <Cell cell={cell} />
            </dd>
          </div>
        ))}
      </dl>
      <button type="button" class="button is-small" onClick={() => setAll(!isAll)}>
        {isAll ? 'Without empty columns' : `${columns.length - shown.length} empty columns`}
      </button>
    </>
  );
}

const MAX_REFS = 200;

function Cell({ cell }: { readonly cell: DbCell }): JSX.Element {
  if (typeof cell === 'string') {
    if (!cell.startsWith('{') || cell.length < 40) return <span class="code">{cell}</span>;
    // A map of many reads better with a line for each.
    return (
      <ul class="map">
        {cell
          .slice(1, -1)
          .split(/, (?=[^"]*?=)/)
          .map((part) => (
            <li key={part} class="code">
              {part}
            </li>
          ))}
      </ul>
    );
  }
  if (cell.length === 0) return <span class="code">[]</span>;
  return (
    <span class="refs">
      {cell.slice(0, MAX_REFS).map((ref) => (
        <a key={`${ref.key}${ref.uuid}`} class="chip" href={linkTo('database', { table: ref.table, row: ref.uuid })}>
          {ref.key !== null && <em>{ref.key} → </em>}
          {ref.label}
        </a>
      ))}
      {cell.length > MAX_REFS && <span class="dim">and {cell.length - MAX_REFS} more</span>}
    </span>
  );
}

const KEPT = 500;

function Changes(): JSX.Element {
  const list = useRef<DbChange[]>([]);
  const isKnown = useRef(false);
  useChanges<DbChange[]>('changes', (news) => {
    isKnown.current = true;
    const known = new Set(list.current.map((c) => `${c.at}${c.uuid}`));
    list.current = [...news.filter((c) => !known.has(`${c.at}${c.uuid}`)).reverse(), ...list.current].slice(0, KEPT);
  });
  useEffect(() => {}, []);
  return (
    <section class="panel changes-panel">
      <h2>
        Changes <span class="count">newest first, since somebody looks; statistics left out</span>
      </h2>
      {list.current.length === 0 && (
        <p class="empty">{isKnown.current ? 'Nothing has changed since you look.' : 'Asking…'}</p>
      )}
      <ol class="change-list">
        {list.current.slice(0, 100).map((change) => (
          <li key={`${change.at}${change.uuid}`} class={`is-${change.kind}`}>
            <span class="dim code">{clockTime(change.at)}</span>
            <span class="change-kind">{change.kind}</span>
            <a href={linkTo('database', { table: change.table, row: change.uuid })}>
              {change.table} {change.label}
            </a>
            <ul>
              {change.columns.slice(0, 12).map((c) => (
                <li key={c.name} class="code">
                  <span class="t-field">{c.name}</span> {c.old !== '' && <del>{c.old}</del>}{' '}
                  {c.old !== '' && c.new !== '' && <Icon name="open" size={11} />} <ins>{c.new}</ins>
                </li>
              ))}
            </ul>
          </li>
        ))}
      </ol>
    </section>
  );
}
