/** Ports for people: descriptions, statistics, changes. */
import type { OfMessageOf, PhyPort, PortStats } from '../messages.ts';
import { bitNames, counter, durationText, macText, portText, type TextContext } from './common.ts';

export const PORT_CONFIG = ['PORT_DOWN', 'NO_STP', 'NO_RECV', 'NO_RECV_STP', 'NO_FLOOD', 'NO_FWD', 'NO_PACKET_IN'];
export const PORT_STATE = ['LINK_DOWN', 'BLOCKED', 'LIVE'];
export const STP_MASK = 0x300;
export const STP_STATES: Readonly<Record<number, string>> = {
  0x100: 'STP_LEARN',
  0x200: 'STP_FORWARD',
  0x300: 'STP_BLOCK',
};
export const PORT_FEATURES = [
  '10MB-HD',
  '10MB-FD',
  '100MB-HD',
  '100MB-FD',
  '1GB-HD',
  '1GB-FD',
  '10GB-FD',
  '40GB-FD',
  '100GB-FD',
  '1TB-FD',
  'OTHER',
  'COPPER',
  'FIBER',
  'AUTO_NEG',
  'AUTO_PAUSE',
  'AUTO_PAUSE_ASYM',
];

export const portConfigText = (config: number): string => bitNames(config, PORT_CONFIG, ' ');
export const portFeaturesText = (features: number): string => bitNames(features, PORT_FEATURES, ' ');

export function portStateText(state: number): string {
  const stp = STP_STATES[state & STP_MASK];
  const rest = state & ~STP_MASK;
  if (stp === undefined) return bitNames(rest, PORT_STATE, ' ');
  // No space between them: so the original prints it.
  return rest === 0 ? stp : `${stp}${bitNames(rest, PORT_STATE, ' ')}`;
}

/** One line a fact, the first with the port's number and name. */
export function phyPortText(p: PhyPort): string {
  let out = ` ${portText(p.portNo)}`;
  out += `(${p.name}): addr:${macText(p.hwAddr)}\n`;
  out += `     config:     ${portConfigText(p.config)}\n`;
  out += `     state:      ${portStateText(p.state)}\n`;
  if (p.curr) out += `     current:    ${portFeaturesText(p.curr)}\n`;
  if (p.advertised) out += `     advertised: ${portFeaturesText(p.advertised)}\n`;
  if (p.supported) out += `     supported:  ${portFeaturesText(p.supported)}\n`;
  if (p.peer) out += `     peer:       ${portFeaturesText(p.peer)}\n`;
  out += `     speed: ${Math.floor(p.currSpeed / 1000)} Mbps now, ${Math.floor(p.maxSpeed / 1000)} Mbps max\n`;
  return out;
}

/** By number; reserved ones (LOCAL) are the highest. */
export function portsText(ports: readonly PhyPort[]): string {
  return [...ports]
    .sort((a, b) => a.portNo - b.portNo)
    .map(phyPortText)
    .join('');
}

const STATUS = { add: 'ADD', delete: 'DEL', modify: 'MOD' } as const;
export function portStatusText(m: OfMessageOf<'port_status'>): string {
  return ` ${STATUS[m.reason]}:${phyPortText(m.port)}`;
}

export function portModText(m: OfMessageOf<'port_mod'>, { names }: TextContext): string {
  let out = ` port: ${portText(m.portNo, names)}: addr:${macText(m.hwAddr)}\n`;
  out += `     config: ${portConfigText(m.config)}\n`;
  out += `     mask:   ${portConfigText(m.mask)}\n`;
  out += `     advertise: ${m.advertise ? portFeaturesText(m.advertise) : 'UNCHANGED'}\n`;
  return out;
}

function stat(leader: string, value: number, isLast = false): string {
  return `${leader}=${counter(value)}${isLast ? '\n' : ', '}`;
}

const CUSTOM_COLUMNS = 3;
export const RFC2819 = [
  ['1_to_64_packets', '65_to_127_packets', '128_to_255_packets'],
  ['256_to_511_packets', '512_to_1023_packets', '1024_to_1522_packets', '1523_to_max_packets'],
] as const;

function onePort(s: PortStats, ctx: TextContext): string {
  let out = `  port ${portText(s.portNo, ctx.names).padStart(2)}: rx `;
  out += stat('pkts', s.rxPackets) + stat('bytes', s.rxBytes) + stat('drop', s.rxDropped) + stat('errs', s.rxErrors);
  out += stat('frame', s.rxFrameErr) + stat('over', s.rxOverErr) + stat('crc', s.rxCrcErr, true);
  out += '           tx ';
  out += stat('pkts', s.txPackets) + stat('bytes', s.txBytes) + stat('drop', s.txDropped) + stat('errs', s.txErrors);
  out += stat('coll', s.collisions, true);
  if (s.durationMs >= 0) out += `           duration=${durationText(s.durationMs)}\n`;
  if (s.rfc2819 !== undefined) out += rfc2819Text(s.rfc2819);
  if (s.custom !== undefined && s.custom.length > 0) {
    out += '           CUSTOM Statistics';
    s.custom.forEach(({ name, value }, i) => {
      if (i % CUSTOM_COLUMNS === 0) out += '\n                      ';
      out += `${name}=${value},${(i + 1) % CUSTOM_COLUMNS === 0 || i === s.custom!.length - 1 ? '' : ' '}`;
    });
    out += '\n';
  }
  return out;
}

/** Prints the groups of counters that are known. */
function rfc2819Text(c: readonly number[]): string {
  const named = RFC2819.flat().map((name, i) => [name, c[i] ?? -1] as const);
  const known = named.filter(([, v]) => v >= 0);
  if (known.length === 0) return '';
  return `           rfc2819 ${known.map(([n, v]) => `${n}=${v}`).join(', ')}\n`;
}

export function portStatsText(m: OfMessageOf<'port_stats_reply'>, ctx: TextContext): string {
  const head = ` ${m.ports.length} ports\n`;
  return head + m.ports.map((p) => onePort(p, ctx)).join('');
}

export function portStatsRequestText(m: OfMessageOf<'port_stats_request'>, { names }: TextContext): string {
  return ` port_no=${portText(m.portNo, names)}`;
}
export function portDescRequestText(m: OfMessageOf<'port_desc_request'>, { names }: TextContext): string {
  return ` port=${portText(m.portNo, names)}`;
}
