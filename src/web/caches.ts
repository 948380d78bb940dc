/**
 * The megaflows of all datapaths, gathered by what their masks look at: those of one mask are one subtable of the classifier
 * (which has one of its own for each port that packets come from).
 */
import { formatDpKey, parseDpKey } from '../flow/dp-text.ts';
import type { CachesData, MegaflowRow, SubtableRow } from './api.ts';
import { Feed, repeat } from './feed.ts';
import type { SwitchClient } from './switch.ts';

const POLL_MS = 2000;
const SHARE = 0.2;
const MAX_LISTED = 2000;
const DUMP_LINE =
  /^ufid:(\S+), (.*), packets:(\d+), bytes:(\d+), used:([^,]+?)(?:, flags:[^,]*)?, dp:[^,]+, actions:(.*?)(?:, dp-extra-info:.*)?$/;

interface Known {
  readonly ufid: string;
  readonly keyText: string;
  readonly match: string;
  readonly fields: readonly string[];
  readonly mask: string;
  actions: string;
  packets: number;
  bytes: number;
  used: string;
  rate: number;
  seen: number;
}

/** Ports by name, in numbers of our own: nothing but the text comes back out. */
class PortNumbers {
  private readonly names: string[] = [];
  readonly byName = (name: string): number => {
    const at = this.names.indexOf(name);
    return at >= 0 ? at : this.names.push(name) - 1;
  };
  readonly name = (no: number): string | undefined => this.names[no];
}

export class Megaflows {
  private readonly to: SwitchClient;
  private readonly known = new Map<string, Known>();
  private readonly ports = new PortNumbers();
  private round = 0;
  private lastAt = 0;

  constructor(to: SwitchClient) {
    this.to = to;
  }

  get isFresh(): boolean {
    return this.round > 0;
  }

  forget(): void {
    this.known.clear();
    this.round = 0;
  }

  async poll(): Promise<void> {
    const text = await this.to.ask('dpctl/dump-flows', '-m', '--names');
    const now = performance.now();
    const seconds = Math.max((now - this.lastAt) / 1000, 1e-3);
    this.lastAt = now;
    this.round++;
    for (const line of text.split('\n')) this.take(line, seconds);
    for (const [ufid, flow] of this.known) if (flow.seen !== this.round) this.known.delete(ufid);
  }

  private take(line: string, seconds: number): void {
    const found = DUMP_LINE.exec(line);
    if (!found) return;
    const [, ufid, keyText, packetText, byteText, used, actions] = found;
    const packets = Number(packetText);
    const bytes = Number(byteText);
    const before = this.known.get(ufid);
    if (before?.keyText === keyText) {
      const rate = Math.round((Math.max(0, packets - before.packets) / seconds) * 10) / 10;
      Object.assign(before, { packets, bytes, used, actions, rate, seen: this.round });
      return;
    }
    const parsed = parseDpKey(keyText, this.ports.byName);
    const match = parsed.ok ? formatDpKey(parsed.key, parsed.mask, { names: this.ports.name }) : keyText;
    const fields = maskFields(match);
    const mask = fields.join(' ');
    this.known.set(ufid, {
      ufid,
      keyText,
      match,
      fields,
      mask,
      actions,
      packets,
      bytes,
      used,
      rate: 0,
      seen: this.round,
    });
  }

  subtables(): CachesData {
    const byMask = new Map<string, { -readonly [K in keyof SubtableRow]: SubtableRow[K] }>();
    for (const { mask, fields, packets, rate } of this.known.values()) {
      let row = byMask.get(mask);
      if (!row) byMask.set(mask, (row = { mask, fields, megaflows: 0, packets: 0, rate: 0 }));
      row.megaflows++;
      row.packets += packets;
      row.rate += rate;
    }
    const subtables = [...byMask.values()].sort((a, b) => b.packets - a.packets);
    return { subtables, total: this.known.size };
  }

  /** Those that have seen most first: by rates they would change places all the time. */
  of(mask: string): MegaflowRow[] {
    return [...this.known.values()]
      .filter((flow) => mask === '' || flow.mask === mask)
      .sort((a, b) => b.packets - a.packets)
      .slice(0, MAX_LISTED)
      .map(({ ufid, match, actions, packets, bytes, used, rate }) => {
        return { ufid, match, actions, packets, bytes, used, rate };
      });
  }
}

export function cachesFeed(megaflows: Megaflows): Feed {
  return new Feed((publish) => {
    const turns = repeat(
      { ms: POLL_MS, share: SHARE },
      async () => {
        await megaflows.poll();
        publish(megaflows.subtables());
      },
      () => megaflows.forget(),
    );
    return {
      snapshot: () => (megaflows.isFresh ? megaflows.subtables() : undefined),
      close() {
        turns.close();
        megaflows.forget();
      },
    };
  });
}

/** `in_port(p0),eth(dst=01:00:…/ff:00:…),ipv4(src=10.0.0.0/255.0.0.0)` → `in_port`, `eth.dst/ff:00:…`, `ipv4.src/8`. */
export function maskFields(match: string): string[] {
  const fields: string[] = [];
  // Of which kind of packet is the same for all but a few, and tells nothing.
  for (const [, name, inner] of match
    .replace(/packet_type\([^)]*\),?/, '')
    .matchAll(/([\w+]+)\(((?:[^()]|\([^()]*\))*)\)/g)) {
    const parts = inner.split(',').filter((part) => /^[\w]+=/.test(part));
    if (parts.length === 0) {
      fields.push(name + maskSuffix(inner));
      continue;
    }
    for (const part of parts) {
      const at = part.indexOf('=');
      fields.push(`${name}.${part.slice(0, at)}${maskSuffix(part.slice(at + 1))}`);
    }
  }
  return fields;
}

function maskSuffix(value: string): string {
  const at = value.indexOf('/');
  if (at < 0) return '';
  const mask = value.slice(at + 1);
  const octets = mask.split('.').map(Number);
  if (octets.length !== 4 || octets.some((o) => !Number.isInteger(o))) return `/${mask}`;
  const bits = octets.map((o) => o.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) ? `/${bits.indexOf('0') < 0 ? 32 : bits.indexOf('0')}` : `/${mask}`;
}
