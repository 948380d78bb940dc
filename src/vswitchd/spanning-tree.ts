/** `stp_enable` and its settings, as a spanning tree wants them. `ovs-vswitchd.conf.db(5)`, "STP Configuration" */
import { vlog } from '../base/vlog.ts';
import type { SpanningTreePort, StpSetup } from '../ofproto/spanning-tree.ts';
import { type BridgeSpec, type PortSpec, parseMac } from './config.ts';

const log = vlog('bridge');
const MAX_PORTS = 255;

/** Null where the bridge has no STP. */
export function stpSetup(spec: BridgeSpec, ofportOf: (name: string) => number | null): StpSetup | null {
  if (!spec.stp || spec.rstp) return null;
  const { otherConfig, name } = spec;
  const whole = (key: string, fallback: number): number => {
    const text = otherConfig.get(key);
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : fallback;
  };
  const idText = otherConfig.get('stp-system-id');
  const systemId = parseMac(idText);
  if (idText !== undefined && systemId === null)
    log.rl().err(`bridge ${name}: invalid stp-system-id, defaulting to its own`);
  const ports = readPorts(spec, ofportOf);
  if (!ports) return null;
  return {
    config: {
      systemId,
      priority: whole('stp-priority', 0x8000),
      helloTimeMs: within(whole('stp-hello-time', 2), 1, 10) * 1000,
      maxAgeMs: within(whole('stp-max-age', 20), 6, 40) * 1000,
      forwardDelayMs: within(whole('stp-forward-delay', 15), 4, 30) * 1000,
    },
    ports,
  };
}

const within = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value));

/** Null when the numbers of ports make no sense together. */
function readPorts(spec: BridgeSpec, ofportOf: (name: string) => number | null): SpanningTreePort[] | null {
  const ports: SpanningTreePort[] = [];
  const taken = new Set<number>();
  const outputs = new Set(spec.mirrors.flatMap(({ config: { output } }) => ('port' in output ? [output.port] : [])));
  let numbered = 0;
  for (const port of spec.ports) {
    const config = port.otherConfig ?? new Map<string, string>();
    const ofport = mayTakePart(port, outputs) ? ofportOf(port.interfaces[0].name) : null;
    if (ofport === null || config.get('stp-enable') === 'false') continue;
    const text = config.get('stp-port-num');
    if (text !== undefined) numbered++;
    const number = text === undefined ? ports.length + 1 : Number(text);
    if (!Number.isInteger(number) || number < 1 || number > MAX_PORTS) {
      const why = text === undefined ? 'too many STP ports, disabling' : 'invalid stp-port-num';
      log.rl().err(`port ${port.name}: ${why}`);
      continue;
    }
    if (taken.has(number)) {
      log.rl().err(`port ${port.name}: duplicate stp-port-num ${number}, disabling`);
      continue;
    }
    taken.add(number);
    const priority = Number(config.get('stp-port-priority') ?? 128);
    const cost = Number(config.get('stp-path-cost') ?? Number.NaN);
    ports.push({
      ofport,
      number,
      priority: priority >= 0 && priority <= 255 ? priority : 128,
      pathCost: Number.isInteger(cost) ? cost : null,
    });
  }
  if (numbered > 0 && numbered !== ports.length) {
    log.rl().err(`bridge ${spec.name}: must manually configure all STP port IDs or none, disabling`);
    return null;
  }
  return ports;
}

/** Neither bonds nor the machine's own devices, nor where mirrors send. */
export function mayTakePart(port: PortSpec, outputs: ReadonlySet<string>): boolean {
  return port.interfaces.length === 1 && port.interfaces[0].type !== 'internal' && !outputs.has(port.name);
}
