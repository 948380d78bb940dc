/** Meters. OpenFlow 1.3.5 7.3.4.4, 7.3.5.11 to 7.3.5.13 */
import type { Handler } from './index.ts';

export const meterFeatures: Handler<'meter_features_request'> = (bridge, conn, request) => {
  conn.reply(request, { type: 'meter_features_reply', features: bridge.meters.features() });
};

export const meterConfig: Handler<'meter_config_request'> = (bridge, conn, request) => {
  const meters = bridge.meters.configs(request.message.meterId);
  if (meters) conn.reply(request, { type: 'meter_config_reply', more: false, meters });
  else conn.error(request, 'OFPMMFC_UNKNOWN_METER');
};

export const meterStats: Handler<'meter_stats_request'> = (bridge, conn, request) => {
  const meters = bridge.meters.stats(request.message.meterId);
  if (meters) conn.reply(request, { type: 'meter_stats_reply', more: false, meters });
  else conn.error(request, 'OFPMMFC_UNKNOWN_METER');
};

export const meterMod: Handler<'meter_mod'> = (bridge, conn, request) => {
  const { command, meter } = request.message;
  const { meters } = bridge;
  let error = meters.check(command, meter);
  if (!error && command === 'delete') meters.delete(meter.meterId);
  else if (!error) error = command === 'add' ? meters.add(meter) : meters.modify(meter);
  if (error) conn.error(request, error);
};
