/** Packets to and from a controller, for people. */
import { OFS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';
import { formatMatch } from '../../flow/match-text.ts';
import { formatTable } from '../../flow/names.ts';
import { formatActions } from '../actions/index.ts';
import { Reader } from '../bytes.ts';
import { OfDecodeError } from '../errors.ts';
import type { PacketIn, PacketOut } from '../messages.ts';
import { properties } from '../msgs/phy-port.ts';
import { OFPP } from '../ports.ts';
import { hex, hexDump, portText, type TextContext } from './common.ts';
import { packetLine } from './packet-line.ts';

const REASONS = ['no_match', 'action', 'invalid_ttl', 'action_set', 'group', 'packet_out'];
const NO_BUFFER = 0xffffffff;

function withoutPort(metadata: Match): Match {
  const rest = metadata.clone();
  rest.key.set32(OFS.in_port, 0);
  rest.mask.set32(OFS.in_port, 0);
  return rest;
}

export function packetInText(m: PacketIn, { names, verbosity, version }: TextContext): string {
  let out = '';
  const isExtended = m.format !== 'standard' || version >= 2;
  if (isExtended && m.table !== 255 && m.table !== 0) out += ` table_id=${formatTable(m.table, names)}`;
  if (isExtended && m.cookie !== 0xffffffffffffffffn && (version >= 4 || m.format !== 'standard'))
    out += ` cookie=${hex(m.cookie)}`;
  out += ` total_len=${m.totalLen} `;
  out += formatMetadata(m.metadata, names);
  out += ` (via ${REASONS[m.reason] ?? m.reason})`;
  out += ` data_len=${m.packet.length}`;
  out += m.bufferId === NO_BUFFER ? ' (unbuffered)' : ` buffer=0x${m.bufferId.toString(16).padStart(8, '0')}`;
  if (m.bufferId === NO_BUFFER && m.totalLen < m.packet.length) out += ' (***total_len < data_len***)';
  out += '\n';
  if (m.userdata !== null) out += ` userdata=${bytesText(m.userdata)}\n`;
  if (m.continuation !== null && verbosity > 0) out += continuationText(m.continuation);
  if (verbosity > 0) out += packetLine(m.packet);
  if (verbosity > 1) out += hexDump(m.packet);
  return out;
}

const NXCPT_BRIDGE = 0x8000;
const NXCPT_ODP_PORT = 0x8008;

/** What the paused pipeline must remember; the parts that have a reading for people. */
function continuationText(bytes: Uint8Array): string {
  let out = '';
  try {
    for (const [type, p] of properties(new Reader(bytes))) {
      if (type === NXCPT_BRIDGE && p.left === 16) {
        // The words of the bridge's UUID stand in the byte order of the machine that wrote them.
        const b = p.rest();
        const order = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];
        const hexText = order.map((i) => b[i].toString(16).padStart(2, '0')).join('');
        out += ` continuation.bridge=${hexText.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}\n`;
      } else if (type === NXCPT_ODP_PORT) out += ` continuation.odp_port=${p.u32()}\n`;
    }
  } catch (error) {
    if (!(error instanceof OfDecodeError)) throw error;
    return ` continuation=${bytesText(bytes)}\n`;
  }
  return out;
}

const bytesText = (b: Uint8Array): string => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('.');

/** The metadata as a match; one without in_port says so. */
function formatMetadata(metadata: Match, names: TextContext['names']): string {
  const port = metadata.mask.get32(OFS.in_port) === 0 ? OFPP.NONE : metadata.key.get32(OFS.in_port) & 0xffff;
  const rest = formatMatch(withoutPort(metadata), undefined, names);
  const inPort = `in_port=${portText(port, names)}`;
  if (rest === '') return inPort;
  return formatMatch(metadata, undefined, names);
}

export function packetOutText(m: PacketOut, { names, verbosity }: TextContext): string {
  let out = ` ${formatMetadata(m.metadata, names)} actions=${formatActions(m.actions, names)}`;
  if (m.bufferId !== NO_BUFFER) return `${out} buffer=0x${m.bufferId.toString(16).padStart(8, '0')}\n`;
  out += ` data_len=${m.packet.length}`;
  if (verbosity > 0 && m.packet.length > 0) {
    out += `\n${packetLine(m.packet)}`;
    if (verbosity > 1) out += hexDump(m.packet);
    return out;
  }
  return `${out}\n`;
}
