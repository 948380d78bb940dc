/** May these actions stand in a flow of this bridge? What the decoder could not know: groups, meters, support. */
import type { Match } from '../flow/match.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import { matchedTunMetadata, usedTunMetadata } from './tunnel/metadata.ts';
import { unsupportedAction, type XlateBridge } from './xlate.ts';

/** An error's name, or null when all is well. `match` and `table` are those of the flow. */
export function checkFlowActions(
  bridge: XlateBridge,
  actions: readonly Ofpact[],
  match: Match | null,
  _table: number,
): string | null {
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
    if (a.kind === 'controller' && a.meterId !== null && bridge.meter(a.meterId) === null)
      return 'OFPMMFC_INVALID_METER';
    if (a.kind === 'meter' && bridge.meter(a.meterId) === null) return 'OFPMMFC_INVALID_METER';
    if (a.kind === 'write_actions' || a.kind === 'clone' || a.kind === 'ct') {
      const inner = references(bridge, a.actions);
      if (inner) return inner;
    }
  }
  return null;
}
