/** A group of the group table: its buckets and what has passed through them. OpenFlow 1.3.5 5.6 */
import { clock } from '../base/clock.ts';
import type { Bucket, GroupDesc, GroupProps, GroupType } from '../openflow/messages-ext.ts';
import type { XlateGroup } from './xlate/types.ts';

export class Group implements XlateGroup {
  readonly id: number;
  readonly type: GroupType;
  readonly buckets: readonly (Bucket & { readonly id: number })[];
  readonly props: GroupProps | null;
  readonly selection: XlateGroup['selection'];
  readonly createdMs: number;
  packets = 0;
  bytes = 0;
  readonly bucketCounts: { packets: number; bytes: number }[];

  constructor(id: number, type: GroupType, buckets: readonly Bucket[], props: GroupProps | null, createdMs?: number) {
    this.id = id;
    this.type = type;
    this.buckets = buckets.map((b, i) => ({ ...b, id: b.bucketId > MAX_BUCKET ? i : b.bucketId }));
    this.props = props;
    const method = props?.selectionMethod;
    this.selection = {
      method: method === 'hash' || method === 'dp_hash' ? method : '',
      basis: Number((props?.selectionMethodParam ?? 0n) & 0xffffffffn),
    };
    this.createdMs = createdMs ?? clock.nowMs();
    this.bucketCounts = buckets.map(() => ({ packets: 0, bytes: 0 }));
  }

  credit(bucket: number, packets: number, bytes: number): void {
    const counts = bucket < 0 ? this : this.bucketCounts[bucket];
    if (!counts) return;
    counts.packets += packets;
    counts.bytes += bytes;
  }

  desc(): GroupDesc & { readonly props: GroupProps | null } {
    const buckets = this.buckets.map((b) => ({ ...b, bucketId: b.id }));
    return { groupId: this.id, groupType: this.type, buckets, props: this.props };
  }
}

/** `OFPG15_BUCKET_MAX` */
const MAX_BUCKET = 0xffffff00;
