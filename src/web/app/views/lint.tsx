/** What `signalbox lint` says of a bridge's tables, each with a way to the rule. */
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { LintData, LintRule } from '../../api.ts';
import { errorOf } from '../live.ts';
import { Icon } from '../parts/icons.tsx';

const SHOWN = 300;

export function LintPanel({
  bridge,
  show,
  close,
}: {
  readonly bridge: string;
  readonly show: (rule: LintRule) => void;
  readonly close: () => void;
}): JSX.Element {
  const [result, setResult] = useState<LintData | null>(null);
  const [error, setError] = useState('');
  useEffect(() => {
    const mine = new AbortController();
    setResult(null);
    setError('');
    fetch(`/api/lint?${new URLSearchParams({ bridge })}`, { signal: mine.signal }).then(
      async (response) => {
        if (response.ok) setResult((await response.json()) as LintData);
        else setError(await errorOf(response));
      },
      (failure: Error) => {
        if (!mine.signal.aborted) setError(failure.message);
      },
    );
    return () => mine.abort();
  }, [bridge]);
  const findings = result?.findings ?? [];
  return (
    <section class="lint" aria-label="Lint">
      <div class="tools">
        <p class="grow dim" role="status">
          {result
            ? findings.length === 0
              ? `Nothing is strange in ${result.rules} rules.`
              : `${findings.length} findings in ${result.rules} rules`
            : error === ''
              ? 'Looking at the tables…'
              : ''}
        </p>
        <button type="button" class="icon-button" aria-label="Close lint" onClick={close}>
          <Icon name="close" size={16} />
        </button>
      </div>
      {error !== '' && <p class="error">{error}</p>}
      <ul class="plain">
        {findings.slice(0, SHOWN).map(({ kind, severity, reason, rule, related }) => (
          <li key={`${kind}${reason}${rule?.text}`} class={`is-${severity}`}>
            <p>
              <b>{kind}</b> {reason}
            </p>
            {[...(rule ? [rule] : []), ...related].map((one) => (
              <button key={one.text} type="button" class="link code" onClick={() => show(one)}>
                {one.text}
              </button>
            ))}
          </li>
        ))}
      </ul>
    </section>
  );
}
