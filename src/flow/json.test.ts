/** Matches as JSON say the same as the match: put together again from the fields' texts it is equal. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseDpActions, parseDpKey } from './dp-text.ts';
import { FIELDS } from './fields.ts';
import { dpActionsJson, dpMatchJson, matchJson } from './json.ts';
import type { Match } from './match.ts';
import { normalizeMatch, setMatchField } from './match-field.ts';
import { parseMatch } from './match-text.ts';
import { prereqsMet } from './subfield.ts';

function matchOf(text: string): Match {
  const parsed = parseMatch(text);
  assert.ok(parsed.ok, text);
  return parsed.match;
}

const rebuilt = (match: Match): Match =>
  matchOf(
    Object.entries(matchJson(match).fields)
      .map(([name, { text }]) => `${name}=${text}`)
      .join(','),
  );

test('fields have text and bytes, and masks where not all bits count', () => {
  assert.deepEqual(matchJson(matchOf('tcp,in_port=3,nw_dst=10.0.0.0/24,tp_dst=80,dl_vlan=7'), { port: () => 'p3' }), {
    text: 'tcp,in_port=p3,dl_vlan=7,nw_dst=10.0.0.0/24,tp_dst=80',
    fields: {
      in_port: { text: 'p3', value: '0003' },
      eth_type: { text: '0x800', value: '0800' },
      ip_dst: { text: '10.0.0.0/24', value: '0a000000', mask: 'ffffff00' },
      nw_proto: { text: '6', value: '06' },
      tcp_dst: { text: '80', value: '0050' },
      dl_vlan: { text: '7', value: '0007' },
    },
  });
});

const WORDS = [
  '',
  'ip',
  'ipv6',
  'arp',
  'tcp',
  'udp6',
  'sctp',
  'icmp',
  'icmp6,icmpv6_type=135',
  'mpls',
  'dl_type=0x894f',
  'dl_type=0x1234',
];

test('what the fields say is all that the match says', () => {
  const settable = FIELDS.filter(
    (f) => !['packet_type', 'dp_hash', 'recirc_id', 'eth_type', 'nw_proto', 'skb_priority'].includes(f.name),
  );
  const entry = fc.tuple(
    fc.constantFrom(...settable),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(fc.constantFrom(...WORDS), fc.array(entry, { maxLength: 6 }), (word, entries) => {
      const match = matchOf(word);
      for (const [field, value, mask, isMasked] of entries) {
        if (!prereqsMet(field, match.key)) continue;
        const bits = isMasked && field.masking === 'any' ? mask.slice(0, field.bytes) : null;
        setMatchField(
          match,
          field,
          value.slice(0, field.bytes).map((b, i) => b & (bits?.[i] ?? 0xff)),
          bits,
        );
      }
      // What the text cannot say is no match of OpenFlow's.
      normalizeMatch(match);
      const said = parseMatch(matchJson(match).text);
      fc.pre(said.ok && said.match.equals(match));
      assert.ok(rebuilt(match).equals(match), matchJson(match).text);
    }),
    { numRuns: 500 },
  );
});

test('a megaflow: ports by name, the same fields, actions with all they hold', () => {
  const parsed = parseDpKey(
    'recirc_id(0),in_port(2),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0,proto=17,frag=no),udp(dst=53)',
  );
  assert.ok(parsed.ok);
  const { text, fields } = dpMatchJson(parsed.key, parsed.mask, (no) => `veth${no}`);
  assert.match(text, /^recirc_id\(0\),in_port\(veth2\),/);
  assert.equal(fields['in_port'].text, 'veth2');
  assert.deepEqual(fields['ip_dst'], { text: '10.0.0.0/24', value: '0a000000', mask: 'ffffff00' });
  assert.equal(fields['udp_dst'].text, '53');
  const actions = parseDpActions('set(ipv4(ttl=9)),clone(push_vlan(vid=5,pcp=0),2),recirc(0x7)');
  assert.ok(actions.ok);
  const { list } = dpActionsJson(actions.actions, (no) => `veth${no}`);
  assert.deepEqual(
    list.map((a) => a.action),
    ['set', 'clone', 'recirc'],
  );
  assert.deepEqual(list[0]['fields'], { nw_ttl: { text: '9', value: '09' } });
  assert.deepEqual((list[1]['actions'] as { action: string }[])[1], {
    action: 'output',
    text: 'veth2',
    port: 2,
    port_name: 'veth2',
  });
});
