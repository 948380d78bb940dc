/** `stp/show`, `stp/tcn`. `ovs-vswitchd(8)`, "Spanning Tree Protocol Commands" */
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import type { Bridge } from '../bridge.ts';
import { allBridges, type Backers } from './find.ts';

export function registerStpCommands(backers: Backers): void {
  const chosen = (name: string | undefined): Bridge[] => {
    const all = allBridges(backers).filter((bridge) => bridge.spanningTree !== null);
    if (name === undefined) return all;
    const one = all.find((bridge) => bridge.name === name);
    if (!one) throw new UnixctlError('no such stp object');
    return [one];
  };
  registerCommand('stp/show', '[bridge]', 0, 1, ([name]) => chosen(name).map(show).join(''));
  registerCommand('stp/tcn', '[bridge]', 0, 1, ([name]) => {
    for (const { spanningTree } of chosen(name)) spanningTree?.stp.detectTopologyChange();
    return 'OK';
  });
}

export const priorityOf = (id: bigint): number => Number(id >> 48n);
export const addressOf = (id: bigint): string =>
  (id & 0xffffffffffffn)
    .toString(16)
    .padStart(12, '0')
    .replace(/(..)(?=.)/g, '$1:');

const seconds = (ms: number): string => `${Math.round(ms / 1000)}s`;

function show({ name, spanningTree }: Bridge): string {
  if (!spanningTree) return '';
  const { stp } = spanningTree;
  const { config } = stp;
  const lines = [
    `---- ${name} ----`,
    'Root ID:',
    `  stp-priority  ${priorityOf(stp.designatedRoot)}`,
    `  stp-system-id   ${addressOf(stp.designatedRoot)}`,
    `  stp-hello-time  ${seconds(stp.helloTimeMs)}`,
    `  stp-max-age     ${seconds(stp.maxAgeMs)}`,
    `  stp-fwd-delay   ${seconds(stp.forwardDelayMs)}`,
  ];
  if (stp.isRoot) lines.push('  This bridge is the root');
  else lines.push(`  root-port       ${stp.rootPort?.name ?? ''}`, `  root-path-cost  ${stp.rootPathCost}`);
  lines.push(
    '',
    'Bridge ID:',
    `  stp-priority  ${config.priority}`,
    `  stp-system-id   ${addressOf(stp.bridgeId)}`,
    `  stp-hello-time  ${seconds(config.helloTimeMs)}`,
    `  stp-max-age     ${seconds(config.maxAgeMs)}`,
    `  stp-fwd-delay   ${seconds(config.forwardDelayMs)}`,
    '',
    '  Interface  Role       State      Cost  Pri.Nbr ',
    '  ---------- ---------- ---------- ----- -------',
  );
  for (const port of stp.ports) {
    const { number, priority, pathCost } = port.config;
    const [role, state] = [stp.role(port).padEnd(10), port.state.padEnd(10)];
    lines.push(`  ${port.name.padEnd(10)} ${role} ${state} ${String(pathCost).padEnd(5)} ${priority}.${number}`);
  }
  return `${lines.join('\n')}\n\n`;
}
