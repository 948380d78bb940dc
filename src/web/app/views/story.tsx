/** One journey: its steps with their times on one side, the chosen step on the other, headers before and after beside each other. */
import type { JSX } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Step, Story, TranslationStory } from '../../../ofproto/journey/story.ts';
import { bytesOfHex, type HeaderField, headersOf } from '../../headers.ts';
import { parseTrace, pathOf } from '../../trace-text.ts';
import { ago, count, duration } from '../format.ts';
import { post } from '../live.ts';
import { Icon } from '../parts/icons.tsx';
import { ActionsText, MatchText } from '../parts/match-text.tsx';
import { TracePicture } from '../parts/trace-picture.tsx';
import { keepPath } from '../path.ts';
import { go, linkTo } from '../route.ts';

interface StoryProps {
  readonly story: Story;
  /** Journeys that may have told what this one does not tell again. */
  readonly others: (journey: number) => Story | undefined;
  readonly close: () => void;
}

export function StoryView({ story, others, close }: StoryProps): JSX.Element {
  const [at, setAt] = useState(0);
  const steps = useMemo(() => [null, ...story.steps], [story]);
  const packets = useMemo(() => packetsOf(story), [story]);
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      if (/^(INPUT|TEXTAREA|SELECT)$/.test((event.target as HTMLElement).tagName)) return;
      if (event.key === 'ArrowRight') setAt((i) => Math.min(steps.length - 1, i + 1));
      else if (event.key === 'ArrowLeft') setAt((i) => Math.max(0, i - 1));
      else if (event.key === 'Escape') close();
      else return;
      event.preventDefault();
    };
    window.addEventListener('keydown', keys);
    return () => window.removeEventListener('keydown', keys);
  }, [steps.length, close]);
  const showPath = async (): Promise<void> => {
    const told = story.steps.flatMap((s) => translationOf(s, others));
    // What no journey we heard has told is asked for: the tables may have changed since.
    const traces = told.length > 0 ? told.map((t) => t.trace) : [await traceOf(story)];
    const title = told.length > 0 ? `journey ${story.journey}` : `journey ${story.journey}, as the tables are now`;
    keepPath({ title, steps: traces.flatMap((text) => pathOf(parseTrace(text))) });
    go('flows', { bridge: story.bridge, path: '1' });
  };
  return (
    <section class="panel story" aria-label={`Journey ${story.journey}`}>
      <header class="story-head">
        <button type="button" class="icon-button only-narrow" aria-label="Back" onClick={close}>
          <Icon name="back" />
        </button>
        <div class="grow">
          <h2>
            <span class={`verdict is-${story.verdict}`}>{story.verdict}</span> journey {story.journey}
          </h2>
          <p class="dim">
            {story.time.slice(11, 26)} · {story.bridge ?? 'no bridge'}: {story.in_port.name} →{' '}
            {story.verdict === 'dropped'
              ? story.drop?.name
              : story.outputs.map((p) => p.name).join(', ') || story.verdict}{' '}
            · {duration(story.ns)}
          </p>
        </div>
        {story.bridge && (
          <button type="button" class="button" onClick={() => void showPath()}>
            In the flow tables
          </button>
        )}
        {story.bridge && (
          <a
            class="button"
            href={linkTo('trace', { bridge: story.bridge, port: story.in_port.name, packet: story.packet, way: 'hex' })}
          >
            Trace again
          </a>
        )}
        <button type="button" class="icon-button only-wide" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      {story.drop && (
        <p class="drop-line">
          <b>{story.drop.name}</b> {story.drop.text}
        </p>
      )}
      {story.is_incomplete && (
        <p class="remark">Something of this journey was lost on the way, or took longer than a second.</p>
      )}
      <div class="story-body">
        <ol class="steps">
          {steps.map((step, i) => {
            const text = step === null ? `received on ${story.in_port.name}` : stepTitle(step);
            return (
              <li
                key={i}
                class={`${i === at ? 'is-here' : ''} ${step ? `is-${step.step}` : 'is-start'}${step?.step === 'lookup' ? ` by-${step.cache}` : ''}`}
              >
                <button type="button" aria-current={i === at ? 'step' : undefined} onClick={() => setAt(i)}>
                  <span class="step-time">{duration(step?.ns ?? 0)}</span>
                  <span class="step-dot" />
                  <span class="step-text">
                    {text}
                    <small>{(step?.pmd ?? story.pmd) < 0 ? 'main' : `pmd ${step?.pmd ?? story.pmd}`}</small>
                  </span>
                </button>
              </li>
            );
          })}
        </ol>
        <div class="step-pane">
          <div class="stepper">
            <button
              type="button"
              class="icon-button"
              aria-label="Step back"
              disabled={at === 0}
              onClick={() => setAt(at - 1)}
            >
              <Icon name="back" />
            </button>
            <span>
              step {at} of {steps.length - 1}
            </span>
            <button
              type="button"
              class="icon-button"
              aria-label="Step on"
              disabled={at === steps.length - 1}
              onClick={() => setAt(at + 1)}
            >
              <Icon name="open" />
            </button>
          </div>
          <StepBody story={story} step={steps[at]} />
          <Headers before={packets[at].before} after={packets[at].after} />
        </div>
      </div>
    </section>
  );
}

function translationOf(step: Step, others: StoryProps['others']): TranslationStory[] {
  if (step.step === 'translation') return [step.translation];
  if (step.step !== 'lookup') return [];
  if (step.replay) return [step.replay];
  const told = step.replayed_in === null ? undefined : others(step.replayed_in);
  for (const other of told?.steps ?? [])
    if (other.step === 'lookup' && other.replay && other.megaflow?.ufid === step.megaflow?.ufid) return [other.replay];
  return [];
}

async function traceOf(story: Story): Promise<string> {
  const flow = `in_port=${story.in_port.of_port ?? story.in_port.name}`;
  const response = await fetch('/api/trace', post({ bridge: story.bridge, flow, packet: story.packet }));
  return response.ok ? ((await response.json()) as { text: string }).text : '';
}

/** The packet's bytes before and after each step; step 0 is its reception. */
function packetsOf(story: Story): { before: string; after: string }[] {
  let now = story.packet;
  const list = [{ before: now, after: now }];
  for (const step of story.steps) {
    const before = now;
    // What a story keeps are the first bytes: those that follow stay.
    if (step.step === 'action' && step.after !== null) now = step.after;
    list.push({ before: step.step === 'action' && step.before !== null ? step.before : before, after: now });
  }
  return list;
}

const OTHER_STEPS: Readonly<Record<string, string>> = {
  held: 'waits at a breakpoint',
  released: 'goes on',
  edited: 'edited',
};

export function stepTitle(step: Step): string {
  switch (step.step) {
    case 'lookup':
      if (step.cache === 'emc' || step.cache === 'smc') return `${step.cache.toUpperCase()} hit`;
      if (step.cache === 'simple') return 'simple match hit';
      if (step.cache === 'none') return `no cache knows it${step.tried > 0 ? `, ${step.tried} subtables tried` : ''}`;
      return `megaflow hit in subtable ${step.tried}${step.subtables === null ? '' : ` of ${step.subtables}`}`;
    case 'upcall':
      return step.reason === 'miss' ? 'upcall: no megaflow' : 'upcall: asked for by an action';
    case 'translation':
      return `translated by ${step.bridge}`;
    case 'overtaken':
      return 'a packet of the same megaflow was faster';
    case 'controller':
      return 'sent to the controller';
    case 'actions':
      return `actions: ${step.actions === '' ? 'drop' : step.actions}`;
    case 'action':
      return step.action;
    case 'recirculated':
      return `recirculated (0x${step.recirc_id.toString(16)})`;
    case 'sent':
      return `sent to ${step.port.name}`;
    case 'drop':
      return `dropped: ${step.reason}`;
    default:
      // What later versions may add.
      return OTHER_STEPS[(step as { step: string }).step] ?? (step as { step: string }).step;
  }
}

function StepBody({ story, step }: { readonly story: Story; readonly step: Step | null }): JSX.Element | null {
  if (step === null) {
    return (
      <div class="step-body">
        <p>
          Received on <b>{story.in_port.name}</b> (port {story.in_port.of_port ?? '?'}), queue {story.queue},{' '}
          {story.length} bytes.
        </p>
        <p class="code">
          <MatchText text={story.flow} />
        </p>
      </div>
    );
  }
  switch (step.step) {
    case 'lookup':
    case 'overtaken': {
      const flow = step.megaflow;
      return (
        <div class="step-body">
          {flow && (
            <div class="card is-block">
              <span class="card-kind">megaflow</span>
              <p class="code">
                <MatchText text={flow.match} />
              </p>
              <p class="code">
                <span class="t-mark">→ </span>
                <ActionsText text={flow.actions === '' ? 'drop' : flow.actions} />
              </p>
              <p class="dim">
                {count(flow.packets)} packets in {ago(flow.age_ms / 1000)}
                {flow.made_by_journey !== null && `, made by journey ${flow.made_by_journey}`}
              </p>
            </div>
          )}
          {step.step === 'lookup' && step.replay && (
            <>
              <p class={step.replay.is_current ? 'dim' : 'remark'}>
                {step.replay.is_current ? 'The tables still say so:' : 'The tables have changed since; now they say:'}
              </p>
              <Translation translation={step.replay} />
            </>
          )}
          {step.step === 'lookup' && !step.replay && step.replayed_in !== null && (
            <p class="dim">Journey {step.replayed_in} tells how it was translated.</p>
          )}
        </div>
      );
    }
    case 'translation':
      return (
        <div class="step-body">
          <Translation translation={step.translation} />
        </div>
      );
    case 'action':
      return step.changes.length === 0 ? null : (
        <ul class="changes">
          {step.changes.map((change) => (
            <li key={change}>
              <code>{change}</code>
            </li>
          ))}
        </ul>
      );
    case 'actions':
      return (
        <p class="step-body code">
          <ActionsText text={step.actions === '' ? 'drop' : step.actions} />
        </p>
      );
    case 'recirculated':
      return (
        <p class="step-body code">
          <MatchText text={step.flow} />
        </p>
      );
    case 'sent':
      return (
        <p class="step-body">
          {step.length} bytes to <b>{step.port.name}</b> (port {step.port.of_port ?? '?'}), by{' '}
          {step.by_pmd < 0 ? 'the main thread' : `pmd ${step.by_pmd}`}.
        </p>
      );
    case 'drop':
      return (
        <p class="drop-line">
          <b>{step.reason}</b> {step.text}
        </p>
      );
    default:
      return null;
  }
}

function Translation({ translation }: { readonly translation: TranslationStory }): JSX.Element {
  const chapters = useMemo(() => parseTrace(translation.trace), [translation]);
  return (
    <>
      <TracePicture chapters={chapters} />
      {translation.error && <p class="error">{translation.error}</p>}
      {translation.why.length > 0 && (
        <div class="table-box">
          <table class="table why">
            <caption>Why the megaflow looks at which bits</caption>
            <tbody>
              {translation.why.map(({ bits, because }) => (
                <tr key={because + bits}>
                  <th scope="row">{because}</th>
                  <td class="code">
                    <MatchText text={bits} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

// ---- headers ----

function Headers({ before, after }: { readonly before: string; readonly after: string }): JSX.Element {
  const [isBytes, setBytes] = useState(false);
  const [was, is] = useMemo(() => [before, after].map((text) => bytesOfHex(text)), [before, after]);
  const hasChanged = before !== after;
  return (
    <div class="headers">
      <div class="headers-head">
        <h3>{hasChanged ? 'Headers before and after' : 'Headers'}</h3>
        <button type="button" class="button is-small" aria-pressed={isBytes} onClick={() => setBytes(!isBytes)}>
          {isBytes ? 'Fields' : 'Bytes'}
        </button>
      </div>
      {isBytes ? (
        <div class={`sides${hasChanged ? ' is-two' : ''}`}>
          <Bytes bytes={was} other={is} kind="was" />
          {hasChanged && <Bytes bytes={is} other={was} kind="is" />}
        </div>
      ) : (
        <Fields was={headersOf(was)} is={hasChanged ? headersOf(is) : null} />
      )}
    </div>
  );
}

interface Line {
  readonly layer: string;
  readonly name: string;
  readonly was: string | null;
  readonly is: string | null;
}

/** Pairs the fields of both by layer and name; layers that one has not are its alone. */
function pair(was: readonly HeaderField[], is: readonly HeaderField[] | null): Line[] {
  if (is === null) return was.map((f) => ({ layer: f.layer, name: f.name, was: f.value, is: null }));
  const key = (f: HeaderField): string => `${f.layer}/${f.name}`;
  const out: Line[] = [];
  const left = [...was];
  for (const f of is) {
    const at = left.findIndex((w) => key(w) === key(f));
    // What stands before the found one is gone.
    if (at >= 0)
      for (const gone of left.splice(0, at))
        out.push({ layer: gone.layer, name: gone.name, was: gone.value, is: null });
    const old = at >= 0 ? left.shift() : undefined;
    out.push({ layer: f.layer, name: f.name, was: old?.value ?? null, is: f.value });
  }
  for (const gone of left) out.push({ layer: gone.layer, name: gone.name, was: gone.value, is: null });
  return out;
}

function Fields({
  was,
  is,
}: {
  readonly was: readonly HeaderField[];
  readonly is: readonly HeaderField[] | null;
}): JSX.Element {
  const list = pair(was, is);
  return (
    <div class="table-box">
      <table class={`table fields-table${is ? ' is-two' : ''}`}>
        {is && (
          <thead>
            <tr>
              <th />
              <th>before</th>
              <th>after</th>
            </tr>
          </thead>
        )}
        <tbody>
          {list.map((line, i) => {
            const changed = is !== null && line.was !== line.is;
            return [
              (i === 0 || list[i - 1].layer !== line.layer) && (
                <tr key={`${line.layer}${i}`} class="layer">
                  <th colSpan={3}>{line.layer}</th>
                </tr>
              ),
              <tr key={i} class={changed ? 'is-changed' : ''}>
                <th scope="row">{line.name}</th>
                <td class="was">{line.was ?? '–'}</td>
                {is && <td class="is">{line.is ?? '–'}</td>}
              </tr>,
            ];
          })}
        </tbody>
      </table>
    </div>
  );
}

function Bytes({
  bytes,
  other,
  kind,
}: {
  readonly bytes: Uint8Array;
  readonly other: Uint8Array;
  readonly kind: 'was' | 'is';
}): JSX.Element {
  const rows: JSX.Element[] = [];
  // Headers that were put in or taken out shift all that follows: only bytes from the common end on are compared by place.
  const shift = other.length - bytes.length;
  for (let at = 0; at < bytes.length; at += 16) {
    const cells = Array.from(bytes.subarray(at, at + 16), (b, i) => {
      const place = at + i;
      const isSame = b === other[place] || (shift !== 0 && b === other[place + shift]);
      return (
        <span key={i} class={isSame ? '' : 'is-changed'}>
          {b.toString(16).padStart(2, '0')}
        </span>
      );
    });
    rows.push(
      <div key={at} class="bytes-row">
        <span class="dim">{at.toString(16).padStart(4, '0')}</span>
        {cells}
      </div>,
    );
  }
  return <div class={`bytes is-${kind}`}>{rows}</div>;
}
