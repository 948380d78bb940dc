/** `ofp-parse-pcap`: the OpenFlow that a capture of TCP connections holds. */
import { readFileSync } from 'node:fs';
import { formatBytes } from '../../openflow/text.ts';
import { OFP_DEFAULT_PORT } from '../../openflow/vconn.ts';
import type { Command } from './command.ts';
import { fatal, print, settings } from './context.ts';

const MAGIC = 0xa1b2c3d4;
const MAGIC_NANO = 0xa1b23c4d;
const OLD_PORT = 6633;

interface Stream {
  next: number;
  data: Buffer;
}

function* frames(file: Buffer): Generator<Buffer> {
  if (file.length < 24) return;
  const isLittle = [MAGIC, MAGIC_NANO].includes(file.readUInt32LE(0));
  if (!isLittle && ![MAGIC, MAGIC_NANO].includes(file.readUInt32BE(0))) fatal('pcap: bad magic');
  const u32 = (at: number) => (isLittle ? file.readUInt32LE(at) : file.readUInt32BE(at));
  for (let at = 24; at + 16 <= file.length; ) {
    const length = u32(at + 8);
    if (at + 16 + length > file.length) return;
    yield file.subarray(at + 16, at + 16 + length);
    at += 16 + length;
  }
}

interface Segment {
  readonly flow: string;
  readonly ports: readonly [number, number];
  readonly seq: number;
  readonly isSyn: boolean;
  readonly payload: Buffer;
}

/** A TCP segment over IPv4 in an Ethernet frame; null for anything else. */
function segmentOf(frame: Buffer): Segment | null {
  let at = 12;
  while (at + 4 <= frame.length && frame.readUInt16BE(at) === 0x8100) at += 4;
  if (at + 22 > frame.length || frame.readUInt16BE(at) !== 0x0800) return null;
  const ip = at + 2;
  const header = (frame[ip] & 15) * 4;
  const total = frame.readUInt16BE(ip + 2);
  const tcp = ip + header;
  if (frame[ip + 9] !== 6 || tcp + 20 > frame.length) return null;
  const start = tcp + (frame[tcp + 12] >> 4) * 4;
  const ports = [frame.readUInt16BE(tcp), frame.readUInt16BE(tcp + 2)] as const;
  return {
    flow: `${frame.subarray(ip + 12, ip + 20).toString('hex')}${ports.join(':')}`,
    ports,
    seq: frame.readUInt32BE(tcp + 4),
    isSyn: (frame[tcp + 13] & 2) !== 0,
    payload: frame.subarray(Math.min(start, frame.length), Math.min(ip + total, frame.length)),
  };
}

async function ofpParsePcap([path, ...portArgs]: readonly string[]): Promise<void> {
  let file: Buffer;
  try {
    file = readFileSync(path);
  } catch {
    return fatal(`${path}: open failed (No such file or directory)`);
  }
  const ports = new Set(portArgs.length > 0 ? portArgs.map(Number) : [OLD_PORT, OFP_DEFAULT_PORT]);
  const streams = new Map<string, Stream>();
  for (const frame of frames(file)) {
    const s = segmentOf(frame);
    if (s === null || !s.ports.some((p) => ports.has(p))) continue;
    const known = streams.get(s.flow);
    const stream = known ?? { next: s.isSyn ? (s.seq + 1) >>> 0 : s.seq, data: Buffer.alloc(0) };
    if (known === undefined) streams.set(s.flow, stream);
    if (s.isSyn || s.payload.length === 0 || s.seq !== stream.next) continue;
    stream.next = (stream.next + s.payload.length) >>> 0;
    stream.data = Buffer.concat([stream.data, s.payload]);
    while (stream.data.length >= 8) {
      const length = stream.data.readUInt16BE(2);
      if (length < 8) {
        stream.data = Buffer.alloc(0);
        break;
      }
      if (stream.data.length < length) break;
      print(formatBytes(new Uint8Array(stream.data.subarray(0, length)), settings.verbosity + 1));
      stream.data = stream.data.subarray(length);
    }
  }
}

export const PCAP_COMMANDS: readonly Command[] = [
  { name: 'ofp-parse-pcap', min: 1, max: Number.POSITIVE_INFINITY, run: ofpParsePcap },
];
