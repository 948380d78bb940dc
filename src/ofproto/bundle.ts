/**
 * A `Port` of the database as NORMAL sees it: the OpenFlow ports it consists of and its VLAN configuration. The MAC
 * table maps addresses to bundles.
 */
import type { Bond } from './bond.ts';
import type { BondRules } from './bond-rules.ts';
import type { Lacp } from './lacp.ts';
import { OFPPC, type OfPort } from './ofport.ts';
import type { BundleConfig, PortVlanConfig } from './ofproto.ts';
import type { XlateBundle } from './xlate/types.ts';

export class Bundle implements XlateBundle {
  readonly name: string;
  vlan: PortVlanConfig;
  /** Those of the configured port numbers that exist now. */
  ports: readonly OfPort[] = [];
  config: BundleConfig;
  bond: Bond | null = null;
  bondRules: BondRules | null = null;
  lacp: Lacp | null = null;

  constructor(config: BundleConfig) {
    this.name = config.name;
    this.vlan = config.vlan;
    this.config = config;
  }

  get mcastFlood(): boolean {
    return this.config.mcastFlood ?? false;
  }

  get mcastFloodReports(): boolean {
    return this.config.mcastFloodReports ?? false;
  }

  get isFloodable(): boolean {
    return this.ports.every((port) => (port.config & OFPPC.NO_FLOOD) === 0);
  }
}

export function sameVlan(a: PortVlanConfig, b: PortVlanConfig): boolean {
  return (
    a.mode === b.mode &&
    a.tag === b.tag &&
    a.priorityTags === b.priorityTags &&
    a.protected === b.protected &&
    sameNumbers(a.trunks, b.trunks) &&
    sameNumbers(a.cvlans, b.cvlans)
  );
}

export function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}
