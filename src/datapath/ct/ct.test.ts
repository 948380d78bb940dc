import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDpActions } from '../../flow/dp-text.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { UPCALL_KEY } from '../commands.ts';
import { byteSwap32 } from '../extract.ts';
import { TestBed, TestPort } from '../testing.ts';
import { CT } from './table.ts';
import { type Bytes, checksumError, endpoints, ethernet, icmp, icmpError, ip, tcp, udp } from './testing.ts';

const STATES = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'];

/** A bench with two sides; packets go through `ct`, come up with their key and leave on the other side. */
class Bench {
  readonly bed = new TestBed(64);
  readonly ports = [1, 2].map((no) => {
    const port = new TestPort(`p${no}`, this.bed);
    this.bed.pmd.addPort(no, port);
    return port;
  });
  readonly frames = this.bed.pool.available;
  private flows: number[] = [];
  key = new FlowKey();

  /** `text`: what is done with packets of port 1 and of port 2, before they go up. */
  constructor(first: string, second = first) {
    this.rules(first, second);
  }

  rules(first: string, second = first): void {
    for (const flow of this.flows) this.bed.command(4, flow);
    this.flows = [first, second].map((text, i) => {
      const key = new FlowKey();
      const mask = new FlowKey();
      key.w[0] = byteSwap32(i + 1);
      mask.w[0] = -1;
      const parsed = parseDpActions(`${text},userspace(pid=0,slow_path(action)),${2 - i}`);
      assert.ok(parsed.ok, text);
      return this.bed.flow(key, mask, parsed.actions);
    });
  }

  /** Sends a packet in at port 1 or 2; its state comes back, what left is in `sent`. */
  send(port: number, packet: Bytes): string {
    const { bed } = this;
    this.ports[port - 1].input.push(packet);
    bed.pmd.run();
    const at = bed.upcalls.peek();
    assert.ok(at >= 0, 'the packet came up');
    for (let w = 0; w < 148; w++) this.key.w[w] = bed.arena.i32[at + UPCALL_KEY + w];
    bed.upcalls.release();
    assert.equal(bed.pool.available, this.frames, 'every frame came back');
    this.sent = this.ports[2 - port].output.pop() ?? new Uint8Array();
    const state = this.key.get32(OFS.ct_state);
    return STATES.filter((_, i) => state & (1 << i)).join('+');
  }
  sent: Bytes = new Uint8Array();

  get count(): number {
    return this.bed.conntrack.count;
  }

  get tuple(): string {
    const k = this.key;
    const v4 = [...k.u8.slice(OFS.ct_nw_src, OFS.ct_nw_src + 4)].join('.');
    const d4 = [...k.u8.slice(OFS.ct_nw_dst, OFS.ct_nw_dst + 4)].join('.');
    return `${k.get8(OFS.ct_nw_proto)} ${v4}:${k.get16(OFS.ct_tp_src)}>${d4}:${k.get16(OFS.ct_tp_dst)}`;
  }
}

const A = '10.0.0.1';
const B = '10.0.0.2';
const SCALE7 = Uint8Array.from([1, 3, 3, 7]);

describe('connection states, as the original gives them', () => {
  it('TCP from its SYN to its end', () => {
    const t = new Bench('ct(commit,zone=5,mark=0x7/0xffffffff)', 'ct(zone=5)');
    const c = (flags: string, seq: number, ack: number, data = ''): string =>
      t.send(
        1,
        tcp(A, 1000, B, 80, flags, { seq, ack, data: Buffer.from(data), options: flags === 'S' ? SCALE7 : undefined }),
      );
    const s = (flags: string, seq: number, ack: number): string =>
      t.send(2, tcp(B, 80, A, 1000, flags, { seq, ack, options: flags.includes('S') ? SCALE7 : undefined }));
    const life = (): string => {
      const [one] = t.bed.conntrack.connections();
      return `${one.tcp?.join('/')} ${Math.round(one.expiresInMs / 1000)}`;
    };
    assert.equal(c('S', 100, 0), 'new+trk');
    assert.equal(t.tuple, '6 10.0.0.1:1000>10.0.0.2:80');
    assert.equal(t.key.get32(OFS.ct_mark), 7);
    assert.equal(t.key.get16(OFS.ct_zone), 5);
    assert.equal(c('S', 100, 0), 'new+trk');
    assert.equal(life(), '2/0 30');
    assert.equal(s('SA', 500, 101), 'est+rpl+trk');
    assert.equal(life(), '4/2 30');
    assert.equal(t.tuple, '6 10.0.0.1:1000>10.0.0.2:80');
    assert.equal(c('A', 101, 501), 'est+trk');
    assert.equal(life(), '4/4 86400');
    assert.equal(s('SA', 500, 101), 'est+rpl+trk');
    assert.equal(c('AP', 101, 501, 'hello'), 'est+trk');
    assert.equal(s('A', 501, 106), 'est+rpl+trk');
    assert.equal(c('A', 9999999, 501, 'zz'), 'inv+trk');
    assert.equal(t.key.get32(OFS.ct_mark), 7);
    assert.equal(c('A', 101, 99999999), 'inv+trk');
    assert.equal(c('R', 50000, 0), 'inv+trk');
    assert.equal(c('AF', 106, 501), 'est+trk');
    assert.equal(life(), '7/4 900');
    assert.equal(s('A', 501, 107), 'est+rpl+trk');
    assert.equal(life(), '9/4 900');
    assert.equal(s('AF', 501, 107), 'est+rpl+trk');
    assert.equal(life(), '9/7 45');
    assert.equal(c('A', 107, 502), 'est+trk');
    assert.equal(life(), '9/9 30');
    assert.equal(c('S', 100000, 0), 'new+trk');
    assert.equal(life(), '2/0 30');
    assert.equal(t.count, 1);
    assert.equal(s('RA', 0, 100001), 'est+rpl+trk');
    assert.equal(life(), '10/10 30');
  });

  it('TCP from the middle; half a handshake, senseless flags and bad checksums are invalid', () => {
    const t = new Bench('ct(commit)');
    assert.equal(t.send(1, tcp(A, 1000, B, 80, 'A', { seq: 1000, ack: 2000, data: Buffer.from('x') })), 'new+trk');
    assert.equal(t.send(2, tcp(B, 80, A, 1000, 'A', { seq: 2000, ack: 1001 })), 'est+rpl+trk');
    assert.equal(t.send(1, tcp(A, 1000, B, 80, 'A', { seq: 1001, ack: 2000 })), 'est+trk');
    assert.equal(t.send(2, tcp(B, 80, A, 1000, 'R', { seq: 2000 })), 'est+rpl+trk');
    for (const flags of ['SF', 'SR', '', 'F', 'P'])
      assert.equal(t.send(1, tcp(A, 1000, B, 80, flags)), 'inv+trk', flags);
    assert.equal(t.send(1, tcp(A, 1001, B, 80, 'SA')), 'inv+trk');
    assert.equal(t.tuple, '0 0.0.0.0:0>0.0.0.0:0');
    const bad = tcp(A, 1002, B, 80, 'S');
    bad[50] ^= 1;
    assert.equal(t.send(1, bad), 'inv+trk');
    assert.equal(t.count, 1);
  });

  it('UDP, ICMP and others are new until an answer comes', () => {
    const t = new Bench('ct(commit)', 'ct');
    const gre = ethernet(ip(A, B, 47, [0, 0, 8, 0, 1, 2, 3, 4]));
    for (let i = 0; i < 3; i++) {
      assert.equal(t.send(1, udp(A, 1000, B, 53)), 'new+trk');
      assert.equal(t.send(1, icmp(A, B, 8, 0, 77)), 'new+trk');
      assert.equal(t.tuple, '1 10.0.0.1:8>10.0.0.2:0');
      assert.equal(t.send(1, gre), 'new+trk');
    }
    assert.equal(t.send(2, udp(B, 53, A, 1000)), 'est+rpl+trk');
    assert.equal(t.send(1, udp(A, 1000, B, 53)), 'est+trk');
    assert.equal(t.send(2, icmp(B, A, 0, 0, 77)), 'est+rpl+trk');
    assert.equal(t.send(2, icmp(B, A, 0, 0, 78)), 'inv+trk');
    assert.equal(t.send(2, ethernet(ip(B, A, 47, [0, 0, 8, 0, 1, 2, 3, 4]))), 'est+rpl+trk');
    assert.equal(t.send(2, udp(B, 53, A, 1001)), 'new+trk');
    assert.equal(t.send(1, icmp(A, B, 13, 0, 79, new Uint8Array(12))), 'new+trk');
    assert.equal(t.count, 4);
  });

  it('IPv6', () => {
    const t = new Bench('ct(commit)', 'ct');
    assert.equal(t.send(1, udp('fd00::1', 1000, 'fd00::2', 53)), 'new+trk');
    assert.equal(t.key.get16(OFS.ct_ipv6_src), 0xfd00);
    assert.equal(t.key.get16(OFS.ct_ipv6_dst + 14), 2);
    assert.equal(t.send(2, udp('fd00::2', 53, 'fd00::1', 1000)), 'est+rpl+trk');
    assert.equal(t.send(2, udp('fd00::3', 53, 'fd00::1', 1000)), 'new+trk');
    assert.equal(t.send(1, icmp('fd00::1', 'fd00::2', 128, 0, 7)), 'new+trk');
    assert.equal(t.send(2, icmp('fd00::2', 'fd00::1', 129, 0, 7)), 'est+rpl+trk');
    assert.equal(t.send(2, icmpError('fd00::9', 'fd00::1', 1, 4, udp('fd00::1', 1000, 'fd00::2', 53))), 'rel+rpl+trk');
    assert.equal(t.send(1, icmp('fd00::1', 'fd00::2', 135, 0, 7)), 'inv+trk');
  });

  it('an ICMP error is related to the connection it is about', () => {
    const t = new Bench('ct(commit)', 'ct');
    t.send(1, udp(A, 1000, B, 53));
    assert.equal(t.send(2, icmpError('10.0.0.9', A, 3, 3, udp(A, 1000, B, 53), 28)), 'rel+rpl+trk');
    assert.equal(t.tuple, '17 10.0.0.1:1000>10.0.0.2:53');
    assert.equal(t.send(1, icmpError(A, B, 3, 3, udp(B, 53, A, 1000))), 'rel+trk');
    assert.equal(t.send(2, icmpError('10.0.0.9', A, 3, 3, udp(A, 1001, B, 53))), 'inv+trk');
    assert.equal(t.count, 1);
  });

  it('zones are apart, force takes over, ct_clear forgets', () => {
    const t = new Bench('ct(commit,zone=1)', 'ct(zone=2)');
    t.send(1, udp(A, 1, B, 2));
    assert.equal(t.send(2, udp(B, 2, A, 1)), 'new+trk');
    t.rules('ct(commit,zone=1)', 'ct(force_commit,zone=1)');
    assert.equal(t.send(2, udp(B, 2, A, 1)), 'new+trk');
    assert.equal(t.tuple, '17 10.0.0.2:2>10.0.0.1:1');
    assert.equal(t.send(1, udp(A, 1, B, 2)), 'est+rpl+trk');
    t.rules('ct(commit,zone=1),ct_clear');
    assert.equal(t.send(1, udp(A, 1, B, 2)), '');
    assert.equal(t.tuple, '0 0.0.0.0:0>0.0.0.0:0');
    assert.equal(t.key.get16(OFS.ct_zone), 0);
  });

  it('half a handshake is invalid in every zone', () => {
    const t = new Bench('ct,ct(commit,zone=3)');
    assert.equal(t.send(1, tcp(A, 1001, B, 80, 'SA')), 'inv+trk');
    assert.equal(t.count, 0);
  });
});

describe('address translation', () => {
  it('source, with a range of ports, there and back', () => {
    const t = new Bench('ct(commit,zone=5,nat(src=10.9.9.9:4000-4010))', 'ct(zone=5,nat)');
    assert.equal(t.send(1, tcp(A, 1000, B, 80, 'S', { seq: 100 })), 'new+trk+snat');
    assert.match(endpoints(t.sent), /^10\.9\.9\.9:40(0\d|10)>10\.0\.0\.2:80$/);
    assert.equal(checksumError(t.sent), '');
    const port = Number(endpoints(t.sent).match(/:(\d+)>/)?.[1]);
    assert.equal(t.send(2, tcp(B, 80, '10.9.9.9', port, 'SA', { seq: 500, ack: 101 })), 'est+rpl+trk+dnat');
    assert.equal(endpoints(t.sent), '10.0.0.2:80>10.0.0.1:1000');
    assert.equal(checksumError(t.sent), '');
    assert.equal(t.tuple, '6 10.0.0.1:1000>10.0.0.2:80');
    assert.equal(t.send(1, tcp(A, 1000, B, 80, 'A', { seq: 101, ack: 501 })), 'est+trk+snat');
    assert.equal(endpoints(t.sent), `10.9.9.9:${port}>10.0.0.2:80`);
    for (const keep of [28, 40, 1000]) {
      const about = tcp('10.9.9.9', port, B, 80, 'A', { seq: 101, ack: 501, data: Buffer.from('abc') });
      assert.equal(t.send(2, icmpError('10.0.0.9', '10.9.9.9', 3, 3, about, keep)), 'rel+rpl+trk+dnat');
      assert.equal(endpoints(t.sent), '10.0.0.9>10.0.0.1');
      assert.equal(endpoints(t.sent, 42), '10.0.0.1:1000>10.0.0.2:80');
      assert.equal(checksumError(t.sent), '', String(keep));
    }
    const answer = tcp(B, 80, A, 1000, 'A', { seq: 501, ack: 101 });
    assert.equal(t.send(1, icmpError(A, B, 3, 3, answer)), 'rel+trk+snat');
    assert.equal(endpoints(t.sent), '10.9.9.9>10.0.0.2');
    assert.equal(endpoints(t.sent, 42), `10.0.0.2:80>10.9.9.9:${port}`);
    assert.equal(checksumError(t.sent), '');
  });

  it('every port of a range is used, then connections are refused', () => {
    const t = new Bench('ct(commit,nat(src=10.9.9.9:4000-4010))', 'ct(nat)');
    const used = new Set<string>();
    for (let p = 0; p < 11; p++) {
      assert.equal(t.send(1, udp(A, 1000 + p, B, 53)), 'new+trk+snat');
      used.add(endpoints(t.sent));
    }
    assert.equal(used.size, 11);
    assert.equal(t.send(1, udp(A, 2000, B, 53)), 'inv+trk');
    assert.equal(endpoints(t.sent), '10.0.0.1:2000>10.0.0.2:53');
    assert.equal(t.count, 11);
  });

  it('destination, IPv4 and IPv6', () => {
    const t = new Bench('ct(commit,nat(dst=10.0.0.7:8080))', 'ct(nat)');
    assert.equal(t.send(1, tcp(A, 1000, B, 80, 'S')), 'new+trk+dnat');
    assert.equal(endpoints(t.sent), '10.0.0.1:1000>10.0.0.7:8080');
    assert.equal(checksumError(t.sent), '');
    assert.equal(t.send(2, tcp('10.0.0.7', 8080, A, 1000, 'SA', { ack: 1 })), 'est+rpl+trk+snat');
    assert.equal(endpoints(t.sent), '10.0.0.2:80>10.0.0.1:1000');
    t.rules('ct(commit,nat(dst=fd00::7-fd00::9))', 'ct(nat)');
    assert.equal(t.send(1, udp('fd00::1', 1000, 'fd00::2', 53)), 'new+trk+dnat');
    assert.match(endpoints(t.sent), /^fd00::0001:1000>fd00::000[789]:53$/);
    assert.equal(checksumError(t.sent), '');
    const last = endpoints(t.sent).match(/(.):53$/)?.[1];
    assert.equal(t.send(2, udp(`fd00::${last}`, 53, 'fd00::1', 1000)), 'est+rpl+trk+snat');
    assert.equal(endpoints(t.sent), 'fd00::0002:53>fd00::0001:1000');
    assert.equal(checksumError(t.sent), '');
    const about = udp('fd00::1', 1000, `fd00::${last}`, 53);
    assert.equal(t.send(2, icmpError(`fd00::${last}`, 'fd00::1', 1, 4, about)), 'rel+rpl+trk+snat');
    assert.equal(endpoints(t.sent), 'fd00::0002>fd00::0001');
    assert.equal(endpoints(t.sent, 62), 'fd00::0001:1000>fd00::0002:53');
    assert.equal(checksumError(t.sent), '');
  });

  it('echoes: the identifier makes way where two collide', () => {
    const t = new Bench('ct(commit,nat(src=10.9.9.9))', 'ct(nat)');
    t.send(1, icmp(A, B, 8, 0, 77));
    assert.equal(endpoints(t.sent), '10.9.9.9>10.0.0.2');
    t.send(1, icmp('10.0.0.3', B, 8, 0, 77));
    assert.equal(checksumError(t.sent), '');
    const id = (t.sent[38] << 8) | t.sent[39];
    assert.notEqual(id, 77);
    assert.equal(t.send(2, icmp(B, '10.9.9.9', 0, 0, id)), 'est+rpl+trk+dnat');
    assert.equal(endpoints(t.sent), '10.0.0.2>10.0.0.3');
    assert.equal((t.sent[38] << 8) | t.sent[39], 77);
    assert.equal(checksumError(t.sent), '');
  });

  it('source of all zeros: only the port changes, and only when it must', () => {
    const t = new Bench('ct(commit,nat(dst=10.0.0.7))', 'ct(nat)');
    t.send(1, udp(A, 1000, B, 53));
    t.rules('ct(commit,nat(src=0.0.0.0))', 'ct(nat)');
    // Replies to this would look like replies to the one before.
    assert.equal(t.send(1, udp(A, 1000, '10.0.0.7', 53)), 'new+trk+snat');
    assert.match(endpoints(t.sent), /^10\.0\.0\.1:(?!1000>)\d+>10\.0\.0\.7:53$/);
    t.send(1, udp(A, 2000, '10.0.0.7', 53));
    assert.equal(endpoints(t.sent), '10.0.0.1:2000>10.0.0.7:53');
  });

  it('is done once, and found again after', () => {
    const t = new Bench('ct(commit,zone=1,nat(src=10.9.9.9)),ct(zone=1,nat)', 'ct(zone=1,nat)');
    assert.equal(t.send(1, udp(A, 1000, B, 53)), 'new+trk+snat');
    assert.equal(endpoints(t.sent), '10.9.9.9:1000>10.0.0.2:53');
    assert.equal(t.count, 1);
  });
});

describe('helpers', () => {
  const control = (t: Bench, text: string, isServer: boolean, seq: number, ack: number): string => {
    const data = Buffer.from(text);
    return isServer
      ? t.send(2, tcp(B, 21, A, 1000, 'AP', { seq, ack, data }))
      : t.send(1, tcp(A, 1000, B, 21, 'AP', { seq, ack, data }));
  };
  const opened = (): Bench => {
    const t = new Bench('ct(commit,mark=0x9/0xffffffff,helper=ftp)', 'ct(commit,helper=ftp)');
    t.send(1, tcp(A, 1000, B, 21, 'S', { seq: 99 }));
    t.send(2, tcp(B, 21, A, 1000, 'SA', { seq: 499, ack: 100 }));
    assert.equal(t.send(1, tcp(A, 1000, B, 21, 'A', { seq: 100, ack: 500 })), 'est+trk');
    return t;
  };

  it('FTP, passive: the data connection is related, once', () => {
    const t = opened();
    t.rules('ct', 'ct');
    assert.equal(control(t, '227 Entering Passive Mode (10,0,0,2,195,80).\r\n', true, 500, 100), 'est+rpl+trk');
    assert.equal(t.count, 1, 'what is expected is no connection yet');
    assert.equal(t.send(1, tcp(A, 2000, B, 50001, 'S')), 'new+trk');
    assert.equal(t.send(1, tcp(A, 2000, B, 50000, 'S')), 'new+rel+trk');
    assert.equal(t.tuple, '6 10.0.0.1:1000>10.0.0.2:21', 'the tuple is that of the control connection');
    assert.equal(t.key.get32(OFS.ct_mark), 9);
    t.rules('ct(commit)', 'ct');
    assert.equal(t.send(1, tcp(A, 2000, B, 50000, 'S')), 'new+rel+trk');
    assert.equal(t.send(2, tcp(B, 50000, A, 2000, 'SA', { ack: 1 })), 'est+rel+rpl+trk');
    assert.equal(t.tuple, '6 10.0.0.1:1000>10.0.0.2:21');
    assert.equal(t.send(1, tcp(A, 2001, B, 50000, 'S')), 'new+trk');
    assert.equal(t.bed.conntrack.flush(null), 3);
  });

  it('FTP, active and extended; addresses of others are not believed', () => {
    const t = opened();
    control(t, 'PORT 10,0,0,66,195,80\r\n', false, 100, 500);
    t.rules('ct', 'ct');
    assert.equal(t.send(2, tcp(B, 20, '10.0.0.66', 50000, 'S')), 'new+trk');
    t.rules('ct(commit)', 'ct');
    control(t, 'PORT 10,0,0,1,195,80\r\n', false, 123, 500);
    assert.equal(t.send(2, tcp(B, 20, A, 50000, 'S')), 'new+rel+trk');
    control(t, 'EPRT |1|10.0.0.1|50001|\r\n', false, 145, 500);
    assert.equal(t.send(2, tcp(B, 20, A, 50000, 'S')), 'new+trk', 'only the last announcement counts');
    assert.equal(t.send(2, tcp(B, 20, A, 50001, 'S')), 'new+rel+trk');
    control(t, '229 Entering Extended Passive Mode (|||50002|)\r\n', true, 500, 170);
    assert.equal(t.send(1, tcp(A, 20, B, 50002, 'S')), 'new+rel+trk');
    for (const text of ['PORT 1,2', 'PORT 10,0,0,1,999,1', 'PORT ', '227 (', '229 (||', 'EPRT |1|'])
      control(t, text, text.startsWith('2'), text.startsWith('2') ? 548 : 170, 170);
  });

  it('TFTP: the answer comes from a port of its own', () => {
    const t = new Bench('ct(commit,helper=tftp)', 'ct');
    t.send(1, udp(A, 3000, B, 69, '\0\x01file\0octet\0'));
    assert.equal(t.send(2, udp(B, 4444, A, 3001)), 'new+trk');
    assert.equal(t.send(2, udp(B, 4444, A, 3000)), 'new+rel+trk');
  });
});

describe('the table', () => {
  it('lets connections go when their time is over', () => {
    const t = new Bench('ct(commit)');
    for (let p = 1; p <= 500; p++) t.send(1, udp(A, p, B, 53));
    t.bed.nowMs += 30_000;
    t.send(1, udp(A, 1, B, 53));
    t.bed.nowMs += 30_500;
    assert.equal(t.count, 1);
    t.bed.nowMs += 500_000;
    assert.equal(t.count, 0);
    // What is over is over, swept or not.
    t.send(1, udp(A, 1, B, 53));
    t.bed.nowMs += 60_001;
    assert.equal(t.send(2, udp(B, 53, A, 1)), 'new+trk');
  });

  it('has limits: of all, of a zone', () => {
    const t = new Bench('ct(commit,zone=3)');
    t.bed.conntrack.setZoneLimit(3, 2);
    for (let p = 1; p <= 4; p++) assert.equal(t.send(1, udp(A, p, B, 53)), 'new+trk');
    assert.deepEqual(t.bed.conntrack.zoneLimit(3), { limit: 2, count: 2 });
    t.bed.conntrack.setZoneLimit(3, null);
    t.bed.conntrack.maxConnections = 3;
    assert.equal(t.send(1, udp(A, 3, B, 53)), 'new+trk');
    assert.equal(t.send(1, udp(A, 4, B, 53)), 'inv+trk');
    assert.equal(t.bed.conntrack.flush(null), 3);
    assert.equal(t.count, 0);
    assert.equal(t.send(1, udp(A, 4, B, 53)), 'new+trk');
  });

  it('forgets everything when a PMD died with a lock in its hand', () => {
    const t = new Bench('ct(commit,zone=3)');
    const { conntrack, arena } = t.bed;
    t.send(1, udp(A, 1, B, 53));
    conntrack.recover();
    assert.equal(t.count, 1, 'nobody held a lock');
    arena.i32[conntrack.at + CT.LOCKS + 3 * 16] = 1;
    conntrack.recover();
    assert.equal(t.count, 0);
    for (let p = 1; p <= 3000; p++) {
      assert.equal(t.send(1, udp(A, p, B, 53)), 'new+trk');
      conntrack.supply();
    }
    assert.deepEqual(conntrack.zoneLimit(3), { limit: 0, count: 3000 });
    assert.equal(conntrack.flush(3), 3000);
  });

  it('grows, and every entry comes back', () => {
    const t = new Bench('ct(commit)');
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 5000; n++) {
        t.send(1, udp(A, 1000 + n, B, 53));
        t.bed.conntrack.supply();
      }
      assert.equal(t.count, 5000);
      const used = t.bed.arena.used;
      assert.equal(t.bed.conntrack.flush(null), 5000);
      assert.equal(t.count, 0);
      if (round === 1) assert.equal(t.bed.arena.used, used);
    }
  });
});
