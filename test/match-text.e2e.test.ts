/** Random matches are read, sent, received and printed as the original's `ovs-ofctl parse-flow` does, with NXM and with OXM. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { normalizeMatch } from '../src/flow/match-field.ts';
import { formatMatch, parseMatch } from '../src/flow/match-text.ts';
import { decodeMatch, encodeMatch } from '../src/flow/oxm.ts';

const RUNS = 120;

/** Makes matches; a seed always makes the same ones. */
class Maker {
  private state: number;

  constructor(seed: number) {
    this.state = seed;
  }

  below(n: number): number {
    this.state = (Math.imul(this.state, 1103515245) + 12345) & 0x7fffffff;
    return (this.state >>> 8) % n;
  }
  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
  bits(n: number): bigint {
    let v = 0n;
    for (let i = 0; i < n; i++) v = (v << 1n) | BigInt(this.below(2));
    return v;
  }
  number(n: number): string {
    const v = this.bits(n);
    const text = this.below(2) ? String(v) : `0x${v.toString(16)}`;
    return this.below(3) ? text : `${text}/0x${this.bits(n).toString(16)}`;
  }
  ipv4(): string {
    return [0, 0, 0, 0].map(() => this.below(256)).join('.');
  }
  ipv4Masked(): string {
    return this.pick([this.ipv4(), `${this.ipv4()}/${this.below(33)}`, `${this.ipv4()}/${this.ipv4()}`]);
  }
  ipv6(): string {
    return Array.from({ length: 8 }, () => (this.below(3) ? '0' : this.below(65536).toString(16))).join(':');
  }
  ipv6Masked(): string {
    return this.pick([this.ipv6(), `${this.ipv6()}/${this.below(129)}`, `${this.ipv6()}/${this.ipv6()}`]);
  }
  mac(): string {
    return Array.from({ length: 6 }, () => this.below(256).toString(16).padStart(2, '0')).join(':');
  }
  macMasked(): string {
    return this.pick([this.mac(), `${this.mac()}/${this.mac()}`]);
  }
  flags(names: readonly string[]): string {
    const some = names.filter(() => this.below(2));
    if (this.below(2)) return some.join('|') || '0';
    return some.map((n) => this.pick(['+', '-']) + n).join('') || `+${names[0]}`;
  }
}

type Part = (m: Maker) => string;

const CT = ['new', 'est', 'rel', 'rpl', 'inv', 'trk', 'snat', 'dnat'];
const TCP = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'];

const COMMON: readonly Part[] = [
  (m) => `in_port=${m.pick(['1', '2', 'LOCAL', '65000'])}`,
  (m) => `reg${m.below(16)}=${m.number(32)}`,
  (m) => `xreg${m.below(8)}=${m.number(64)}`,
  (m) => `xxreg${m.below(4)}=${m.number(64)}`,
  (m) => `metadata=${m.number(64)}`,
  (m) => `tun_id=${m.number(64)}`,
  (m) => `tun_src=${m.ipv4Masked()}`,
  (m) => `tun_ipv6_dst=${m.ipv6Masked()}`,
  (m) => `tun_flags=${m.pick(['+oam', '-oam', 'oam'])}`,
  (m) => `tun_gbp_id=${m.below(65536)}`,
  (m) => `pkt_mark=${m.number(32)}`,
  (m) => `ct_state=${m.flags(CT)}`,
  (m) => `ct_zone=${m.below(65536)}`,
  (m) => `ct_mark=${m.number(32)}`,
  (m) => `ct_label=${m.number(128)}`,
  (m) => `dl_src=${m.macMasked()}`,
  (m) => `dl_dst=${m.macMasked()}`,
  (m) => `conj_id=${m.below(1e6)}`,
  (m) => `recirc_id=${m.below(99)}`,
  (m) => `dp_hash=${m.number(32)}`,
  (m) => `priority=${m.below(65536)}`,
  (m) => `actset_output=${m.below(100)}`,
];

const VLAN: readonly Part[] = [
  (m) => `dl_vlan=${m.below(4096)}`,
  (m) => `dl_vlan_pcp=${m.below(8)}`,
  (m) => `vlan_tci=${m.number(16)}`,
  (m) => `vlan_vid=${0x1000 + m.below(4096)}`,
  () => 'vlan_vid=0x1000/0x1000',
];

const IP: readonly Part[] = [
  (m) => `nw_tos=${m.below(64) * 4}`,
  (m) => `ip_dscp=${m.below(64)}`,
  (m) => `nw_ecn=${m.below(4)}`,
  (m) => `nw_ttl=${m.below(256)}`,
  (m) => `ip_frag=${m.pick(['no', 'yes', 'first', 'not_later'])}`,
];
const IP4: readonly Part[] = [...IP, (m) => `nw_src=${m.ipv4Masked()}`, (m) => `nw_dst=${m.ipv4Masked()}`];
const IP6: readonly Part[] = [
  ...IP,
  (m) => `ipv6_src=${m.ipv6Masked()}`,
  (m) => `ipv6_dst=${m.ipv6Masked()}`,
  (m) => `ipv6_label=${m.number(20)}`,
];
const ports = (proto: string): readonly Part[] => [
  (m) => `${proto}_src=${m.number(16)}`,
  (m) => `${proto}_dst=${m.number(16)}`,
  (m) => `tp_src=${m.number(16)}`,
];

const KINDS: readonly (readonly [word: string, own: readonly Part[]])[] = [
  ['', []],
  ['ip', IP4],
  ['ipv6', IP6],
  ['ip,nw_proto=99', IP4],
  ['tcp', [...IP4, ...ports('tcp'), (m) => `tcp_flags=${m.flags(TCP)}`]],
  ['tcp6', [...IP6, ...ports('tcp'), (m) => `tcp_flags=${m.flags(TCP)}`]],
  ['udp', [...IP4, ...ports('udp')]],
  ['udp6', [...IP6, ...ports('udp')]],
  ['sctp', [...IP4, ...ports('sctp')]],
  ['icmp', [...IP4, (m) => `icmp_type=${m.below(256)}`, (m) => `icmp_code=${m.below(256)}`]],
  [
    'icmp6',
    [
      ...IP6,
      (m) => `icmpv6_type=${m.pick([135, 136, 128])}`,
      (m) => `icmpv6_code=${m.below(2)}`,
      (m) => `nd_target=${m.ipv6Masked()}`,
      (m) => `nd_sll=${m.macMasked()}`,
      (m) => `nd_tll=${m.mac()}`,
    ],
  ],
  [
    'arp',
    [
      (m) => `arp_spa=${m.ipv4Masked()}`,
      (m) => `arp_op=${m.below(256)}`,
      (m) => `arp_sha=${m.macMasked()}`,
      (m) => `arp_tha=${m.macMasked()}`,
    ],
  ],
  [
    'mpls',
    [
      (m) => `mpls_label=${m.below(1 << 20)}`,
      (m) => `mpls_tc=${m.below(8)}`,
      (m) => `mpls_bos=${m.below(2)}`,
      (m) => `mpls_ttl=${m.below(256)}`,
    ],
  ],
  ['dl_type=0x1234', []],
];

function randomMatch(m: Maker): string {
  const [word, own] = m.pick(KINDS);
  const parts = word === '' ? [] : [word];
  for (let n = m.below(4); n > 0; n--) parts.push(m.pick(COMMON)(m));
  if (m.below(3) === 0) parts.push(m.pick(VLAN)(m));
  for (let n = own.length > 0 ? m.below(5) : 0; n > 0; n--) parts.push(m.pick(own)(m));
  return parts.join(',');
}

function theirs(text: string, args: readonly string[]): string {
  const flow = text === '' ? 'actions=drop' : `${text},actions=drop`;
  const r = spawnSync('ovs-ofctl', [...args, 'parse-flow', flow], { encoding: 'utf8' });
  const line = r.stdout.split('\n').find((l) => l.includes('FLOW_MOD'));
  if (line === undefined) return r.stderr.trim().split('\n').at(-1) ?? '';
  const failed = /decode error: (\w+)/.exec(line);
  return failed ? failed[1] : (/: ADD (?:(.*) )?actions=drop$/.exec(line)?.[1] ?? '');
}

function ours(text: string, kind: 'nxm' | 'oxm'): string {
  const r = parseMatch(text);
  if (!r.ok) return `ovs-ofctl: ${r.error}`;
  normalizeMatch(r.match);
  const decoded = decodeMatch(encodeMatch(r.match, kind, kind === 'nxm' ? 1 : 4));
  return decoded.ok ? formatMatch(decoded.match, r.priority) : decoded.error;
}

for (const [kind, args, seed] of [
  ['nxm', ['-F', 'NXM'], 11],
  ['oxm', ['-O', 'OpenFlow13', '-F', 'OXM-OpenFlow13'], 12],
] as const) {
  test(`random matches, ${kind}`, (t) => {
    if (spawnSync('ovs-ofctl', ['--version']).status !== 0) {
      t.skip('ovs-ofctl is not installed');
      return;
    }
    const maker = new Maker(seed);
    for (let i = 0; i < RUNS; i++) {
      const text = randomMatch(maker);
      assert.equal(ours(text, kind), theirs(text, args), text);
    }
  });
}
