import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { Match } from '../../flow/match.ts';
import { parseMatch } from '../../flow/match-text.ts';
import {
  ACTION_DEFS,
  checkActions,
  decodeActions,
  decodeInstructions,
  encodeActions,
  encodeInstructions,
  formatActions,
  parseActions,
  resolveActions,
} from './index.ts';
import type { Ofpact } from './types.ts';

interface Captured {
  readonly version: number;
  readonly text: string;
  readonly match: string;
  readonly hex: string;
}
const load = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8')) as T;
/** What `ovs-ofctl add-flow` 3.1.0 sends for each text, in three versions. */
const CAPTURED = load<Captured[]>('captured.json');
/** What it says of texts that it refuses. */
const REFUSED = load<[string, string][]>('errors.json');

function matchOf(text: string): Match {
  const r = parseMatch(text);
  assert.ok(r.ok, r.ok ? '' : r.error);
  return r.match;
}

const encode = (version: number, list: readonly Ofpact[]): string =>
  Buffer.from(version === 1 ? encodeActions(version, list) : encodeInstructions(version, list)).toString('hex');

function parse(text: string): readonly Ofpact[] {
  const r = parseActions(text, { instructions: true });
  assert.ok(r.ok, r.ok ? '' : `${text}: ${r.error}`);
  return r.actions;
}

test('each action goes onto the wire as the original sends it', () => {
  for (const c of CAPTURED) {
    const list = resolveActions(parse(c.text), matchOf(c.match));
    assert.equal(encode(c.version, list), c.hex, `${c.text} in version ${c.version}`);
  }
});

test('captured bytes decode, and encode to themselves', () => {
  for (const c of CAPTURED) {
    const bytes = Buffer.from(c.hex, 'hex');
    const r = c.version === 1 ? decodeActions(bytes, 1) : decodeInstructions(bytes, c.version);
    // The debugging actions are refused by the switch itself, unless it runs in a test.
    assert.ok(r.ok, r.ok ? '' : `${c.text} in version ${c.version}: ${r.error}`);
    assert.equal(encode(c.version, r.actions), c.hex, `${c.text} in version ${c.version}`);
  }
});

test('what prints parses to the same', () => {
  for (const c of CAPTURED) {
    const once = formatActions(parse(c.text));
    assert.equal(formatActions(parse(once)), once);
    assert.equal(encode(6, parse(once)), encode(6, parse(c.text)), c.text);
  }
});

test('refusals are in the words of the original', () => {
  for (const [text, error] of REFUSED) {
    const r = parseActions(text, { instructions: true });
    assert.equal(r.ok ? `accepted: ${formatActions(r.actions)}` : r.error, error, text);
  }
});

test('random bytes decode to a list or an error, never more', () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  const types = fc.constantFrom(...ACTION_DEFS.flatMap((d) => d.spots));
  fc.assert(
    fc.property(bytes, types, fc.integer({ min: 1, max: 6 }), (tail, spot, version) => {
      const length = Math.floor((tail.length + 10 + 7) / 8) * 8;
      const b = Buffer.alloc(Math.max(length, 16));
      b.writeUInt16BE(spot.space === 'nx' ? 0xffff : spot.number, 0);
      b.writeUInt16BE(b.length, 2);
      if (spot.space === 'nx') {
        b.writeUInt32BE(0x2320, 4);
        b.writeUInt16BE(spot.number, 8);
        b.set(tail.subarray(0, b.length - 10), 10);
      } else b.set(tail.subarray(0, b.length - 4), 4);
      const r = decodeActions(b, version);
      if (r.ok) formatActions(r.actions);
      decodeInstructions(tail, version);
    }),
    { numRuns: 3000 },
  );
});

test('actions must fit the match', () => {
  const check = (actions: string, match: string, version = 4): string | null =>
    checkActions(parse(actions), matchOf(match), { version });
  assert.equal(check('set_field:1.2.3.4->ip_src', ''), 'OFPBAC_MATCH_INCONSISTENT');
  assert.equal(check('set_field:1.2.3.4->ip_src', 'ip'), null);
  assert.equal(check('mod_nw_src:1.2.3.4', '', 1), null, 'OpenFlow 1.0 does not ask');
  assert.equal(check('mod_nw_src:1.2.3.4', ''), 'OFPBAC_MATCH_INCONSISTENT');
  assert.equal(check('push_vlan:0x8100,set_field:4100->vlan_vid', ''), null);
  assert.equal(check('strip_vlan', ''), 'OFPBAC_MATCH_INCONSISTENT');
  assert.equal(check('ct(commit)', ''), 'OFPBAC_MATCH_INCONSISTENT');
  assert.equal(check('meter:0', ''), 'OFPMMFC_INVALID_METER');
  assert.equal(checkActions(parse('goto_table:2'), new Match(), { table: 3 }), 'OFPBIC_BAD_TABLE_ID');
  assert.equal(checkActions(parse('output:500'), new Match(), { maxPorts: 255 }), 'OFPBAC_BAD_OUT_PORT');
});

test('reasons of packet-ins are named, but for those of table misses', () => {
  const reasons = (reason: number): string =>
    formatActions([
      { kind: 'controller', maxLen: 0xffff, controllerId: 0, reason, userdata: null, pause: false, meterId: null },
    ]);
  assert.equal(reasons(0), 'controller(reason=no_match)');
  assert.equal(reasons(6), 'controller(reason=)');
  assert.equal(reasons(7), 'controller(reason=)');
  assert.equal(reasons(8), 'controller(reason=8)');
  assert.deepEqual(parseActions('controller(reason=7)'), { ok: false, error: 'unknown reason "7"' });
});
