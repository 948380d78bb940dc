/**
 * An `Interface` of the database at work: its device, and its place in the bridge. A device that cannot be opened is kept
 * as an error to show; `isStale()` says when trying again may help.
 */
import { readFileSync } from 'node:fs';
import { vlog } from '../base/vlog.ts';
import { openNetdev } from '../netdev/index.ts';
import type { Netdev, NetdevEnv } from '../netdev/netdev.ts';
import type { InterfaceSpec } from './config.ts';

const log = vlog('bridge');

/** Types of devices that the machine has by itself. */
const KERNEL_TYPES: ReadonlySet<string> = new Set(['', 'system', 'afxdp', 'afxdp-nonpmd']);

/** How `Interface.type` is carried out; with simulated devices some or all become `dummy`, without them that is null. */
export type TypeMapper = (type: string) => string | null;

export class Interface {
  readonly name: string;
  spec: InterfaceSpec;
  netdev: Netdev | null = null;
  ofport: number | null = null;
  error: string | null = null;
  /** The kernel's number of the device that could not be used; 0 for none. */
  private failedIndex = 0;
  /** What the device would not have as its MTU: asking again at each change of anything would only fill the log. */
  private refusedMtu: number | null = null;
  private watch: Disposable | null = null;
  private readonly env: NetdevEnv;
  private readonly onNews: () => void;

  constructor(spec: InterfaceSpec, env: NetdevEnv, onNews: () => void) {
    this.name = spec.name;
    this.spec = spec;
    this.env = env;
    this.onNews = onNews;
  }

  /** Opens and configures the device. Returns it, or null with `error` set. */
  open(mapType: TypeMapper): Netdev | null {
    const type = mapType(this.spec.type);
    const unknown = `could not create netdev ${this.name} of unknown type ${this.spec.type}`;
    const opened = type === null ? { error: unknown } : openNetdev(this.name, type, this.env);
    if ('error' in opened) {
      this.fail(`could not open network device ${this.name} (${openErrorWords(opened.error)})`);
      return null;
    }
    this.netdev = opened;
    this.refusedMtu = null;
    const wrong = opened.setConfig(this.spec.options);
    if (this.spec.otherConfig) opened.setOtherConfig?.(this.spec.otherConfig);
    if (wrong !== null) {
      log.warn(`${this.name}: could not set configuration (Invalid argument)`);
      this.close();
      this.error = wrong;
      this.failedIndex = kernelIndex(this.name);
      return null;
    }
    this.error = null;
    this.watch = opened.onChange(this.onNews);
    return opened;
  }

  fail(error: string): void {
    if (this.error !== error) log.warn(error);
    this.close();
    this.error = error;
    this.failedIndex = kernelIndex(this.name);
  }

  /**
   * Applies changed options, and the address and MTU: `localMac` is that of the bridge's own device, `internalMtu` what
   * devices of the bridge get that ask for none.
   */
  configure(localMac: Uint8Array | null, internalMtu: number | null): void {
    const { netdev, spec } = this;
    if (netdev === null) return;
    this.error = netdev.setConfig(spec.options);
    if (spec.otherConfig) netdev.setOtherConfig?.(spec.otherConfig);
    if (spec.policing) netdev.setPolicing?.(spec.policing);
    netdev.qos?.set(spec.qos ?? null);
    const isInternal = spec.type === 'internal';
    // Physical devices keep the address they have.
    const mac = localMac ?? (isInternal ? spec.mac : null);
    if (mac !== null && Buffer.compare(netdev.mac(), mac) !== 0) {
      const wrong = netdev.setMac(mac);
      if (wrong !== null) log.rl().warn(`interface ${this.name}: setting MAC failed (${wrong})`);
    }
    const mtu = spec.mtuRequest ?? (isInternal ? internalMtu : null);
    if (mtu !== this.refusedMtu) this.refusedMtu = null;
    if (mtu !== null && netdev.mtu() !== mtu && this.refusedMtu === null) {
      const wrong = netdev.setMtu(mtu);
      if (wrong !== null) this.refusedMtu = mtu;
      if (wrong !== null) log.rl().warn(`interface ${this.name}: setting MTU failed (${wrong})`);
    }
  }

  /** The device went away under us, or is there now where it was missing. */
  isStale(): boolean {
    if (!KERNEL_TYPES.has(this.spec.type)) return false;
    // What failed once is tried again when it is another device: trying makes news itself, which must not be a reason.
    if (this.netdev === null) return kernelIndex(this.name) !== this.failedIndex;
    return KERNEL_TYPES.has(this.netdev.type) && this.netdev.ifindex() === 0;
  }

  close(): void {
    this.watch?.[Symbol.dispose]();
    this.watch = null;
    this.netdev?.[Symbol.dispose]();
    this.netdev = null;
    this.ofport = null;
  }
}

/** ARPHRD_LOOPBACK of `linux/if_arp.h`. */
const LOOPBACK = 772;

/** What the host says to itself must not be switched. */
export function isLoopback(netdev: Netdev): boolean {
  return netdev.type === 'system' && kernelNumber(netdev.name, 'type') === LOOPBACK;
}

function kernelIndex(name: string): number {
  return kernelNumber(name, 'ifindex');
}

/** A number from `/sys/class/net`; 0 where there is none. */
function kernelNumber(name: string, attribute: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/${attribute}`, 'utf8'));
  } catch {
    return 0;
  }
}

/** The reason alone: what the device said may name it again. */
function openErrorWords(error: string): string {
  if (/of unknown type/.test(error)) return 'Address family not supported by protocol';
  return /\(([^()]+)\)$/.exec(error)?.[1] ?? error.replace(/^\S+: /, '');
}
