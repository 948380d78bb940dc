/**
 * Datapaths with their ports, as JSON. `dpctl/show`, `dpif/show` and `upcall/show` with `--format json`: as the original's
 * documents of this kind, each is one object whose members are the things by their names. The schema is
 * `docs/schema/datapath.json`.
 */
import type { Json, JsonObject } from '../../flow/json.ts';
import type { Netdev } from '../../netdev/netdev.ts';
import { tunnelOptionsText } from '../../netdev/tunnel-config.ts';
import { OFPP } from '../../openflow/ports.ts';
import type { Backer } from '../backer.ts';
import type { Bridge } from '../bridge.ts';

/** What the commands call a port's type; theirs, so that there is one answer. */
export type PortType = (backer: Backer, netdev: Netdev, isLocal: boolean) => string;

export function datapathJson(backer: Backer, portType: PortType): JsonObject {
  const { hit, missed, lost, flows, masks, maskHit, cacheHit } = backer.dpif.stats();
  const ports: Record<string, Json> = {};
  for (const { no, netdev } of [...backer.dpif.ports()].sort((a, b) => a.no - b.no)) {
    const owner = backer.owner(no);
    ports[netdev.name] = {
      port: no,
      type: portType(backer, netdev, owner?.port.ofport === OFPP.LOCAL),
      bridge: owner?.bridge.name ?? null,
      of_port: owner?.port.ofport ?? null,
      up: netdev.isUp(),
      link: netdev.carrier(),
      mtu: netdev.mtu(),
      statistics: statisticsJson(netdev),
    };
  }
  return {
    lookups: { hit, missed, lost },
    flows,
    masks: { total: masks, hit: maskHit },
    cache: { hit: cacheHit },
    ports,
  };
}

/** A device's counters under the names of the `Interface` table's `statistics`. */
export function statisticsJson(netdev: Netdev): JsonObject {
  const known: Record<string, Json> = {};
  for (const [name, value] of Object.entries(netdev.stats())) if (value !== undefined) known[name] = value;
  return known;
}

/** Bridges with their ports, by name. */
export function bridgesJson(backer: Backer, portType: PortType): JsonObject {
  const { hit, missed } = backer.dpif.stats();
  const bridges = [...backer.bridges].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    stats: { n_hit: hit, n_missed: missed },
    bridges: Object.fromEntries(bridges.map((bridge) => [bridge.name, bridgeJson(bridge, portType)])),
  };
}

function bridgeJson(bridge: Bridge, portType: PortType): JsonObject {
  const ports: Record<string, Json> = {};
  for (const port of bridge.sortedPorts()) {
    ports[port.name] = {
      of_port: port.ofport,
      port: port.dpPort ?? null,
      type: portType(bridge.backer, port.netdev, port.ofport === OFPP.LOCAL),
      peer: port.peerName ?? null,
      tunnel: port.tunnel ? tunnelOptionsText(port.tunnel) : null,
    };
  }
  return { ports };
}

export function upcallJson(backer: Backer): JsonObject {
  const { current, average, max, dumpMs } = backer.revalidator.counts;
  return {
    flows: { current, average, max, limit: backer.revalidator.flowLimit },
    dump_duration_ms: dumpMs,
    keys: backer.dpif.stats().flows,
  };
}
