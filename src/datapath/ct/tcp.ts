/**
 * TCP as connection tracking sees it: which packets belong to a connection, judged by sequence numbers, acknowledgments and
 * windows as "Real Stateful TCP Packet Filtering in IP Filter" (van Rooij, 2000) derives them, and where in its life
 * each peer is.
 *
 * For each peer the entry holds `LO`, the sequence number behind the last it sent; `HI`, the end of what the other allows
 * it to send; and `WINDOW`, the largest window it offered, unscaled. A connection may be picked up in the middle, when no
 * SYN was seen: window scales are unknown then and windows taken as wide as they could be.
 */
import type { ArenaViews } from '../../base/arena.ts';
import { E_PEER, E_STATE, PEER_WORDS, TCPS, TIMEOUT } from './entry.ts';

export const TCP_FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
const { FIN, SYN, RST, PSH, ACK, URG } = TCP_FLAG;

/** What a packet means for its connection. */
export const VERDICT = {
  INVALID: 0,
  /** Part of it; both sides have spoken. */
  ESTABLISHED: 1,
  /** Part of it, which still is new. */
  NEW: 2,
  /** The connection is over and this begins another with the same tuple. */
  REOPEN: 3,
} as const;

const LO = 0;
const HI = 1;
const WINDOW = 2;

/** Beside a scale (0..14) in its byte. */
export const SCALE_SEEN = 0x80;
export const SCALE_UNKNOWN = 0x40;
const SCALE = 0x0f;
const MAX_SCALE = 14;

/** How far acknowledgments may be off, unscaled. */
const MAX_ACK_WINDOW = 0xffff + 1500;

/** Is `a` at or behind `b` on the circle of sequence numbers? */
const isFrom = (a: number, b: number): boolean => ((a - b) | 0) >= 0;

/** Combinations of flags that no sane sender makes. */
export function areFlagsInvalid(flags: number): boolean {
  if (flags & SYN) return (flags & (RST | FIN)) !== 0;
  if (flags & ACK) return false;
  return (flags & RST) === 0 || (flags & (FIN | PSH | URG)) !== 0;
}

/** May this packet open a connection? A SYN, or one from the middle; not half of a handshake. */
export const mayOpen = (flags: number): boolean => !areFlagsInvalid(flags) && (flags & (SYN | ACK)) !== (SYN | ACK);

export interface TcpTracker {
  /** The first packet of connection `e`. Returns the seconds it lives. */
  open(e: number, l4: number, size: number): number;
  /** A packet of `direction`; a `VERDICT`. `seconds()` is the time the connection has now, 0 for no change. */
  update(e: number, direction: number, l4: number, size: number, isLiberal: boolean): number;
  seconds(): number;
}

export function makeTcpTracker(views: ArenaViews): TcpTracker {
  const { u8, i32 } = views;
  let seconds = 0;

  const be32 = (at: number): number => (u8[at] << 24) | (u8[at + 1] << 16) | (u8[at + 2] << 8) | u8[at + 3];

  /** The window scale option of a SYN, as a scale's byte; 0 when there is none. RFC 7323 2.2 */
  function scaleOption(l4: number): number {
    const end = l4 + (u8[l4 + 12] >> 4) * 4;
    let at = l4 + 20;
    while (at < end) {
      const kind = u8[at];
      if (kind === 0) break;
      if (kind === 1) {
        at++;
        continue;
      }
      if (at + 1 >= end) break;
      const length = u8[at + 1];
      if (length < 2 || at + length > end) break;
      if (kind === 3 && length === 3) return SCALE_SEEN | Math.min(u8[at + 2], MAX_SCALE);
      at += length;
    }
    return 0;
  }

  const peerOf = (e: number, direction: number): number => e + E_PEER + direction * PEER_WORDS;

  function open(e: number, l4: number, size: number): number {
    const flags = u8[l4 + 13];
    const seq = be32(l4 + 4);
    const src = peerOf(e, 0);
    const dst = peerOf(e, 1);
    const length = size - (u8[l4 + 12] >> 4) * 4;
    let window = Math.max((u8[l4 + 14] << 8) | u8[l4 + 15], 1);
    let scale = SCALE_UNKNOWN;
    let hi = (seq + length + 1) | 0;
    if (flags & SYN) {
      hi = (hi + 1) | 0;
      scale = scaleOption(l4);
      if (scale & SCALE_SEEN) window = (window + (1 << (scale & SCALE)) - 1) >> (scale & SCALE);
    }
    if (flags & FIN) hi = (hi + 1) | 0;
    i32[src + LO] = seq;
    i32[src + HI] = hi;
    i32[src + WINDOW] = window;
    i32[dst + LO] = 0;
    i32[dst + HI] = 1;
    i32[dst + WINDOW] = 1;
    i32[e + E_STATE] = TCPS.SYN_SENT | (scale << 16) | ((flags & SYN ? 0 : SCALE_UNKNOWN) << 24);
    return TIMEOUT.TCP_FIRST;
  }

  function secondsOf(a: number, b: number): number {
    if (a >= TCPS.FIN_WAIT_2 && b >= TCPS.FIN_WAIT_2) return TIMEOUT.TCP_CLOSED;
    if (a >= TCPS.CLOSING && b >= TCPS.CLOSING) return TIMEOUT.TCP_FIN_WAIT;
    if (a < TCPS.ESTABLISHED || b < TCPS.ESTABLISHED) return TIMEOUT.TCP_OPENING;
    return a >= TCPS.CLOSING || b >= TCPS.CLOSING ? TIMEOUT.TCP_CLOSING : TIMEOUT.TCP_ESTABLISHED;
  }

  /** What a packet says of both windows: it ends at `end`, and the other may send up to `reach`. */
  function advance(src: number, dst: number, end: number, reach: number, window: number): void {
    if (window > i32[src + WINDOW]) i32[src + WINDOW] = window;
    if (isFrom(end, i32[src + LO])) i32[src + LO] = end;
    if (isFrom(reach, i32[dst + HI])) i32[dst + HI] = reach;
  }

  function update(e: number, direction: number, l4: number, size: number, isLiberal: boolean): number {
    seconds = 0;
    const flags = u8[l4 + 13];
    if (areFlagsInvalid(flags)) return VERDICT.INVALID;
    const src = peerOf(e, direction);
    const dst = peerOf(e, direction ^ 1);
    const stateAt = (e + E_STATE) * 4 + direction;
    const otherAt = (e + E_STATE) * 4 + (direction ^ 1);
    let state = u8[stateAt];
    let other = u8[otherAt];
    let scale = u8[stateAt + 2];
    let otherScale = u8[otherAt + 2];

    if ((flags & (SYN | ACK)) === SYN) {
      if (state >= TCPS.FIN_WAIT_2 && other >= TCPS.FIN_WAIT_2) return VERDICT.REOPEN;
      if (state <= TCPS.SYN_SENT) {
        u8[stateAt] = TCPS.SYN_SENT;
        seconds = TIMEOUT.TCP_FIRST;
        return VERDICT.NEW;
      }
    }

    // How far windows of this packet's sender, and of the other, are to be shifted.
    let shift = 0;
    let otherShift = 0;
    if (!(flags & SYN)) {
      if (scale & otherScale & SCALE_SEEN) {
        shift = scale & SCALE;
        otherShift = otherScale & SCALE;
      } else if (scale & otherScale & SCALE_UNKNOWN) {
        shift = MAX_SCALE;
        otherShift = MAX_SCALE;
      }
    }

    const first = be32(l4 + 4);
    let seq = first;
    let end = (seq + size - (u8[l4 + 12] >> 4) * 4 + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0)) | 0;
    let window = (u8[l4 + 14] << 8) | u8[l4 + 15];
    let ack = be32(l4 + 8);
    // What a peer acknowledges first may be of before we looked.
    let isAckJudged = true;
    // A peer's first packet is its first, valid or not.
    let verdict: number = VERDICT.ESTABLISHED;
    if (state < TCPS.SYN_SENT) {
      // The first we see of this peer.
      if (flags & SYN && otherScale & SCALE_SEEN) {
        scale = scaleOption(l4);
        if (scale & SCALE_SEEN) {
          shift = scale & SCALE;
          window = (window + (1 << shift) - 1) >> shift;
          otherShift = otherScale & SCALE;
        } else {
          // It does not scale, so the other must not either.
          i32[dst + WINDOW] = Math.min(i32[dst + WINDOW] << (otherScale & SCALE), 0xffff);
          otherScale = 0;
        }
      }
      const allowed = (end + Math.max(1, i32[dst + WINDOW] << otherShift)) | 0;
      i32[src + LO] = seq;
      if (i32[src + HI] === 1 || isFrom(allowed, i32[src + HI])) {
        i32[src + HI] = allowed;
        isAckJudged = false;
      }
      if (window > i32[src + WINDOW]) i32[src + WINDOW] = window;
      state = TCPS.SYN_SENT;
    }
    // Some stacks send resets that acknowledge 0.
    if (!(flags & ACK) || (ack === 0 && flags & RST)) ack = i32[dst + LO];
    if (seq === end) {
      // Nothing in it that could be out of order.
      seq = i32[src + LO];
      end = seq;
    }

    const skew = isAckJudged ? (i32[dst + LO] - ack) | 0 : 0;
    const isResetInPlace = !(flags & RST) || Math.abs((first - i32[src + LO]) | 0) <= 1;
    if (
      isLiberal ||
      (isFrom(i32[src + HI], end) &&
        isFrom(seq, (i32[src + LO] - (i32[dst + WINDOW] << otherShift)) | 0) &&
        skew >= -MAX_ACK_WINDOW &&
        skew <= MAX_ACK_WINDOW << shift &&
        isResetInPlace)
    ) {
      advance(src, dst, end, (ack + Math.max(window << shift, 1)) | 0, window);
      if (flags & SYN && state < TCPS.SYN_SENT) state = TCPS.SYN_SENT;
      if (flags & FIN && state < TCPS.CLOSING) state = TCPS.CLOSING;
      if (flags & ACK) {
        if (other === TCPS.SYN_SENT) other = TCPS.ESTABLISHED;
        else if (other === TCPS.CLOSING) other = TCPS.FIN_WAIT_2;
      }
      if (flags & RST) {
        state = TCPS.TIME_WAIT;
        other = TCPS.TIME_WAIT;
      }
      seconds = secondsOf(state, other);
    } else if (
      (other < TCPS.SYN_SENT || other >= TCPS.FIN_WAIT_2 || state >= TCPS.FIN_WAIT_2) &&
      isFrom((i32[src + HI] + MAX_ACK_WINDOW) | 0, end) &&
      isFrom(seq, (i32[src + LO] - MAX_ACK_WINDOW) | 0)
    ) {
      // Of a connection that is just beginning or ending; near enough.
      advance(src, dst, end, (ack + Math.max(window << shift, 1)) | 0, window);
      if (flags & FIN && state < TCPS.CLOSING) state = TCPS.CLOSING;
      if (flags & RST) {
        state = TCPS.TIME_WAIT;
        other = TCPS.TIME_WAIT;
      }
    } else verdict = VERDICT.INVALID;
    u8[stateAt] = state;
    u8[otherAt] = other;
    u8[stateAt + 2] = scale;
    u8[otherAt + 2] = otherScale;
    return verdict;
  }

  return { open, update, seconds: () => seconds };
}
