/** Every message codec there is. To add a message is to add it to its family's file. */
import type { Codec } from '../codec.ts';
import { basicCodecs } from './basic.ts';
import { bundleCodecs } from './bundle.ts';
import { flowCodecs } from './flow.ts';
import { flowStatsCodecs } from './flow-stats.ts';
import { groupCodecs } from './group.ts';
import { ipfixCodecs } from './ipfix.ts';
import { meterCodecs } from './meter.ts';
import { monitorCodecs } from './monitor.ts';
import { niciraCodecs } from './nicira.ts';
import { niciraTableCodecs } from './nicira-tables.ts';
import { packetCodecs } from './packet.ts';
import { portCodecs } from './port.ts';
import { queueCodecs } from './queue.ts';
import { tableCodecs } from './table.ts';

export const CODECS: readonly Codec[] = [
  ...basicCodecs,
  ...portCodecs,
  ...niciraCodecs,
  ...flowCodecs,
  ...flowStatsCodecs,
  ...packetCodecs,
  ...tableCodecs,
  ...queueCodecs,
  ...groupCodecs,
  ...meterCodecs,
  ...ipfixCodecs,
  ...bundleCodecs,
  ...monitorCodecs,
  ...niciraTableCodecs,
];
