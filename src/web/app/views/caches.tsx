/** Where packets were decided: the caches live, threads, and the subtables of the classifier. */
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { CachesData, MegaflowRow, TopData } from '../../api.ts';
import { count, percent } from '../format.ts';
import { errorOf, useTopic } from '../live.ts';
import { Chart } from '../parts/chart.tsx';
import { samplesSoFar } from '../parts/history.ts';
import { Icon } from '../parts/icons.tsx';
import { ActionsText, MatchText } from '../parts/match-text.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { setParams, useRoute } from '../route.ts';

const STAGES = [
  { key: 'simple', name: 'Simple', color: '--simple', about: 'port and type' },
  { key: 'emc', name: 'EMC', color: '--emc', about: 'exact match' },
  { key: 'smc', name: 'SMC', color: '--smc', about: 'signature match' },
  { key: 'megaflow', name: 'dpcls', color: '--megaflow', about: 'megaflows' },
  { key: 'upcall', name: 'Upcalls', color: '--upcall', about: 'slow path' },
] as const;

export function CachesView(): JSX.Element {
  const top = useTopic<TopData>('top');
  const caches = useTopic<CachesData>('caches');
  const samples = samplesSoFar();
  const now = samples.at(-1);
  // Few ports' rules are so simple; where none are, there is nothing to show.
  const stages: readonly (typeof STAGES)[number][] = samples.some((s) => s.simple > 0) ? STAGES : STAGES.slice(1);
  const decided = now ? stages.reduce((n, s) => n + now[s.key], 0) : 0;
  const pmds = top?.datapaths.flatMap((dp) => dp.pmds.map((pmd) => ({ dp: dp.name, ...pmd }))) ?? [];
  const loadOf = (load: number | null): string => (load === null ? '–' : percent(load, 1));
  return (
    <div class="caches">
      <section class="panel">
        <h2>Where packets are decided</h2>
        <div class="stages" style={{ '--n': stages.length }}>
          {stages.map(({ key, name, color, about }) => (
            <div key={key} class="stage" style={{ '--c': `var(${color})` }}>
              <span class="stage-name">
                <i />
                {name}
                <small>{about}</small>
              </span>
              <b>{percent(now?.[key] ?? 0, decided)}</b>
              <span class="stage-rate">{count(now?.[key] ?? 0)}/s</span>
            </div>
          ))}
        </div>
        <div class="bar" role="img" aria-label="Shares of the caches">
          {stages.map(({ key, color }) => (
            <i
              key={key}
              style={{
                width: `${decided > 0 ? ((now?.[key] ?? 0) / decided) * 100 : 0}%`,
                background: `var(${color})`,
              }}
            />
          ))}
        </div>
        <Chart
          label="Lookups a second, by what answered them"
          stacked
          times={samples.map((s) => s.at)}
          series={stages.map(({ key, name, color }) => ({ label: name, color, values: samples.map((s) => s[key]) }))}
          height={220}
          unit="/s"
        />
      </section>
      <section class="panel">
        <h2>Threads</h2>
        <div class="table-box">
          <table class="table">
            <thead>
              <tr>
                <th>Thread</th>
                <th class="wide">Busy</th>
                <th class="num">Packets/s</th>
                <th class="num">Subtables a hit</th>
                <th class="num">Upcalls/s</th>
                <th class="num">Lost/s</th>
                <th class="num">Drops/s</th>
              </tr>
            </thead>
            <tbody>
              {pmds.map((p) => (
                <tr key={`${p.dp}/${p.pmd}`}>
                  <td>{p.pmd < 0 ? 'main' : `pmd ${p.pmd}`}</td>
                  <td class="wide">
                    <span class="meter">
                      <i style={{ width: `${(p.load ?? 0) * 100}%` }} />
                    </span>{' '}
                    {loadOf(p.load)}
                  </td>
                  <td class="num">{count(p.packets)}</td>
                  <td class="num">{p.subtables_per_hit > 0 ? p.subtables_per_hit.toFixed(1) : '–'}</td>
                  <td class="num">{count(p.upcall)}</td>
                  <td class={`num${p.lost > 0 ? ' is-bad' : ''}`}>{count(p.lost)}</td>
                  <td class={`num${p.dropped > 0 ? ' is-bad' : ''}`}>{count(p.dropped)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <Subtables caches={caches} />
    </div>
  );
}

function Subtables({ caches }: { readonly caches: CachesData | undefined }): JSX.Element {
  const mask = useRoute().params.get('mask');
  const most = Math.max(1, ...(caches?.subtables.map((s) => s.rate) ?? []));
  return (
    <section class="panel">
      <h2>
        Subtables{' '}
        <span class="count">{caches ? `${caches.subtables.length} masks, ${count(caches.total)} megaflows` : ''}</span>
      </h2>
      {caches?.subtables.length === 0 && <p class="empty">No megaflows: nothing has passed for a while.</p>}
      <ul class="subtables">
        {caches?.subtables.slice(0, 200).map((s) => (
          <li key={s.mask} class={s.mask === mask ? 'is-open' : ''}>
            <button
              type="button"
              aria-expanded={s.mask === mask}
              onClick={() => setParams({ mask: s.mask === mask ? null : s.mask })}
            >
              <span class="turn">
                <Icon name="open" size={14} />
              </span>
              <span class="chips">
                {s.fields.map((field) => {
                  const [name, bits] = field.split('/');
                  return (
                    <span key={field} class="chip">
                      {name}
                      {bits !== undefined && <em>/{bits}</em>}
                    </span>
                  );
                })}
              </span>
              <span class="num">
                {count(s.megaflows)} <small>megaflows</small>
              </span>
              <span class="num hits">
                <span class="meter is-megaflow">
                  <i style={{ width: `${(s.rate / most) * 100}%` }} />
                </span>
                {count(s.rate)}/s
              </span>
            </button>
            {s.mask === mask && <MegaflowList mask={s.mask} version={caches} />}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Fetched when its subtable is open, again with each new picture. */
function MegaflowList({ mask, version }: { readonly mask: string; readonly version: unknown }): JSX.Element {
  const [rows, setRows] = useState<readonly MegaflowRow[]>([]);
  const [error, setError] = useState('');
  const [active, setActive] = useState(-1);
  useEffect(() => {
    const mine = new AbortController();
    fetch(`/api/megaflows?${new URLSearchParams({ mask })}`, { signal: mine.signal }).then(
      async (response) => {
        if (!response.ok) return setError(await errorOf(response));
        setError('');
        setRows((await response.json()) as MegaflowRow[]);
      },
      () => {},
    );
    return () => mine.abort();
  }, [mask, version]);
  const height = 50;
  return (
    <div style={{ height: `${Math.min(8, Math.max(1, rows.length)) * height}px` }}>
      {error !== '' && <p class="error">{error}</p>}
      <VirtualList
        label="megaflows"
        class="megaflows"
        count={rows.length}
        rowHeight={height}
        active={active}
        onActive={setActive}
        rowKey={(i) => rows[i].ufid}
        row={(i) => (
          <>
            <div class="grow two-lines">
              <MatchText text={rows[i].match} />
              <span>
                <span class="t-mark">→ </span>
                <ActionsText text={rows[i].actions} />
              </span>
            </div>
            <span class="num">
              {count(rows[i].packets)}
              <small>packets</small>
            </span>
            <span class="num">
              {count(rows[i].rate)}/s<small>{rows[i].used === 'never' ? 'never used' : `used ${rows[i].used}`}</small>
            </span>
          </>
        )}
      />
    </div>
  );
}
