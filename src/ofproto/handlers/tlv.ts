/**
 * The table that says which Geneve option is which `tun_metadata` field: `NXT_TLV_TABLE_MOD` and `NXT_TLV_TABLE_REQUEST`.
 * `ovs-ofctl(8)`, "Tunnel TLV Table commands"
 *
 * A bridge has its own table, but packets are decoded before anybody knows their bridge: bridges of one datapath must
 * not disagree. A field holds four bytes, and so does an option.
 */
import { vlog } from '../../base/vlog.ts';
import type { Match } from '../../flow/match.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import type { TlvMap } from '../../openflow/messages-ext.ts';
import type { Bridge } from '../bridge.ts';
import { matchesTunMetadata, usesTunMetadata } from '../tunnel/metadata.ts';
import type { Handler } from './index.ts';

const log = vlog('ofp_match');

const MAX_SPACE = 256;
const MAX_FIELDS = 64;
const MAX_OPTION = 4;

export const tlvTableMod: Handler<'tlv_table_mod'> = (bridge, conn, request) => {
  const { command, mappings } = request.message;
  const error = command === 'add' ? add(bridge, mappings) : remove(bridge, command === 'clear' ? null : mappings);
  if (error) return conn.error(request, error);
  bridge.backer.tunnels.setOptions(optionsOf(bridge));
};

export const tlvTableRequest: Handler<'tlv_table_request'> = (bridge, conn, request) => {
  const mappings = [...bridge.tlvTable.values()].sort((a, b) => a.index - b.index);
  conn.reply(request, { type: 'tlv_table_reply', maxOptionSpace: MAX_SPACE, maxFields: MAX_FIELDS, mappings });
};

const sameOption = (a: TlvMap, b: TlvMap): boolean => a.optionClass === b.optionClass && a.optionType === b.optionType;

function add(bridge: Bridge, mappings: readonly TlvMap[]): string | null {
  const mine = new Map(bridge.tlvTable);
  const others = [...bridge.backer.bridges].filter((b) => b !== bridge).flatMap((b) => [...b.tlvTable.values()]);
  let space = [...mine.values()].reduce((n, m) => n + m.optionLen, 0);
  for (const map of mappings) {
    if (map.index >= MAX_FIELDS) {
      log.warn(`tlv table field index (${map.index}) is too large (max ${MAX_FIELDS - 1})`);
      return 'NXTTMFC_BAD_FIELD_IDX';
    }
    if (map.optionLen > MAX_OPTION) {
      log.warn(`tlv table option length (${map.optionLen}) is not supported (max ${MAX_OPTION})`);
      return 'NXTTMFC_BAD_OPT_LEN';
    }
    if (mine.has(map.index)) return 'NXTTMFC_ALREADY_MAPPED';
    if ([...mine.values()].some((m) => sameOption(m, map))) return 'NXTTMFC_DUP_ENTRY';
    for (const other of others) {
      const isSame = sameOption(other, map) && other.optionLen === map.optionLen && other.index === map.index;
      if (isSame) continue;
      if (other.index === map.index) return 'NXTTMFC_ALREADY_MAPPED';
      if (sameOption(other, map)) return 'NXTTMFC_DUP_ENTRY';
    }
    space += map.optionLen;
    if (space > MAX_SPACE) return 'NXTTMFC_TABLE_FULL';
    mine.set(map.index, map);
  }
  for (const [index, map] of mine) bridge.tlvTable.set(index, map);
  return null;
}

/** `mappings` null removes all. What rules use stays, and so does everything then. */
function remove(bridge: Bridge, mappings: readonly TlvMap[] | null): string | null {
  const gone = mappings === null ? [...bridge.tlvTable.keys()] : mappings.map((m) => m.index);
  for (const rule of bridge.tables) {
    if (gone.some((index) => uses(rule, index))) return 'NXTTMFC_INVALID_TLV_DEL';
  }
  for (const index of gone) bridge.tlvTable.delete(index);
  return null;
}

const uses = (rule: { readonly match: Match; readonly actions: readonly Ofpact[] }, index: number): boolean =>
  matchesTunMetadata(rule.match, index) || usesTunMetadata(rule.actions, index);

function optionsOf(bridge: Bridge) {
  const all = new Map<number, TlvMap>();
  for (const b of bridge.backer.bridges) for (const [index, map] of b.tlvTable) all.set(index, map);
  return [...all.values()]
    .sort((a, b) => a.index - b.index)
    .map((m) => ({ optionClass: m.optionClass, type: m.optionType, length: m.optionLen, field: m.index }));
}
