/** Writes packets to a file in the format of `pcap-savefile(5)`, microsecond stamps, Ethernet. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { clock } from '../base/clock.ts';

const SNAPLEN = 1518;
const LINKTYPE_ETHERNET = 1;

export interface CaptureFile {
  write(packet: Uint8Array): void;
  close(): void;
}

/** Begins a new file; null when it cannot be written. */
export function openCapture(path: string): CaptureFile | null {
  let fd: number;
  try {
    fd = openSync(path, 'w', 0o666);
  } catch {
    return null;
  }
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(SNAPLEN, 16);
  head.writeUInt32LE(LINKTYPE_ETHERNET, 20);
  let isOpen = true;
  const put = (bytes: Uint8Array): void => {
    try {
      if (isOpen) writeSync(fd, bytes);
    } catch {
      // A full disk ends the capture, not the switch.
      isOpen = false;
    }
  };
  put(head);
  return {
    write(packet) {
      const record = Buffer.alloc(16 + packet.length);
      const now = clock.wallMs();
      record.writeUInt32LE(Math.floor(now / 1000), 0);
      record.writeUInt32LE(Math.floor((now % 1000) * 1000), 4);
      record.writeUInt32LE(packet.length, 8);
      record.writeUInt32LE(packet.length, 12);
      record.set(packet, 16);
      put(record);
    },
    close() {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}
