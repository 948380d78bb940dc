/** `lacp/show`, `lacp/show-stats`. `ovs-vswitchd(8)`, "LACP Commands" */
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { LACP_STATE, type LacpInfo } from '../../packet/lacp.ts';
import type { Lacp, LacpMember } from '../lacp.ts';
import { macText } from '../mac-learning.ts';
import { allBridges, type Backers } from './find.ts';

export function registerLacpCommands(backers: Backers): void {
  const chosen = (name: string | undefined): Lacp[] => {
    const all = allBridges(backers).flatMap((bridge) => bridge.lacps());
    if (name === undefined) return all;
    const one = all.find((lacp) => lacp.name === name);
    if (!one) throw new UnixctlError('no such lacp object');
    return [one];
  };
  registerCommand('lacp/show', '[port]', 0, 1, ([name]) => chosen(name).map(show).join(''));
  registerCommand('lacp/show-stats', '[port]', 0, 1, ([name]) => chosen(name).map(showStats).join(''));
}

const inOrder = ({ members }: Lacp): LacpMember[] => [...members].sort((a, b) => (a.port.name < b.port.name ? -1 : 1));

function show(lacp: Lacp): string {
  const { config } = lacp;
  return `${[
    `---- ${lacp.name} ----`,
    `  status: ${config.isActive ? 'active' : 'passive'}${lacp.isNegotiated ? ' negotiated' : ''}`,
    `  sys_id: ${macText(lacp.systemId)}`,
    `  sys_priority: ${config.systemPriority}`,
    `  aggregation key: ${lacp.key}`,
    `  lacp_time: ${config.isFast ? 'fast' : 'slow'}`,
    ...inOrder(lacp).flatMap((m) => showMember(lacp, m)),
  ].join('\n')}\n`;
}

function showMember(lacp: Lacp, m: LacpMember): string[] {
  return [
    '',
    `member: ${m.port.name}: ${m.status} ${m.isAttached ? 'attached' : 'detached'}`,
    `  port_id: ${m.portId}`,
    `  port_priority: ${m.config.portPriority}`,
    `  may_enable: ${lacp.mayEnable(m.port)}`,
    '',
    ...showInfo('actor', lacp.actor(m)),
    '',
    ...showInfo('partner', m.partner),
  ];
}

function showInfo(whose: string, info: LacpInfo): string[] {
  const state = Object.entries(LACP_STATE).flatMap(([word, bit]) => (info.state & bit ? [` ${word}`] : []));
  return [
    `  ${whose} sys_id: ${macText(info.systemId)}`,
    `  ${whose} sys_priority: ${info.systemPriority}`,
    `  ${whose} port_id: ${info.portId}`,
    `  ${whose} port_priority: ${info.portPriority}`,
    `  ${whose} key: ${info.key}`,
    `  ${whose} state:${state.join('')}`,
  ];
}

function showStats(lacp: Lacp): string {
  const members = inOrder(lacp).flatMap(({ port, stats }) => [
    '',
    `member: ${port.name}:`,
    `  TX PDUs: ${stats.tx}`,
    `  RX PDUs: ${stats.rx}`,
    `  RX Bad PDUs: ${stats.bad}`,
    `  RX Marker Request PDUs: ${stats.markers}`,
    `  Link Expired: ${stats.expired}`,
    `  Link Defaulted: ${stats.defaulted}`,
    `  Carrier Status Changed: ${stats.carrierChanges}`,
  ]);
  return `---- ${lacp.name} statistics ----\n${members.map((line) => `${line}\n`).join('')}`;
}
