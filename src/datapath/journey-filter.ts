/**
 * Which packets somebody looks for: filters as generated code. A filter is a few words of a key with their masks; `first` and
 * `which` compare keys, `mayMatch` looks at frames that have none yet and rules out those that no filter can match.
 */
import type { ArenaViews } from '../base/arena.ts';
import { OFS } from '../flow/layout.ts';
import { FRAME_DATA } from '../packet/frame.ts';
import { SLOT_WORDS } from './batch.ts';

/** A filter in `CMD.WATCH`: wants, microseconds that count as slow, number of words; then word, value, mask for each. */
export const FILTER_HEAD = 3;
export const MAX_FILTERS = 16;

export interface Filters {
  /** The first of slots `i` to `n` - 1, the first of which is at word `slots`, that any filter matches; `n` when none does. */
  first(slots: number, i: number, n: number): number;
  /** A bit for each filter that matches the key at this word. */
  which(slot: number): number;
  /**
   * May any filter match any of these frames, from the port whose number, byte-swapped, is `inPort`? Looks at the frames
   * themselves, so that bursts in which nothing can match need no keys.
   */
  mayMatch(frames: Int32Array, n: number, inPort: number): boolean;
}

/** `at`: the first filter, `end`: behind the last. Most packets are let go by the first word looked at. */
export function makeFilters({ i32, u8, u16 }: ArenaViews, at: number, end: number): Filters {
  const tests: string[] = [];
  const frameTests: FrameTest[] = [];
  while (at < end) {
    const n = i32[at + 2];
    const words = Array.from({ length: n }, (_, j) => at + FILTER_HEAD + j * 3);
    // Addresses and ports tell packets apart soonest, the Ethernet type last.
    words.sort((a, b) => telling(i32[b]) - telling(i32[a]));
    const equal = words.map((w) => {
      const word = `i32[k + ${i32[w]}]`;
      return i32[w + 2] === -1 ? `${word} === ${i32[w + 1]}` : `((${word} ^ ${i32[w + 1]}) & ${i32[w + 2]}) === 0`;
    });
    tests.push(words.length > 0 ? equal.join(' && ') : 'true');
    frameTests.push(frameTest(words.map((w) => ({ word: i32[w], value: i32[w + 1], mask: i32[w + 2] }))));
    at += FILTER_HEAD + n * 3;
  }
  // The source is made of numbers alone.
  return new Function(
    'i32',
    'u8',
    'u16',
    `'use strict'; return {
mayMatch(frames, n, inPort) {
${frameTests.map((t, f) => `const in${f} = ${t.port};`).join('\n')}
if (!(${frameTests.map((_, f) => `in${f}`).join(' || ')})) return false;
for (let i = 0; i < n; i++) {
const p = i32[(frames[i] >> 2) + ${FRAME_DATA}];
if ((p & 3) !== 2) return true;
const type = i32[(p + 10) >> 2] >>> 16;
if (type === ${ETH_IP}) {
if (${frameTests.map((t, f) => `(in${f} && ${t.ip})`).join(' || ')}) return true;
} else if (type === ${ETH_VLAN} || type === ${ETH_QINQ} || (type & 0xff) < 6) return true;
else if (${frameTests.map((t, f) => `(in${f} && ${t.other})`).join(' || ')}) return true;
}
return false; },
first(slots, i, n) {
for (let k = slots + i * ${SLOT_WORDS}; i < n; i++, k += ${SLOT_WORDS}) if (${tests.map((t) => `(${t})`).join(' || ')}) break;
return i; },
which(k) { return ${tests.map((t, f) => `(${t} ? ${1 << f} : 0)`).join(' | ')}; } };`,
  )(i32, u8, u16) as Filters;
}

const ETH_IP = 0x0008;
const ETH_VLAN = 0x0081;
const ETH_QINQ = 0xa888;

/**
 * Conditions that hold for every frame that a filter matches, at the usual place in memory: of its port, of IPv4 without a tag, of
 * others without one. Fields that a packet has not are 0 in its key, whatever stands there: what takes 0 is no condition.
 */
interface FrameTest {
  readonly port: string;
  readonly ip: string;
  readonly other: string;
}

const HALVES_OF: Readonly<Record<number, number>> = { 2: 0, 3: 2, 4: 4 };
const IP_BYTE_OF: Readonly<Record<number, number>> = { 8: 26, 9: 30 };

function frameTest(words: readonly { word: number; value: number; mask: number }[]): FrameTest {
  const port: string[] = [];
  const ip: string[] = [];
  const other: string[] = [];
  const equal = (what: string, value: number, mask: number, full = -1): string =>
    mask === full ? `${what} === ${value}` : `((${what} ^ ${value}) & ${mask}) === 0`;
  for (const { word, value, mask } of words) {
    const taken = value & mask;
    if (word === 0) port.push(equal('inPort', value, mask));
    if (taken === 0) continue;
    const half = HALVES_OF[word];
    if (half !== undefined) {
      const parts = [
        [half, value & 0xffff, mask & 0xffff],
        [half + 1, value >>> 16, mask >>> 16],
      ];
      for (const [h, v, m] of parts) {
        if ((v & m) === 0) continue;
        const test = equal(`u16[(p >> 1) + ${h}]`, v, m, 0xffff);
        ip.push(test);
        other.push(test);
      }
    }
    const byte = IP_BYTE_OF[word];
    if (byte !== undefined) ip.push(equal(`i32[(p + ${byte}) >> 2]`, value, mask));
    if (word === OFS.eth_type >> 2 && taken & 0xffff) {
      other.push(equal('type', value & 0xffff, mask & 0xffff, 0xffff));
      if ((ETH_IP ^ value) & mask & 0xffff) ip.push('false');
    }
    // The protocol is the low byte of its word.
    if (word === OFS.ip_proto >> 2 && taken & 0xff) ip.push(`((u8[p + 23] ^ ${value & 0xff}) & ${mask & 0xff}) === 0`);
    if (word === OFS.tp_src >> 2) {
      // With options, in later fragments and of other protocols something else stands there: they pass this test.
      const parts = [equal('(i32[(p + 34) >> 2] & 0xffff)', value & 0xffff, mask & 0xffff, 0xffff)];
      if (mask >>> 16) parts.push(equal('(i32[(p + 34) >> 2] >>> 16)', value >>> 16, mask >>> 16, 0xffff));
      const ports =
        mask === -1
          ? equal('i32[(p + 34) >> 2]', value, mask)
          : parts.filter((_, i) => (i === 0 ? taken & 0xffff : taken >>> 16)).join(' && ');
      const isOdd =
        'u8[p + 14] !== 0x45 || (u8[p + 23] !== 6 && u8[p + 23] !== 17) || (u16[(p >> 1) + 10] & 0xff3f) !== 0';
      ip.push(`((${ports}) || ${isOdd})`);
    }
  }
  const all = (list: readonly string[]): string => (list.length === 0 ? 'true' : list.join(' && '));
  return { port: all(port), ip: all(ip), other: all(other) };
}

const telling = (word: number): number => (word >= 8 && word <= 10 ? 2 : word === 6 ? 0 : 1);
