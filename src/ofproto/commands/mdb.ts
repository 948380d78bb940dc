/** `mdb/show`, `mdb/flush`: groups that a snooping bridge knows. `ovs-vswitchd(8)` */
import { clock } from '../../base/clock.ts';
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import type { Bridge } from '../bridge.ts';
import type { XlateBundle } from '../xlate/types.ts';
import { allBridges, type Backers, findBridge } from './find.ts';

const FLUSHED = 'table successfully flushed';

export function registerMdbCommands(backers: Backers): void {
  registerCommand('mdb/show', 'bridge', 1, 1, ([name]) => {
    const { mcast } = findBridge(backers, name, 'no such bridge');
    if (!mcast) throw new UnixctlError('multicast snooping is disabled');
    const now = clock.nowMs();
    const lines = [' port  VLAN  GROUP                Age'];
    for (const { group, vlan, members } of [...mcast.groups()].reverse())
      for (const m of members) lines.push(`${place(m.port, vlan)}${group}         ${age(mcast.memberAge(m, now))}`);
    for (const r of mcast.routers)
      lines.push(`${place(r.port, r.vlan)}querier             ${age(mcast.routerAge(r, now))}`);
    return `${lines.join('\n')}\n`;
  });

  registerCommand('mdb/flush', '[bridge]', 0, 1, ([name]) => {
    const flush = (bridge: Bridge): boolean => {
      bridge.mcast?.flush();
      return bridge.mcast !== null;
    };
    if (name === undefined) for (const bridge of allBridges(backers)) flush(bridge);
    else if (!flush(findBridge(backers, name, 'no such bridge')))
      throw new UnixctlError('multicast snooping is disabled');
    return FLUSHED;
  });
}

const age = (seconds: number): string => String(seconds).padStart(3);

function place(port: XlateBundle, vlan: number): string {
  const ofport = port.ports[0]?.ofport;
  const name = ofport === undefined ? '' : ofport === 0xfffe ? 'LOCAL' : String(ofport);
  return `${name.padStart(5)}  ${String(vlan).padStart(4)}  `;
}
