/** Commands that ask a switch about itself, its ports and tables, and change ports and tables. */
import { parsePort } from '../../flow/names.ts';
import type { OfMessage } from '../../openflow/messages.ts';
import { OFPP } from '../../openflow/ports.ts';
import { tableFeaturesText } from '../../openflow/text/table-features.ts';
import { formatBytes } from '../../openflow/text.ts';
import type { Command } from './command.ts';
import {
  addJson,
  connect,
  dump,
  dumpOn,
  fatal,
  namesToAccept,
  namesToShow,
  portsOf,
  print,
  settings,
} from './context.ts';

async function showSwitch([target]: readonly string[]): Promise<void> {
  const c = await connect(target);
  const xid = c.send({ type: 'features_request' });
  const { message, raw } = await c.reply(xid);
  if (settings.format === 'json') addJson(c, message, raw);
  else print(formatBytes(raw, settings.verbosity + 1));
  const hasPorts = message.type === 'features_reply' && c.version <= 3;
  if (!hasPorts) await dumpOn(c, { type: 'port_desc_request', portNo: OFPP.NONE });
  // The ids of transactions show, so they count as the original's do.
  c.nextXid();
  await dumpOn(c, { type: 'get_config_request' });
  c.close();
}

/** A port's number from its number or name. */
export async function portNumber(target: string, text: string): Promise<number> {
  const direct = parsePort(text);
  if (direct >= 0) return direct;
  const c = await connect(target);
  const found = (await portsOf(c)).find((p) => p.name === text);
  c.close();
  return found === undefined ? fatal(`${target}: couldn't find port \`${text}'`) : found.portNo;
}

async function dumpPorts([target, port]: readonly string[]): Promise<void> {
  const names = await namesToShow(target);
  const portNo = port === undefined ? OFPP.NONE : await portNumber(target, port);
  await dump(target, { type: 'port_stats_request', portNo }, names);
}

async function dumpPortsDesc([target, port]: readonly string[]): Promise<void> {
  const portNo = port === undefined ? OFPP.NONE : await portNumber(target, port);
  await dump(target, { type: 'port_desc_request', portNo });
}

const PORT_ACTIONS: Readonly<Record<string, readonly [bit: number, on: boolean]>> = {
  up: [1, false],
  down: [1, true],
  stp: [2, false],
  'no-stp': [2, true],
  receive: [4, false],
  'no-receive': [4, true],
  'receive-stp': [8, false],
  'no-receive-stp': [8, true],
  flood: [16, false],
  'no-flood': [16, true],
  forward: [32, false],
  'no-forward': [32, true],
  'packet-in': [64, false],
  'no-packet-in': [64, true],
};

async function modPort([target, port, action]: readonly string[]): Promise<void> {
  const number = parsePort(port);
  const c = await connect(target);
  const found = (await portsOf(c)).find((p) => (number >= 0 ? p.portNo === number : p.name === port));
  c.close();
  if (found === undefined) return fatal(`${target}: couldn't find port \`${port}'`);
  const change = Object.hasOwn(PORT_ACTIONS, action) ? PORT_ACTIONS[action] : undefined;
  if (change === undefined) return fatal(`unknown mod-port command '${action}'`);
  const [mask, on] = change;
  const request = await connect(target);
  await request.transactNoreply([
    {
      type: 'port_mod',
      portNo: found.portNo,
      hwAddr: found.hwAddr,
      config: on ? mask : 0,
      mask,
      advertise: 0,
    },
  ]);
  request.close();
}

const MISS: Readonly<Record<string, number>> = { controller: 0, continue: 1, drop: 2 };
const EVICTION = 4;
const VACANCY = 8;

async function dumpTableFeatures([target]: readonly string[]): Promise<void> {
  const c = await connect(target);
  if (c.version < 4) fatal("dump-table-features needs OpenFlow 1.3 or later ('-O OpenFlow13')");
  const request: OfMessage = { type: 'table_features_request', tables: [] };
  if (settings.format === 'json') {
    await dumpOn(c, request);
    return c.close();
  }
  const parts = await c.collect(request, 'table_features_reply');
  const tables = parts.flatMap((p) => [...p.tables]);
  const text = tableFeaturesText(tables, { version: c.version, xid: 0, verbosity: 0, names: {}, more: false });
  print(`${text.replace(/^\n/, '')}\n`);
  c.close();
}

async function dumpTableDesc([target]: readonly string[]): Promise<void> {
  const c = await connect(target);
  if (c.version < 5) fatal("dump-table-desc needs OpenFlow 1.4 or later ('-O OpenFlow14')");
  await dumpOn(c, { type: 'table_desc_request' });
  c.close();
}

async function modTable([target, tableText, setting]: readonly string[]): Promise<void> {
  const names = await namesToAccept(target);
  const table = /^all$/i.test(tableText)
    ? 255
    : /^\d+$/.test(tableText)
      ? Number(tableText)
      : (names?.tableByName?.(tableText) ?? -1);
  if (table < 0 || table > 255) fatal(`unknown table "${tableText}"`);
  const vacancy = /^vacancy:(\d+),(\d+)$/.exec(setting);
  const is14 = ['evict', 'noevict', 'novacancy'].includes(setting) || vacancy !== null;
  if (!is14 && !Object.hasOwn(MISS, setting)) fatal(`invalid table_mod setting ${setting}`);
  const [mask, words] = is14 ? [0x60, 'OpenFlow14, OpenFlow15'] : [0x0c, 'OpenFlow11, OpenFlow12'];
  const versions = settings.versions & mask;
  if (versions === 0) fatal(`table_mod '${setting}' requires one of the OpenFlow versions ${words}`);
  const c = await connect(target, 'mgmt', versions);
  let request: OfMessage = { type: 'table_mod', table, config: MISS[setting] ?? 3 };
  if (is14) {
    // One of the two settings changes; the other stays as the switch has it.
    const parts = await c.collect({ type: 'table_desc_request' }, 'table_desc_reply');
    const now = parts.flatMap((p) => [...p.tables]).find((t) => t.table === (table === 255 ? 0 : table));
    let config = now?.config ?? 0;
    if (setting === 'evict') config |= EVICTION;
    else if (setting === 'noevict') config &= ~EVICTION;
    else if (setting === 'novacancy') config &= ~VACANCY;
    else config |= VACANCY;
    const [down, up] =
      vacancy === null ? [now?.vacancyDown ?? 0, now?.vacancyUp ?? 0] : [Number(vacancy[1]), Number(vacancy[2])];
    request = { type: 'table_mod', table, config, ...(config & VACANCY ? { vacancyDown: down, vacancyUp: up } : {}) };
  }
  await c.transactNoreply([request]);
  c.close();
}

const FRAGS = ['normal', 'drop', 'reassemble', 'nx-match'];
async function getFrags([target]: readonly string[]): Promise<void> {
  const c = await connect(target);
  const { flags } = (await c.collect({ type: 'get_config_request' }, 'get_config_reply'))[0];
  print(`${FRAGS[flags & 3]}\n`);
  c.close();
}
async function setFrags([target, mode]: readonly string[]): Promise<void> {
  const frags = FRAGS.indexOf(mode);
  if (frags < 0) fatal(`${mode}: unknown fragment handling mode`);
  const c = await connect(target);
  const now = (await c.collect({ type: 'get_config_request' }, 'get_config_reply'))[0];
  if ((now.flags & 3) !== frags) {
    await c.transactNoreply([{ type: 'set_config', flags: (now.flags & ~3) | frags, missSendLen: now.missSendLen }]);
    const after = (await c.collect({ type: 'get_config_request' }, 'get_config_reply'))[0];
    if ((after.flags & 3) !== frags)
      fatal(`${target}: setting fragment handling mode failed (this switch probably doesn't support mode "${mode}")`);
  }
  c.close();
}

const ALL_QUEUES = 0xffffffff;
function queueNumber(text: string | undefined): number {
  if (text === undefined || /^(all|any)$/i.test(text)) return ALL_QUEUES;
  return /^\d+$/.test(text) ? Number(text) : fatal(`invalid queue number "${text}"`);
}
async function queueStats([target, port, queue]: readonly string[]): Promise<void> {
  const portNo = port !== undefined && !/^(all|any)$/i.test(port) ? await portNumber(target, port) : OFPP.NONE;
  await dump(target, { type: 'queue_stats_request', portNo: portNo, queueId: queueNumber(queue) });
}
async function queueGetConfig([target, port, queue]: readonly string[]): Promise<void> {
  const queueId = queueNumber(queue);
  const portNo = port === undefined ? OFPP.NONE : await portNumber(target, port);
  const c = await connect(target);
  if (c.version === 1 && portNo === OFPP.NONE) {
    // OpenFlow 1.0 has no way to ask for all ports, so each is asked.
    const ports = (await portsOf(c)).filter((p) => p.portNo < OFPP.MAX).sort((a, b) => a.portNo - b.portNo);
    c.nextXid();
    for (const p of ports) await dumpOn(c, { type: 'queue_get_config_request', portNo: p.portNo, queueId });
  } else await dumpOn(c, { type: 'queue_get_config_request', portNo, queueId });
  c.close();
}

export const SHOW_COMMANDS: readonly Command[] = [
  { name: 'show', min: 1, max: 1, dumps: true, run: showSwitch },
  { name: 'dump-desc', min: 1, max: 1, dumps: true, run: ([target]) => dump(target, { type: 'desc_request' }) },
  {
    name: 'dump-tables',
    min: 1,
    max: 1,
    dumps: true,
    run: ([target]) => dump(target, { type: 'table_stats_request' }),
  },
  {
    name: 'dump-table-features',
    min: 1,
    max: 1,
    dumps: true,
    run: dumpTableFeatures,
  },
  { name: 'dump-table-desc', min: 1, max: 1, dumps: true, run: dumpTableDesc },
  { name: 'dump-ports', min: 1, max: 2, dumps: true, run: dumpPorts },
  { name: 'dump-ports-desc', min: 1, max: 2, dumps: true, run: dumpPortsDesc },
  { name: 'mod-port', min: 3, max: 3, writes: true, run: modPort },
  { name: 'mod-table', min: 3, max: 3, writes: true, run: modTable },
  { name: 'get-frags', min: 1, max: 1, run: getFrags },
  { name: 'set-frags', min: 2, max: 2, writes: true, run: setFrags },
  { name: 'queue-stats', min: 1, max: 3, dumps: true, run: queueStats },
  { name: 'queue-get-config', min: 1, max: 3, dumps: true, run: queueGetConfig },
];
