/** `ofp-parse-pcap`: the OpenFlow that a capture of TCP connections holds. */
import { readFileSync } from 'node:fs';
import { errorText } from '../../base/errno.ts';
import { vlog } from '../../base/vlog.ts';
import { formatBytes } from '../../openflow/text.ts';
import { OFP_DEFAULT_PORT } from '../../openflow/vconn.ts';
import { readPcap } from '../../packet/pcap.ts';
import type { Command } from './command.ts';
import { fatal, print, settings } from './context.ts';

const log = vlog('pcap');
const OLD_PORT = 6633;

interface Stream {
  next: number;
  data: Buffer;
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
  } catch (error) {
    return fatal(`${path}: open failed (${errorText(error)})`);
  }
  const ports = new Set(portArgs.length > 0 ? portArgs.map(Number) : [OLD_PORT, OFP_DEFAULT_PORT]);
  const streams = new Map<string, Stream>();
  const capture = readPcap(file);
  if (!capture.ok) {
    log.warn(capture.error);
    return fatal(`${path}: open failed (${capture.magic === undefined ? 'End of file' : 'Protocol error'})`);
  }
  for (const { packet } of capture.packets) {
    const s = segmentOf(Buffer.from(packet.buffer, packet.byteOffset, packet.length));
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
