/**
 * A bridge's meters: what controllers asked for, and which of the datapath's meters does it. OpenFlow 1.3.5 5.7, 7.3.4.4
 *
 * Two meters are virtual: packets to controllers, and packets that only the slow path can handle, go through them.
 */
import { clock } from '../base/clock.ts';
import type { DpMeters } from '../dpif/dpif.ts';
import {
  METER_FLAGS,
  type MeterConfig,
  type MeterFeatures,
  type MeterStats,
  OFPM_ALL,
  OFPM_CONTROLLER,
  OFPM_MAX,
  OFPM_SLOWPATH,
} from '../openflow/messages-ext.ts';
import type { Bridge } from './bridge.ts';
import { meterOf } from './rule.ts';

interface Meter {
  config: MeterConfig;
  readonly dpId: number;
  readonly createdMs: number;
}

const ALL_FLAGS = METER_FLAGS.kbps | METER_FLAGS.pktps | METER_FLAGS.burst | METER_FLAGS.stats;
/** `OFPMBT13_DROP` as a bit. */
const BAND_TYPES = 1 << 1;

export class Meters {
  private readonly bridge: Bridge;
  private readonly table = new Map<number, Meter>();

  constructor(bridge: Bridge) {
    this.bridge = bridge;
  }

  private get datapath(): DpMeters | undefined {
    return this.bridge.backer.dpif.meters;
  }

  dpId(id: number): number | null {
    return this.table.get(id)?.dpId ?? null;
  }

  features(): MeterFeatures {
    const dp = this.datapath;
    if (!dp) return { maxMeters: 0, bandTypes: 0, capabilities: 0, maxBands: 0, maxColor: 0 };
    const { maxMeters, maxBands } = dp;
    return { maxMeters, bandTypes: BAND_TYPES, capabilities: ALL_FLAGS, maxBands, maxColor: 0 };
  }

  /** An error's name or null. */
  check(command: 'add' | 'modify' | 'delete', config: MeterConfig): string | null {
    const { meterId: id } = config;
    if (command === 'delete') return null;
    if (!this.datapath || !isMeterId(id)) return 'OFPMMFC_INVALID_METER';
    return config.bands.length > this.datapath.maxBands ? 'OFPMMFC_OUT_OF_BANDS' : null;
  }

  add(config: MeterConfig): string | null {
    if (this.table.has(config.meterId)) return 'OFPMMFC_METER_EXISTS';
    const { meterIds } = this.bridge.backer;
    let dpId = 0;
    while (meterIds.has(dpId)) dpId++;
    if (dpId >= (this.datapath?.maxMeters ?? 0)) return 'OFPMMFC_OUT_OF_METERS';
    const error = this.put(dpId, config);
    if (error) return error;
    meterIds.add(dpId);
    this.table.set(config.meterId, { config, dpId, createdMs: clock.nowMs() });
    // Packets may have to go through a virtual meter from now on.
    if (config.meterId > OFPM_MAX) this.bridge.backer.revalidateAll();
    return null;
  }

  modify(config: MeterConfig): string | null {
    const meter = this.table.get(config.meterId);
    if (!meter) return 'OFPMMFC_UNKNOWN_METER';
    const error = this.put(meter.dpId, config);
    if (!error) meter.config = config;
    return error;
  }

  private put(dpId: number, { flags, bands }: MeterConfig): string | null {
    const error = this.datapath?.set(dpId, {
      isKbps: (flags & METER_FLAGS.kbps) !== 0,
      bands: bands.map(({ type, rate, burstSize }) => ({
        type,
        rate,
        burst: flags & METER_FLAGS.burst ? burstSize : 0,
      })),
    });
    if (error === 'bad band') return 'OFPMMFC_BAD_BAND';
    return error ? 'OFPMMFC_OUT_OF_METERS' : null;
  }

  /** Takes a meter, or all, away, with the flows that use it. */
  delete(id: number): void {
    const ids = id === OFPM_ALL ? [...this.table.keys()] : this.table.has(id) ? [id] : [];
    if (ids.length === 0) return;
    const { tables, backer } = this.bridge;
    for (const rule of [...tables]) {
      const used = meterOf(rule.actions);
      if (used !== null && ids.includes(used)) tables.remove(rule, 'meter_delete');
    }
    for (const one of ids) {
      const dpId = this.dpId(one);
      this.table.delete(one);
      if (dpId === null) continue;
      backer.meterIds.delete(dpId);
      this.datapath?.delete(dpId);
    }
    backer.revalidateAll();
  }

  private selected(id: number): readonly (readonly [id: number, meter: Meter])[] | null {
    if (id === OFPM_ALL) return [...this.table].sort(([a], [b]) => a - b);
    const meter = this.table.get(id);
    return meter ? [[id, meter]] : null;
  }

  /** Null when there is no such meter. */
  configs(id: number): MeterConfig[] | null {
    return this.selected(id)?.map(([, meter]) => meter.config) ?? null;
  }

  stats(id: number): MeterStats[] | null {
    const meters = this.selected(id);
    if (!meters) return null;
    const flows = new Map<number, number>();
    for (const rule of this.bridge.tables) {
      const used = meterOf(rule.actions);
      if (used !== null) flows.set(used, (flows.get(used) ?? 0) + 1);
    }
    const now = clock.nowMs();
    return meters.map(([meterId, meter]) => {
      const counts = this.datapath?.get(meter.dpId);
      return {
        meterId,
        flowCount: flows.get(meterId) ?? 0,
        packets: counts?.packets ?? 0,
        bytes: counts?.bytes ?? 0,
        durationMs: Math.floor(now - meter.createdMs),
        bands: counts?.bands ?? [],
      };
    });
  }
}

function isMeterId(id: number): boolean {
  return (id >= 1 && id <= OFPM_MAX) || id === OFPM_SLOWPATH || id === OFPM_CONTROLLER;
}
