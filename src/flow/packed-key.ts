/**
 * A flow key as a list of those of its words that are not zero: `word, value, word, value, …`. A dozen words of 184 is what packets
 * have; so who keeps a hundred thousand keys keeps them like this.
 */
import { FlowKey } from './key.ts';
import { FLOW_WORDS } from './layout.ts';

export type PackedKey = readonly number[];

export function packKey(key: FlowKey): PackedKey {
  let n = 0;
  for (let w = 0; w < FLOW_WORDS; w++) if (key.w[w] !== 0) n += 2;
  // A list that is made by adding to it has room that it never needs.
  const packed = new Array<number>(n);
  let at = 0;
  for (let w = 0; w < FLOW_WORDS; w++) {
    if (key.w[w] === 0) continue;
    packed[at++] = w;
    packed[at++] = key.w[w];
  }
  return packed;
}

export function unpackKey(packed: PackedKey, into = new FlowKey()): FlowKey {
  into.clear();
  for (let at = 0; at < packed.length; at += 2) into.w[packed[at]] = packed[at + 1];
  return into;
}
