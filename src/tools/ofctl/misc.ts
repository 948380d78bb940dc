/** Packets, connection tests, IPFIX, connection tracking, and files of OpenFlow messages. */
import { readFileSync } from 'node:fs';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { Match } from '../../flow/match.ts';
import { parseMatchField, parseProtocol, splitKeyValues } from '../../flow/match-text.ts';
import { parsePort } from '../../flow/names.ts';
import { parseActions } from '../../openflow/actions/index.ts';
import { errorToWire, isErrorName } from '../../openflow/errors.ts';
import type { OfpVersion, PacketOut } from '../../openflow/messages.ts';
import type { CtTuple } from '../../openflow/messages-ext.ts';
import { OFPP } from '../../openflow/ports.ts';
import { formatBytes } from '../../openflow/text.ts';
import type { Command } from './command.ts';
import { connect, dump, fatal, namesToAccept, print, settings } from './context.ts';

const NO_BUFFER = 0xffffffff;
const ETHERNET_HEADER = 14;

function packetBytes(hex: string): Uint8Array {
  const digits = hex.replace(/[\s.:]/g, '');
  if (!/^([0-9a-f]{2})*$/i.test(digits)) return fatal('Trailing garbage in packet data');
  const bytes = new Uint8Array(Buffer.from(digits, 'hex'));
  return bytes.length < ETHERNET_HEADER ? fatal('Packet data too short for Ethernet') : bytes;
}

async function packetOut(args: readonly string[]): Promise<void> {
  const [target] = args;
  const names = await namesToAccept(target);
  const c = await connect(target);
  const messages: PacketOut[] = [];
  if (args.length > 2) {
    const inPort = parsePort(args[1], names);
    if (inPort < 0)
      fatal(`${args[1]}: invalid ingress port`.replace(': invalid ingress port', ' is not a valid OpenFlow port'));
    const actions = parseActions(args[2], { names });
    if (!actions.ok) return fatal(actions.error);
    const metadata = new Match(new FlowKey(), new FlowKey());
    metadata.key.set32(OFS.in_port, inPort);
    metadata.mask.set32(OFS.in_port, 0xffffffff);
    for (const hex of args.slice(3))
      messages.push({
        type: 'packet_out',
        bufferId: NO_BUFFER,
        metadata,
        packet: packetBytes(hex),
        actions: actions.actions,
      });
  } else messages.push(parsePacketOut(args[1], names));
  await c.transactNoreply(messages);
  c.close();
}

/** `in_port=…,packet=HEX,actions=…` with metadata fields beside. */
export function parsePacketOut(text: string, names: Awaited<ReturnType<typeof namesToAccept>>): PacketOut {
  const at = text.indexOf('action');
  const equals = at < 0 ? -1 : text.indexOf('=', at);
  if (equals < 0) return fatal('must specify an action');
  const metadata = new Match(new FlowKey(), new FlowKey());
  metadata.key.set32(OFS.in_port, OFPP.CONTROLLER);
  metadata.mask.set32(OFS.in_port, 0xffffffff);
  let packet: Uint8Array | null = null;
  for (const { key, value, hasValue } of splitKeyValues(text.slice(0, at))) {
    if (!hasValue && parseProtocol(metadata, key)) continue;
    if (value === '') return fatal(`field ${key} missing value`);
    if (key === 'packet') packet = packetBytes(value);
    else {
      const error = parseMatchField(metadata, key, value, { names });
      if (error === undefined) return fatal(`unknown keyword ${key}`);
      if (error !== null) return fatal(error);
    }
  }
  if (packet === null) return fatal('must specify packet');
  const actions = parseActions(text.slice(equals + 1), { names });
  if (!actions.ok) return fatal(actions.error);
  return { type: 'packet_out', bufferId: NO_BUFFER, metadata, packet, actions: actions.actions };
}

async function probe([target]: readonly string[]): Promise<void> {
  const c = await connect(target);
  const { message } = await c.transact({ type: 'echo_request', data: new Uint8Array(0) });
  if (message.type !== 'echo_reply' || message.data.length > 0) fatal('reply does not match request');
  c.close();
}

const PINGS = 10;
async function ping([target, size]: readonly string[]): Promise<void> {
  const payload = size === undefined ? 64 : Number(size);
  if (!(payload <= 0xffff - 8)) fatal(`payload must be between 0 and ${0xffff - 8} bytes`);
  const c = await connect(target);
  for (let i = 0; i < PINGS; i++) {
    const data = crypto.getRandomValues(new Uint8Array(payload));
    const start = performance.now();
    const xid = c.send({ type: 'echo_request', data });
    const { message, raw } = await c.reply(xid);
    const ms = performance.now() - start;
    if (message.type !== 'echo_reply' || Buffer.compare(message.data, data) !== 0) {
      print(`Reply does not match request\nReply:\n${formatBytes(raw, settings.verbosity + 2)}`);
      continue;
    }
    print(`${data.length} bytes from ${target}: xid=${xid.toString(16).padStart(8, '0')} time=${ms.toFixed(1)} ms\n`);
  }
  c.close();
}

async function benchmark([target, size, times]: readonly string[]): Promise<void> {
  const payload = Number(size);
  if (!(payload <= 0xffff - 8)) fatal(`payload must be between 0 and ${0xffff - 8} bytes`);
  const message = payload + 8;
  const count = Number(times);
  print(`Sending ${count} packets * ${message} bytes (with header) = ${count * message} bytes total\n`);
  const c = await connect(target);
  const start = performance.now();
  for (let i = 0; i < count; i++) await c.transact({ type: 'echo_request', data: new Uint8Array(payload) });
  const ms = performance.now() - start;
  print(
    `Finished in ${ms.toFixed(1)} ms (${Math.trunc(count / (ms / 1000))} packets/s) (${Math.trunc((count * message) / (ms / 1000))} bytes/s)\n`,
  );
  c.close();
}

async function ctFlushZone([target, zone]: readonly string[]): Promise<void> {
  if (!/^\d+$/.test(zone) || Number(zone) > 0xffff) fatal(`invalid zone "${zone}"`);
  const c = await connect(target);
  await c.transactNoreply([{ type: 'ct_flush_zone', zone: Number(zone) }]);
  c.close();
}

const PROTOS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132, icmp: 1 };

function parseTuple(text: string): { tuple: CtTuple; ipProto: number; family: number } {
  const m = new Match();
  for (const { key, value, hasValue } of splitKeyValues(text)) {
    if (!hasValue && parseProtocol(m, key)) continue;
    const named = key
      .replace(/^ct_nw_src$/, 'nw_src')
      .replace(/^ct_nw_dst$/, 'nw_dst')
      .replace(/^ct_tp_src$/, 'tp_src')
      .replace(/^ct_tp_dst$/, 'tp_dst')
      .replace(/^ct_ipv6_/, 'ipv6_')
      .replace(/^ct_nw_proto$/, 'nw_proto');
    const error = parseMatchField(m, named, value);
    if (error === undefined) return fatal(`invalid conntrack tuple field: ${key}`);
    if (error !== null) return fatal(error);
  }
  const has = (ofs: number, n: number) => m.mask.u8.subarray(ofs, ofs + n).some((b) => b !== 0);
  const take = (ofs: number, n: number) => (has(ofs, n) ? m.key.u8.slice(ofs, ofs + n) : null);
  const isIcmp = m.key.get8(OFS.ip_proto) === PROTOS.icmp || m.key.get8(OFS.ip_proto) === 58;
  const port = (ofs: number) => (has(ofs, 2) ? m.key.get16(ofs) : null);
  const tuple: CtTuple = {
    src: take(OFS.ip_src, 4) ?? take(OFS.ipv6_src, 16),
    dst: take(OFS.ip_dst, 4) ?? take(OFS.ipv6_dst, 16),
    srcPort: isIcmp ? null : port(OFS.tp_src),
    dstPort: isIcmp ? null : port(OFS.tp_dst),
    icmpId: null,
    icmpType: isIcmp ? port(OFS.tp_src) : null,
    icmpCode: isIcmp ? port(OFS.tp_dst) : null,
  };
  return {
    tuple,
    ipProto: m.key.get8(OFS.ip_proto),
    family: tuple.src?.length === 16 || tuple.dst?.length === 16 ? 10 : 2,
  };
}

const EMPTY_TUPLE: CtTuple = {
  src: null,
  dst: null,
  srcPort: null,
  dstPort: null,
  icmpId: null,
  icmpType: null,
  icmpCode: null,
};

async function ctFlush([target, ...rest]: readonly string[]): Promise<void> {
  let zone: number | null = null;
  const zoneText = /^zone=(\d+)$/.exec(rest[0] ?? '');
  if (zoneText !== null) {
    zone = Number(zoneText[1]);
    rest.shift();
  }
  const orig = rest[0] === undefined ? null : parseTuple(rest[0]);
  const reply = rest[1] === undefined ? null : parseTuple(rest[1]);
  const c = await connect(target);
  await c.transactNoreply([
    {
      type: 'ct_flush',
      zone,
      ipProto: orig?.ipProto ?? reply?.ipProto ?? 0,
      family: orig?.family ?? 0,
      orig: orig?.tuple ?? EMPTY_TUPLE,
      reply: reply?.tuple ?? EMPTY_TUPLE,
    },
  ]);
  c.close();
}

function printMessages(all: Uint8Array): void {
  let at = 0;
  while (at + 8 <= all.length) {
    const length = (all[at + 2] << 8) | all[at + 3];
    if (length < 8) fatal(`${length}-byte message is too short for OpenFlow`);
    if (at + length > all.length) fatal(`unexpected end of file reading OpenFlow message`);
    print(formatBytes(all.subarray(at, at + length), settings.verbosity + 1));
    at += length;
  }
}

async function ofpParse([path]: readonly string[]): Promise<void> {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return fatal(`${path}: open (${missing ? 'No such file or directory' : 'Permission denied'})`);
  }
  printMessages(bytes);
}

async function ofpPrint([hex, verbosity]: readonly string[]): Promise<void> {
  const digits = hex.replace(/[\s.]/g, '');
  if (!/^([0-9a-f]{2})*$/i.test(digits)) fatal('trailing garbage following hex bytes');
  const level = verbosity === undefined ? settings.verbosity + 1 : Number(verbosity);
  print(formatBytes(new Uint8Array(Buffer.from(digits, 'hex')), level));
}

async function printError([name]: readonly string[]): Promise<void> {
  if (!isErrorName(name)) return fatal(`unknown error "${name}"`);
  for (let v = 1; v <= 6; v++) {
    const wire = errorToWire(v as OfpVersion, name);
    if (wire !== null)
      print(
        `OpenFlow 1.${v - 1}: vendor ${wire.vendor === 0 ? '0' : `0x${wire.vendor.toString(16)}`}, type ${wire.type}, code ${wire.code}\n`,
      );
  }
}

export const MISC_COMMANDS: readonly Command[] = [
  { name: 'packet-out', min: 2, max: Number.POSITIVE_INFINITY, writes: true, run: packetOut },
  { name: 'probe', min: 1, max: 1, run: probe },
  { name: 'ping', min: 1, max: 2, run: ping },
  { name: 'benchmark', min: 3, max: 3, run: benchmark },
  {
    name: 'dump-ipfix-bridge',
    min: 1,
    max: 1,
    dumps: true,
    run: ([target]) => dump(target, { type: 'ipfix_bridge_stats_request' }),
  },
  {
    name: 'dump-ipfix-flow',
    min: 1,
    max: 1,
    dumps: true,
    run: ([target]) => dump(target, { type: 'ipfix_flow_stats_request' }),
  },
  { name: 'ct-flush-zone', min: 2, max: 2, writes: true, run: ctFlushZone },
  { name: 'ct-flush', min: 1, max: 4, writes: true, run: ctFlush },
  { name: 'ofp-parse', min: 1, max: 1, run: ofpParse },
  { name: 'ofp-print', min: 1, max: 2, run: ofpPrint },
  { name: 'print-error', min: 1, max: 1, run: printError },
];
