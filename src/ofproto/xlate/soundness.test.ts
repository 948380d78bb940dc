/**
 * The megaflow's promise: packets that agree in the bits of the mask get the same actions. Random tables, random
 * packets; every bit outside the mask is free to flip.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, OFS } from '../../flow/layout.ts';
import { RecircTable, type XlateResult, xlateFlow } from '../xlate.ts';
import { isWordOf, Random, randomFlow, randomNetwork } from './random-network.ts';

const swap = new DataView(new ArrayBuffer(4));
/** A word as the bytes stand in a key. */
const hex = (word: number): string => {
  swap.setInt32(0, word, true);
  return swap.getUint32(0).toString(16).padStart(8, '0');
};

const show = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    v instanceof FlowKey
      ? [...v.w].flatMap((w, i) => (w ? [`${i}:${hex(w)}`] : [])).join(' ')
      : typeof v === 'bigint'
        ? `${v}`
        : v,
  );

test('no bit that a megaflow wildcards changes its actions', () => {
  let translated = 0;
  let returned = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0x7fffffff }), (seed) => {
      const r = new Random(seed);
      const bridge = randomNetwork(r);
      const recirc = new RecircTable();
      const run = (flow: FlowKey) => xlateFlow({ bridge, flow, packet: null, recirc, nowMs: 1 });
      const check = (flow: FlowKey): XlateResult => {
        const first = run(flow);
        translated++;
        const actions = show(first.actions);
        for (let n = 0; n < 12; n++) {
          const other = flow.clone();
          const like = randomFlow(r);
          for (let i = 0; i < 63; i++) {
            if (!isWordOf(flow, i)) continue;
            const flips = n < 6 ? flow.w[i] ^ like.w[i] : n < 9 ? r.next() & r.next() : r.next();
            other.w[i] ^= flips & ~first.mask.w[i];
          }
          // A hash is never zero.
          if (flow.get32(OFS.dp_hash) !== 0 && other.get32(OFS.dp_hash) === 0) continue;
          const second = run(other);
          if (show(second.actions) !== actions) {
            const at: string[] = [];
            for (let i = 0; i < DP_WORDS; i++) if (other.w[i] !== flow.w[i]) at.push(`${i}`);
            assert.equal(
              show(second.actions),
              actions,
              `flow ${show(flow)}\nwords ${at.join()} flipped, mask ${show(first.mask)}`,
            );
          }
        }
        return first;
      };
      for (let k = 0; k < 4; k++) {
        const flow = randomFlow(r);
        const { actions } = check(flow);
        // Back from the datapath with a hash, headers as they may have become.
        for (const [i, action] of actions.entries()) {
          if (action.kind !== 'recirc' || actions[i - 1]?.kind !== 'hash') continue;
          const back = r.chance(50) ? randomFlow(r) : flow.clone();
          back.set32(OFS.in_port, flow.get32(OFS.in_port));
          back.set32(OFS.recirc_id, action.id);
          back.set32(OFS.dp_hash, r.next() | 1);
          check(back);
          returned++;
        }
      }
    }),
    // Tags that are equal by chance: found once in many thousand.
    { numRuns: 600, examples: [[419390157]] },
  );
  assert.ok(translated >= 1000);
  assert.ok(returned >= 20);
});
