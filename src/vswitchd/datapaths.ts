/**
 * The datapaths in use, one backer for each type, and how types of the database are carried out: `system` by the
 * user-space datapath until the kernel's is spoken to, and, with simulated devices, by one that runs in this thread.
 */

import { vlog } from '../base/vlog.ts';
import type { Dpif } from '../dpif/dpif.ts';
import { DpifNetdev } from '../dpif/netdev.ts';
import { netdevTypes } from '../netdev/index.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { createBacker, createStandalone, findDatapath } from '../ofproto/index.ts';
import type { Ofproto, OfprotoBacker } from '../ofproto/ofproto.ts';

const log = vlog('ofproto');

/** `--enable-dummy`: absent, plain, `=system`, `=override` (ovs-vswitchd's own tests use them). */
export type DummyMode = 'none' | 'plain' | 'system' | 'override';

/** What `--enable-dummy=override` leaves as it is: what touches no device of the machine. */
const KEPT: ReadonlySet<string> = new Set(['patch', 'null', 'pcap', 'dummy-pmd']);

export class Datapaths {
  private readonly dummy: DummyMode;
  private readonly env: NetdevEnv;
  private readonly backers = new Map<string, OfprotoBacker>();
  private config: ReadonlyMap<string, string> = new Map();
  private readonly standalone = new Map<Dpif, OfprotoBacker>();
  private warnedSystem = false;

  constructor(dummy: DummyMode, env: NetdevEnv) {
    this.dummy = dummy;
    this.env = env;
  }

  /** `Open_vSwitch.datapath_types`. */
  types(): string[] {
    return this.dummy === 'none' ? ['netdev', 'system'] : ['dummy', 'netdev', 'system'];
  }

  /** `Open_vSwitch.iface_types`: without `dummy` unless simulation was asked for. */
  interfaceTypes(all: readonly string[]): string[] {
    return all.filter((type) => this.dummy !== 'none' || !type.startsWith('dummy'));
  }

  /** How an interface of a type is opened; null where there is no such type. */
  mapInterfaceType(type: string, datapathType = ''): string | null {
    const plain = type === '' ? 'system' : type;
    switch (this.dummy) {
      case 'none':
        return plain.startsWith('dummy') ? null : plain;
      case 'plain':
        return plain === 'internal' && datapathType === 'dummy' ? 'dummy' : plain;
      case 'system':
        return plain === 'system' || plain === 'internal' ? 'dummy' : plain;
      case 'override':
        return KEPT.has(plain) || !netdevTypes().includes(plain) ? plain : 'dummy';
    }
  }

  /** A bridge in the datapath of `type`; null (with a warning) where there is no such type. */
  async createOfproto(name: string, type: string): Promise<Ofproto | null> {
    const wanted = type === '' ? 'system' : type;
    if (!this.types().includes(wanted)) {
      log.warn(`unknown datapath type ${wanted}`);
      log.warn(`could not create datapath ${name} of unknown type ${wanted}`);
      vlog('bridge').err(`failed to create bridge ${name}: Address family not supported by protocol`);
      return null;
    }
    const carried = this.carriedOutBy(wanted);
    let backer = this.backers.get(carried);
    if (backer === undefined) {
      const inThread = carried === 'dummy' || this.dummy === 'override';
      const mode = inThread ? 'main' : 'workers';
      const dpif = await DpifNetdev.create({ mode, name: `ovs-${carried}`, type: carried, env: this.env });
      backer = await createBacker(carried, { dpif });
      backer.configure(this.config);
      this.backers.set(carried, backer);
    }
    return backer.createBridge(name, carried);
  }

  /** A datapath of its own, without bridges (`dpctl/add-dp`); or why there is none. */
  async createStandalone(type: string, name: string): Promise<Dpif | string> {
    if (!this.types().includes(type)) return 'Address family not supported by protocol';
    const carried = this.carriedOutBy(type);
    if (findDatapath(`${carried}@${name}`)) return 'File exists';
    // In this thread: the frames of threads belong to the datapath of bridges.
    const dpif = await DpifNetdev.create({ mode: 'main', name, type: carried, env: this.env });
    const backer = await createStandalone(carried, { dpif });
    this.standalone.set(dpif, backer);
    dpif.configure(this.config);
    return dpif;
  }

  isStandalone(dpif: Dpif): boolean {
    return this.standalone.has(dpif);
  }

  async removeStandalone(dpif: Dpif): Promise<void> {
    const backer = this.standalone.get(dpif);
    this.standalone.delete(dpif);
    await backer?.close();
  }

  /** Is there a bridge, or was there one, in the datapath of this type? */
  isUsed(type: string): boolean {
    return this.types().includes(type) && this.backers.has(this.carriedOutBy(type));
  }

  private carriedOutBy(type: string): string {
    if (type !== 'system' || this.dummy === 'override') return type;
    if (!this.warnedSystem) {
      this.warnedSystem = true;
      log.warn('datapath type "system" is carried out by "netdev", in user space');
    }
    return 'netdev';
  }

  configure(config: ReadonlyMap<string, string>): void {
    this.config = config;
    // As the original: what it says when the switch starts holds until it ends.
    if (this.env.userspaceTso === undefined) {
      this.env.userspaceTso = config.get('userspace-tso-enable') === 'true';
      if (this.env.userspaceTso) vlog('userspace_tso').info('Userspace TCP Segmentation Offloading support enabled');
    }
    for (const backer of this.backers.values()) backer.configure(config);
  }

  /** Nobody looks any more; what waits at breakpoints goes on while there are ports to go to. */
  async letGo(): Promise<void> {
    for (const backer of this.backers.values()) await backer.letGo();
  }

  async close(): Promise<void> {
    for (const dpif of [...this.standalone.keys()]) await this.removeStandalone(dpif);
    for (const [type, backer] of [...this.backers]) {
      this.backers.delete(type);
      await backer.close();
    }
  }
}
