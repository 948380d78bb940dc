/** Reads packets from a capture file in either byte order, with micro- or nanosecond stamps. `pcap-savefile(5)` */

const MAGIC = { micro: 0xa1b2c3d4, nano: 0xa1b23c4d } as const;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;

export interface CapturedPacket {
  readonly packet: Uint8Array;
  /** Length on the wire; `packet` may be cut. */
  readonly originalLength: number;
  readonly timeMs: number;
}

export type PcapResult =
  | {
      readonly ok: true;
      readonly linkType: number;
      readonly packets: readonly CapturedPacket[];
      /** In what of a packet the file ends; null when after one. */
      readonly cut: 'header' | 'data' | null;
    }
  /** `magic`, read as big-endian, unless the file ends before it. */
  | { readonly ok: false; readonly error: string; readonly magic?: number };

/** All whole packets of a file. */
export function readPcap(file: Uint8Array): PcapResult {
  if (file.length < FILE_HEADER) return { ok: false, error: 'failed to read pcap header: End of file' };
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const isMagic = (v: number): boolean => v === MAGIC.micro || v === MAGIC.nano;
  const little = isMagic(view.getUint32(0, true));
  if (!little && !isMagic(view.getUint32(0, false))) {
    const hex = view.getUint32(0, true).toString(16);
    return {
      ok: false,
      magic: view.getUint32(0, false),
      error: `bad magic 0x${hex.padStart(8, '0')} reading pcap file (expected 0xa1b2c3d4, 0xa1b23c4d, 0xd4c3b2a1, or 0x4d3cb2a1)`,
    };
  }
  const isNano = view.getUint32(0, little) === MAGIC.nano;
  const packets: CapturedPacket[] = [];
  let at = FILE_HEADER;
  while (at + RECORD_HEADER <= file.length) {
    const length = view.getUint32(at + 8, little);
    if (length > file.length - at - RECORD_HEADER) break;
    packets.push({
      packet: file.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length),
      originalLength: view.getUint32(at + 12, little),
      timeMs: view.getUint32(at, little) * 1000 + view.getUint32(at + 4, little) / (isNano ? 1e6 : 1e3),
    });
    at += RECORD_HEADER + length;
  }
  const left = file.length - at;
  return {
    ok: true,
    linkType: view.getUint32(20, little) & 0xffff,
    packets,
    cut: left === 0 ? null : left < RECORD_HEADER ? 'header' : 'data',
  };
}

/** A whole file of Ethernet packets. */
export function writePcap(packets: readonly Uint8Array[], snapLength = 65535): Uint8Array {
  const out = new Uint8Array(packets.reduce((n, p) => n + RECORD_HEADER + p.length, FILE_HEADER));
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC.micro, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, snapLength, true);
  view.setUint32(20, 1, true);
  let at = FILE_HEADER;
  for (const p of packets) {
    view.setUint32(at + 8, p.length, true);
    view.setUint32(at + 12, p.length, true);
    out.set(p, at + RECORD_HEADER);
    at += RECORD_HEADER + p.length;
  }
  return out;
}
