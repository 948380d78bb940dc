/** `fdb/*`: the MAC learning table. */
import { clock } from '../../base/clock.ts';
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { OFPP } from '../../openflow/ports.ts';
import type { Bridge } from '../bridge.ts';
import { allBridges, type Backers, findBridge } from './find.ts';

const NO_BRIDGE = 'no such bridge';

export function registerFdbCommands(backers: Backers): void {
  const some = (name: string | undefined): Bridge[] =>
    name === undefined ? allBridges(backers) : [findBridge(backers, name, NO_BRIDGE)];

  registerCommand('fdb/show', 'bridge', 1, 1, ([name], { format }) =>
    (format === 'json' ? fdbJson : fdbShow)(findBridge(backers, name, NO_BRIDGE)),
  );

  registerCommand('fdb/flush', '[bridge]', 0, 1, ([name]) => {
    for (const bridge of some(name)) bridge.macs.flush();
    return 'table successfully flushed';
  });

  registerCommand('fdb/stats-show', 'bridge', 1, 1, ([name], { format }) =>
    (format === 'json' ? fdbStatsJson : fdbStats)(findBridge(backers, name, NO_BRIDGE)),
  );

  registerCommand('fdb/stats-clear', '[bridge]', 0, 1, ([name]) => {
    for (const { macs } of some(name)) {
      macs.stats.learned = macs.stats.expired = macs.stats.evicted = macs.stats.moved = 0;
    }
    return 'statistics successfully cleared';
  });

  registerCommand('fdb/add', 'bridge port vlan mac', 4, 4, ([name, portName, vlanText, macText]) => {
    const bridge = findBridge(backers, name, NO_BRIDGE);
    const mac = parseMac(macText);
    const port = bridge.namedPort(portName);
    if (!port?.bundle) throw new UnixctlError('software error, odp port is present but no ofp port');
    bridge.macs.addStatic(mac, parseVlan(vlanText), port.bundle);
    return '';
  });

  registerCommand('fdb/del', 'bridge vlan mac', 3, 3, ([name, vlanText, macText]) => {
    const bridge = findBridge(backers, name, NO_BRIDGE);
    const mac = parseMac(macText);
    const vlan = parseVlan(vlanText);
    const entry = bridge.macs.lookup(mac, vlan, clock.nowMs());
    if (!entry?.isStatic) throw new UnixctlError('could not find static mac entry');
    bridge.macs.delete(mac, vlan);
    return '';
  });
}

function fdbShow(bridge: Bridge): string {
  bridge.backer.pushStats();
  const now = clock.nowMs();
  let text = ' port  VLAN  MAC                Age\n';
  for (const e of bridge.macs) {
    const ofport = e.port.ports[0]?.ofport;
    const port = ofport === OFPP.LOCAL ? 'LOCAL' : String(ofport ?? '');
    const age = e.isStatic ? 'static' : String(bridge.macs.age(e, now)).padStart(3);
    text += `${port.padStart(5)}  ${String(e.vlan).padStart(4)}  ${e.mac}  ${age}\n`;
  }
  return text;
}

/** The original's list, and each port's name. The schema is `docs/schema/fdb.json`. */
function fdbJson(bridge: Bridge): string {
  bridge.backer.pushStats();
  const now = clock.nowMs();
  return JSON.stringify(
    [...bridge.macs].map((e) => ({
      port: e.port.ports[0]?.ofport ?? null,
      port_name: e.port.ports[0]?.name ?? null,
      vlan: e.vlan,
      mac: e.mac,
      age: e.isStatic ? 'static' : bridge.macs.age(e, now),
    })),
  );
}

function fdbStatsJson(bridge: Bridge): string {
  const { stats, size, limit } = bridge.macs;
  const { learned, expired, evicted, moved, staticEntries } = stats;
  const entries = { current: size, maximum: limit, static: staticEntries };
  return JSON.stringify({ [bridge.name]: { entries, events: { evicted, expired, learned, moved } } });
}

function fdbStats(bridge: Bridge): string {
  const { stats, size, limit } = bridge.macs;
  return (
    `Statistics for bridge "${bridge.name}":\n` +
    `  Current/maximum MAC entries in the table: ${size}/${limit}\n` +
    `  Current static MAC entries in the table : ${stats.staticEntries}\n` +
    `  Total number of learned MAC entries     : ${stats.learned}\n` +
    `  Total number of expired MAC entries     : ${stats.expired}\n` +
    `  Total number of evicted MAC entries     : ${stats.evicted}\n` +
    `  Total number of port moved MAC entries  : ${stats.moved}\n`
  );
}

function parseMac(text: string): string {
  if (!/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)) throw new UnixctlError('bad MAC address');
  return text
    .toLowerCase()
    .split(':')
    .map((part) => part.padStart(2, '0'))
    .join(':');
}

/** What stands at the front of the text as a number, in 16 bits, as the original reads it. */
function parseVlan(text: string): number {
  const n = Number.parseInt(text, 10);
  return Number.isNaN(n) ? 0 : n & 0xffff;
}
