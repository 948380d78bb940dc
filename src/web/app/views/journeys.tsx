/** Packets as they pass: a capture with a filter, its stories as they come, and one of them step by step. */
import type { JSX } from 'preact';
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import type { Story } from '../../../ofproto/journey/story.ts';
import type { NetData, Status } from '../../api.ts';
import { type Capture, capture } from '../capture.ts';
import { count, duration } from '../format.ts';
import { useTopic } from '../live.ts';
import { Icon } from '../parts/icons.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { setParams, useRoute } from '../route.ts';
import { BreakpointsView } from './breakpoints.tsx';
import { StoryView } from './story.tsx';

function useCapture(): Capture {
  const [, bump] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    // Many stories in one go are one new picture.
    let planned = 0;
    const stop = capture.listen(() => {
      planned ||= requestAnimationFrame(() => {
        planned = 0;
        bump();
      });
    });
    return () => {
      cancelAnimationFrame(planned);
      stop();
    };
  }, []);
  return capture;
}

const WAYS = [
  [null, 'Watch'],
  ['break', 'Breakpoints'],
] as const;

export function JourneysView(): JSX.Element {
  const status = useTopic<Status>('status');
  const { params } = useRoute();
  const way = params.get('way');
  return (
    <div class="journeys-page">
      <div class="choice" role="tablist" aria-label="Watch packets, or let them wait">
        {WAYS.map(([name, label]) => (
          <button
            key={label}
            type="button"
            role="tab"
            aria-selected={way === name}
            onClick={() => setParams({ way: name })}
          >
            {label}
          </button>
        ))}
      </div>
      {way === 'break' ? <BreakpointsView status={status} /> : <Watch />}
    </div>
  );
}

function Watch(): JSX.Element {
  const net = useTopic<NetData>('net');
  const { params } = useRoute();
  const now = useCapture();
  const [filter, setFilter] = useState(params.get('filter') ?? '');
  const only = params.get('only') ?? '';
  const bridge = params.get('bridge') ?? '';
  const port = params.get('port') ?? '';
  const start = (): void => {
    const query = new URLSearchParams();
    for (const [name, value] of [
      ['filter', filter.trim()],
      ['bridge', bridge],
      ['in-port', port],
      ['only', only],
    ])
      if (value) query.set(name, value);
    setParams({ open: null, filter: filter.trim() || null });
    void capture.start(query);
  };
  const hasStarted = useRef(false);
  useEffect(() => {
    if (hasStarted.current || params.get('start') === null) return;
    hasStarted.current = true;
    setParams({ start: null });
    start();
  });
  const openAs = params.get('open');
  const index = openAs === null ? -1 : now.stories.findIndex(({ story }) => String(story.journey) === openAs);
  const story = now.stories[index]?.story;
  const ports =
    net?.bridges
      .filter((b) => bridge === '' || b.name === bridge)
      .flatMap((b) => b.ports.flatMap((p) => p.interfaces)) ?? [];
  return (
    <div class={`journeys${story ? ' has-open' : ''}`}>
      <section class="panel capture">
        <form
          class="capture-form"
          onSubmit={(event) => {
            event.preventDefault();
            if (now.isRunning) capture.stop();
            else start();
          }}
        >
          <input
            type="search"
            name="filter"
            class="search"
            placeholder="icmp,nw_dst=10.0.0.2 (any packet)"
            aria-label="Filter, as in ovs-fields(7)"
            spellcheck={false}
            value={filter}
            onInput={(e) => setFilter(e.currentTarget.value)}
          />
          <select
            aria-label="Bridge"
            value={bridge}
            onChange={(e) => setParams({ bridge: e.currentTarget.value, port: null })}
          >
            <option value="">any bridge</option>
            {net?.bridges.map((b) => (
              <option key={b.name} value={b.name}>
                {b.name}
              </option>
            ))}
          </select>
          <select aria-label="Port" value={port} onChange={(e) => setParams({ port: e.currentTarget.value })}>
            <option value="">any port</option>
            {ports.map((i) => (
              <option key={i.uuid} value={i.name}>
                {i.name}
              </option>
            ))}
          </select>
          <select aria-label="Which packets" value={only} onChange={(e) => setParams({ only: e.currentTarget.value })}>
            <option value="">all</option>
            <option value="drops">only drops</option>
            <option value="upcalls">only upcalls</option>
            <option value="slow">only slow ones</option>
          </select>
          <button type="submit" class={`button ${now.isRunning ? '' : 'is-main'}`}>
            <Icon name={now.isRunning ? 'stop' : 'play'} size={15} /> {now.isRunning ? 'Stop' : 'Start'}
          </button>
        </form>
        {now.error !== '' && (
          <p class="error" role="alert">
            {now.error}
          </p>
        )}
        <p class="capture-counts" role="status">
          {now.isRunning && <i class="recording" />}
          {now.isRunning || now.stories.length > 0 ? `${count(now.counts.told)} told` : 'Nobody looks for packets.'}
          {now.counts.untold > 0 && `, ${count(now.counts.untold)} passed untold`}
          {now.counts.lost > 0 && `, ${count(now.counts.lost)} lost`}
        </p>
        <VirtualList
          label="journeys"
          class="stories"
          count={now.stories.length}
          rowHeight={52}
          active={index}
          onActive={(i) => setParams({ open: String(shownAt(now, i).journey) })}
          rowKey={(i) => shownAt(now, i).journey}
          rowClass={(i) => `is-${shownAt(now, i).verdict}`}
          row={(i) => <StoryRow story={now.stories[i].story} text={now.stories[i].text} />}
          empty={
            <div class="empty">
              {now.isRunning ? (
                <p>Waiting for packets that match.</p>
              ) : (
                <p>Start a capture: each packet that matches tells its way through the switch.</p>
              )}
            </div>
          }
        />
      </section>
      {story && (
        <StoryView
          key={story.journey}
          story={story}
          others={(n) => capture.stories.find((s) => s.story.journey === n)?.story}
          close={() => setParams({ open: null })}
        />
      )}
    </div>
  );
}

const CACHES: Readonly<Record<string, string>> = { emc: 'EMC', smc: 'SMC', megaflow: 'dpcls', none: 'upcall' };

const shownAt = (now: Capture, i: number): Story => now.stories[i].story;

function StoryRow({ story, text }: { readonly story: Story; readonly text: string }): JSX.Element {
  const out = story.outputs.map((p) => p.name).join(', ');
  const first = story.steps.find((s) => s.step === 'lookup');
  const cache = first?.step === 'lookup' ? (CACHES[first.cache] ?? first.cache) : '';
  return (
    <>
      <span class={`verdict-mark is-${story.verdict}`} title={story.verdict} />
      <div class="grow two-lines">
        <b>{text}</b>
        <span class="dim">
          {story.in_port.name} →{' '}
          {story.verdict === 'dropped' ? (
            <span class="t-drop">{story.drop?.name ?? 'dropped'}</span>
          ) : (
            out || story.verdict
          )}
        </span>
      </div>
      <div class="two-lines is-end">
        <span class={`cache is-${cache}`}>{cache}</span>
        <span class="dim">{duration(story.ns)}</span>
      </div>
    </>
  );
}
