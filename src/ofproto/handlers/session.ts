/** Messages about the connection and the switch as a whole: hello, echo, features, configuration, roles, barrier. */
import type { OfpVersion } from '../../openflow/messages.ts';
import { TBL_INTERNAL } from '../tables.ts';
import type { Handler } from './index.ts';

/** The connection has its version already; a second hello is tolerated. */
export const hello: Handler<'hello'> = () => {};

export const echo: Handler<'echo_request'> = (_bridge, conn, request) => {
  conn.reply(request, { type: 'echo_reply', data: request.message.data });
};

/** OFPC_*, by wire version. Since 1.2 ARP_MATCH_IP is gone; groups come with 1.1, bundles with 1.4. */
const CAPABILITIES: Record<OfpVersion, number> = { 1: 0xc7, 2: 0xcf, 3: 0x4f, 4: 0x4f, 5: 0x24f, 6: 0x24f };
/** `enum ofp10_action_type` that an OpenFlow 1.0 switch says it has: all twelve. */
const OFPAT10_ALL = 0xfff;

export const features: Handler<'features_request'> = (bridge, conn, request) => {
  conn.reply(request, {
    type: 'features_reply',
    datapathId: bridge.config.datapathId,
    nBuffers: 0,
    nTables: TBL_INTERNAL,
    auxiliaryId: 0,
    capabilities: CAPABILITIES[conn.version],
    actions: conn.version === 1 ? OFPAT10_ALL : 0,
    ports: conn.version < 4 ? bridge.phyPorts() : [],
  });
};

const OFPC_FRAG_MASK = 3;
const OFPC_FRAG_REASM = 2;
const OFPC_INVALID_TTL_TO_CONTROLLER = 4;

export const getConfig: Handler<'get_config_request'> = (bridge, conn, request) => {
  const ttl = conn.version < 4 && conn.invalidTtlToController ? OFPC_INVALID_TTL_TO_CONTROLLER : 0;
  conn.reply(request, {
    type: 'get_config_reply',
    flags: bridge.fragFlags | ttl,
    missSendLen: conn.missSendLen,
  });
};

export const setConfig: Handler<'set_config'> = (bridge, conn, request) => {
  const { flags, missSendLen } = request.message;
  if (!conn.isService || conn.role !== 'secondary') {
    const frags = flags & OFPC_FRAG_MASK;
    // Reassembly is not on offer: the mode stays what it was, which is how the peer learns.
    if (frags !== OFPC_FRAG_REASM) bridge.setFragFlags(frags);
  }
  if (conn.version < 4) conn.invalidTtlToController = (flags & OFPC_INVALID_TTL_TO_CONTROLLER) !== 0;
  conn.missSendLen = missSendLen;
  bridge.connectionsChanged();
};

/** From the reply on, packets meet what was asked before it. */
export const barrier: Handler<'barrier_request'> = (bridge, conn, request) => {
  const done = bridge.backer.inForce();
  if (!done) return conn.reply(request, { type: 'barrier_reply' });
  return done.then(() => conn.reply(request, { type: 'barrier_reply' }));
};

export const role: Handler<'role_request'> = (bridge, conn, request) => {
  const { role: wanted, generationId } = request.message;
  const connmgr = bridge.connmgr;
  if (wanted !== 'nochange') {
    if ((wanted === 'primary' || wanted === 'secondary') && generationId !== null) {
      if (!connmgr.acceptGeneration(generationId)) return conn.error(request, 'OFPRRFC_STALE');
    }
    connmgr.setRole(conn, wanted);
    bridge.connectionsChanged();
  }
  conn.reply(request, { type: 'role_reply', role: conn.role, generationId: connmgr.generationId });
};

export const desc: Handler<'desc_request'> = (bridge, conn, request) => {
  const d = bridge.config.desc;
  conn.reply(request, {
    type: 'desc_reply',
    desc: { mfrDesc: d.mfr, hwDesc: d.hw, swDesc: d.sw, serialNum: d.serial, dpDesc: d.dp },
  });
};

export const getAsync: Handler<'get_async_request'> = (_bridge, conn, request) => {
  conn.reply(request, { type: 'get_async_reply', ...conn.async });
};

export const setAsync: Handler<'set_async'> = (bridge, conn, request) => {
  const { packetIn, portStatus, flowRemoved, roleStatus, tableStatus, requestForward } = request.message;
  const before = conn.async;
  conn.async = {
    packetIn,
    portStatus,
    flowRemoved,
    roleStatus: roleStatus ?? before.roleStatus,
    tableStatus: tableStatus ?? before.tableStatus,
    requestForward: requestForward ?? before.requestForward,
  };
  bridge.connectionsChanged();
};

export const setFlowFormat: Handler<'nx_set_flow_format'> = (_bridge, conn, request) => {
  conn.flowFormat = request.message.format;
};

export const setFlowModTableId: Handler<'nx_flow_mod_table_id'> = (_bridge, conn, request) => {
  conn.flowModTableId = request.message.set;
};

export const setPacketInFormat: Handler<'nx_set_packet_in_format'> = (_bridge, conn, request) => {
  conn.packetInFormat = request.message.format;
};

export const setControllerId: Handler<'nx_set_controller_id'> = (_bridge, conn, request) => {
  conn.controllerId = request.message.controllerId;
};
