/** Connections flushed by OpenFlow: `NXT_CT_FLUSH_ZONE`, `NXT_CT_FLUSH`. `ovs-ofctl(8)` */
import { connectionFilter } from '../ct-filter.ts';
import type { Handler } from './index.ts';

export const ctFlushZone: Handler<'ct_flush_zone'> = (bridge, conn, request) => {
  const { conntrack } = bridge.backer.dpif;
  if (conntrack) conntrack.flush(request.message.zone);
  else conn.error(request, 'OFPBRC_EPERM');
};

export const ctFlush: Handler<'ct_flush'> = (bridge, conn, request) => {
  const { conntrack } = bridge.backer.dpif;
  const { zone, ipProto, orig, reply } = request.message;
  if (conntrack) conntrack.flush(zone, connectionFilter(ipProto, orig, reply));
  else conn.error(request, 'OFPBRC_EPERM');
};
