/** What rules and groups name: ports, groups, meters. */
import { OFS } from '../../flow/layout.ts';
import type { Ofpact } from '../actions/types.ts';
import { OFPG_ANY, OFPM_MAX } from '../messages-ext.ts';
import { OFPP } from '../ports.ts';
import { type Finding, finding, type LintInput } from './model.ts';
import { visitActions } from './walk.ts';

export function lintReferences(input: LintInput): Finding[] {
  const ports = input.ports === null ? null : new Set(input.ports.map((p) => p.portNo));
  const groups = input.groups === null ? null : new Set(input.groups.map((g) => g.groupId));
  const meters = input.meters === null ? null : new Set(input.meters.map((m) => m.meterId));
  const isMissing = (port: number): boolean => ports !== null && port < OFPP.MAX && !ports.has(port);

  const missing = (a: Ofpact): ['missing-port' | 'missing-group' | 'missing-meter', string] | null => {
    switch (a.kind) {
      case 'output':
      case 'output_trunc':
      case 'enqueue':
        return isMissing(a.port) ? ['missing-port', `outputs to port ${a.port}, which does not exist`] : null;
      case 'resubmit':
        return isMissing(a.inPort)
          ? ['missing-port', `resubmits as from port ${a.inPort}, which does not exist`]
          : null;
      case 'bundle': {
        const gone = a.members.filter(isMissing);
        return gone.length === 0 ? null : ['missing-port', `bundles port ${gone.join(', ')}, which does not exist`];
      }
      case 'group':
        return groups === null || groups.has(a.groupId)
          ? null
          : ['missing-group', `sends packets to group ${a.groupId}, which does not exist`];
      case 'meter':
        return meters === null || meters.has(a.meterId) || a.meterId > OFPM_MAX
          ? null
          : ['missing-meter', `meters packets with meter ${a.meterId}, which does not exist`];
      default:
        return null;
    }
  };

  const findings: Finding[] = [];
  input.flows.forEach((f, rule) => {
    const of = { rule, table: f.table };
    const { match } = f;
    if (match.mask.get32(OFS.in_port) !== 0 && isMissing(match.key.get32(OFS.in_port)))
      findings.push(
        finding('missing-port', `matches packets from port ${match.key.get32(OFS.in_port)}, which does not exist`, of),
      );
    const said = new Set<string>();
    visitActions(f.actions, (a) => {
      const found = missing(a);
      if (found === null || said.has(found[1])) return;
      said.add(found[1]);
      findings.push(finding(found[0], found[1], of));
    });
  });
  for (const { groupId, buckets } of input.groups ?? []) {
    const of = { group: groupId };
    buckets.forEach((b, i) => {
      const where = `bucket ${i}`;
      visitActions(b.actions, (a) => {
        const found = missing(a);
        if (found !== null) findings.push(finding(found[0], `${where} ${found[1]}`, of));
      });
      if (isMissing(b.watchPort))
        findings.push(finding('missing-port', `${where} watches port ${b.watchPort}, which does not exist`, of));
      if (b.watchGroup !== OFPG_ANY && groups !== null && !groups.has(b.watchGroup))
        findings.push(finding('missing-group', `${where} watches group ${b.watchGroup}, which does not exist`, of));
    });
  }
  return [...findings, ...groupLoops(input)];
}

/** Groups that lead to themselves, each loop told once. */
function groupLoops(input: LintInput): Finding[] {
  const next = new Map<number, number[]>();
  for (const g of input.groups ?? []) {
    const list: number[] = [];
    for (const b of g.buckets)
      visitActions(b.actions, (a) => {
        if (a.kind === 'group') list.push(a.groupId);
      });
    next.set(g.groupId, list);
  }
  const findings: Finding[] = [];
  const done = new Set<number>();
  const path: number[] = [];
  const walk = (group: number): void => {
    const at = path.indexOf(group);
    if (at >= 0) {
      const loop = [...path.slice(at), group].join(' → ');
      findings.push(finding('group-loop', `leads to itself: ${loop}`, { group }));
      return;
    }
    if (done.has(group)) return;
    path.push(group);
    for (const to of next.get(group) ?? []) walk(to);
    path.pop();
    done.add(group);
  };
  for (const group of next.keys()) walk(group);
  return findings;
}
