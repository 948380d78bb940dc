import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { parseFlow } from './flow-text.ts';
import type { FlowStats, OfMessage, OfpVersion, PhyPort, PortStats } from './messages.ts';
import { NO_FLAGS } from './messages-ext.ts';
import { formatBytes } from './text.ts';
import { canEncode, decodeMessage, encodeMessage } from './wire.ts';

const VERSIONS: readonly OfpVersion[] = [1, 2, 3, 4, 5, 6];
const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u31 = fc.integer({ min: 0, max: 0x7fffffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });
const count = fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER });
const port = fc.integer({ min: 0, max: 0xfeff });
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
const bytes = fc.uint8Array({ maxLength: 40 });
const ms = fc.integer({ min: 0, max: 4_000_000_000 });

const phyPort: fc.Arbitrary<PhyPort> = fc.record({
  portNo: port,
  hwAddr: mac,
  name: fc.stringMatching(/^[a-z][a-z0-9]{0,13}$/),
  config: u8.map((v) => v & 0x65),
  state: u8.map((v) => v & 1),
  curr: u16.map((v) => v & 0xf87f),
  advertised: u16.map((v) => v & 0xf87f),
  supported: u16.map((v) => v & 0xf87f),
  peer: u16.map((v) => v & 0xf87f),
  currSpeed: u31,
  maxSpeed: u31,
});
const portStats: fc.Arbitrary<PortStats> = fc.record({
  portNo: port,
  durationMs: ms,
  rxPackets: count,
  txPackets: count,
  rxBytes: count,
  txBytes: count,
  rxDropped: count,
  txDropped: count,
  rxErrors: count,
  txErrors: count,
  rxFrameErr: count,
  rxOverErr: count,
  rxCrcErr: count,
  collisions: count,
});
const match = fc.record({ inPort: port, dst: mac, vid: fc.integer({ min: 0, max: 0xfff }), ip: u31 }).map((f) => {
  const m = new Match();
  m.key.set32(OFS.in_port, f.inPort);
  m.mask.set32(OFS.in_port, 0xffffffff);
  m.key.u8.set(f.dst, OFS.eth_dst);
  m.mask.u8.fill(0xff, OFS.eth_dst, OFS.eth_dst + 6);
  m.key.set16(OFS.vlan_tci, f.vid | 0x1000);
  m.mask.set16(OFS.vlan_tci, 0x1fff);
  m.key.set16(OFS.eth_type, 0x0800);
  m.mask.set16(OFS.eth_type, 0xffff);
  m.key.set32(OFS.ip_src, f.ip);
  m.mask.set32(OFS.ip_src, 0xffffffff);
  return m;
});
const output = port.map((p) => [{ kind: 'output' as const, port: p, maxLen: 0 }]);
const flow: fc.Arbitrary<FlowStats> = fc.record({
  match,
  priority: u16,
  cookie: u64,
  table: u8.filter((t) => t < 255),
  durationMs: ms,
  idleTimeout: u16,
  hardTimeout: u16,
  idleAge: fc.constant(-1),
  hardAge: fc.constant(-1),
  importance: fc.constant(0),
  packets: count,
  bytes: count,
  flags: fc.constant(NO_FLAGS),
  actions: output,
});

const message: fc.Arbitrary<OfMessage> = fc.oneof(
  fc.record({ type: fc.constantFrom('echo_request' as const, 'echo_reply' as const), data: bytes }),
  fc.constantFrom<OfMessage>(
    { type: 'features_request' },
    { type: 'barrier_request' },
    { type: 'barrier_reply' },
    { type: 'desc_request' },
    { type: 'table_stats_request' },
    { type: 'meter_features_request' },
    { type: 'tlv_table_request' },
  ),
  fc.record({ type: fc.constant('set_config' as const), flags: u16, missSendLen: u16 }),
  fc.record({
    type: fc.constant('port_status' as const),
    reason: fc.constantFrom('add', 'delete', 'modify'),
    port: phyPort,
  }),
  fc.record({
    type: fc.constant('port_stats_reply' as const),
    more: fc.boolean(),
    ports: fc.array(portStats, { maxLength: 3 }),
  }),
  fc.record({
    type: fc.constant('flow_stats_reply' as const),
    more: fc.boolean(),
    flows: fc.array(flow, { maxLength: 3 }),
  }),
  fc.record({ type: fc.constant('aggregate_reply' as const), packets: count, bytes: count, flows: u31 }),
  fc.record({ type: fc.constant('queue_stats_request' as const), portNo: port, queueId: u31 }),
  fc.record({ type: fc.constant('group_stats_request' as const), groupId: u31 }),
  fc.record({
    type: fc.constant('bundle_control' as const),
    bundleId: u31,
    ctrl: fc.integer({ min: 0, max: 7 }),
    flags: u16,
  }),
  fc.record({
    type: fc.constant('meter_mod' as const),
    command: fc.constant('add' as const),
    meter: fc.record({
      meterId: u31,
      flags: fc.constantFrom(1, 2, 5, 9),
      bands: fc.array(
        fc.record({ type: fc.constant('drop' as const), rate: u31, burstSize: u31, precLevel: fc.constant(0) }),
        {
          maxLength: 3,
        },
      ),
    }),
  }),
);

test('a message survives encoding and decoding in every version that has it', () => {
  fc.assert(
    fc.property(message, fc.constantFrom(...VERSIONS), u31, (m, version, xid) => {
      if (!canEncode(version, m)) return;
      const first = encodeMessage(version, xid, m);
      const decoded = decodeMessage(first);
      assert.ok(decoded.ok, decoded.ok ? '' : decoded.error);
      assert.equal(decoded.xid, xid);
      assert.equal(decoded.message.type, m.type);
      // What a version cannot say is lost the first time only.
      assert.deepEqual(encodeMessage(version, xid, decoded.message), first);
    }),
    { numRuns: 500 },
  );
});

test('flow_mods keep their rule in every version and in the extended form', () => {
  const texts = [
    'priority=5,tcp,in_port=1,nw_src=10.0.0.0/8,tp_dst=80,actions=output:2',
    'table=3,reg0=5,dl_vlan=7,actions=load:1->NXM_NX_REG1[],resubmit(,4)',
    'ipv6,ipv6_src=fe80::/10,cookie=0x77,idle_timeout=9,actions=controller:64',
  ];
  for (const text of texts) {
    const parsed = parseFlow(text, 'add');
    assert.ok(parsed.ok);
    for (const version of VERSIONS) {
      if (version === 2 && text.includes('reg')) continue;
      if (version === 2 && text.includes('ipv6')) continue;
      const decoded = decodeMessage(encodeMessage(version, 1, parsed.flow, { tableId: true }), { tableId: true });
      assert.ok(decoded.ok && decoded.message.type === 'flow_mod', text);
      assert.ok(decoded.message.match.equals(parsed.flow.match), `${text} in ${version}`);
      assert.equal(decoded.message.priority, parsed.flow.priority);
      assert.equal(decoded.message.table, parsed.flow.table);
      assert.equal(decoded.message.newCookie, parsed.flow.newCookie);
    }
  }
});

test('random bytes behind any header are an error or a message, never an exception, also when printed', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...VERSIONS),
      u8,
      fc.uint8Array({ maxLength: 120 }),
      fc.boolean(),
      (v, type, body, nicira) => {
        const all = new Uint8Array(8 + body.length);
        all.set(body, 8);
        all.set([v, type, all.length >> 8, all.length & 0xff, 0, 0, 0, 1]);
        if (nicira && body.length >= 8) {
          all[1] = 4;
          all.set([0, 0, 0x23, 0x20, 0, 0, 0, body[7] % 34], 8);
        }
        const decoded = decodeMessage(all);
        if (decoded.ok) formatBytes(all, 2);
        else assert.match(decoded.error, /^(OFP|NX)/);
      },
    ),
    { numRuns: 3000 },
  );
});

test('cutting a valid message anywhere never throws', () => {
  const parsed = parseFlow('tcp,in_port=1,actions=output:2,resubmit(,1),controller(reason=action,max_len=5)', 'add');
  assert.ok(parsed.ok);
  for (const version of VERSIONS) {
    const whole = encodeMessage(version, 1, parsed.flow);
    for (let n = 8; n < whole.length; n++) {
      const cut = whole.slice(0, n);
      cut[2] = n >> 8;
      cut[3] = n & 0xff;
      decodeMessage(cut);
    }
    assert.ok(decodeMessage(whole).ok);
  }
});

test('a long reply is several messages below 64 kB, all but the last with more to follow', () => {
  const parsed = parseFlow('in_port=1,actions=output:2', 'add');
  assert.ok(parsed.ok);
  const one: FlowStats = {
    ...parsed.flow,
    cookie: 1n,
    durationMs: 5,
    idleAge: -1,
    hardAge: -1,
    packets: 1,
    bytes: 2,
  };
  const flows = Array.from({ length: 3000 }, () => one);
  const all = encodeMessage(4, 9, { type: 'flow_stats_reply', more: false, flows });
  let seen = 0;
  let parts = 0;
  for (let at = 0; at < all.length; ) {
    const length = (all[at + 2] << 8) | all[at + 3];
    const decoded = decodeMessage(all.subarray(at, at + length));
    assert.ok(decoded.ok && decoded.message.type === 'flow_stats_reply');
    seen += decoded.message.flows.length;
    parts++;
    at += length;
    assert.equal(decoded.message.more, at < all.length);
  }
  assert.equal(seen, 3000);
  assert.ok(parts > 3);
});

test('an unknown message is refused with the error a switch gives', () => {
  const refuse = (hex: string) => {
    const decoded = decodeMessage(new Uint8Array(Buffer.from(hex, 'hex')));
    return decoded.ok ? 'accepted' : decoded.error;
  };
  assert.equal(refuse('0163000800000001'), 'OFPBRC_BAD_TYPE');
  assert.equal(refuse('011000 0c00000001 00630000'.replaceAll(' ', '')), 'OFPBRC_BAD_STAT');
  assert.equal(refuse('010400100000000100000999 00000001'.replaceAll(' ', '')), 'OFPBRC_BAD_VENDOR');
  assert.equal(refuse('0104001000000001000023200000ffff'), 'OFPBRC_BAD_SUBTYPE');
});
