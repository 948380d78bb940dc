/** Groups: copies of the packet, each with a bucket's actions. */
import { OFS } from '../../flow/layout.ts';
import { getField, setFieldMask } from '../../flow/subfield.ts';
import { hashStep } from '../subtable.ts';
import { keepForLater } from './actions.ts';
import type { Ctx } from './ctx.ts';
import { MAX_DEPTH } from './ctx.ts';
import { hashFields } from './hash.ts';
import { runAside } from './misc.ts';
import { prereqMet } from './prereq.ts';
import { freeze, orderActionSet } from './table.ts';
import type { XlateGroup } from './types.ts';

const OFPP_ANY = 0xffff;
const OFPG_ANY = 0xffffffff;

type Bucket = XlateGroup['buckets'][number];

/** True when there is no such group, which ends the list of actions. */
export function group(ctx: Ctx, id: number, isLast: boolean): boolean {
  const g = ctx.bridge.group(id);
  if (!g) {
    ctx.note('warn', `output to nonexistent group ${id}`);
    return true;
  }
  if (ctx.depth >= MAX_DEPTH) {
    ctx.note('error', `over max translation depth ${MAX_DEPTH}`);
    ctx.fail('Recursion too deep');
    return true;
  }
  const wasInGroup = ctx.inGroup;
  ctx.inGroup = true;
  ctx.depth++;
  const buckets = chosen(ctx, g);
  if (buckets.length === 0 && g.type !== 'all') ctx.note('detail', 'no live bucket');
  if (g.type === 'all') ctx.effects.push({ kind: 'group', group: g, bucket: -1 });
  buckets.forEach((index, n) => {
    const bucket = g.buckets[index];
    if (g.type === 'select' || g.type === 'ff') ctx.note('detail', `using bucket ${bucket.id}`);
    ctx.input.observer?.enter({ type: 'bucket', id: bucket.id });
    if (g.type !== 'all') ctx.effects.push({ kind: 'group', group: g, bucket: index });
    // A bucket's list is an action set.
    runAside(ctx, orderActionSet(bucket.actions), isLast && n === buckets.length - 1);
    ctx.input.observer?.leave();
  });
  ctx.depth--;
  ctx.inGroup = wasInGroup;
  return false;
}

function chosen(ctx: Ctx, g: XlateGroup): number[] {
  switch (g.type) {
    case 'all':
      return g.buckets.map((_, i) => i);
    case 'indirect':
      return g.buckets.length > 0 ? [0] : [];
    case 'ff': {
      const i = g.buckets.findIndex((b) => isLive(ctx, b, 0) || noteDead(ctx, b));
      return i < 0 ? [] : [i];
    }
    case 'select':
      return g.selection.method === 'dp_hash' ? byDpHash(ctx, g) : byHash(ctx, g);
  }
}

function isLive(ctx: Ctx, bucket: Bucket, depth: number): boolean {
  const { watchPort, watchGroup } = bucket;
  if (watchPort === OFPP_ANY && watchGroup === OFPG_ANY) return true;
  if (watchPort !== OFPP_ANY && ctx.bridge.port(watchPort)?.mayEnable) return true;
  const watched = watchGroup !== OFPG_ANY && depth < MAX_DEPTH ? ctx.bridge.group(watchGroup) : null;
  return watched?.buckets.some((b) => isLive(ctx, b, depth + 1)) ?? false;
}

function noteDead(ctx: Ctx, { id, watchPort, watchGroup }: Bucket): false {
  const because = [
    ...(watchPort === OFPP_ANY ? [] : [`port ${watchPort}`]),
    ...(watchGroup === OFPG_ANY ? [] : [`group ${watchGroup}`]),
  ];
  ctx.note('detail', `bucket ${id}: not live due to ${because.join(' and ')}`);
  return false;
}

/**
 * The datapath hashes: without a hash the packet must come back with one, to this very action. Then the hash finds a place
 * in the group's table of buckets; those behind it are asked where a bucket is not live.
 */
function byDpHash(ctx: Ctx, g: XlateGroup): number[] {
  const { flow, wc } = ctx;
  const { algorithm, basis, table } = g.selection;
  const hash = flow.get32(OFS.dp_hash);
  // The datapath never gives zero.
  if (hash === 0) {
    freeze(ctx, null);
    ctx.recircHash = { algorithm, basis };
    keepForLater(ctx, [{ kind: 'group', groupId: g.id }]);
    return [];
  }
  const mask = table.length - 1;
  wc.set32(OFS.dp_hash, wc.get32(OFS.dp_hash) | mask);
  for (let n = 0; n <= mask; n++) {
    const i = table[(hash + n) & mask];
    if (isLive(ctx, g.buckets[i], 0)) return [i];
  }
  return [];
}

/** Weighted rendezvous hashing: a bucket that goes moves only its own packets. */
function byHash(ctx: Ctx, g: XlateGroup): number[] {
  const hash = g.selection.method === 'hash' ? hashOfFields(ctx, g) : hashFields(ctx, 'symmetric_l4', 0);
  let best = -1;
  let bestScore = -1;
  g.buckets.forEach((bucket, i) => {
    if (bucket.weight === 0 || !isLive(ctx, bucket, 0)) {
      noteDead(ctx, bucket);
      return;
    }
    const draw = (Math.imul(hash ^ Math.imul(bucket.id + 1, 0x9e3779b1), 0x85ebca6b) >>> 0) / 2 ** 32;
    const score = (draw || 2 ** -33) ** (1 / bucket.weight);
    ctx.note('detail', `bucket ${bucket.id}: score ${Math.floor(score * 0x10000)}`);
    if (score > bestScore) {
      best = i;
      bestScore = score;
    }
  });
  return best < 0 ? [] : [best];
}

/** Those fields of a group's property that the packet has. */
function hashOfFields(ctx: Ctx, g: XlateGroup): number {
  const { flow, wc } = ctx;
  let h = g.selection.basis | 0;
  for (const { field, value: mask } of g.selection.fields) {
    if (!prereqMet(field.prereq, flow, wc)) continue;
    setFieldMask(wc, field, mask);
    const value = getField(flow, field);
    for (let i = 0; i < value.length; i++) h = hashStep(h, value[i] & mask[i]);
  }
  return h >>> 0;
}
