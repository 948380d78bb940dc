/** Device features, speed and driver through SIOCETHTOOL. `ethtool(8)`, `include/uapi/linux/ethtool.h` */
import { AF, SOCK } from './constants.ts';
import { addressOf, check, libc } from './libc.ts';

const SIOCETHTOOL = 0x8946;
const ETHTOOL = {
  GSTRINGS: 0x1b,
  GSSET_INFO: 0x37,
  SFEATURES: 0x3b,
  GSET: 1,
  GDRVINFO: 3,
  GTXCSUM: 0x16,
  STXCSUM: 0x17,
  GFLAGS: 0x25,
  SFLAGS: 0x26,
} as const;
/** Bits of GFLAGS/SFLAGS. */
export const ETH_FLAG = { TXVLAN: 1 << 7, RXVLAN: 1 << 8 } as const;

function ethtool(fd: number, name: string, command: Buffer): number {
  const ifreq = Buffer.alloc(40);
  ifreq.write(name, 0, 15, 'latin1');
  ifreq.writeBigUInt64LE(BigInt(addressOf(command)), 16);
  return libc().ioctl(fd, SIOCETHTOOL, ifreq);
}

/** Runs `body` with a socket that reaches the devices of the namespace the thread is in. */
export function withControlSocket<T>(body: (fd: number) => T): T {
  const fd = check(libc().socket(AF.INET, SOCK.DGRAM | SOCK.CLOEXEC, 0), 'control socket');
  try {
    return body(fd);
  } finally {
    libc().close(fd);
  }
}

function getValue(fd: number, name: string, get: number): number | null {
  const b = Buffer.alloc(8);
  b.writeUInt32LE(get, 0);
  return ethtool(fd, name, b) < 0 ? null : b.readUInt32LE(4);
}

function setValue(fd: number, name: string, set: number, value: number): boolean {
  const b = Buffer.alloc(8);
  b.writeUInt32LE(set, 0);
  b.writeUInt32LE(value >>> 0, 4);
  return ethtool(fd, name, b) >= 0;
}

export const txChecksum = {
  get: (fd: number, name: string): number | null => getValue(fd, name, ETHTOOL.GTXCSUM),
  set: (fd: number, name: string, on: number): boolean => setValue(fd, name, ETHTOOL.STXCSUM, on),
};

export const deviceFlags = {
  get: (fd: number, name: string): number | null => getValue(fd, name, ETHTOOL.GFLAGS),
  set: (fd: number, name: string, flags: number): boolean => setValue(fd, name, ETHTOOL.SFLAGS, flags),
};

const ETH_SS_FEATURES = 4;
const STRING_BYTES = 32;

/** Names of the features that devices may have, in the order of their bits. */
function featureNames(fd: number, name: string): string[] {
  const info = Buffer.alloc(24);
  info.writeUInt32LE(ETHTOOL.GSSET_INFO, 0);
  info.writeBigUInt64LE(1n << BigInt(ETH_SS_FEATURES), 8);
  if (ethtool(fd, name, info) < 0) return [];
  const count = info.readUInt32LE(16);
  const strings = Buffer.alloc(12 + count * STRING_BYTES);
  strings.writeUInt32LE(ETHTOOL.GSTRINGS, 0);
  strings.writeUInt32LE(ETH_SS_FEATURES, 4);
  strings.writeUInt32LE(count, 8);
  if (ethtool(fd, name, strings) < 0) return [];
  return Array.from({ length: count }, (_, i) =>
    strings.toString('latin1', 12 + i * STRING_BYTES, 12 + (i + 1) * STRING_BYTES).replace(/\0.*/s, ''),
  );
}

/** Switches off the features whose name `isUnwanted`, as `ethtool -K` does. False when the kernel would not. */
export function disableFeatures(fd: number, name: string, isUnwanted: (feature: string) => boolean): boolean {
  const names = featureNames(fd, name);
  const blocks = Math.ceil(names.length / 32);
  const request = Buffer.alloc(8 + blocks * 8);
  request.writeUInt32LE(ETHTOOL.SFEATURES, 0);
  request.writeUInt32LE(blocks, 4);
  names.forEach((feature, bit) => {
    if (!isUnwanted(feature)) return;
    const at = 8 + (bit >> 5) * 8;
    request.writeUInt32LE((request.readUInt32LE(at) | (1 << (bit & 31))) >>> 0, at);
  });
  return names.length > 0 && ethtool(fd, name, request) >= 0;
}

export interface LinkSettings {
  /** `SUPPORTED_*` and `ADVERTISED_*` bits. */
  readonly supported: number;
  readonly advertised: number;
  /** Mbps, null where unknown. */
  readonly speedMbps: number | null;
  readonly fullDuplex: boolean | null;
  readonly medium: 'copper' | 'fiber' | null;
  /** Autonegotiation is on. */
  readonly negotiates: boolean;
}

/** `PORT_TP` and `PORT_FIBRE`. */
const PORTS: Readonly<Record<number, 'copper' | 'fiber'>> = { 0: 'copper', 3: 'fiber' };

export function linkSettings(name: string): LinkSettings | null {
  return withControlSocket((fd) => {
    const b = Buffer.alloc(44);
    b.writeUInt32LE(ETHTOOL.GSET, 0);
    if (ethtool(fd, name, b) < 0) return null;
    const speed = b.readUInt16LE(12) | (b.readUInt16LE(28) << 16);
    const duplex = b[14];
    return {
      supported: b.readUInt32LE(4),
      advertised: b.readUInt32LE(8),
      speedMbps: speed === 0 || speed === -1 || speed === 0xffff ? null : speed,
      fullDuplex: duplex === 1 ? true : duplex === 0 ? false : null,
      medium: PORTS[b[15]] ?? null,
      negotiates: b[18] !== 0,
    };
  });
}

export interface DriverInfo {
  readonly driver: string;
  readonly version: string;
  readonly firmware: string;
}

export function driverInfo(name: string): DriverInfo | null {
  return withControlSocket((fd) => {
    const b = Buffer.alloc(196);
    b.writeUInt32LE(ETHTOOL.GDRVINFO, 0);
    if (ethtool(fd, name, b) < 0) return null;
    const text = (at: number): string => b.toString('latin1', at, at + 32).replace(/\0.*/s, '');
    return { driver: text(4), version: text(36), firmware: text(68) };
  });
}
