/**
 * Writes captures as pcapng, with a comment on each packet. `draft-ietf-opsawg-pcapng`
 *
 * One section, little-endian; interfaces are announced before their first packet.
 */

const BLOCK = { SECTION: 0x0a0d0d0a, INTERFACE: 1, PACKET: 6 } as const;
const OPTION = { END: 0, COMMENT: 1, IF_NAME: 2, IF_TSRESOL: 9, SHB_USERAPPL: 4 } as const;
const MAGIC = 0x1a2b3c4d;
const ETHERNET = 1;
/** An option's length has 16 bits. */
const MAX_OPTION = 0xffff;

const pad4 = (n: number): number => (n + 3) & ~3;

function option(code: number, value: Uint8Array): Uint8Array {
  const length = Math.min(value.length, MAX_OPTION);
  const out = new Uint8Array(4 + pad4(length));
  const view = new DataView(out.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, length, true);
  out.set(value.subarray(0, length), 4);
  return out;
}

const END = option(OPTION.END, new Uint8Array());
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function block(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = 12 + parts.reduce((n, p) => n + pad4(p.length), 0);
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  let at = 8;
  for (const p of parts) {
    out.set(p, at);
    at += pad4(p.length);
  }
  view.setUint32(length - 4, length, true);
  return out;
}

export class PcapngWriter {
  private readonly interfaces = new Map<string, number>();

  /** What a file begins with. */
  header(program: string): Uint8Array {
    const fixed = new Uint8Array(16);
    const view = new DataView(fixed.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint16(4, 1, true);
    view.setBigInt64(8, -1n, true);
    return block(BLOCK.SECTION, fixed, option(OPTION.SHB_USERAPPL, utf8(program)), END);
  }

  /** One packet; `timeNs` since 1970. */
  packet(port: string, timeNs: bigint, packet: Uint8Array, comment: string): Uint8Array {
    const known = this.interfaces.get(port);
    const no = known ?? this.interfaces.size;
    const out: Uint8Array[] = [];
    if (known === undefined) {
      this.interfaces.set(port, no);
      const fixed = new Uint8Array(8);
      new DataView(fixed.buffer).setUint16(0, ETHERNET, true);
      const nanoseconds = option(OPTION.IF_TSRESOL, Uint8Array.of(9));
      out.push(block(BLOCK.INTERFACE, fixed, option(OPTION.IF_NAME, utf8(port)), nanoseconds, END));
    }
    const fixed = new Uint8Array(20);
    const view = new DataView(fixed.buffer);
    view.setUint32(0, no, true);
    view.setUint32(4, Number(timeNs >> 32n), true);
    view.setUint32(8, Number(timeNs & 0xffffffffn), true);
    view.setUint32(12, packet.length, true);
    view.setUint32(16, packet.length, true);
    out.push(block(BLOCK.PACKET, fixed, packet, option(OPTION.COMMENT, utf8(comment)), END));
    return Buffer.concat(out);
  }
}
