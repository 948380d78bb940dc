/** Connection tracking: `ct` and the `nat` within it. `ovs-actions(7)`, "Connection Tracking Actions" */
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from '../../flow/address-text.ts';
import { formatTable, parseTable } from '../../flow/names.ts';
import { formatSubfield } from '../../flow/subfield.ts';
import {
  type AnyActionDef,
  bad,
  def,
  getFieldHeader,
  nx,
  ofsNbits,
  parseNumber,
  putFieldHeader,
  putNx,
  type Reader,
  splitKeyValues,
  subfield,
  subfieldOf,
  syntax,
  type Writer,
  zeros,
} from './def.ts';
import type { NatSpec, Ofpact } from './types.ts';

const CT_FLAG = { COMMIT: 1, FORCE: 2 } as const;
const NO_RECIRC = 0xff;
const NAT_FLAG = { SRC: 1, DST: 2, PERSISTENT: 4, HASH: 8, RANDOM: 16 } as const;
const RANGE = { IPV4_MIN: 1, IPV4_MAX: 2, IPV6_MIN: 4, IPV6_MAX: 8, PROTO_MIN: 16, PROTO_MAX: 32 } as const;
const ALGS: readonly (readonly [string, number])[] = [
  ['ftp', 21],
  ['tftp', 69],
];

const ct = def({
  kind: 'ct',
  words: ['ct'],
  parse(text, { names, nested }) {
    let commit = false;
    let force = false;
    let zone: Extract<Ofpact, { kind: 'ct' }>['zone'] = 0;
    let recircTable: number | null = null;
    let alg = 0;
    let inner: Ofpact[] = [];
    let nat: Ofpact | null = null;
    for (const { key, value } of splitKeyValues(text)) {
      if (key === 'commit') commit = true;
      else if (key === 'force') force = true;
      else if (key === 'table') {
        const table = parseTable(value, names);
        if (table < 0) syntax(`unknown table ${value}`);
        if (table === NO_RECIRC) syntax(`invalid table 0x${table.toString(16)}`);
        recircTable = table;
      } else if (key === 'zone') {
        const n = parseNumber(value);
        if (n !== null) {
          if (n > 0xffffn) syntax(`invalid zone "${value}"`);
          zone = Number(n);
        } else {
          const sf = subfield(value);
          if (sf.nBits !== 16) syntax(`zone ${value} has ${sf.nBits} bits; must be 16 bits`);
          zone = sf;
        }
      } else if (key === 'alg') {
        alg = ALGS.find(([name]) => name === value)?.[1] ?? syntax(`invalid conntrack helper "${value}"`);
      } else if (key === 'nat') nat = { kind: 'nat', nat: parseNat(value) };
      else if (key === 'exec') inner = nested(value, 'ct');
      else syntax(`invalid argument to "ct" action: \`${key}'`);
    }
    if (force && !commit) syntax('"force" flag requires "commit" flag.');
    if (nat) inner = [nat, ...inner];
    return { kind: 'ct', commit, force, zone, recircTable, alg, actions: inner };
  },
  format: () => syntax('formatted by the list'),
  encode(w, a, context) {
    putNx(w, 35, () => {
      w.u16((a.commit ? CT_FLAG.COMMIT : 0) | (a.force ? CT_FLAG.FORCE : 0));
      if (typeof a.zone === 'number') w.zero(4).u16(a.zone);
      else {
        putFieldHeader(w, a.zone.field, 0);
        w.u16(ofsNbits(a.zone));
      }
      w.u8(a.recircTable ?? NO_RECIRC)
        .zero(3)
        .u16(a.alg);
      context.actions(w, a.actions);
    });
  },
  spots: [
    nx(35, (r, context) => {
      const flags = r.u16();
      let zone: Extract<Ofpact, { kind: 'ct' }>['zone'];
      if (r.bytes.subarray(r.pos, r.pos + 4).every((b) => b === 0)) {
        r.skip(4);
        zone = r.u16();
      } else {
        const field = getFieldHeader(r);
        zone = subfieldOf(field, r.u16());
        if (zone.nBits !== 16) bad('OFPBAC_BAD_SET_LEN');
      }
      const recirc = r.u8();
      zeros(r, 3);
      const alg = r.u16();
      const actions = context.actions(r);
      for (const a of actions) {
        if (a.kind === 'nat' || a.kind === 'reg_move') continue;
        if (a.kind !== 'set_field' || (a.field.name !== 'ct_mark' && a.field.name !== 'ct_label'))
          bad('OFPBAC_BAD_SET_ARGUMENT');
      }
      if (flags & CT_FLAG.FORCE && !(flags & CT_FLAG.COMMIT)) bad('OFPBAC_BAD_ARGUMENT');
      return {
        kind: 'ct',
        commit: (flags & CT_FLAG.COMMIT) !== 0,
        force: (flags & CT_FLAG.FORCE) !== 0,
        zone,
        recircTable: recirc === NO_RECIRC ? null : recirc,
        alg,
        actions,
      };
    }),
  ],
});

/** What `formatActions` prints of a ct before and after its nested actions. */
export function formatCt(
  a: Extract<Ofpact, { kind: 'ct' }>,
  names: Parameters<typeof formatTable>[1],
  list: (actions: readonly Ofpact[]) => string,
): string {
  const parts: string[] = [];
  if (a.commit) parts.push('commit');
  if (a.force) parts.push('force');
  if (a.recircTable !== null) parts.push(`table=${formatTable(a.recircTable, names)}`);
  if (typeof a.zone !== 'number') parts.push(`zone=${formatSubfield(a.zone)}`);
  else if (a.zone !== 0) parts.push(`zone=${a.zone}`);
  const nat = a.actions.find((x) => x.kind === 'nat');
  if (nat?.kind === 'nat') parts.push(formatNat(nat.nat));
  const others = a.actions.filter((x) => x.kind !== 'nat');
  if (others.length > 0) parts.push(`exec(${list(others)})`);
  if (a.alg) parts.push(`alg=${ALGS.find(([, n]) => n === a.alg)?.[0] ?? a.alg}`);
  return `ct(${parts.join(',')})`;
}

function parseNat(text: string): NatSpec {
  let type: NatSpec['type'] = 'none';
  let range: Pick<NatSpec, 'addrMin' | 'addrMax' | 'portMin' | 'portMax'> = {
    addrMin: null,
    addrMax: null,
    portMin: 0,
    portMax: 0,
  };
  let persistent = false;
  let hash = false;
  let random = false;
  for (const { key, value } of splitKeyValues(text)) {
    if (key === 'src' || key === 'dst') {
      if (type !== 'none') syntax(`May only specify one of "src" or "dst".`);
      type = key;
      if (value !== '') range = parseRange(value);
    } else if (key === 'persistent') persistent = true;
    else if (key === 'hash') hash = true;
    else if (key === 'random') random = true;
    else syntax(`invalid key "${key}" in "nat" argument`);
  }
  if (hash && random) syntax('Both "hash" and "random" are not allowed.');
  if (type === 'none' && (hash || random || persistent)) {
    syntax('Flags allowed only with "src" or "dst".');
  }
  return { type, ...range, persistent, hash, random };
}

function parseRange(text: string): Pick<NatSpec, 'addrMin' | 'addrMax' | 'portMin' | 'portMax'> {
  const fail = (): never => syntax(`Invalid range "${text}"`);
  const m =
    /^(?:(\d+\.\d+\.\d+\.\d+)(?:-(\d+\.\d+\.\d+\.\d+))?|\[([0-9a-fA-F:.]+)\](?:-\[([0-9a-fA-F:.]+)\])?|([0-9a-fA-F:.]+)(?:-([0-9a-fA-F:.]+))?)?(?::(\d+)(?:-(\d+))?)?$/.exec(
      text,
    );
  if (!m) return fail();
  const v4 = m[1] !== undefined;
  const first = m[1] ?? m[3] ?? m[5];
  const second = m[2] ?? m[4] ?? m[6];
  const address = (t: string): Uint8Array => (v4 ? parseIpv4(t) : parseIpv6(t)) ?? fail();
  const addrMin = first === undefined ? null : address(first);
  const addrMax = second === undefined ? null : address(second);
  const portMin = m[7] === undefined ? 0 : Number(m[7]);
  const portMax = m[8] === undefined ? 0 : Number(m[8]);
  if (portMin > 65535 || portMax > 65535 || (portMax !== 0 && portMax < portMin)) return fail();
  if (addrMin && addrMax && Buffer.compare(addrMin, addrMax) > 0) return fail();
  const single = addrMin && addrMax && Buffer.compare(addrMin, addrMax) === 0;
  return { addrMin, addrMax: single ? null : addrMax, portMin, portMax: portMax === portMin ? 0 : portMax };
}

function formatNat(n: NatSpec): string {
  if (n.type === 'none') return 'nat';
  let range = '';
  if (n.addrMin) {
    const v4 = n.addrMin.length === 4;
    const bracket = !v4 && n.portMin !== 0;
    const one = (a: Uint8Array): string => (v4 ? formatIpv4(a) : bracket ? `[${formatIpv6(a)}]` : formatIpv6(a));
    range = one(n.addrMin) + (n.addrMax ? `-${one(n.addrMax)}` : '');
  }
  if (n.portMin) range += `:${n.portMin}${n.portMax ? `-${n.portMax}` : ''}`;
  const flags = `${n.persistent ? ',persistent' : ''}${n.hash ? ',hash' : ''}${n.random ? ',random' : ''}`;
  return `nat(${n.type}${range === '' ? '' : `=${range}`}${flags})`;
}

function putNat(w: Writer, n: NatSpec): void {
  let flags = 0;
  if (n.type === 'src') flags |= NAT_FLAG.SRC;
  if (n.type === 'dst') flags |= NAT_FLAG.DST;
  if (n.persistent) flags |= NAT_FLAG.PERSISTENT;
  if (n.hash) flags |= NAT_FLAG.HASH;
  if (n.random) flags |= NAT_FLAG.RANDOM;
  let present = 0;
  if (n.addrMin) present |= n.addrMin.length === 4 ? RANGE.IPV4_MIN : RANGE.IPV6_MIN;
  if (n.addrMax) present |= n.addrMax.length === 4 ? RANGE.IPV4_MAX : RANGE.IPV6_MAX;
  if (n.portMin) present |= RANGE.PROTO_MIN;
  if (n.portMax) present |= RANGE.PROTO_MAX;
  w.zero(2).u16(flags).u16(present);
  if (n.addrMin) w.bytes(n.addrMin);
  if (n.addrMax) w.bytes(n.addrMax);
  if (n.portMin) w.u16(n.portMin);
  if (n.portMax) w.u16(n.portMax);
}

function getNat(r: Reader): NatSpec {
  zeros(r, 2);
  const flags = r.u16();
  const present = r.u16();
  if ((flags & 3) === 3 || flags & ~31 || present & ~63) bad('OFPBAC_BAD_ARGUMENT');
  const v4 = (present & (RANGE.IPV4_MIN | RANGE.IPV4_MAX)) !== 0;
  const v6 = (present & (RANGE.IPV6_MIN | RANGE.IPV6_MAX)) !== 0;
  if (v4 && v6) bad('OFPBAC_BAD_ARGUMENT');
  if ((flags & 3) === 0 && present !== 0) bad('OFPBAC_BAD_ARGUMENT');
  const has = (bit: number): boolean => (present & bit) !== 0;
  if (
    (has(RANGE.IPV4_MAX) && !has(RANGE.IPV4_MIN)) ||
    (has(RANGE.IPV6_MAX) && !has(RANGE.IPV6_MIN)) ||
    (has(RANGE.PROTO_MAX) && !has(RANGE.PROTO_MIN))
  ) {
    bad('OFPBAC_BAD_ARGUMENT');
  }
  const size = v4 ? 4 : 16;
  const addrMin = has(RANGE.IPV4_MIN) || has(RANGE.IPV6_MIN) ? r.copy(size) : null;
  const addrMax = has(RANGE.IPV4_MAX) || has(RANGE.IPV6_MAX) ? r.copy(size) : null;
  return {
    type: flags & NAT_FLAG.SRC ? 'src' : flags & NAT_FLAG.DST ? 'dst' : 'none',
    addrMin,
    addrMax,
    portMin: has(RANGE.PROTO_MIN) ? r.u16() : 0,
    portMax: has(RANGE.PROTO_MAX) ? r.u16() : 0,
    persistent: (flags & NAT_FLAG.PERSISTENT) !== 0,
    hash: (flags & NAT_FLAG.HASH) !== 0,
    random: (flags & NAT_FLAG.RANDOM) !== 0,
  };
}

const nat = def({
  kind: 'nat',
  words: ['nat'],
  parse: (text) => ({ kind: 'nat', nat: parseNat(text) }),
  format: (a) => formatNat(a.nat),
  encode: (w, a) => putNx(w, 36, () => putNat(w, a.nat)),
  spots: [nx(36, (r) => ({ kind: 'nat', nat: getNat(r) }))],
});

export const CT_ACTIONS: readonly AnyActionDef[] = [ct, nat];
