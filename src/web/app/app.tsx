/** The frame of all pages: where to go, how the switch is, and what stands in the middle. */
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Status, TopData } from '../api.ts';
import { clockTime, count, percent } from './format.ts';
import { login, useLink, useTopic } from './live.ts';
import { keepHistory, sampleOf } from './parts/history.ts';
import { Icon } from './parts/icons.tsx';
import { go, linkTo, PAGES, type Page, useRoute } from './route.ts';
import { toggleTheme, useTheme } from './theme.ts';
import { CachesView } from './views/caches.tsx';
import { DatabaseView } from './views/database.tsx';
import { FlowsView } from './views/flows.tsx';
import { JourneysView } from './views/journeys.tsx';
import { TopologyView } from './views/topology.tsx';
import { TraceView } from './views/trace.tsx';

const TITLES: Readonly<Record<Page, string>> = {
  topology: 'Topology',
  caches: 'Caches',
  flows: 'Flow tables',
  trace: 'Trace',
  journeys: 'Journeys',
  database: 'Database',
};

const VIEWS: Readonly<Record<Page, () => JSX.Element>> = {
  topology: TopologyView,
  caches: CachesView,
  flows: FlowsView,
  trace: TraceView,
  journeys: JourneysView,
  database: DatabaseView,
};

export function App(): JSX.Element {
  const { page } = useRoute();
  const status = useTopic<Status>('status');
  const { link } = useLink();
  const [isHelpOpen, setHelpOpen] = useState(false);
  useEffect(keepHistory, []);
  useEffect(() => {
    document.title = `${TITLES[page]} · Signalbox`;
  }, [page]);
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      const at = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === 'Escape') setHelpOpen(false);
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) {
        if (event.key === 'Escape') at.blur();
        return;
      }
      const digit = Number(event.key);
      if (digit >= 1 && digit <= PAGES.length) go(PAGES[digit - 1]);
      else if (event.key === '?') setHelpOpen((is) => !is);
      else if (event.key === 't') toggleTheme();
      else if (event.key === '/') {
        const search = document.querySelector<HTMLInputElement>('main input[type=search]');
        if (!search) return;
        search.focus();
        search.select();
      } else return;
      event.preventDefault();
    };
    window.addEventListener('keydown', keys);
    return () => window.removeEventListener('keydown', keys);
  }, []);
  if (link === 'locked') return <TokenForm />;
  const View = VIEWS[page];
  const isGone = link === 'lost' || (status !== undefined && !status.switch.isUp);
  return (
    <div class="frame">
      <nav class="side" aria-label="Pages">
        <a class="brand" href={linkTo('topology')} aria-label="Signalbox">
          <img src="/icon.svg" alt="" width="26" height="26" />
          <span>Signalbox</span>
        </a>
        {PAGES.map((name, i) => (
          <a
            key={name}
            href={linkTo(name)}
            class={`nav-item${name === page ? ' is-here' : ''}`}
            aria-current={name === page ? 'page' : undefined}
            title={`${TITLES[name]} (${i + 1})`}
          >
            <Icon name={name} />
            <span>{TITLES[name]}</span>
          </a>
        ))}
      </nav>
      <div class="body">
        <header class="head">
          <h1>{TITLES[page]}</h1>
          <Numbers />
          <SwitchLight status={status} />
          <ThemeButton />
          <button
            type="button"
            class="icon-button only-wide"
            title="Keys (?)"
            aria-label="Keys"
            onClick={() => setHelpOpen(true)}
          >
            <Icon name="help" />
          </button>
        </header>
        <Trouble status={status} />
        <main class={`main page-${page}${isGone ? ' is-gone' : ''}`}>
          <View />
        </main>
      </div>
      {isHelpOpen && <Keys close={() => setHelpOpen(false)} />}
    </div>
  );
}

function Numbers(): JSX.Element {
  const top = useTopic<TopData>('top');
  if (!top) return <div class="numbers" />;
  const now = sampleOf(top);
  const decided = now.simple + now.emc + now.smc + now.megaflow + now.upcall;
  return (
    <div class="numbers" aria-live="off">
      <Figure name="packets/s" value={count(now.packets)} />
      <Figure name="answered by caches" value={percent(decided - now.upcall, decided)} />
      <Figure name="drops/s" value={count(now.dropped)} bad={now.dropped > 0} />
    </div>
  );
}

function Figure({
  name,
  value,
  bad = false,
}: {
  readonly name: string;
  readonly value: string;
  readonly bad?: boolean;
}) {
  return (
    <div class={`number${bad ? ' is-bad' : ''}`}>
      <b>{value}</b>
      <span>{name}</span>
    </div>
  );
}

function SwitchLight({ status }: { readonly status: Status | undefined }): JSX.Element {
  const { link } = useLink();
  const isUp = link === 'open' && status?.switch.isUp === true;
  const text = isUp
    ? 'live'
    : link === 'open' && status === undefined
      ? '…'
      : link === 'connecting'
        ? 'connecting'
        : 'gone';
  return (
    <span class={`light ${isUp ? 'is-up' : text === 'gone' ? 'is-down' : ''}`} role="status">
      <i />
      {text}
    </span>
  );
}

function ThemeButton(): JSX.Element {
  const theme = useTheme();
  return (
    <button
      type="button"
      class="icon-button"
      title="Light or dark (t)"
      aria-label="Light or dark"
      onClick={toggleTheme}
    >
      <Icon name={theme === 'dark' ? 'sun' : 'moon'} />
    </button>
  );
}

/** Says plainly what is not there, and since when; goes by itself. */
function Trouble({ status }: { readonly status: Status | undefined }): JSX.Element | null {
  const { link, error, since } = useLink();
  if (link === 'lost') {
    return (
      <div class="trouble" role="alert">
        <b>The dashboard's server does not answer</b> since {clockTime(since)} ({error}). What you see is from before.
        Trying again every second.
      </div>
    );
  }
  if (!status) return null;
  const parts = [
    { what: 'switch', reach: status.switch },
    { what: 'database', reach: status.database },
  ].filter(({ reach }) => !reach.isUp && reach.error !== 'not asked yet');
  if (parts.length === 0) return null;
  return (
    <div class="trouble" role="alert">
      {parts.map(({ what, reach }) => (
        <div key={what}>
          <b>The {what} is gone</b> since {clockTime(reach.since)}: {reach.error}. What you see is from before; it goes
          on when the {what} is back.
        </div>
      ))}
    </div>
  );
}

function TokenForm(): JSX.Element {
  const [error, setError] = useState<string | null>(null);
  const submit = (event: Event): void => {
    event.preventDefault();
    const token = new FormData(event.currentTarget as HTMLFormElement).get('token');
    void login(String(token)).then(setError);
  };
  return (
    <form class="token-form panel" onSubmit={submit}>
      <img src="/icon.svg" alt="" width="40" height="40" />
      <h1>This dashboard asks for its token</h1>
      <p>
        It stands in the address that <code>signalbox dashboard</code> printed, behind <code>#token=</code>.
      </p>
      <label>
        Token
        <input name="token" type="password" autocomplete="current-password" required />
      </label>
      <button type="submit" class="button is-main">
        Open
      </button>
      {error !== null && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}

const KEYS: readonly (readonly [string, string])[] = [
  ['1 – 6', 'the pages'],
  ['/', 'search'],
  ['↑ ↓ or k j', 'move in a list'],
  ['Enter', 'open what is chosen'],
  ['← →', 'the steps of a journey'],
  ['Esc', 'close, leave a field'],
  ['t', 'light or dark'],
  ['?', 'this'],
];

function Keys({ close }: { readonly close: () => void }): JSX.Element {
  return (
    <div class="veil">
      <button type="button" class="veil-back" aria-label="Close" onClick={close} />
      <div class="panel keys" role="dialog" aria-label="Keys">
        <h2>Keys</h2>
        <dl>
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </div>
    </div>
  );
}
