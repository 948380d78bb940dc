/** `stp_enable`, `rstp_enable` and their settings, as trees want them. `ovs-vswitchd.conf.db(5)`, "STP Configuration", "RSTP Configuration" */
import { vlog } from '../base/vlog.ts';
import type { RapidTreePort, RstpSetup } from '../ofproto/rapid-spanning-tree.ts';
import type { SpanningTreePort, StpSetup } from '../ofproto/spanning-tree.ts';
import { type BridgeSpec, type PortSpec, parseMac } from './config.ts';

const log = vlog('bridge');
const MAX_PORTS = 255;

/** Null where the bridge has no STP. */
export function stpSetup(spec: BridgeSpec, ofportOf: (name: string) => number | null): StpSetup | null {
  if (!spec.stp || spec.rstp) return null;
  const { otherConfig, name } = spec;
  const whole = wholeOf(otherConfig);
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

const wholeOf =
  (config: ReadonlyMap<string, string>) =>
  (key: string, fallback: number): number => {
    const text = config.get(key);
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : fallback;
  };

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

const DEFAULT_PRIORITY = 0x8000;
const PRIORITY_STEP = 0x1000;
const MAX_RSTP_PORTS = 4095;

/** Null where the bridge has no RSTP. */
export function rstpSetup(spec: BridgeSpec, ofportOf: (name: string) => number | null): RstpSetup | null {
  if (!spec.rstp) return null;
  const { otherConfig } = spec;
  if (spec.stp) {
    log.rl().warn(`${spec.name}: RSTP and STP are mutually exclusive but both are configured; enabling RSTP`);
  }
  const whole = wholeOf(otherConfig);
  const priority = whole('rstp-priority', DEFAULT_PRIORITY);
  // 802.1D-2004 17.14; what does not fit together is not taken.
  const maxAge = within(whole('rstp-max-age', 20), 6, 40);
  const delay = within(whole('rstp-forward-delay', 15), 4, 30);
  const fits = 2 * (delay - 1) >= maxAge;
  return {
    config: {
      address: parseMac(otherConfig.get('rstp-address')),
      priority: priority % PRIORITY_STEP === 0 && priority <= 61440 ? priority : DEFAULT_PRIORITY,
      maxAge: fits ? maxAge : 20,
      forwardDelay: fits ? delay : 15,
      transmitHoldCount: within(whole('rstp-transmit-hold-count', 6), 1, 10),
      forceStp: whole('rstp-force-protocol-version', 2) < 2,
    },
    ports: rapidPorts(spec, ofportOf),
  };
}

function rapidPorts(spec: BridgeSpec, ofportOf: (name: string) => number | null): RapidTreePort[] {
  const outputs = new Set(spec.mirrors.flatMap(({ config: { output } }) => ('port' in output ? [output.port] : [])));
  const found: { port: PortSpec; ofport: number; wanted: number }[] = [];
  for (const port of spec.ports) {
    const ofport = mayTakePart(port, outputs) ? ofportOf(port.interfaces[0].name) : null;
    const config = port.otherConfig ?? new Map<string, string>();
    if (ofport === null || config.get('rstp-enable') === 'false') continue;
    const wanted = wholeOf(config)('rstp-port-num', 0);
    found.push({ port, ofport, wanted: wanted <= MAX_RSTP_PORTS ? wanted : 0 });
  }
  const taken = new Set<number>();
  // Those that ask for a number have it before others take it.
  return found
    .sort((a, b) => Math.sign(b.wanted) - Math.sign(a.wanted))
    .map(({ port, ofport, wanted }) => {
      const config = port.otherConfig ?? new Map<string, string>();
      const whole = wholeOf(config);
      let number = wanted > 0 && !taken.has(wanted) ? wanted : 1;
      while (taken.has(number)) number++;
      taken.add(number);
      const priority = whole('rstp-port-priority', 128);
      const cost = whole('rstp-path-cost', 0);
      return {
        ofport,
        number,
        priority: priority % 16 === 0 && priority <= 240 ? priority : 128,
        pathCost: cost > 0 ? cost : null,
        adminEdge: config.get('rstp-port-admin-edge') === 'true',
        autoEdge: config.get('rstp-port-auto-edge') !== 'false',
        mcheck: config.get('rstp-port-mcheck') === 'true',
      };
    });
}
