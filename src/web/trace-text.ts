/**
 * What `ofproto/trace` says, as a tree of parts that can be drawn: chapters (the packet, and each recirculation of it), and in them
 * bridges, rules, actions, and remarks, each with its depth.
 */

export type TraceLine =
  | { readonly kind: 'bridge'; readonly depth: number; readonly name: string }
  | {
      readonly kind: 'rule';
      readonly depth: number;
      readonly bridge: string;
      readonly table: number;
      /** As `dump-flows` writes it; empty for any packet; null when no rule matched. */
      readonly match: string | null;
      readonly priority: number;
      readonly cookie: string | null;
      readonly text: string;
    }
  | { readonly kind: 'action' | 'note' | 'warning'; readonly depth: number; readonly text: string };

export interface TraceChapter {
  readonly title: string;
  readonly flow: string | null;
  readonly lines: readonly TraceLine[];
  readonly final: string | null;
  readonly megaflow: string | null;
  readonly actions: string | null;
  /** Lines after the result, such as why the flow cannot be cached. */
  readonly remarks: readonly string[];
}

/** A rule on a packet's way: what the flow tables draw it over. */
export interface PathStep {
  readonly bridge: string;
  readonly table: number;
  readonly priority: number;
  readonly match: string | null;
}

const RULE = /^(\s*)(\d+)\. (.*)$/;

export function parseTrace(text: string): TraceChapter[] {
  const chapters: TraceChapter[] = [];
  let lines: TraceLine[] = [];
  let now: { -readonly [K in keyof TraceChapter]: TraceChapter[K] } = emptyChapter('');
  let title: string | null = null;
  const finish = (): void => {
    if (lines.length > 0 || now.flow !== null) chapters.push({ ...now, lines });
  };
  let bridge = '';
  for (const line of text.split('\n')) {
    if (/^=+$/.test(line)) {
      if (title !== null) {
        finish();
        now = emptyChapter(title);
        lines = [];
        bridge = '';
        title = null;
      } else title = '';
      continue;
    }
    if (title !== null) {
      title = line.trim();
      continue;
    }
    if (line.trim() === '' || /^\s*-+$/.test(line)) continue;
    const head = /^(Flow|Final flow|Megaflow|Datapath actions): (.*)$/.exec(line);
    if (head) {
      const [, name, value] = head;
      if (name === 'Flow') now.flow = value;
      else if (name === 'Final flow') now.final = value;
      else if (name === 'Megaflow') now.megaflow = value;
      else now.actions = value;
      continue;
    }
    if (now.actions !== null) {
      now.remarks = [...now.remarks, line.trim()];
      continue;
    }
    const indent = line.length - line.trimStart().length;
    const content = line.trim();
    const named = /^bridge\("(.*)"\)$/.exec(content);
    if (named) {
      bridge = named[1];
      lines.push({ kind: 'bridge', depth: Math.floor(indent / 4), name: bridge });
      continue;
    }
    const rule = RULE.exec(line);
    // The table's number is right-aligned: its rule's actions stand four further in than where the number of two digits begins.
    if (rule) {
      const depth = Math.floor((indent + rule[2].length - 2) / 4);
      lines.push({
        kind: 'rule',
        depth: Math.max(0, depth),
        bridge,
        table: Number(rule[2]),
        ...ruleOf(rule[3]),
        text: rule[3],
      });
      continue;
    }
    const remark = /^(->|>>) (.*)$/.exec(content);
    if (remark)
      lines.push({ kind: remark[1] === '->' ? 'note' : 'warning', depth: Math.floor(indent / 4), text: remark[2] });
    else lines.push({ kind: 'action', depth: Math.floor(indent / 4), text: content });
  }
  finish();
  return chapters;
}

const emptyChapter = (title: string): TraceChapter => ({
  title,
  flow: null,
  lines: [],
  final: null,
  megaflow: null,
  actions: null,
  remarks: [],
});

function ruleOf(text: string): { match: string | null; priority: number; cookie: string | null } {
  const cookie = /, cookie (0x[0-9a-f]+)/.exec(text)?.[1] ?? null;
  const found = /^(?:(.*), )?priority (\d+)(?:, cookie 0x[0-9a-f]+)?$/.exec(text);
  if (found) return { match: found[1] ?? '', priority: Number(found[2]), cookie };
  if (/^No match/.test(text)) return { match: null, priority: 0, cookie };
  return { match: text.replace(/, cookie 0x[0-9a-f]+$/, ''), priority: 32768, cookie };
}

/** The rules a packet met, in order. */
export function pathOf(chapters: readonly TraceChapter[]): PathStep[] {
  return chapters.flatMap(({ lines }) =>
    lines.flatMap((line) =>
      line.kind === 'rule'
        ? [{ bridge: line.bridge, table: line.table, priority: line.priority, match: line.match }]
        : [],
    ),
  );
}
