/** Breakpoints: packets wait before a stage of their way, are looked at, changed, and let go, by buttons. */
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { BreaksData, HeldState, NetData, Status } from '../../api.ts';
import { bytesOfHex, summary } from '../../headers.ts';
import { duration } from '../format.ts';
import { errorOf, post, useTopic } from '../live.ts';
import { Icon } from '../parts/icons.tsx';
import { ActionsText, MatchText } from '../parts/match-text.tsx';
import { setParams, useRoute } from '../route.ts';
import { stepTitle } from './story.tsx';

const STAGES: readonly (readonly [string, string])[] = [
  ['rx', 'received'],
  ['extract', 'headers are read'],
  ['emc', 'exact match cache'],
  ['smc', 'signature match cache'],
  ['dpcls', 'megaflows'],
  ['upcall', 'up to the slow path'],
  ['xlate', 'translation'],
  ['action', 'each action'],
  ['ct', 'connection tracking'],
  ['tx', 'sent'],
  ['drop', 'dropped'],
];

type Order = Readonly<Record<string, string | number>>;

export function BreakpointsView({ status }: { readonly status: Status | undefined }): JSX.Element {
  if (status && !status.allowsChanges) {
    return (
      <div class="panel empty">
        <p>This dashboard only looks: packets pass untouched.</p>
        <p>
          To let packets wait, start it with <code>signalbox dashboard --allow-changes</code>.
        </p>
      </div>
    );
  }
  if (status && !status.hasBreakpoints) return <div class="panel empty">This switch has no breakpoints.</div>;
  return <Breakpoints />;
}

function Breakpoints(): JSX.Element {
  const net = useTopic<NetData>('net');
  const breaks = useTopic<BreaksData>('breaks');
  const { params } = useRoute();
  const [error, setError] = useState('');
  const [stages, setStages] = useState<readonly string[]>(['rx']);
  const [filter, setFilter] = useState(params.get('filter') ?? '');
  const [bridge, setBridge] = useState('');
  const order = async (what: Order): Promise<void> => {
    try {
      const response = await fetch('/api/break', post(what));
      setError(response.ok ? '' : await errorOf(response));
    } catch (failure) {
      setError((failure as Error).message);
    }
  };
  const held = breaks?.held ?? [];
  const chosen = held.find((h) => String(h.packet) === params.get('held')) ?? held[0];
  return (
    <div class={`breaks${chosen ? ' has-open' : ''}`}>
      <section class="panel break-side">
        <form
          class="break-form"
          onSubmit={(event) => {
            event.preventDefault();
            void order({ do: 'set', stage: stages.join(','), filter: filter.trim(), bridge });
          }}
        >
          <fieldset>
            <legend>Packets wait before</legend>
            <div class="chips is-choice">
              {STAGES.map(([name, about]) => (
                <button
                  key={name}
                  type="button"
                  class="chip"
                  title={about}
                  aria-pressed={stages.includes(name)}
                  onClick={() =>
                    setStages(stages.includes(name) ? stages.filter((s) => s !== name) : [...stages, name])
                  }
                >
                  {name}
                </button>
              ))}
            </div>
          </fieldset>
          <div class="capture-form">
            <input
              type="search"
              name="break-filter"
              class="search"
              aria-label="Which packets, as in ovs-fields(7)"
              placeholder="icmp,nw_dst=10.0.0.2 (any packet)"
              spellcheck={false}
              value={filter}
              onInput={(e) => setFilter(e.currentTarget.value)}
            />
            <select aria-label="Bridge" value={bridge} onChange={(e) => setBridge(e.currentTarget.value)}>
              <option value="">any bridge</option>
              {net?.bridges.map((b) => (
                <option key={b.name}>{b.name}</option>
              ))}
            </select>
            <button type="submit" class="button is-main" disabled={stages.length === 0}>
              Set
            </button>
          </div>
        </form>
        {error !== '' && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        <ul class="plain break-list">
          {breaks?.breakpoints.map((b) => (
            <li key={b.name}>
              <span class="break-dot" />
              <span class="grow">
                <b>{b.stages.join(', ')}</b> <code>{b.filter || 'any packet'}</code>
                <small class="break-counts">
                  {b.hits} stopped, {b.waiting} waiting
                </small>
              </span>
              <button
                type="button"
                class="icon-button"
                aria-label={`Delete breakpoint ${b.name}`}
                onClick={() => void order({ do: 'delete', name: b.name })}
              >
                <Icon name="close" size={16} />
              </button>
            </li>
          ))}
        </ul>
        {breaks && breaks.breakpoints.length === 0 && (
          <p class="empty">No breakpoints. One that you set is let go ten seconds after you leave this page.</p>
        )}
        {held.length > 0 && (
          <>
            <div class="tools held-tools">
              <h3 class="grow">{held.length} waiting</h3>
              <button type="button" class="button is-small" onClick={() => void order({ do: 'continue' })}>
                Let all go
              </button>
            </div>
            <ul class="plain held-list">
              {held.slice(0, 100).map((h) => (
                <li key={h.packet} class={h === chosen ? 'is-here' : ''}>
                  <button type="button" onClick={() => setParams({ held: String(h.packet) })}>
                    <span class="grow two-lines">
                      <b>{summary(bytesOfHex(h.bytes))}</b>
                      <span class="dim">
                        {h.in_port.name}, before {h.stage}
                      </span>
                    </span>
                    <Countdown held={h} at={breaks?.at ?? 0} />
                  </button>
                </li>
              ))}
            </ul>
          </>
        )}
      </section>
      {chosen && <HeldView key={chosen.packet} held={chosen} order={order} />}
    </div>
  );
}

/** How long it waits yet. */
function Countdown({ held, at }: { readonly held: HeldState; readonly at: number }): JSX.Element {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, held.left_ms - Math.max(0, now - at));
  return <span class="num dim">{Math.ceil(left / 1000)} s</span>;
}

function HeldView({
  held,
  order,
}: {
  readonly held: HeldState;
  readonly order: (what: Order) => Promise<void>;
}): JSX.Element {
  const packet = String(held.packet);
  return (
    <section class="panel held" aria-label={`Packet ${packet}`}>
      <header class="story-head">
        <div class="grow">
          <h2>
            <span class="verdict is-consumed">waits before {held.stage}</span> packet {packet}
          </h2>
          <p class="dim">
            {held.bridge}: from {held.in_port.name}, {held.pmd < 0 ? 'main thread' : `pmd ${held.pmd}`}, {held.length}{' '}
            bytes
          </p>
        </div>
      </header>
      <p class="links">
        <button type="button" class="button is-main" onClick={() => void order({ do: 'continue', packet })}>
          <Icon name="play" size={15} /> Continue
        </button>
        <button type="button" class="button" onClick={() => void order({ do: 'step', packet })}>
          <Icon name="open" size={15} /> Step
        </button>
        <button type="button" class="button is-danger" onClick={() => void order({ do: 'drop', packet })}>
          <Icon name="close" size={15} /> Drop
        </button>
      </p>
      {held.actions !== '' && (
        <p class="code">
          <span class="t-mark">left to do: </span>
          <ActionsText text={held.actions} />
        </p>
      )}
      <p class="code">
        <MatchText text={held.flow} />
      </p>
      <div class="held-body">
        <div>
          <h3>Headers</h3>
          <div class="table-box">
            <table class="table fields-table">
              <tbody>
                {held.headers.map(({ field, value, is_editable }) => (
                  <tr key={field}>
                    <th scope="row">{field}</th>
                    <td>
                      {is_editable ? (
                        <Editable
                          field={field}
                          value={value}
                          edit={(text) => void order({ do: 'edit', packet, edit: `${field}=${text}` })}
                        />
                      ) : (
                        value
                      )}
                    </td>
                  </tr>
                ))}
                {held.metadata.map(({ field, value }) => (
                  <tr key={field}>
                    <th scope="row">{field}</th>
                    <td class="dim">{value}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {held.edits.length > 0 && <p class="remark">Edited: {held.edits.join(', ')}</p>}
        </div>
        <div>
          <h3>So far</h3>
          <ol class="plain so-far">
            <li>received on {held.in_port.name}</li>
            {held.steps.map((step) => (
              <li key={`${step.ns}${step.step}`}>
                {stepTitle(step)} <small>{duration(step.ns)}</small>
              </li>
            ))}
          </ol>
        </div>
      </div>
    </section>
  );
}

/** A value that Enter sends to the switch, and Escape leaves as it is. */
function Editable({
  field,
  value,
  edit,
}: {
  readonly field: string;
  readonly value: string;
  readonly edit: (text: string) => void;
}): JSX.Element {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  return (
    <form
      class="edit"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed !== value) edit(typed.trim());
      }}
    >
      <input
        name={field}
        aria-label={field}
        value={typed}
        spellcheck={false}
        onInput={(e) => setTyped(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === 'Escape') setTyped(value);
        }}
      />
      {typed !== value && (
        <button type="submit" class="button is-small">
          Set
        </button>
      )}
    </form>
  );
}
