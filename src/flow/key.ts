/** A flow key or a mask: the same memory seen as bytes (fields, in network order) and as words (hash, mask, compare). */
import { FLOW_BYTES, FLOW_WORDS, OFS } from './layout.ts';

/** Buffers cost microseconds to make, views a fraction of one: keys share buffers. */
const SLAB_KEYS = 32;
let slab = new ArrayBuffer(FLOW_BYTES * SLAB_KEYS);
let slabUsed = 0;

const PACKET_WORDS: readonly (readonly [first: number, end: number])[] = [
  [OFS.eth_dst >> 2, OFS.tcp_flags >> 2],
  [OFS.vlan2_tpid >> 2, OFS.ct_label >> 2],
  [OFS.nsh_flags >> 2, OFS.tun_id >> 2],
];

export class FlowKey {
  readonly u8: Uint8Array;
  readonly w: Int32Array;

  /** A key of zeros, or the view of one that is somewhere already. */
  constructor(buffer?: ArrayBufferLike, byteOffset = 0) {
    if (buffer === undefined) {
      if (slabUsed === SLAB_KEYS) {
        slab = new ArrayBuffer(FLOW_BYTES * SLAB_KEYS);
        slabUsed = 0;
      }
      buffer = slab;
      byteOffset = FLOW_BYTES * slabUsed++;
    }
    this.u8 = new Uint8Array(buffer, byteOffset, FLOW_BYTES);
    this.w = new Int32Array(buffer, byteOffset, FLOW_WORDS);
  }

  clone(): FlowKey {
    const copy = new FlowKey();
    copy.w.set(this.w);
    return copy;
  }

  copyFrom(other: FlowKey): void {
    this.w.set(other.w);
  }

  /** Takes over what the packet itself says: all but its metadata, registers and connection. */
  copyPacket(other: FlowKey): void {
    for (const [first, end] of PACKET_WORDS) this.w.set(other.w.subarray(first, end), first);
    this.set16(OFS.tcp_flags, other.get16(OFS.tcp_flags));
  }

  clear(): void {
    this.w.fill(0);
  }

  get8(ofs: number): number {
    return this.u8[ofs];
  }
  set8(ofs: number, v: number): void {
    this.u8[ofs] = v;
  }
  get16(ofs: number): number {
    return (this.u8[ofs] << 8) | this.u8[ofs + 1];
  }
  set16(ofs: number, v: number): void {
    this.u8[ofs] = v >>> 8;
    this.u8[ofs + 1] = v;
  }
  get32(ofs: number): number {
    const b = this.u8;
    return ((b[ofs] << 24) | (b[ofs + 1] << 16) | (b[ofs + 2] << 8) | b[ofs + 3]) >>> 0;
  }
  set32(ofs: number, v: number): void {
    const b = this.u8;
    b[ofs] = v >>> 24;
    b[ofs + 1] = v >>> 16;
    b[ofs + 2] = v >>> 8;
    b[ofs + 3] = v;
  }
  get64(ofs: number): bigint {
    return (BigInt(this.get32(ofs)) << 32n) | BigInt(this.get32(ofs + 4));
  }
  set64(ofs: number, v: bigint): void {
    this.set32(ofs, Number((v >> 32n) & 0xffffffffn));
    this.set32(ofs + 4, Number(v & 0xffffffffn));
  }

  equals(other: FlowKey): boolean {
    const a = this.w;
    const b = other.w;
    for (let i = 0; i < FLOW_WORDS; i++) if (a[i] !== b[i]) return false;
    return true;
  }

  isZero(): boolean {
    const a = this.w;
    for (let i = 0; i < FLOW_WORDS; i++) if (a[i] !== 0) return false;
    return true;
  }
}

/** Same memory, other reading: a mask says which bits of a `FlowKey` were looked at. */
export type FlowMask = FlowKey;
