/** Flow monitors are asked for and cancelled. */
import type { Handler } from './index.ts';

export const flowMonitor: Handler<'flow_monitor_request'> = (bridge, conn, request) => {
  const { message } = request;
  const { monitors } = conn;
  if (message.command === 'delete') {
    if (!monitors.has(message.id)) {
      conn.error(request, 'OFPMOFC_UNKNOWN_MONITOR');
      return;
    }
    monitors.delete(message.id);
    conn.reply(request, { type: 'flow_monitor_reply', more: false, updates: [] });
    return;
  }
  if (message.command === 'add' && monitors.has(message.id)) {
    conn.error(request, 'OFPMOFC_MONITOR_EXISTS');
    return;
  }
  if (message.command === 'modify' && !monitors.has(message.id)) {
    conn.error(request, 'OFPMOFC_UNKNOWN_MONITOR');
    return;
  }
  monitors.set(message);
  const updates = monitors.initial(message, bridge.tables);
  conn.reply(request, { type: 'flow_monitor_reply', more: false, updates });
};

export const flowMonitorCancel: Handler<'flow_monitor_cancel'> = (_bridge, conn, request) => {
  const { id } = request.message;
  if (conn.monitors.has(id)) conn.monitors.delete(id);
  else conn.error(request, 'OFPMOFC_UNKNOWN_MONITOR');
};
