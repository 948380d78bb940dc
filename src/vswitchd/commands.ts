/** The `ovs-appctl` commands that are about the switch as a whole; bridges and datapaths bring their own. */
import { registerCommand, UnixctlError } from '../base/commands.ts';
import type { Netdev } from '../netdev/netdev.ts';
import type { Switch } from './switch.ts';

/** `exit` is not here: how to end is the program's affair. */
export function registerSwitchCommands(self: Switch): void {
  registerCommand('qos/show', 'interface', 1, 1, ([name]) => showQos(name, netdevOf(self, name)));
  registerCommand('qos/show-types', 'interface', 1, 1, ([name]) => {
    const { type, qos } = netdevOf(self, name);
    // The original's simulated ports have none, and tests are written by what it says.
    const types = type.startsWith('dummy') ? [] : (qos?.types ?? []);
    if (types.length === 0) return `No QoS types supported for interface: ${name}\n`;
    return types.map((type) => `QoS type: ${type}\n`).join('');
  });
}

function netdevOf(self: Switch, name: string): Netdev {
  for (const bridge of self.bridges.values()) {
    const netdev = bridge.interfaces.get(name)?.netdev;
    if (netdev) return netdev;
  }
  throw new UnixctlError('no such interface');
}

function showQos(name: string, { qos }: Netdev): string {
  if (qos === undefined || qos.type === '') return `QoS not configured on ${name}\n`;
  let text = `QoS: ${name} ${qos.type}\n`;
  for (const [key, value] of qos.details()) text += `${key}: ${Math.round(value)}\n`;
  for (const { queue, details, stats } of qos.queues()) {
    text += queue === 0 ? '\nDefault:\n' : `\nQueue ${queue}:\n`;
    for (const [key, value] of details) text += `  ${key}: ${Math.round(value)}\n`;
    text += `  tx_packets: ${stats?.packets ?? 0}\n  tx_bytes: ${stats?.bytes ?? 0}\n  tx_errors: ${stats?.drops ?? 0}\n`;
  }
  return text;
}
