/** May these actions stand in a flow of this bridge? What the decoder could not know: groups, meters, support. */
import type { FlowKey } from '../flow/key.ts';
import type { Match } from '../flow/match.ts';
import { inspectActions } from '../openflow/actions/index.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import { N_TABLES } from './tables.ts';
import { matchedTunMetadata, usedTunMetadata } from './tunnel/metadata.ts';
import { unsupportedAction, type XlateBridge } from './xlate.ts';

/** Where actions stand: a flow's match and table, or what a packet is; nothing of a group's buckets. */
export interface ActionPlace {
  readonly match: Match | null;
  readonly key: FlowKey | null;
  readonly table: number;
  /** Of the message's OpenFlow, on the wire. */
  readonly version: number;
}

/** An error's name, or null when all is well. */
export function checkFlowActions(bridge: XlateBridge, actions: readonly Ofpact[], place: ActionPlace): string | null {
  const { match, key, table, version } = place;
  if (key) {
    const { error, needs10 } = inspectActions(actions, key, { table, nTables: N_TABLES, version });
    if (error) return error;
    if (needs10 && version > 1) return 'OFPBAC_MATCH_INCONSISTENT';
  }
  const { tlvTable } = bridge;
  if (tlvTable) {
    const lacks = (index: number): boolean => !tlvTable.has(index);
    if ((match && matchedTunMetadata(match).some(lacks)) || usedTunMetadata(actions).some(lacks)) {
      return 'NXFMFC_INVALID_TLV_FIELD';
    }
  }
  return references(bridge, actions) ?? (unsupportedAction(actions) ? 'OFPBAC_BAD_TYPE' : null);
}

function references(bridge: XlateBridge, actions: readonly Ofpact[]): string | null {
  for (const a of actions) {
    if (a.kind === 'group' && !bridge.group(a.groupId)) return 'OFPBAC_BAD_OUT_GROUP';
    if ((a.kind === 'ct' || a.kind === 'ct_clear') && !bridge.hasConntrack) return 'NXBAC_CT_DATAPATH_SUPPORT';
    if (a.kind === 'meter' && bridge.meter(a.meterId) === null) return 'OFPMMFC_INVALID_METER';
    if (a.kind === 'write_actions' || a.kind === 'clone' || a.kind === 'ct') {
      const inner = references(bridge, a.actions);
      if (inner) return inner;
    }
  }
  return null;
}
