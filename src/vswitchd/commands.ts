/** The `ovs-appctl` commands that are about the switch as a whole; bridges and datapaths bring their own. */
import { registerCommand, UnixctlError } from '../base/commands.ts';
import type { Switch } from './switch.ts';

/** `exit` is not here: how to end is the program's affair. */
export function registerSwitchCommands(self: Switch): void {
  registerCommand('qos/show', 'interface', 1, 1, ([name]) => {
    checkInterface(self, name);
    return `QoS not configured on ${name}\n`;
  });
  registerCommand('qos/show-types', 'interface', 1, 1, ([name]) => {
    checkInterface(self, name);
    return `No QoS types supported for interface: ${name}\n`;
  });
}

function checkInterface(self: Switch, name: string): void {
  for (const bridge of self.bridges.values()) if (bridge.interfaces.has(name)) return;
  throw new UnixctlError('no such interface');
}
