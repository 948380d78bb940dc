/** Actions that change nothing, and those that write fields which the packets need not have. */
import type { Field } from '../../flow/field.ts';
import { FLOW_WORDS, OFS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';
import { formatPort } from '../../flow/names.ts';
import { checkActions } from '../actions/check.ts';
import { formatAction } from '../actions/index.ts';
import type { Ofpact } from '../actions/types.ts';
import type { FlowStats } from '../messages.ts';
import { constantWrite, isKnownAs, pass, sameSubfield, vlanWrite, type Write } from './known.ts';
import { type Finding, finding, type LintInput } from './model.ts';
import type { TableGraph } from './tables.ts';
import { visitActions } from './walk.ts';

const PRESENT = 0x1000;
const EXACT32 = 0xffffffff;

interface Said {
  readonly reason: string;
  readonly action: number;
}

export function lintEffects(input: LintInput, graph: TableGraph): Finding[] {
  const findings: Finding[] = [];
  let usesActionSet = false;
  for (const f of input.flows)
    visitActions(f.actions, (a) => {
      if (a.kind === 'write_actions') usesActionSet = true;
    });
  const groups = new Map((input.groups ?? []).map((g) => [g.groupId, g]));
  input.flows.forEach((f, rule) => {
    const say = (kind: 'no-effect' | 'prerequisite', { reason, action }: Said): void => {
      findings.push(finding(kind, reason, { rule, action, table: f.table }));
    };
    // An action set is carried out at the end, and who resubmitted goes on with what has become of the packet.
    const endsHere = !usesActionSet && !graph.isResubmitted.has(f.table);
    for (const said of idleActions(f, endsHere)) say('no-effect', said);
    f.actions.forEach((a, action) => {
      if (a.kind !== 'group' || groups.get(a.groupId)?.buckets.every((b) => b.actions.length === 0) !== true) return;
      say('no-effect', { action, reason: `group:${a.groupId} does nothing: the group has no buckets with actions` });
    });
    for (const said of missingPrerequisites(f)) say('prerequisite', said);
  });
  return findings;
}

/** Only changes the packet, so that it matters only if something else follows. */
function isChange(a: Ofpact): boolean {
  switch (a.kind) {
    case 'set_field':
    case 'reg_move':
    case 'set_vlan_vid':
    case 'set_vlan_pcp':
    case 'strip_vlan':
    case 'push_vlan':
    case 'push_mpls':
    case 'pop_mpls':
    case 'set_mpls_label':
    case 'set_mpls_tc':
    case 'set_mpls_ttl':
    case 'write_metadata':
    case 'set_queue':
    case 'pop_queue':
    case 'stack_push':
    case 'stack_pop':
    case 'ct_clear':
      return true;
    default:
      return false;
  }
}

function idleActions(f: FlowStats, endsHere: boolean): Said[] {
  const said: Said[] = [];
  const known = f.match.clone();
  /** Writes that nothing has looked at yet. */
  let unseen: { readonly action: number; readonly write: Write }[] = [];
  const { actions } = f;
  for (const [action, a] of actions.entries()) {
    const text = formatAction(a);
    if (a.kind === 'exit') {
      if (action === actions.length - 1) break;
      const reason = `${formatAction(actions[action + 1])} is behind exit and is never carried out`;
      return [...said, { action: action + 1, reason }];
    }
    const write = constantWrite(a);
    const why = idleReason(a, known, write);
    if (why !== null) said.push({ action, reason: `${text} ${why}` });
    if (write === null) unseen = [];
    else {
      for (const u of unseen) {
        if (!isWithin(u.write, write)) continue;
        const reason = `${formatAction(actions[u.action])} is overwritten by ${text} before anything sees it`;
        said.push({ action: u.action, reason });
      }
      unseen = [...unseen.filter((u) => !isWithin(u.write, write)), { action, write }];
    }
    pass(known, a);
  }
  const tail = actions.findLastIndex((a) => !isChange(a)) + 1;
  if (endsHere && tail < actions.length) {
    const list = actions.slice(tail).map((a) => formatAction(a));
    const what = tail === 0 ? 'the packet, which is dropped' : 'the packet, which goes nowhere after that';
    said.push({ action: tail, reason: `${list.join(',')} changes ${what}` });
  }
  return said;
}

/** Why an action does nothing with packets of which so much is known; null if it may do something. */
function idleReason(a: Ofpact, known: Match, write: Write | null): string | null {
  if ((a.kind === 'output' || a.kind === 'output_trunc' || a.kind === 'enqueue') && isInPort(known, a.port))
    return `sends nothing: the packet came in by port ${formatPort(a.port)}, and only in_port sends it back`;
  const tag = vlanWrite(a);
  if (write?.mask.w.every((w) => w === 0)) return 'writes no bits';
  if (write !== null && isKnownAs(known, write)) return 'writes what is there already';
  if (tag !== null && isTag(known, tag)) return 'writes what is there already';
  if (a.kind === 'reg_move' && sameSubfield(a.src, a.dst)) return 'moves a field to itself';
  if (a.kind === 'strip_vlan' && hasNoTag(known)) return 'finds no VLAN tag';
  if (a.kind === 'clone' && a.actions.length === 0) return 'does nothing with the copy';
  return null;
}

function isInPort({ key, mask }: Match, port: number): boolean {
  return mask.get32(OFS.in_port) === EXACT32 && key.get32(OFS.in_port) === port;
}

function isTag({ key, mask }: Match, tag: { bits: number; value: number }): boolean {
  const bits = tag.bits | PRESENT;
  return (mask.get16(OFS.vlan_tci) & bits) === bits && (key.get16(OFS.vlan_tci) & bits) === (tag.value | PRESENT);
}

function hasNoTag({ key, mask }: Match): boolean {
  return (mask.get16(OFS.vlan_tci) & PRESENT) !== 0 && (key.get16(OFS.vlan_tci) & PRESENT) === 0;
}

function isWithin(inner: Write, outer: Write): boolean {
  for (let w = 0; w < FLOW_WORDS; w++) if ((inner.mask.w[w] & ~outer.mask.w[w]) !== 0) return false;
  return true;
}

/** Tags are put and taken off where there is one and where there is none: that is meant. */
const TAG_ACTIONS: ReadonlySet<Ofpact['kind']> = new Set(['strip_vlan', 'set_vlan_vid', 'set_vlan_pcp']);

function missingPrerequisites(f: FlowStats): Said[] {
  const check = (list: readonly Ofpact[]): boolean =>
    checkActions(list, f.match, { version: 6 }) === 'OFPBAC_MATCH_INCONSISTENT';
  if (!check(f.actions)) return [];
  const said: Said[] = [];
  let list: Ofpact[] = [];
  for (const [action, a] of f.actions.entries()) {
    const longer = [...list, a];
    // Without it, to see what else there is.
    if (!check(longer)) list = longer;
    else if (!TAG_ACTIONS.has(a.kind)) said.push({ action, reason: prerequisiteText(a) });
  }
  return said;
}

function prerequisiteText(a: Ofpact): string {
  const text = formatAction(a);
  const field: Field | null = a.kind === 'set_field' ? a.field : a.kind === 'reg_move' ? a.dst.field : null;
  if (field === null) return `${text} is for packets of which the match does not make sure`;
  const only = field.prereq === 'none' || field.prereq === 'ethernet' ? 'some' : PREREQ_WORDS[field.prereq];
  return `${text} writes ${field.name}, which only ${only} packets have, and the match lets others in`;
}

const PREREQ_WORDS: Readonly<Record<Exclude<Field['prereq'], 'none' | 'ethernet'>, string>> = {
  arp: 'ARP',
  vlan: 'tagged',
  ipv4: 'IPv4',
  ipv6: 'IPv6',
  ip: 'IP',
  nsh: 'NSH',
  mpls: 'MPLS',
  tcp: 'TCP',
  udp: 'UDP',
  sctp: 'SCTP',
  icmpv4: 'ICMP',
  icmpv6: 'ICMPv6',
  nd: 'neighbor discovery',
  nd_solicit: 'neighbor solicitation',
  nd_advert: 'neighbor advertisement',
  ct_tuple: 'tracked IP',
};
