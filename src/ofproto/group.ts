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
    this.selection = selectionOf(type, this.buckets, props);
    this.createdMs = createdMs ?? clock.nowMs();
    this.bucketCounts = buckets.map(() => ({ packets: 0, bytes: 0 }));
  }

  credit(bucket: number, packets: number, bytes: number): void {
    this.packets += packets;
    this.bytes += bytes;
    for (let i = 0; i < this.bucketCounts.length; i++) {
      if (bucket >= 0 && bucket !== i) continue;
      this.bucketCounts[i].packets += packets;
      this.bucketCounts[i].bytes += bytes;
    }
  }

  desc(): GroupDesc & { readonly props: GroupProps | null } {
    const buckets = this.buckets.map((b) => ({ ...b, bucketId: b.id }));
    return { groupId: this.id, groupType: this.type, buckets, props: this.props };
  }
}

/** `OFPG15_BUCKET_MAX` */
const MAX_BUCKET = 0xffffff00;
const MIN_TABLE = 16;
/** Places of the table at most: where nobody asked for the datapath's hash, and where somebody did. */
const MAX_TABLE_BY_DEFAULT = 64;
const MAX_TABLE = 256;

/** Without a wish the datapath hashes, if the weights fit a small table; else translation does. */
function selectionOf(
  type: GroupType,
  buckets: readonly { readonly weight: number }[],
  props: GroupProps | null,
): XlateGroup['selection'] {
  const param = props?.selectionMethodParam ?? 0n;
  const basis = Number(param & 0xffffffffn);
  const fields = props?.fields ?? [];
  const none = { algorithm: 'l4', basis, fields, table: [] } as const;
  if (type !== 'select') return { method: 'l4', ...none };
  if (props?.selectionMethod === 'hash') return { method: fields.length > 0 ? 'hash' : 'l4', ...none };
  const isWished = props?.selectionMethod === 'dp_hash';
  const table = bucketTable(buckets, isWished ? MAX_TABLE : MAX_TABLE_BY_DEFAULT);
  if (!table) return { method: 'l4', ...none };
  if (!isWished) return { method: 'dp_hash', algorithm: 'sym_l4', basis: 0, fields, table };
  return { method: 'dp_hash', algorithm: param >> 32n === 1n ? 'sym_l4' : 'l4', basis, fields, table };
}

/**
 * Gives the places of a table, a power of two of them, to the buckets by their weights, in the way in which Webster's
 * method gives seats to parties: the buckets' places are spread well. Null when it would be longer than `max`.
 */
export function bucketTable(buckets: readonly { readonly weight: number }[], max: number): number[] | null {
  const weights = buckets.map((b) => b.weight);
  const total = weights.reduce((sum, w) => sum + w, 0);
  if (total === 0) return null;
  const least = Math.min(...weights.filter((w) => w > 0));
  const length = 2 ** Math.ceil(Math.log2(Math.max(MIN_TABLE, Math.ceil(total / least))));
  if (length > max) return null;
  const divisors = weights.map(() => 1);
  return Array.from({ length }, () => {
    let best = 0;
    for (let i = 1; i < weights.length; i++) {
      if (weights[i] * divisors[best] > weights[best] * divisors[i]) best = i;
    }
    divisors[best] += 2;
    return best;
  });
}
