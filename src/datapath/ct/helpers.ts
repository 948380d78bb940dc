/**
 * Helpers: FTP and TFTP announce further connections inside of one that is tracked. What is announced becomes an *expected*
 * connection: an entry of the table whose kind no packet has, found by both addresses and the destination port. The packet
 * that comes is `rel`, and what is committed of it remembers the connection that announced it.
 *
 * RFC 959 (PORT, 227), RFC 2428 (EPRT, 229), RFC 1350. Only addresses of the connection's own ends are believed, and only the
 * last announcement of a connection. Addresses inside FTP's text are not translated.
 */
import type { ArenaViews } from '../../base/arena.ts';
import { HELPER } from './code.ts';
import {
  E_EXPECTED,
  E_FLAGS,
  E_HELPER,
  E_KIND,
  E_LABEL,
  E_MARK,
  E_OWNER,
  E_PARENT,
  FLAG,
  KIND_EXPECTED,
  kindIsV6,
  kindProto,
  PROTO,
  T_DST,
  T_KIND,
  T_PORTS,
  T_SRC,
  T_WORDS,
} from './entry.ts';
import { reverseTuple } from './packet.ts';
import type { CtTable } from './table.ts';

/** Seconds that an announcement is good for. */
const EXPECTED_SECONDS = 300;
/** Bytes of a line looked at. */
const MAX_LINE = 128;

const DIGIT_0 = 48;
const COMMA = 44;
const BAR = 124;
const OPEN = 40;

export interface Helpers {
  /** A good packet of connection `e`, whose transport header is at `l4`. */
  look(e: number, direction: number, l4: number, end: number, clock: number): void;
  /** The expected connection that a new packet with this tuple is; 0 for none. */
  find(tuple: number, clock: number): number;
}

/** `at`: word index of 3 × `T_WORDS` words of scratch memory. */
export function makeHelpers(views: ArenaViews, table: CtTable, at: number): Helpers {
  const { u8, i32 } = views;
  const wanted = at;
  const reply = at + T_WORDS;
  const parent = at + 2 * T_WORDS;
  /** Where reading stopped. */
  let cursor = 0;

  /** The number at `cursor`, at most `max`; -1 when there is none. */
  function readNumber(end: number, max: number): number {
    let n = -1;
    while (cursor < end && u8[cursor] >= DIGIT_0 && u8[cursor] <= DIGIT_0 + 9) {
      n = Math.max(n, 0) * 10 + u8[cursor++] - DIGIT_0;
      if (n > max) return -1;
    }
    return n;
  }

  function startsWith(from: number, end: number, a: number, b: number, c: number, d: number): boolean {
    // Letters of either case: bit 5 apart.
    return (
      end - from > 4 &&
      (u8[from] & 0xdf) === a &&
      (u8[from + 1] & 0xdf) === b &&
      (u8[from + 2] & 0xdf) === c &&
      (u8[from + 3] & 0xdf) === d
    );
  }

  /** `h1,h2,h3,h4,p1,p2` at `cursor`: the port, or -1; the address goes to `i32[address]`. */
  function readHostPort(end: number, address: number): number {
    let port = 0;
    for (let x = 0; x < 6; x++) {
      if (x > 0 && (cursor >= end || u8[cursor++] !== COMMA)) return -1;
      const n = readNumber(end, 255);
      if (n < 0) return -1;
      if (x < 4) u8[address * 4 + x] = n;
      else port = port * 256 + n;
    }
    return port;
  }

  /** `|1|10.0.0.1|1234|` at `cursor`: the port, or -1. The address has to be the sender's, and is not read. */
  function readExtended(end: number): number {
    for (let bars = 0; bars < 3; ) {
      if (cursor >= end) return -1;
      if (u8[cursor++] === BAR) bars++;
    }
    return readNumber(end, 65535);
  }

  function skipTo(end: number, byte: number): void {
    while (cursor < end && u8[cursor] !== byte) cursor++;
    cursor++;
  }

  /** The connection that the line announces, as `wanted`; false when it announces none. */
  function readFtp(e: number, direction: number, from: number, end: number): boolean {
    const isV6 = kindIsV6(i32[e + E_KIND]);
    let port = -1;
    // Whoever announces is the destination; addresses as the other side of the connection sees them.
    table.getTuple(e, direction ^ 1, wanted);
    if (direction === 0) {
      if (startsWith(from, end, 0x50, 0x4f, 0x52, 0x54) && !isV6) {
        cursor = from + 5;
        const own = i32[wanted + T_DST];
        port = readHostPort(end, parent);
        if (i32[parent] !== own) return false;
      } else if (startsWith(from, end, 0x45, 0x50, 0x52, 0x54)) {
        cursor = from + 5;
        port = readExtended(end);
      }
    } else if (u8[from] === 0x32 && u8[from + 1] === 0x32 && (u8[from + 2] === 0x37 || u8[from + 2] === 0x39)) {
      cursor = from;
      skipTo(end, OPEN);
      if (u8[from + 2] === 0x39) port = readExtended(end);
      else if (!isV6) {
        port = readHostPort(end, parent);
        table.getTuple(e, 1, reply);
        if (i32[parent] !== i32[wanted + T_DST] && i32[parent] !== i32[reply + T_SRC]) return false;
        i32[wanted + T_DST] = i32[parent];
      }
    }
    if (port <= 0) return false;
    i32[wanted + T_PORTS] = (((port & 0xff) << 8) | (port >> 8)) << 16;
    return true;
  }

  function expect(e: number, clock: number): void {
    const before = i32[e + E_EXPECTED];
    if (before !== 0 && i32[before + E_KIND] & KIND_EXPECTED && i32[before + E_OWNER] === e) table.remove(before);
    i32[e + E_EXPECTED] = 0;
    i32[wanted + T_KIND] |= KIND_EXPECTED;
    i32[wanted + T_PORTS] &= ~0xffff;
    if (table.lookup(wanted, clock) !== 0 || !table.hasRoom()) return;
    reverseTuple(i32, wanted, reply);
    const x = table.insert(wanted, reply, clock);
    if (x === 0) return;
    i32[x + E_FLAGS] = FLAG.RELATED;
    i32[x + E_OWNER] = e;
    i32[x + E_MARK] = i32[e + E_MARK];
    for (let w = 0; w < 4; w++) i32[x + E_LABEL + w] = i32[e + E_LABEL + w];
    table.getTuple(e, 0, x + E_PARENT);
    i32[e + E_EXPECTED] = x;
    table.touch(x, EXPECTED_SECONDS, clock);
  }

  return {
    look(e, direction, l4, end, clock) {
      const proto = kindProto(i32[e + E_KIND]);
      if (i32[e + E_HELPER] === HELPER.ftp && proto === PROTO.TCP) {
        const from = l4 + (u8[l4 + 12] >> 4) * 4;
        if (end - from < 6) return;
        if (readFtp(e, direction, from, Math.min(end, from + MAX_LINE))) expect(e, clock);
      } else if (i32[e + E_HELPER] === HELPER.tftp && proto === PROTO.UDP && direction === 0) {
        // A read or a write request: the answer comes from a port of its own.
        if (end - l4 < 10 || u8[l4 + 8] !== 0 || (u8[l4 + 9] !== 1 && u8[l4 + 9] !== 2)) return;
        table.getTuple(e, 1, wanted);
        expect(e, clock);
      }
    },

    find(tuple, clock) {
      if (!table.hasExpected()) return 0;
      for (let w = 0; w < T_WORDS; w++) i32[wanted + w] = i32[tuple + w];
      i32[wanted + T_KIND] |= KIND_EXPECTED;
      i32[wanted + T_PORTS] &= ~0xffff;
      return table.lookup(wanted, clock);
    },
  };
}
