/** The `ct(…)` action of datapaths as text, with its address translation. */
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from './address-text.ts';
import type { CtAction, DpAction } from './dp-actions.ts';
import { wholeNumber as number, readNumber, sharpHex, splitArguments } from './dp-groups.ts';
import { bytesOfBigint } from './subfield.ts';
import { parseInteger } from './value-text.ts';

export function formatCt(ct: CtAction): string {
  const parts: string[] = [];
  if (ct.force) parts.push('force_commit');
  else if (ct.commit) parts.push('commit');
  if (ct.zone !== 0) parts.push(`zone=${ct.zone}`);
  if (ct.mark) parts.push(`mark=${sharpHex(ct.mark.value)}/${sharpHex(ct.mark.mask)}`);
  if (ct.label) parts.push(`label=${sharpHex(readNumber(ct.label.value))}/${sharpHex(readNumber(ct.label.mask))}`);
  if (ct.helper !== null) parts.push(`helper=${ct.helper}`);
  if (ct.timeout !== null) parts.push(`timeout=${ct.timeout}`);
  if (ct.nat) parts.push(formatNat(ct.nat));
  return parts.length === 0 ? 'ct' : `ct(${parts.join(',')})`;
}

function formatNat(nat: NonNullable<CtAction['nat']>): string {
  if (nat.type === null) return 'nat';
  let range = '';
  const { addrMin, addrMax } = nat;
  if (addrMin) {
    const bracket = addrMin.length === 16 && nat.portMin !== 0;
    const one = (a: Uint8Array): string =>
      a.length === 4 ? formatIpv4(a) : bracket ? `[${formatIpv6(a)}]` : formatIpv6(a);
    range = one(addrMin);
    if (addrMax && !addrMax.every((b, i) => b === addrMin[i])) range += `-${one(addrMax)}`;
  }
  if (nat.portMin !== 0) {
    range += `:${nat.portMin}`;
    if (nat.portMax !== 0 && nat.portMax !== nat.portMin) range += `-${nat.portMax}`;
  }
  const parts = [range === '' ? nat.type : `${nat.type}=${range}`];
  if (nat.persistent) parts.push('persistent');
  if (nat.hash) parts.push('hash');
  if (nat.random) parts.push('random');
  return `nat(${parts.join(',')})`;
}

export function parseCt(args: string): DpAction | null {
  let commit = false;
  let force = false;
  let zone = 0;
  let mark: CtAction['mark'] = null;
  let label: CtAction['label'] = null;
  let helper: string | null = null;
  let timeout: string | null = null;
  let nat: CtAction['nat'] = null;
  for (const part of splitArguments(args)) {
    const m = /^([a-z_]+)(?:=(.*)|\((.*)\))?$/s.exec(part);
    if (!m) return null;
    const value = m[2] ?? '';
    const [first, second] = value.split('/');
    switch (m[1]) {
      case 'commit':
        commit = true;
        break;
      case 'force_commit':
        commit = force = true;
        break;
      case 'zone': {
        const n = number(value, 2);
        if (n === null) return null;
        zone = n;
        break;
      }
      case 'mark': {
        const v = number(first);
        const bits = second === undefined ? 0xffffffff : number(second);
        if (v === null || bits === null) return null;
        mark = { value: v, mask: bits };
        break;
      }
      case 'label': {
        const v = parseInteger(first, 16)?.value;
        const bits = second === undefined ? (1n << 128n) - 1n : parseInteger(second, 16)?.value;
        if (v === undefined || v === null || bits === undefined || bits === null) return null;
        label = { value: bytesOfBigint(v, 16), mask: bytesOfBigint(bits, 16) };
        break;
      }
      case 'helper':
        helper = value;
        break;
      case 'timeout':
        timeout = value;
        break;
      case 'nat':
        nat = parseNat(m[3] ?? '');
        if (!nat) return null;
        break;
      default:
        return null;
    }
  }
  // Committing one way excludes the other.
  if (/(^|,)commit(,|$)/.test(args) && force) return null;
  return { kind: 'ct', ct: { commit, force, zone, mark, label, helper, timeout, nat } };
}

function parseNat(args: string): CtAction['nat'] {
  let type: 'src' | 'dst' | null = null;
  let addrMin: Uint8Array | null = null;
  let addrMax: Uint8Array | null = null;
  let portMin = 0;
  let portMax = 0;
  const flags = new Set<string>();
  for (const part of splitArguments(args)) {
    const m = /^(src|dst)(?:=(.*))?$/.exec(part);
    if (!m) {
      if (part !== 'persistent' && part !== 'hash' && part !== 'random') return null;
      flags.add(part);
      continue;
    }
    if (type !== null) return null;
    type = m[1] as 'src' | 'dst';
    if (m[2] === undefined) continue;
    const range =
      /^(?:\[([0-9a-f:.]+)\](?:-\[([0-9a-f:.]+)\])?|(\d+\.[\d.]+)(?:-([\d.]+))?|([0-9a-f:]+)(?:-([0-9a-f:]+))?)?(?::(\d+)(?:-(\d+))?)?$/i.exec(
        m[2],
      );
    if (!range) return null;
    const low = range[1] ?? range[3] ?? range[5];
    const high = range[2] ?? range[4] ?? range[6];
    const parse = (t: string): Uint8Array | null => (t.includes(':') ? parseIpv6(t) : parseIpv4(t));
    if (low !== undefined) {
      addrMin = parse(low);
      addrMax = high === undefined ? null : parse(high);
      if (!addrMin || (high !== undefined && addrMax?.length !== addrMin.length)) return null;
    }
    portMin = Number(range[7] ?? 0);
    portMax = Number(range[8] ?? 0);
    if (portMin > 0xffff || portMax > 0xffff) return null;
  }
  return {
    type,
    addrMin,
    addrMax,
    portMin,
    portMax,
    persistent: flags.has('persistent'),
    hash: flags.has('hash'),
    random: flags.has('random'),
  };
}
