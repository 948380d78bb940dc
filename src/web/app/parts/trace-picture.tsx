/** A translation as a picture: the packet's way down through bridges and tables, a card for each rule, and what came of it. */
import type { JSX } from 'preact';
import type { TraceChapter, TraceLine } from '../../trace-text.ts';
import { ActionsText, MatchText } from './match-text.tsx';

export function TracePicture({ chapters }: { readonly chapters: readonly TraceChapter[] }): JSX.Element {
  return (
    <div class="trace-picture">
      {chapters.map((chapter, i) => (
        <section key={i} class="chapter">
          {chapter.title !== '' && <h3 class="chapter-title">↻ {chapter.title}</h3>}
          {chapter.flow !== null && (
            <div class="way is-start">
              <div class="card is-flow">
                <span class="card-kind">packet</span>
                <MatchText text={chapter.flow} />
              </div>
            </div>
          )}
          {chapter.lines.map((line, k) => (
            <Line key={k} line={line} />
          ))}
          {chapter.actions !== null && <Outcome chapter={chapter} />}
        </section>
      ))}
    </div>
  );
}

function Line({ line }: { readonly line: TraceLine }): JSX.Element {
  const style = { '--depth': line.depth };
  if (line.kind === 'bridge') {
    return (
      <div class="way is-bridge" style={style}>
        <b>{line.name}</b>
      </div>
    );
  }
  if (line.kind === 'rule') {
    return (
      <div class={`way is-rule${line.match === null ? ' is-miss' : ''}`} style={style}>
        <div class="card">
          <span class="table-no" title={`table ${line.table}`}>
            {line.table}
          </span>
          {line.match === null ? <span class="t-drop">{line.text}</span> : <MatchText text={line.match} />}
          {line.match !== null && (
            <span class="card-side">
              priority {line.priority}
              {line.cookie ? ` · ${line.cookie}` : ''}
            </span>
          )}
        </div>
      </div>
    );
  }
  if (line.kind === 'action') {
    return (
      <div class="way is-action" style={style}>
        <ActionsText text={line.text} />
      </div>
    );
  }
  return (
    <div class={`way is-${line.kind}`} style={style}>
      {line.text}
    </div>
  );
}

function Outcome({ chapter }: { readonly chapter: TraceChapter }): JSX.Element {
  const isDrop = chapter.actions === 'drop';
  return (
    <div class={`outcome${isDrop ? ' is-drop' : ''}`}>
      <div>
        <span class="card-kind">{isDrop ? 'dropped' : 'datapath actions'}</span>
        <ActionsText text={chapter.actions ?? ''} />
      </div>
      {chapter.final !== null && chapter.final !== 'unchanged' && (
        <div>
          <span class="card-kind">leaves as</span>
          <MatchText text={chapter.final} />
        </div>
      )}
      {chapter.megaflow !== null && (
        <div>
          <span class="card-kind">megaflow</span>
          <MatchText text={chapter.megaflow} />
        </div>
      )}
      {chapter.remarks.map((text) => (
        <p key={text} class="remark">
          {text}
        </p>
      ))}
    </div>
  );
}
