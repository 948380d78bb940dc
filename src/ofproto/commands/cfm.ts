/** `cfm/show`, `cfm/set-fault`. `ovs-vswitchd(8)`, "CFM Commands" */
import { clock } from '../../base/clock.ts';
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { CFM_FAULTS, type Cfm } from '../cfm.ts';
import type { OfPort } from '../ofport.ts';
import { parseOverride } from './bfd.ts';
import { allBridges, type Backers } from './find.ts';

type Monitored = OfPort & { readonly cfm: Cfm };

export function registerCfmCommands(backers: Backers): void {
  const chosen = (name: string | undefined): Monitored[] => {
    const all = allBridges(backers)
      .flatMap((bridge) => bridge.sortedPorts())
      .filter((port): port is Monitored => port.cfm !== null);
    if (name === undefined) return all;
    const one = all.find((port) => port.name === name);
    if (!one) throw new UnixctlError('no such CFM object');
    return [one];
  };
  registerCommand('cfm/show', '[interface]', 0, 1, ([name]) => chosen(name).map(show).join(''));
  registerCommand('cfm/set-fault', '[interface] normal|false|true', 1, 2, (args) => {
    const value = parseOverride(args[args.length - 1].toLowerCase());
    if (value === undefined) throw new UnixctlError('unknown fault string');
    for (const { cfm } of chosen(args.length > 1 ? args[0] : undefined)) cfm.setOverride(value);
    return 'OK';
  });
}

const upDown = (isUp: boolean): string => (isUp ? 'up' : 'down');

function show({ name, cfm }: Monitored): string {
  const now = clock.nowMs();
  const { config } = cfm;
  const marks = `${config.isExtended ? ' extended' : ''}${cfm.override === null ? '' : ' fault_override'}`;
  const faults = cfm.override ? ['override'] : CFM_FAULTS.filter((fault) => cfm.faults.has(fault));
  const lines = [
    `---- ${name} ----`,
    `MPID ${config.mpid}:${marks}`,
    ...(cfm.hasFault ? [`  fault: ${faults.join(' ')}`] : []),
    `  average health: ${cfm.health ?? 'undefined'}`,
    `  opstate: ${upDown(config.isOpUp || !config.isExtended)}`,
    `  remote_opstate: ${upDown(cfm.isRemoteOpUp)}`,
    `  interval: ${cfm.intervalMs}ms`,
    `  next CCM tx: ${Math.round(cfm.nextTxMs - now)}ms`,
    `  next fault check: ${Math.round(cfm.nextCheckMs - now)}ms`,
  ];
  for (const { mpid, recv, isOpUp } of cfm.current) {
    lines.push(`Remote MPID ${mpid}`, `  recv since check: ${recv}`, `  opstate: ${upDown(isOpUp)}`);
  }
  return `${lines.join('\n')}\n`;
}
