import { SET_HEADERS, unsupportedAction } from '../../src/datapath/actions-code.ts';
import { type DpAction, TnlType } from '../../src/flow/dp-actions.ts';
import type { Field } from '../../src/flow/field.ts';
import { FIELDS } from '../../src/flow/fields.ts';
import { FlowKey } from '../../src/flow/key.ts';
import { answeredTypes } from '../../src/ofproto/handlers/index.ts';
import { TRANSLATED } from '../../src/ofproto/xlate/actions.ts';
import { ACTION_DEFS, INSTRUCTIONS } from '../../src/openflow/actions/index.ts';
import type { OfpactKind } from '../../src/openflow/actions/types.ts';
import type { Spot } from '../../src/openflow/codec.ts';
import { CODECS } from '../../src/openflow/msgs/index.ts';
import { code, sources, table, yes } from './text.ts';

const OPENFLOW = ['1.0', '1.1', '1.2', '1.3', '1.4', '1.5'] as const;

function versions(first: number, last: number): string {
  return first === last ? OPENFLOW[first - 1] : `${OPENFLOW[first - 1]}–${OPENFLOW[last - 1]}`;
}

/** Registers and the like differ only in their number: `reg0`…`reg15` are one line. */
export function fields(): string {
  const groups = new Map<string, Field[]>();
  for (const f of FIELDS) {
    const stem = /^(.*reg|tun_metadata)\d+$/.exec(f.name)?.[1] ?? f.name;
    const key = [stem, f.nBits, f.writable, f.headers.length].join(' ');
    const group = groups.get(key);
    if (group) group.push(f);
    else groups.set(key, [f]);
  }
  const range = (first: string, last: string): string =>
    first === last ? code(first) : `${code(first)}…${code(last)}`;
  const lines = [...groups.values()].map((group) => {
    const f = group[0];
    const last = group[group.length - 1];
    return [
      [range(f.name, last.name), ...f.aliases.map(code)].join(', '),
      String(f.nBits),
      f.masking === 'none' ? 'no' : 'any',
      f.prereq === 'none' ? '' : f.prereq,
      f.writable ? 'yes' : 'no',
      f.headers
        .map((h, i) => range(h.name, last.headers[i].name) + (h.since > 1 ? ` (${OPENFLOW[h.since - 1]})` : ''))
        .join(', '),
    ];
  });
  return `## Match fields

${FIELDS.length} fields, in flows, megaflows, \`ovs-ofctl\` and on the wire. The number behind an OXM name is the first OpenFlow version that has it.

${table(['field', 'bits', 'mask', 'only with', 'actions may write it', 'names on the wire'], lines)}`;
}

/** One datapath action of each kind and, of \`set\`, each header. */
function datapathSamples(): Map<string, DpAction> {
  const key = new FlowKey();
  const mask = new FlowKey();
  const ct = { commit: false, force: false, zone: 0, mark: null, label: null, helper: null, timeout: null, nat: null };
  const mac = new Uint8Array(6);
  // A property for each kind, which the compiler checks.
  const samples: { readonly [K in Exclude<DpAction['kind'], 'set'>]: Extract<DpAction, { kind: K }> } = {
    output: { kind: 'output', port: 1 },
    userspace: { kind: 'userspace', userspace: { type: 'slow_path', reasons: 0 } },
    push_vlan: { kind: 'push_vlan', tpid: 0x8100, tci: 0 },
    pop_vlan: { kind: 'pop_vlan' },
    push_mpls: { kind: 'push_mpls', ethertype: 0x8847, lse: 0 },
    pop_mpls: { kind: 'pop_mpls', ethertype: 0x800 },
    push_eth: { kind: 'push_eth', dst: mac, src: mac },
    pop_eth: { kind: 'pop_eth' },
    push_nsh: { kind: 'push_nsh', header: new Uint8Array(24) },
    pop_nsh: { kind: 'pop_nsh' },
    add_mpls: { kind: 'add_mpls', ethertype: 0x8847, lse: 0 },
    lb_output: { kind: 'lb_output', bondId: 1 },
    recirc: { kind: 'recirc', id: 1 },
    hash: { kind: 'hash', algorithm: 'l4', basis: 0 },
    sample: { kind: 'sample', probability: 1, actions: [] },
    clone: { kind: 'clone', actions: [] },
    trunc: { kind: 'trunc', maxLen: 64 },
    meter: { kind: 'meter', id: 1 },
    check_pkt_len: { kind: 'check_pkt_len', size: 64, greater: [], lessOrEqual: [] },
    ct: { kind: 'ct', ct },
    ct_clear: { kind: 'ct_clear' },
    tnl_push: { kind: 'tnl_push', port: 1, outPort: 2, type: TnlType.vxlan, header: new Uint8Array(50) },
    tnl_pop: { kind: 'tnl_pop', port: 1 },
    drop: { kind: 'drop', reason: 0 },
  };
  const all = new Map<string, DpAction>(Object.entries(samples));
  for (const header of SET_HEADERS) {
    all.set(`set(${header})`, { kind: 'set', header, key, mask });
  }
  return all;
}

const datapathCan = (kind: string): boolean => {
  const sample = datapathSamples().get(kind);
  return sample !== undefined && unsupportedAction([sample]) === null;
};

/** OpenFlow actions that are one datapath action: translated, they still need a datapath that has it. */
const NEEDS_OF_DATAPATH: { readonly [K in OfpactKind]?: string } = {
  ct: 'ct',
  nat: 'ct',
  ct_clear: 'ct_clear',
  meter: 'meter',
};

/** Forms of an action that do not begin with a word of their own. */
const WORDLESS: { readonly [K in OfpactKind]?: string } = {
  output_reg: 'output:FIELD[…]',
  output_trunc: 'output(port=PORT,max_len=N)',
};

export function actions(): string {
  const isDone = (kind: OfpactKind): boolean => {
    const need = NEEDS_OF_DATAPATH[kind];
    const known = kind === 'nat' ? TRANSLATED.has('ct') : TRANSLATED.has(kind);
    // A bridge refuses conntrack until it says that its datapath has it.
    if (need?.startsWith('ct') && !sources('src/ofproto/bridge.ts').includes('hasConntrack')) return false;
    return known && (need === undefined || datapathCan(need));
  };
  const list = ACTION_DEFS.filter((d) => d.spots.length > 0).map((d) => {
    const spots = d.spots.map((s) =>
      s.space === 'nx' ? `Nicira ${s.number}` : `${s.number} (${versions(s.first, s.last)})`,
    );
    return [d.words.map(code).join(', ') || code(WORDLESS[d.kind] ?? d.kind), spots.join(', '), yes(isDone(d.kind))];
  });
  const instructions = INSTRUCTIONS.map((i) => {
    const is = i.kind === 'apply_actions' || isDone(i.kind);
    return [code(i.kind), `${i.type} (${versions(i.first, i.last)})`, yes(is)];
  });
  return `## Actions

All are read and written as text and on the wire. "Carried out" says that flows with them are accepted and their packets handled so; a flow with
another action is refused with an OpenFlow error (\`meter\` with \`OFPMMFC_INVALID_METER\`, others with \`OFPBAC_BAD_TYPE\`).

${table(['action', 'number on the wire', 'carried out'], list)}

### Instructions

${table(['instruction', 'number on the wire', 'carried out'], instructions)}`;
}

export function datapathActions(): string {
  const lines = [...datapathSamples()].map(([name, action]) => [code(name), yes(unsupportedAction([action]) === null)]);
  return `### Datapath actions

What the user-space datapath does with packets.

${table(['action', 'here'], lines)}`;
}

/** What is answered only to say that there is none. */
const ANSWERED_WITH_NONE: Readonly<Record<string, string>> = {
  queue_stats_request: 'yes: no queues',
  queue_get_config_request: 'yes: no queues',
  ipfix_bridge_stats_request: 'refused: not configured',
  ipfix_flow_stats_request: 'refused: not configured',
};

export function messages(): string {
  const answered: ReadonlySet<string> = answeredTypes();
  const written = sources('src/ofproto/**/*.ts');
  const sends = (type: string): boolean => written.includes(`type: '${type}'`);
  /** What can come to a switch, and what can come from one. */
  const isReply = (type: string): boolean =>
    /_reply$|packet_in\d?$|flow_removed|_status$|_update|_paused$|_resumed$|request_?forward/.test(type);
  const direction = (type: string): string => {
    if (type === 'hello' || type === 'error') return 'received, sent';
    return isReply(type) ? 'sent' : 'received';
  };
  const byName = new Map<string, { spots: Spot[]; type: string }>();
  for (const { spots, type } of CODECS) {
    for (const spot of spots) {
      const one = byName.get(spot.name) ?? { spots: [], type };
      one.spots.push(spot);
      byName.set(spot.name, one);
    }
  }
  const status = (type: string): string => {
    if (answered.has(type)) return ANSWERED_WITH_NONE[type] ?? 'yes';
    return sends(type) ? 'yes' : 'not yet';
  };
  const lines = [...byName].map(([name, { spots, type }]) => [
    code(name),
    spots.map((s) => versions(s.first, s.last)).join(', '),
    direction(type),
    status(type),
  ]);
  return `## OpenFlow messages

Versions 1.0 to 1.5. Every message here is decoded and encoded, for \`ovs-ofctl\` and for printing; the last column says whether the switch answers
or sends it. An unknown message is answered with the error that OpenFlow has for it.

${table(['message', 'versions', 'by the switch', 'here'], lines)}`;
}
