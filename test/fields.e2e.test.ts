/** Every field that has a number on the wire, under each of its numbers, is what the original's `ovs-ofctl ofp-parse` says it is. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import type { Field, FieldPrereq } from '../src/flow/field.ts';
import { FIELDS } from '../src/flow/fields.ts';
import type { Match } from '../src/flow/match.ts';
import { setMatchField } from '../src/flow/match-field.ts';
import { formatMatch, parseMatch } from '../src/flow/match-text.ts';
import { encodeMatch, isValueValid } from '../src/flow/oxm.ts';
import { fieldMaskBytes } from '../src/flow/subfield.ts';

/** A match that meets a prerequisite. */
const MEETS: Readonly<Record<FieldPrereq, string>> = {
  none: '',
  ethernet: '',
  arp: 'arp',
  vlan: 'vlan_tci=0x1000/0x1000',
  ipv4: 'ip',
  ipv6: 'ipv6',
  ip: 'ip',
  nsh: 'dl_type=0x894f',
  mpls: 'mpls',
  tcp: 'tcp',
  udp: 'udp',
  sctp: 'sctp',
  icmpv4: 'icmp',
  icmpv6: 'icmp6',
  nd: 'icmp6,icmp_type=135,icmp_code=0',
  nd_solicit: 'icmp6,icmp_type=135,icmp_code=0',
  nd_advert: 'icmp6,icmp_type=136,icmp_code=0',
  ct_tuple: 'ip,ct_state=+trk+est',
};

/** Fields that print only with others, that 3.1 does not have, or that it prints in a way of its own. */
const APART =
  /^(recirc_id|packet_type|eth_type|tun_erspan_.*|tun_metadata\d+|xreg([89]|1[0-5])|xxreg[4-7]|ct_ipv6_.*|tun_gtpu_flags|nsh_c\d)$/;

function base(field: Field): Match {
  const r = parseMatch(MEETS[field.prereq]);
  assert.ok(r.ok);
  return r.match;
}

function sample(field: Field): Uint8Array {
  const value = new Uint8Array(field.bytes);
  const exact = fieldMaskBytes(field);
  for (let i = 0; i < value.length; i++) value[i] = (0x51 + 0x22 * i) & exact[i];
  if (field.name === 'arp_op') value[0] = 0;
  if (field.name === 'ct_state') value.fill(0, 0, 3);
  if (field.name === 'nsh_ttl') value[0] = 9;
  if (field.name === 'nsh_mdtype') value[0] = 2;
  if (field.name === 'vlan_vid') value[0] |= 0x10;
  if (field.format === 'ofp_port_oxm') value.set([0, 0, 0x12, 0x34]);
  return value;
}

interface Case {
  readonly what: string;
  readonly message: Buffer;
  readonly shown: string;
}

/** An OpenFlow 1.3 or 1.5 flow_mod that matches `match` and drops. */
function flowMod(match: Match, version: 4 | 6): Buffer {
  const fields = encodeMatch(match, 'oxm', version);
  const length = 4 + fields.length;
  const padded = Math.ceil(length / 8) * 8;
  const b = Buffer.alloc(48 + padded);
  b[0] = version;
  b[1] = 14;
  b.writeUInt16BE(b.length, 2);
  b.writeUInt16BE(0x8000, 30);
  b.fill(0xff, 32, 44);
  b.writeUInt16BE(1, 48);
  b.writeUInt16BE(length, 50);
  b.set(fields, 52);
  return b;
}

/** A Nicira flow_mod, which carries NXM. */
function nxtFlowMod(match: Match): Buffer {
  const fields = encodeMatch(match, 'nxm', 1);
  const padded = Math.ceil(fields.length / 8) * 8;
  const b = Buffer.alloc(48 + padded);
  b[0] = 1;
  b[1] = 4;
  b.writeUInt16BE(b.length, 2);
  b.writeUInt32BE(0x2320, 8);
  b.writeUInt32BE(13, 12);
  b.writeUInt16BE(0x8000, 30);
  b.fill(0xff, 32, 38);
  b.writeUInt16BE(fields.length, 40);
  b.set(fields, 48);
  return b;
}

function cases(): Case[] {
  const out: Case[] = [];
  for (const field of FIELDS) {
    if (field.headers.length === 0 || APART.test(field.name)) continue;
    const value = sample(field);
    assert.ok(isValueValid(field, value), field.name);
    const masks: (Uint8Array | null)[] = [null];
    // OXM cannot mask the priority of a tag.
    const skip = field.name === 'vlan_tci';
    const half = fieldMaskBytes(field).map((b, i) => b & (i === 0 ? 0x7c : 0xff));
    if (
      !skip &&
      field.masking === 'any' &&
      field.format !== 'tunnel_flags' &&
      field.format !== 'frag' &&
      !field.name.startsWith('tun_gbp') &&
      field.name !== 'tun_gtpu_msgtype'
    ) {
      masks.push(half);
    }
    for (const mask of masks) {
      const match = base(field);
      setMatchField(match, field, value, mask);
      const shown = formatMatch(match);
      const what = `${field.name}${mask ? ' masked' : ''}`;
      out.push({ what: `${what} NXM`, message: nxtFlowMod(match), shown });
      out.push({ what: `${what} 1.3`, message: flowMod(match, 4), shown });
      out.push({ what: `${what} 1.5`, message: flowMod(match, 6), shown });
    }
  }
  return out;
}

test('the original reads every field as we mean it', (t) => {
  if (spawnSync('ovs-ofctl', ['--version']).status !== 0) {
    t.skip('ovs-ofctl is not installed');
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), 'fields-'));
  try {
    const all = cases();
    assert.ok(all.length > 300);
    const file = join(dir, 'messages');
    writeFileSync(file, Buffer.concat(all.map((c) => c.message)));
    const lines = execFileSync('ovs-ofctl', ['ofp-parse', file], { encoding: 'utf8' })
      .split('\n')
      .filter((l) => /^(OFPT|NXT)_/.test(l));
    assert.equal(lines.length, all.length);
    all.forEach((c, i) => {
      const match = /: ADD (?:(.*) )?actions=drop$/.exec(lines[i]);
      assert.ok(match, `${c.what}: ${lines[i]}`);
      assert.equal(match[1] ?? '', c.shown, c.what);
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
