/** `dpif/*`: datapaths as the bridges see them. */
import { registerCommand } from '../../base/commands.ts';
import type { Netdev } from '../../netdev/netdev.ts';
import { tunnelOptionsText } from '../../netdev/tunnel-config.ts';
import { OFPP } from '../../openflow/ports.ts';
import type { Backer } from '../backer.ts';
import type { Bridge } from '../bridge.ts';
import { FEATURES } from '../features.ts';
import { bridgesJson } from '../json/datapath.ts';
import { megaflowJson } from '../json/megaflow.ts';
import { allBridges, type Backers, datapathName, findBridge } from './find.ts';
import { formatFlow } from './flow-text.ts';

const NO_BRIDGE = 'no such bridge';

export function registerDpifCommands(backers: Backers): void {
  registerCommand('dpif/dump-dps', '', 0, 0, () =>
    allBridges(backers)
      .map((b) => `${b.type}@${b.name}\n`)
      .join(''),
  );

  registerCommand('dpif/show', '', 0, 0, (_args, { format }) => {
    if (format === 'json') {
      const used = [...backers()].filter((b) => [...b.bridges].length > 0);
      return JSON.stringify(Object.fromEntries(used.map((b) => [datapathName(b), bridgesJson(b, portTypeText)])));
    }
    let text = '';
    for (const backer of backers()) {
      // A datapath without bridges is kept for the next one, which nobody need know.
      if ([...backer.bridges].length === 0) continue;
      const { hit, missed } = backer.dpif.stats();
      text += `${datapathName(backer)}: hit:${hit} missed:${missed}\n`;
      const bridges = [...backer.bridges].sort((a, b) => (a.name < b.name ? -1 : 1));
      for (const bridge of bridges) text += showBridge(bridge);
    }
    return text;
  });

  registerCommand('dpif/dump-flows', '[-m] [--names | --no-names] bridge', 1, 4, (args, { format }) => {
    const bridge = findBridge(backers, args[args.length - 1], NO_BRIDGE);
    const isVerbose = args.includes('-m') || args.includes('--more');
    const isNamed = args.includes('--no-names') ? false : args.includes('--names') || isVerbose;
    let text = '';
    const flows = [...bridge.backer.dpif.flows()].filter((f) => bridge.backer.flowOf(f.key)?.bridge === bridge);
    if (format === 'json')
      return JSON.stringify({ megaflows: flows.map((flow) => megaflowJson(bridge.backer.dpif, flow, isNamed)) });
    for (const flow of flows) {
      text += `${formatFlow(bridge.backer.dpif, flow, { isVerbose, isNamed, separator: ' ' })}\n`;
    }
    return text;
  });

  registerCommand('dpif/show-dp-features', 'bridge', 1, 1, ([name]) => {
    findBridge(backers, name, NO_BRIDGE);
    return FEATURES.map(([, feature, value]) => `${feature}: ${value}\n`).join('');
  });
}

function showBridge(bridge: Bridge): string {
  let text = `  ${bridge.name}:\n`;
  const ports = bridge.sortedPorts().sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const port of ports) {
    const options = port.peerName
      ? `: peer=${port.peerName}`
      : port.tunnel
        ? `: ${tunnelOptionsText(port.tunnel)}`
        : configurationText(port.netdev);
    text += `    ${port.name} ${port.ofport}/${port.dpPort ?? 'none'}: (${portTypeText(bridge.backer, port.netdev, port.ofport === OFPP.LOCAL)}${options})\n`;
  }
  return text;
}

/** `: key=value, …`, where a device has something to say. */
export function configurationText(netdev: Netdev): string {
  const list = netdev.configuration?.() ?? [];
  return list.length === 0 ? '' : `: ${list.map(([key, value]) => `${key}=${value}`).join(', ')}`;
}

/** The device types that the original's datapaths carry internal ports out with. */
export function portTypeText(backer: Backer, netdev: Netdev, isLocal: boolean): string {
  if (isLocal && netdev.type === 'dummy') return 'dummy-internal';
  if (netdev.type === 'internal') return backer.dpif.type === 'dummy' ? 'dummy-internal' : 'tap';
  return netdev.type;
}
