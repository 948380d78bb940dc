/** Matches and actions, coloured as a language is. */
import type { JSX } from 'preact';

const TOKEN = /([A-Za-z_][\w.[\]-]*)(=|:|->)?|(0x[0-9a-fA-F]+|\d+(?:\.\d+)*)|([(),/])|([^A-Za-z0-9_(),/]+)/g;
const WORDS = new Set(['drop', 'Drop']);

/** Splits at commas outside of parentheses. */
export function splitList(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '(') depth++;
    else if (c === ')') depth--;
    else if (c === ',' && depth === 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  if (start < text.length) parts.push(text.slice(start));
  return parts;
}

export function MatchText({ text }: { readonly text: string }): JSX.Element {
  if (text === '') return <span class="t-any">any packet</span>;
  return (
    <span class="t-match">
      {splitList(text).map((part, i) => {
        const at = part.search(/[=(]/);
        const [name, value] = at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at)];
        return (
          <span key={i}>
            {i > 0 && <span class="t-mark">, </span>}
            <span class={value === '' ? 't-word' : 't-field'}>{name}</span>
            {value !== '' && <span class="t-mark">{value[0]}</span>}
            <span class="t-value">{value.slice(1)}</span>
          </span>
        );
      })}
    </span>
  );
}

export function ActionsText({ text }: { readonly text: string }): JSX.Element {
  if (WORDS.has(text)) return <span class="t-drop">drop</span>;
  const parts: JSX.Element[] = [];
  for (const [piece, word, joint, number, mark] of text.matchAll(TOKEN)) {
    const name =
      word !== undefined && joint === undefined
        ? 't-word'
        : word !== undefined
          ? 't-field'
          : number
            ? 't-value'
            : mark
              ? 't-mark'
              : '';
    parts.push(<span class={word === 'drop' ? 't-drop' : name}>{piece}</span>);
  }
  return <span class="t-actions">{parts}</span>;
}
