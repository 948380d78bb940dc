/**
 * A list of any length of which only what can be seen is in the document. Rows are of one height. Arrow keys, page keys, Home
 * and End move; Enter opens.
 */
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

const OVERSCAN = 6;

export interface VirtualListProps {
  readonly count: number;
  readonly rowHeight: number;
  readonly label: string;
  readonly row: (index: number) => ComponentChildren;
  readonly rowClass?: (index: number) => string;
  readonly rowKey?: (index: number) => string | number;
  readonly active?: number;
  readonly onActive?: (index: number) => void;
  readonly onOpen?: (index: number) => void;
  /** Drawn over all rows, as high as they are together. */
  readonly overlay?: (from: number, to: number) => ComponentChildren;
  readonly empty?: ComponentChildren;
  /** Keeps the end in sight while it is. */
  readonly follows?: boolean;
  readonly class?: string;
}

export function VirtualList(props: VirtualListProps): JSX.Element {
  const { count, rowHeight, active = -1 } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const look = (): void => {
    const el = box.current;
    if (el)
      setView((old) =>
        old.top === el.scrollTop && old.height === el.clientHeight
          ? old
          : { top: el.scrollTop, height: el.clientHeight },
      );
  };
  useLayoutEffect(() => {
    look();
    const watch = new ResizeObserver(look);
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const last = useRef(active);
  useEffect(() => {
    if (active >= 0 && active !== last.current) scrollTo(active);
    last.current = active;
  }, [active]);
  const scrollTo = (index: number): void => {
    const el = box.current;
    if (!el) return;
    const at = index * rowHeight;
    if (at < el.scrollTop) el.scrollTop = at;
    else if (at + rowHeight > el.scrollTop + el.clientHeight) el.scrollTop = at + rowHeight - el.clientHeight;
  };
  const from = Math.max(0, Math.floor(view.top / rowHeight) - OVERSCAN);
  const to = Math.min(count, Math.ceil((view.top + view.height) / rowHeight) + OVERSCAN);
  const page = Math.max(1, Math.floor(view.height / rowHeight) - 1);
  const keys = (event: KeyboardEvent): void => {
    const moves: Record<string, number> = {
      ArrowDown: active + 1,
      j: active + 1,
      ArrowUp: active - 1,
      k: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: count - 1,
    };
    if (event.key === 'Enter' && active >= 0) props.onOpen?.(active);
    else if (event.key in moves && !event.ctrlKey && !event.metaKey && count > 0)
      props.onActive?.(Math.min(count - 1, Math.max(0, moves[event.key])));
    else return;
    event.preventDefault();
  };
  const rows: ComponentChildren[] = [];
  for (let i = from; i < to; i++) {
    const name = `row ${props.rowClass?.(i) ?? ''}${i === active ? ' is-active' : ''}`;
    rows.push(
      // biome-ignore lint/a11y/useKeyWithClickEvents: the list has the keys
      <div
        key={props.rowKey?.(i) ?? i}
        id={`${props.label}-${i}`}
        class={name}
        role="option"
        aria-selected={i === active}
        tabIndex={-1}
        aria-posinset={i + 1}
        aria-setsize={count}
        style={{ top: `${i * rowHeight}px`, height: `${rowHeight}px` }}
        onClick={() => {
          props.onActive?.(i);
          props.onOpen?.(i);
        }}
      >
        {props.row(i)}
      </div>,
    );
  }
  return (
    <div
      ref={box}
      class={`virtual ${props.class ?? ''}`}
      role="listbox"
      aria-label={props.label}
      aria-activedescendant={active >= 0 ? `${props.label}-${active}` : undefined}
      tabIndex={0}
      onScroll={look}
      onKeyDown={keys}
    >
      {count === 0 ? (
        props.empty
      ) : (
        <div class="virtual-all" style={{ height: `${count * rowHeight}px` }}>
          {props.overlay?.(from, to)}
          {rows}
        </div>
      )}
    </div>
  );
}
