/** `rstp/show`, `rstp/tcn`. `ovs-vswitchd(8)`, "Rapid Spanning Tree Protocol Commands" */
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import type { Bridge } from '../bridge.ts';
import { allBridges, type Backers } from './find.ts';
import { addressOf, priorityOf } from './stp.ts';

export function registerRstpCommands(backers: Backers): void {
  const chosen = (name: string | undefined): Bridge[] => {
    const all = allBridges(backers).filter((bridge) => bridge.rapidTree !== null);
    if (name === undefined) return all;
    const one = all.find((bridge) => bridge.name === name);
    if (!one) throw new UnixctlError('No such RSTP object');
    return [one];
  };
  registerCommand('rstp/show', '[bridge]', 0, 1, ([name]) => chosen(name).map(show).join(''));
  registerCommand('rstp/tcn', '[bridge]', 0, 1, ([name]) => {
    for (const { rapidTree } of chosen(name)) rapidTree?.rstp.noteTopologyChange();
    return 'OK';
  });
}

function show({ name, rapidTree }: Bridge): string {
  if (!rapidTree) return '';
  const { rstp } = rapidTree;
  const { config, rootTimes, rootPriority } = rstp;
  const lines = [
    `---- ${name} ----`,
    'Root ID:',
    `  stp-priority    ${priorityOf(rootPriority.root)}`,
    `  stp-system-id   ${addressOf(rootPriority.root)}`,
    `  stp-hello-time  ${rootTimes.helloTime}s`,
    `  stp-max-age     ${rootTimes.maxAge}s`,
    `  stp-fwd-delay   ${rootTimes.forwardDelay}s`,
  ];
  if (rstp.isRoot) lines.push('  This bridge is the root');
  else lines.push(`  root-port       ${rstp.rootPort?.name ?? ''}`, `  root-path-cost  ${rootPriority.cost}`);
  lines.push(
    '',
    'Bridge ID:',
    `  stp-priority    ${config.priority}`,
    `  stp-system-id   ${addressOf(rstp.bridgeId)}`,
    '  stp-hello-time  2s',
    `  stp-max-age     ${config.maxAge}s`,
    `  stp-fwd-delay   ${config.forwardDelay}s`,
    '',
    '  Interface  Role       State      Cost     Pri.Nbr ',
    '  ---------- ---------- ---------- -------- -------',
  );
  for (const p of rstp.ports) {
    const { number, priority, pathCost } = p.config;
    const [role, state] = [p.role.padEnd(10), p.state.padEnd(10)];
    lines.push(`  ${p.name.padEnd(10)} ${role} ${state} ${String(pathCost).padEnd(8)} ${priority}.${number}`);
  }
  return `${lines.join('\n')}\n\n`;
}
