/** The commands `netdev-dummy/…`, in the original's words. Devices enter and leave the table as they are opened and closed. */
import { MANY_ARGS, registerCommand, UnixctlError } from '../base/commands.ts';
import { parseIpv4, parseIpv6 } from '../flow/address-text.ts';
import { composePacket, defaultPayload } from '../flow/compose.ts';
import { parseDpKey } from '../flow/dp-text.ts';
import { setSimulatedAddress } from './addresses.ts';
import { mapIpv4 } from './tunnel-config.ts';

/** What the commands need of a device. */
export interface CommandedDummy {
  readonly name: string;
  readonly rxQueues: number;
  receive(packet: Uint8Array, queue?: number): boolean;
  setUp(up: boolean): string | null;
  /** `connected`, `disconnected` or, without `options:stream`, `unknown`. */
  connectionState(): string;
}

const ETH_HEADER = 14;
/** What follows the headers of a packet that is only described. */

const devices = new Map<string, CommandedDummy>();

export function addDummy(device: CommandedDummy): void {
  registerDummyCommands();
  devices.set(device.name, device);
}

export function removeDummy(device: CommandedDummy): void {
  if (devices.get(device.name) === device) devices.delete(device.name);
}

/** The bytes of a packet in hex; null when it is not one. */
function packetFromHex(text: string): Uint8Array | null {
  const digits = text.replace(/\s+/g, '');
  if (!/^([0-9a-f]{2})+$/i.test(digits) || digits.length < ETH_HEADER * 2) return null;
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** A packet that would be extracted as the flow, `length` bytes long when given. */
function packetFromFlow(text: string, length: number | null): Uint8Array {
  const parsed = parseDpKey(text);
  if (!parsed.ok) throw new UnixctlError(parsed.error);
  if (length === null) return composePacket(parsed.key, defaultPayload(parsed.key));
  const headers = composePacket(parsed.key);
  if (length < headers.length) throw new UnixctlError('too small packet len');
  if (length === headers.length) return headers;
  const packet = composePacket(parsed.key, new Uint8Array(length - headers.length));
  if (packet.length >= length) return packet;
  // Nothing that could carry a payload: plain padding.
  const padded = new Uint8Array(length);
  padded.set(packet);
  return padded;
}

function receive(args: string[]): string {
  const device = devices.get(args[0]);
  if (!device) throw new UnixctlError('no such dummy netdev');
  let i = 1;
  let queue = 0;
  if (args[1] === '--qid' && args.length > 2) {
    queue = /^\d+$/.test(args[2]) ? Number(args[2]) : -1;
    if (queue < 0 || queue >= device.rxQueues) throw new UnixctlError('bad rx queue id.');
    i = 3;
  }
  for (; i < args.length; i++) {
    let packet = packetFromHex(args[i]);
    if (packet === null) {
      const flow = args[i];
      let length: number | null = null;
      if (args[i + 1] === '--len' && i + 2 < args.length) {
        length = Number.parseInt(args[i + 2], 10);
        if (Number.isNaN(length)) length = 0;
        i += 2;
      }
      packet = packetFromFlow(flow, length);
    }
    device.receive(packet, queue);
  }
  return '';
}

function setAdminState(args: string[]): string {
  const word = args[args.length - 1].toLowerCase();
  if (word !== 'up' && word !== 'down') throw new UnixctlError('Invalid Admin State');
  if (args.length > 1) {
    const device = devices.get(args[0]);
    if (!device) throw new UnixctlError('Unknown Dummy Interface');
    device.setUp(word === 'up');
  } else for (const device of devices.values()) device.setUp(word === 'up');
  return 'OK';
}

function connState(args: string[]): string {
  const state = (name: string): string => devices.get(name)?.connectionState() ?? 'unknown';
  const names = args.length > 0 ? args : [...devices.keys()].filter((name) => state(name) !== 'unknown');
  return names.map((name) => `${name}: ${state(name)}\n`).join('');
}

function ip4addr(args: string[]): string {
  const device = devices.get(args[0]);
  if (!device) throw new UnixctlError('Unknown Dummy Interface');
  const [address, prefix] = args[1].split('/');
  if (!parseIpv4(address) || !/^\d+$/.test(prefix ?? '') || Number(prefix) > 32)
    throw new UnixctlError(`${args[1]}: invalid IP address`);
  const ip = mapIpv4(parseIpv4(address)!); // Checked above.
  setSimulatedAddress({ device: device.name, ip, prefixLength: 96 + Number(prefix) }, '4');
  return 'OK';
}

function ip6addr(args: string[]): string {
  const device = devices.get(args[0]);
  if (!device) throw new UnixctlError('Unknown Dummy Interface');
  const [address, prefix = '128'] = args[1].split('/');
  const ip = parseIpv6(address);
  if (!ip || !/^\d+$/.test(prefix) || Number(prefix) > 128) throw new UnixctlError(`${args[1]}: invalid IPv6 address`);
  setSimulatedAddress({ device: device.name, ip, prefixLength: Number(prefix) }, '6');
  return 'OK';
}

let isRegistered = false;

export function registerDummyCommands(): void {
  if (isRegistered) return;
  isRegistered = true;
  const usage = 'name [--qid queue_id] packet|flow [--len packet_len]';
  registerCommand('netdev-dummy/receive', usage, 2, MANY_ARGS, receive);
  registerCommand('netdev-dummy/set-admin-state', '[netdev] up|down', 1, 2, setAdminState);
  registerCommand('netdev-dummy/conn-state', '[netdev]', 0, 1, connState);
  registerCommand('netdev-dummy/ip4addr', '[netdev] ipaddr/mask-prefix-len', 2, 2, ip4addr);
  registerCommand('netdev-dummy/ip6addr', '[netdev] ip6addr', 2, 2, ip6addr);
}
