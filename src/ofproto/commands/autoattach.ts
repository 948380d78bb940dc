/** `autoattach/status`, `autoattach/show-isid`, `autoattach/statistics`. `ovs-vswitchd(8)` */
import { registerCommand } from '../../base/commands.ts';
import type { Lldp } from '../lldp.ts';
import type { OfPort } from '../ofport.ts';
import { allBridges, type Backers } from './find.ts';

type Speaker = OfPort & { readonly lldp: Lldp };

export function registerAutoAttachCommands(backers: Backers): void {
  // A bridge may be named, and makes no difference, as in the original.
  const each = (show: (port: Speaker) => string[]): string =>
    allBridges(backers)
      .flatMap((bridge) => bridge.sortedPorts())
      .filter((port): port is Speaker => port.lldp !== null)
      .flatMap(show)
      .map((line) => `${line}\n`)
      .join('');
  registerCommand('autoattach/status', '[bridge]', 0, 1, () => each(status));
  registerCommand('autoattach/show-isid', '[bridge]', 0, 1, () => each(isids));
  registerCommand('autoattach/statistics', '[bridge]', 0, 1, () => each(statistics));
}

const octets = (b: Uint8Array): string => [...b].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
const SYSTEM_ID_SHOWN = 12;

function status({ name, lldp }: Speaker): string[] {
  const lines = [`LLDP: ${name}`];
  for (const { chassis, systemDescription, systemId } of lldp.neighbors) {
    if (!systemId) continue;
    const shown = new Uint8Array(SYSTEM_ID_SHOWN);
    shown.set(systemId);
    lines.push(
      `  Auto Attach Primary Server Id: ${octets(chassis)}`,
      `  Auto Attach Primary Server Descr: ${systemDescription}`,
      `  Auto Attach Primary Server System Id: ${octets(shown)}`,
    );
  }
  return lines;
}

/** What a server answers about a mapping. */
const ANSWERS: readonly string[] = ['Undefined', 'Pending', 'Active', 'Rejected'];

function isids({ name, lldp }: Speaker): string[] {
  const answers = lldp.neighbors.flatMap(({ mappings }) => mappings);
  const rows = (lldp.autoAttach?.mappings ?? []).map(({ isid, vlan }) => {
    const answer = answers.find((one) => one.isid === isid && one.vlan === vlan)?.status ?? 0;
    const word = ANSWERS[Math.min(answer, ANSWERS.length - 1)];
    return `${String(isid).padEnd(8)} ${String(vlan).padEnd(4)} ${'Switch'.padEnd(11)} ${word.padEnd(11)}`;
  });
  return [
    `LLDP: ${name}`,
    'I-SID    VLAN Source      Status  ',
    '-------- ---- ----------- --------',
    ...rows.reverse(),
  ];
}

function statistics({ name, lldp: { stats } }: Speaker): string[] {
  return [
    `Statistics: ${name}`,
    `  tx cnt: ${stats.tx}`,
    `  rx cnt: ${stats.rx}`,
    `  rx discarded cnt: ${stats.discarded}`,
    `  rx unrecognized cnt: ${stats.unrecognized}`,
    `  ageout cnt: ${stats.ageout}`,
    `  insert cnt: ${stats.insert}`,
    `  delete cnt: ${stats.delete}`,
    `  drop cnt: ${stats.drop}`,
  ];
}
