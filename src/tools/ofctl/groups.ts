/** Commands on groups, meters and tunnel options. */
import type { Names } from '../../flow/names.ts';
import { flowLines, PROTOCOLS } from '../../openflow/flow-text.ts';
import { parseGroupMod } from '../../openflow/group-text.ts';
import type { GroupCommand, GroupMod, TlvMap } from '../../openflow/messages-ext.ts';
import { OFPG_ALL, OFPG_ANY, OFPG15_BUCKET_ALL, OFPM_ALL } from '../../openflow/messages-ext.ts';
import { parseMeter } from '../../openflow/meter-text.ts';
import { sendBundle } from './bundle.ts';
import type { Command } from './command.ts';
import { connect, connectForFlowMods, dump, dumpOn, fatal, namesToAccept, namesToShow, settings } from './context.ts';
import { readText } from './flows.ts';

async function sendGroups(target: string, groups: readonly GroupMod[]): Promise<void> {
  if (settings.bundle) return sendBundle(target, groups);
  const c = await connect(target);
  await c.transactNoreply(groups);
  c.close();
}

function parseGroups(path: string, command: GroupCommand | null, names?: Names): GroupMod[] {
  const groups: GroupMod[] = [];
  readText(path)
    .split('\n')
    .forEach((line, i) => {
      for (const text of flowLines(line)) {
        const parsed = parseGroupMod(text, command, names);
        if (parsed.ok) groups.push(parsed.group);
        else fatal(`${path}:${i + 1}: ${parsed.error}`);
      }
    });
  return groups;
}

async function groupMod([target, text]: readonly string[], command: GroupCommand): Promise<void> {
  const names = await namesToAccept(target);
  if (text === '-') return sendGroups(target, parseGroups('-', command, names));
  const parsed = parseGroupMod(text ?? '', command, names);
  if (!parsed.ok) return fatal(parsed.error);
  await sendGroups(target, [parsed.group]);
}
async function addGroups([target, path]: readonly string[]): Promise<void> {
  const names = await namesToAccept(target);
  await sendGroups(target, parseGroups(path, null, names));
}

async function delGroups([target, text]: readonly string[]): Promise<void> {
  if (text === undefined || text === '') {
    await namesToAccept(target);
    const all: GroupMod = {
      type: 'group_mod',
      command: 'delete',
      groupType: 'all',
      groupId: OFPG_ALL,
      commandBucketId: OFPG15_BUCKET_ALL,
      buckets: [],
      props: null,
    };
    return sendGroups(target, [all]);
  }
  return groupMod([target, text], 'delete');
}

function groupId(text: string | undefined): number {
  if (text === undefined || /^all$/i.test(text)) return OFPG_ALL;
  if (/^any$/i.test(text)) return OFPG_ANY;
  return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : fatal(`unknown group "${text}"`);
}

async function dumpGroups([target, text]: readonly string[]): Promise<void> {
  const names = await namesToShow(target);
  await dump(target, { type: 'group_desc_request', groupId: groupId(text) }, names);
}
async function dumpGroupStats([target, text]: readonly string[]): Promise<void> {
  if (text === undefined) await namesToAccept(target);
  const parsed = text === undefined ? null : parseGroupMod(text, 'delete', await namesToAccept(target));
  if (parsed !== null && !parsed.ok) return fatal(parsed.error);
  await dump(target, { type: 'group_stats_request', groupId: parsed === null ? OFPG_ALL : parsed.group.groupId });
}

async function meterMod([target, text]: readonly string[], command: 'add' | 'modify' | 'delete'): Promise<void> {
  const parsed = text === undefined ? null : parseMeter(text, command);
  if (parsed !== null && !parsed.ok) return fatal(parsed.error);
  const meter = parsed === null ? { meterId: OFPM_ALL, flags: 0, bands: [] } : parsed.meter;
  const c = await connectForMeters(target);
  await c.transactNoreply([{ type: 'meter_mod', command, meter }]);
  c.close();
}
/** Meters came with OpenFlow 1.3. */
const METER_PROTOCOLS = PROTOCOLS.OpenFlow13 | PROTOCOLS.OpenFlow14 | PROTOCOLS.OpenFlow15;
const connectForMeters = (target: string) => connectForFlowMods(target, METER_PROTOCOLS);

async function meterDump(
  [target, text]: readonly string[],
  type: 'meter_config_request' | 'meter_stats_request',
): Promise<void> {
  const parsed = text === undefined ? null : parseMeter(text, 'delete');
  if (parsed !== null && !parsed.ok) return fatal(parsed.error);
  const c = await connectForMeters(target);
  await dumpOn(c, { type, meterId: parsed === null ? OFPM_ALL : parsed.meter.meterId });
  c.close();
}

function parseMaps(text: string): TlvMap[] {
  const maps: TlvMap[] = [];
  for (const part of text.split(/,(?=\s*\{)/)) {
    const m =
      /^\s*\{class=(0x[0-9a-f]+|\d+),type=(0x[0-9a-f]+|\d+),len=(0x[0-9a-f]+|\d+)\}->tun_metadata(\d+)\s*$/i.exec(part);
    if (m === null) return fatal('invalid tlv mapping');
    const [optionClass, optionType, optionLen, index] = m.slice(1).map(Number);
    maps.push({ optionClass, optionType, optionLen, index });
  }
  return maps;
}
async function tlvMod([target, text]: readonly string[], command: 'add' | 'delete' | 'clear'): Promise<void> {
  const mappings = text === undefined ? [] : parseMaps(text);
  const c = await connect(target);
  await c.transactNoreply([{ type: 'tlv_table_mod', command, mappings }]);
  c.close();
}

export const GROUP_COMMANDS: readonly Command[] = [
  { name: 'add-group', min: 1, max: 2, writes: true, run: (args) => groupMod(args, 'add') },
  { name: 'add-groups', min: 1, max: 2, writes: true, run: addGroups },
  {
    name: 'mod-group',
    min: 1,
    max: 2,
    writes: true,
    run: (args) => groupMod(args, settings.mayCreate ? 'add_or_mod' : 'modify'),
  },
  { name: 'del-groups', min: 1, max: 2, writes: true, run: delGroups },
  { name: 'insert-buckets', min: 1, max: 2, writes: true, run: (args) => groupMod(args, 'insert_bucket') },
  { name: 'insert-bucket', min: 1, max: 2, writes: true, run: (args) => groupMod(args, 'insert_bucket') },
  { name: 'remove-buckets', min: 1, max: 2, writes: true, run: (args) => groupMod(args, 'remove_bucket') },
  { name: 'remove-bucket', min: 1, max: 2, writes: true, run: (args) => groupMod(args, 'remove_bucket') },
  { name: 'dump-groups', min: 1, max: 2, dumps: true, run: dumpGroups },
  { name: 'dump-group-stats', min: 1, max: 2, dumps: true, run: dumpGroupStats },
  {
    name: 'dump-group-features',
    min: 1,
    max: 1,
    dumps: true,
    run: ([target]) => dump(target, { type: 'group_features_request' }),
  },
  { name: 'add-meter', min: 2, max: 2, writes: true, run: (args) => meterMod(args, 'add') },
  { name: 'mod-meter', min: 2, max: 2, writes: true, run: (args) => meterMod(args, 'modify') },
  { name: 'del-meter', min: 1, max: 2, writes: true, run: (args) => meterMod(args, 'delete') },
  { name: 'del-meters', min: 1, max: 2, writes: true, run: (args) => meterMod(args, 'delete') },
  { name: 'dump-meter', min: 2, max: 2, dumps: true, run: (args) => meterDump(args, 'meter_config_request') },
  { name: 'dump-meters', min: 1, max: 2, dumps: true, run: (args) => meterDump(args, 'meter_config_request') },
  { name: 'meter-stats', min: 1, max: 2, dumps: true, run: (args) => meterDump(args, 'meter_stats_request') },
  {
    name: 'meter-features',
    min: 1,
    max: 1,
    dumps: true,
    run: async ([target]) => {
      const c = await connectForMeters(target);
      await dumpOn(c, { type: 'meter_features_request' });
      c.close();
    },
  },
  { name: 'add-tlv-map', min: 2, max: 2, writes: true, run: (args) => tlvMod(args, 'add') },
  {
    name: 'del-tlv-map',
    min: 1,
    max: 2,
    writes: true,
    run: (args) => tlvMod(args, args.length > 1 ? 'delete' : 'clear'),
  },
  { name: 'dump-tlv-map', min: 1, max: 1, dumps: true, run: ([target]) => dump(target, { type: 'tlv_table_request' }) },
];
