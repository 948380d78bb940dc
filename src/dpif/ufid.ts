/** A megaflow's name: 128 bits of hash over its key and mask, as 32 hex digits. */
import type { FlowKey, FlowMask } from '../flow/key.ts';
import { DP_WORDS } from '../flow/layout.ts';

const SEEDS = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];

function mix(h: number, d: number): number {
  d = Math.imul(d, 0xcc9e2d51);
  d = (d << 15) | (d >>> 17);
  h ^= Math.imul(d, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe6546b64) | 0;
}

function finish(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export function flowUfid(key: FlowKey, mask: FlowMask): string {
  return SEEDS.map((seed) => {
    let h = seed;
    for (let w = 0; w < DP_WORDS; w++) if (mask.w[w] !== 0) h = mix(mix(mix(h, w), key.w[w] & mask.w[w]), mask.w[w]);
    return finish(h).toString(16).padStart(8, '0');
  }).join('');
}
