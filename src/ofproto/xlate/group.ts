/** Groups: copies of the packet, each with a bucket's actions. */
import type { Ctx } from './ctx.ts';
import { MAX_DEPTH } from './ctx.ts';
import { hashFields } from './hash.ts';
import { runAside } from './misc.ts';
import { orderActionSet } from './table.ts';
import type { XlateGroup } from './types.ts';

const OFPP_ANY = 0xffff;
const OFPG_ANY = 0xffffffff;

export function group(ctx: Ctx, id: number, isLast: boolean): void {
  const g = ctx.bridge.group(id);
  if (!g) {
    ctx.note('warn', `output to nonexistent group ${id}`);
    return;
  }
  if (ctx.depth >= MAX_DEPTH) {
    ctx.note('error', `over max translation depth ${MAX_DEPTH}`);
    ctx.fail('Recursion too deep');
    return;
  }
  const wasInGroup = ctx.inGroup;
  ctx.inGroup = true;
  ctx.depth++;
  const buckets = chosen(ctx, g);
  if (buckets.length === 0 && g.type !== 'all') ctx.note('detail', 'no live bucket');
  buckets.forEach((index, n) => {
    const bucket = g.buckets[index];
    if (g.type === 'select' || g.type === 'ff') ctx.note('detail', `using bucket ${bucket.id}`);
    ctx.note('bucket', `bucket ${bucket.id}`);
    ctx.effects.push({ kind: 'group', group: g, bucket: index });
    // A bucket's list is an action set.
    runAside(ctx, orderActionSet(bucket.actions), isLast && n === buckets.length - 1);
  });
  ctx.depth--;
  ctx.inGroup = wasInGroup;
}

function chosen(ctx: Ctx, g: XlateGroup): number[] {
  switch (g.type) {
    case 'all':
      return g.buckets.map((_, i) => i);
    case 'indirect':
      return g.buckets.length > 0 ? [0] : [];
    case 'ff': {
      const i = g.buckets.findIndex((b) => isLive(ctx, b, 0));
      return i < 0 ? [] : [i];
    }
    case 'select':
      return select(ctx, g);
  }
}

function isLive(ctx: Ctx, bucket: XlateGroup['buckets'][number], depth: number): boolean {
  if (bucket.watchPort !== OFPP_ANY) return ctx.bridge.port(bucket.watchPort)?.mayEnable ?? false;
  if (bucket.watchGroup === OFPG_ANY) return true;
  const watched = depth < MAX_DEPTH ? ctx.bridge.group(bucket.watchGroup) : null;
  return watched?.buckets.some((b) => isLive(ctx, b, depth + 1)) ?? false;
}

/** Weighted rendezvous hashing: a bucket that goes moves only its own packets. */
function select(ctx: Ctx, g: XlateGroup): number[] {
  const hash = hashFields(ctx, 'symmetric_l4', g.selection.basis);
  let best = -1;
  let bestScore = -1;
  g.buckets.forEach((bucket, i) => {
    if (bucket.weight === 0 || !isLive(ctx, bucket, 0)) return;
    const draw = (Math.imul(hash ^ Math.imul(bucket.id + 1, 0x9e3779b1), 0x85ebca6b) >>> 0) / 2 ** 32;
    const score = (draw || 2 ** -33) ** (1 / bucket.weight);
    if (score > bestScore) {
      best = i;
      bestScore = score;
    }
  });
  return best < 0 ? [] : [best];
}
