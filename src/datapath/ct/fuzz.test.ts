/** Connection tracking under enemy fire: nothing throws, no frame and no entry is lost; and a plain model agrees. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseDpActions } from '../../flow/dp-text.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { arbitraryPacket } from '../arbitrary.ts';
import { UPCALL_KEY } from '../commands.ts';
import { byteSwap32 } from '../extract.ts';
import { TestBed, TestPort } from '../testing.ts';
import { E_BUCKET, E_KIND, E_NEXT, E_WHEEL_NEXT, ENTRY_WORDS } from './entry.ts';
import { CT, PARTITIONS, WHEEL_SLOTS } from './table.ts';
import { checksumError, icmp, icmpError, tcp, udp } from './testing.ts';

class Rig {
  readonly bed = new TestBed(64);
  readonly ports = [1, 2].map((no) => {
    const port = new TestPort(`p${no}`, this.bed);
    this.bed.pmd.addPort(no, port);
    return port;
  });
  readonly frames = this.bed.pool.available;
  private flows: number[] = [];

  rules(texts: readonly [string, string]): void {
    for (const flow of this.flows) this.bed.command(4, flow);
    this.flows = texts.map((text, i) => {
      const key = new FlowKey();
      const mask = new FlowKey();
      key.w[0] = byteSwap32(i + 1);
      mask.w[0] = -1;
      const parsed = parseDpActions(`${text},userspace(pid=0,slow_path(action)),${2 - i}`);
      assert.ok(parsed.ok, text);
      return this.bed.flow(key, mask, parsed.actions);
    });
  }

  /** `ct_state` of the packet; undefined when it never got there. */
  send(port: number, packet: Uint8Array): number | undefined {
    this.ports[port - 1].input.push(packet);
    this.bed.pmd.run();
    assert.equal(this.bed.pool.available, this.frames, 'every frame came back');
    const at = this.bed.upcalls.peek();
    if (at < 0) return undefined;
    const state = this.bed.arena.u8[(at + UPCALL_KEY) * 4 + OFS.ct_state + 3];
    this.bed.upcalls.release();
    return state;
  }

  /** Hash chains, wheel, counters and free list all tell the same story. */
  check(): void {
    const { arena, conntrack } = this.bed;
    const { i32 } = arena;
    const { at } = conntrack;
    const inChains = new Map<number, number>();
    const first = i32[at + CT.BUCKETS];
    for (let b = first; b < first + (i32[at + CT.BUCKET_MASK] + 1) * PARTITIONS; b++)
      for (let link = i32[b]; link !== 0; ) {
        const e = link & ~(ENTRY_WORDS - 1);
        assert.notEqual(i32[e + E_KIND], 0, 'no free entry in a chain');
        assert.equal(i32[e + E_BUCKET + (link & 1)], b);
        inChains.set(e, (inChains.get(e) ?? 0) + 1);
        link = i32[e + E_NEXT + (link & 1)];
      }
    for (const n of inChains.values()) assert.equal(n, 2, 'each entry is in two chains');
    let onWheel = 0;
    for (let s = 0; s < WHEEL_SLOTS * PARTITIONS; s++)
      for (let e = i32[i32[at + CT.WHEELS] + s]; e !== 0; e = i32[e + E_WHEEL_NEXT]) {
        assert.ok(inChains.has(e));
        onWheel++;
      }
    assert.equal(onWheel, inChains.size);
    const expected = i32[at + CT.EXPECTED];
    assert.equal(i32[at + CT.COUNT] + expected, inChains.size);
    let zones = 0;
    for (let z = 0; z < 65536; z++) zones += i32[i32[at + CT.ZONES] + z * 2 + 1];
    assert.equal(zones + expected, inChains.size);
  }
}

const address = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.9.9.9', 'fd00::1', 'fd00::2');
const port = fc.constantFrom(1, 53, 1000, 4000, 65535);
const sequence = fc.oneof(fc.constantFrom(0, 1, 100, 101, 0xffffffff, 0x80000000), fc.nat(0xffffffff));
const flags = fc.constantFrom('', 'S', 'SA', 'A', 'AP', 'AF', 'R', 'RA', 'SF');
const sameFamily = (a: string, b: string): boolean => a.includes(':') === b.includes(':');

/** What helpers read. */
const LINES = [
  'PORT 10,0,0,1,3,232\r\n',
  'PORT 10,0,0,2,0,53\r\n',
  'EPRT |1|10.0.0.1|4000|\r\n',
  '227 Entering (10,0,0,2,15,160)\r\n',
  '229 Entering (|||1000|)\r\n',
  'PORT 10,0,0,1,3',
  '229 (|',
  '\0\x01file\0octet\0',
  '\0\x01',
];

const good = fc
  .record({
    a: address,
    b: address,
    p: port,
    q: port,
    flags,
    seq: sequence,
    ack: sequence,
    n: fc.nat(4),
    len: fc.nat(60),
  })
  .filter(({ a, b }) => sameFamily(a, b))
  .map(({ a, b, p, q, flags, seq, ack, n, len }) => {
    const data = len < LINES.length ? Buffer.from(LINES[len]) : new Uint8Array(len);
    if (n <= 1) return tcp(a, p, b, q, flags, { seq, ack, data, window: ack & 0xffff });
    if (n === 2) return udp(a, p, b, q, LINES[len % LINES.length]);
    const isV6 = a.includes(':');
    if (n === 3) return icmp(a, b, isV6 ? 128 + (seq & 1) : (seq & 1) * 8, 0, p);
    return icmpError(a, b, isV6 ? 1 : 3, 1, seq & 1 ? udp(b, q, a, p) : tcp(b, q, a, p, 'A', { seq }), 20 + (len | 8));
  });

/** Bytes changed at random, cut short, or nothing we know at all. */
const bad = fc.oneof(
  fc
    .tuple(good, fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }), fc.nat(100))
    .map(([p, changes, cut]) => {
      const packet = p.slice(0, Math.max(14, p.length - (cut > 60 ? cut - 60 : 0)));
      for (const [at, value] of changes) if (at < packet.length) packet[at] = value;
      return packet;
    }),
  arbitraryPacket,
);

const ACTIONS = [
  'ct(commit)',
  'ct',
  'ct(commit,zone=3,nat(src=10.9.9.9))',
  'ct(commit,nat(src=10.9.9.9:4000-4001,random))',
  'ct(commit,nat(dst=10.0.0.2-10.0.0.9:53))',
  'ct(commit,nat(src=fd00::9-fd00::a,persistent))',
  'ct(zone=3,nat)',
  'ct(nat)',
  'ct(commit,helper=ftp)',
  'ct(commit,zone=3,helper=tftp)',
  'ct(force_commit,mark=0x1/0xff,nat(src=0.0.0.0))',
  'ct(commit,label=0x1/0xf),ct_clear,ct(zone=3)',
  'push_vlan(vid=5,pcp=0),ct(commit,nat(src=10.9.9.9)),pop_vlan',
];

describe('connection tracking, whatever comes', () => {
  it('keeps its table whole, gives every frame back, and never calls a packet valid that is not', () => {
    const rig = new Rig();
    fc.assert(
      fc.property(
        fc.constantFrom(...ACTIONS),
        fc.constantFrom(...ACTIONS),
        fc.array(fc.tuple(fc.constantFrom(1, 2), fc.oneof(good, bad), fc.constantFrom(0, 1, 100, 20_000, 400_000)), {
          minLength: 1,
          maxLength: 40,
        }),
        (one, two, packets) => {
          rig.rules([one, two]);
          for (const [p, packet, wait] of packets) {
            const state = rig.send(p, packet);
            if (state !== undefined && state !== 0) {
              assert.ok(state & 32, 'tracked');
              const kinds = state & (1 | 2 | 4 | 16);
              assert.ok([1, 2, 4, 16].includes(kinds), `one of new, est, rel, inv: ${state}`);
            }
            const sent = rig.ports[2 - p].output.pop();
            // What is neither invalid nor cut has right checksums after translation.
            const isIp = sent && /^(0800|86dd)/.test(Buffer.from(sent.subarray(12, 14)).toString('hex'));
            if (state !== undefined && state & 0xc0 && !(state & 16) && isIp)
              assert.equal(checksumError(sent), '', Buffer.from(packet).toString('hex'));
            rig.bed.nowMs += wait;
            rig.bed.conntrack.sweep();
          }
          rig.check();
        },
      ),
      { numRuns: Number(process.env.RUNS ?? 150) },
    );
    rig.bed.nowMs += 200_000_000;
    assert.equal(rig.bed.conntrack.count, 0, 'nothing lives for ever');
    rig.check();
  });

  it('agrees with a plain model about UDP and echoes', () => {
    interface Connection {
      readonly original: string;
      isAnswered: boolean;
      expires: number;
    }
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            isEcho: fc.boolean(),
            isCommit: fc.boolean(),
            isReverse: fc.boolean(),
            x: fc.nat(2),
            wait: fc.constantFrom(0, 5_000, 29_999, 30_001, 60_001),
          }),
          { maxLength: 60 },
        ),
        (steps) => {
          const rig = rigs.pop() ?? new Rig();
          const model = new Map<string, Connection>();
          for (const { isEcho, isCommit, isReverse, x, wait } of steps) {
            rig.bed.nowMs += wait;
            const now = rig.bed.nowMs;
            const [a, b] = isReverse ? ['10.0.0.2', '10.0.0.1'] : ['10.0.0.1', '10.0.0.2'];
            const packet = isEcho
              ? icmp(a, b, isReverse ? 0 : 8, 0, x)
              : udp(a, isReverse ? 53 : 100 + x, b, isReverse ? 100 + x : 53);
            const name = `${isEcho}${x}`;
            const mine = isReverse ? 'reply' : 'original';
            let c = model.get(name);
            if (c && c.expires <= now) {
              model.delete(name);
              c = undefined;
            }
            let expected: number;
            if (c) {
              const isReply = c.original !== mine;
              c.isAnswered ||= isReply;
              expected = c.isAnswered ? (isReply ? 2 | 8 | 32 : 2 | 32) : 1 | 32;
              c.expires = now + (c.isAnswered ? 30_000 : 60_000);
            } else if (isEcho && isReverse) expected = 16 | 32;
            else {
              expected = 1 | 32;
              if (isCommit) model.set(name, { original: mine, isAnswered: false, expires: now + 60_000 });
            }
            rig.rules(isCommit ? ['ct(commit,zone=9)', 'ct(commit,zone=9)'] : ['ct(zone=9)', 'ct(zone=9)']);
            assert.equal(rig.send(isReverse ? 2 : 1, packet), expected, `${name} ${mine} at ${now}`);
          }
          rig.bed.conntrack.flush(null);
          rigs.push(rig);
        },
      ),
      { numRuns: Number(process.env.RUNS ?? 100) },
    );
  });
});

/** A rig takes some milliseconds to make. */
const rigs: Rig[] = [];
