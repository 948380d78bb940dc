/** What `why-drop/show` tells of one kind of drop, as JSON. Types alone. */
import type { Story } from './story.ts';

export interface DropRow {
  readonly reason: string;
  readonly text: string;
  /** `rule`: the tables; `datapath`: a PMD; `port`: a device; `upcall`: the slow path's queues. */
  readonly at: 'rule' | 'datapath' | 'port' | 'upcall';
  readonly bridge: string | null;
  /** Where the packets came from; for `port` rows, the device itself. */
  readonly port: string | null;
  readonly table: number | null;
  readonly cookie: string | null;
  readonly packets: number;
  readonly per_second: number;
  readonly journey: Story | null;
}
