/** `ovs-tcpundump`: the packets of `tcpdump -xx` output as lines of hex, as `ofproto/trace` takes them. `ovs-tcpundump(1)` */
import { createInterface } from 'node:readline';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { HELP_ROWS, hexArguments } from './hex/arguments.ts';

const PROGRAM = 'ovs-tcpundump';

/** A line of a packet: its offset, then groups of two bytes or one; what follows two blanks is for people. */
const LINE = /^\s+0x([\da-f]+): {2}([\da-f]{2,4}(?: [\da-f]{2,4})*)/i;

const operands = hexArguments(
  PROGRAM,
  `${PROGRAM}: print "tcpdump -xx" output as hex
usage: ${PROGRAM} < FILE
where FILE is output from "tcpdump -xx".
${HELP_ROWS}`,
);
if (operands.length > 0) ovsFatal(PROGRAM, 'non-option argument not supported (use --help for help)');

let packet = '';
for await (const line of createInterface({ input: process.stdin })) {
  const [, offset, groups] = LINE.exec(line) ?? [];
  if (offset === undefined || Number.parseInt(offset, 16) === 0) flush();
  if (groups !== undefined) packet += groups.replaceAll(' ', '');
}
flush();

function flush(): void {
  if (packet !== '') writeAll(1, `${packet}\n`);
  packet = '';
}
