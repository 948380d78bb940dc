/** `ovs-pcap`: the packets of a capture file as lines of hex, as `ofproto/trace` takes them. `ovs-pcap(1)` */
import { readFileSync } from 'node:fs';
import { errorText } from '../base/errno.ts';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { readPcap } from '../packet/pcap.ts';
import { HELP_ROWS, hexArguments } from './hex/arguments.ts';

const PROGRAM = 'ovs-pcap';

const operands = hexArguments(
  PROGRAM,
  `${PROGRAM}: print pcap file packet data as hex
usage: ${PROGRAM} FILE
where FILE is a PCAP file.
${HELP_ROWS}`,
);
if (operands.length !== 1) {
  ovsFatal(PROGRAM, 'exactly 1 non-option argument required (use --help for help)');
}
const path = operands[0];
const capture = readPcap(read());
if (!capture.ok) {
  if (capture.magic === undefined) ovsFatal(PROGRAM, 'end of file reading pcap header');
  ovsFatal(
    PROGRAM,
    `bad magic ${capture.magic} reading pcap file (expected 0xa1b2c3d4, 0xa1b23c4d, 0x4d3cb2a1 or 0xd4c3b2a1)`,
  );
}
writeAll(1, capture.packets.map(({ packet }) => `${Buffer.from(packet).toString('hex')}\n`).join(''));
if (capture.cut === 'header') ovsFatal(PROGRAM, 'end of file within pcap record header');
if (capture.cut === 'data') ovsFatal(PROGRAM, 'end of file reading pcap packet data');

function read(): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    return ovsFatal(PROGRAM, `${path}: ${errorText(error)}`);
  }
}
