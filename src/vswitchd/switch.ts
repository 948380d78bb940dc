/**
 * The switch: follows the database, carries out what it says, and writes back what became of it.
 *
 * One reconfiguration runs at a time. Changes that arrive meanwhile cause exactly one more. `cur_cfg` is written only when all that
 * `next_cfg` stood for is in force for every packet, which is what `ovs-vsctl` waits for.
 */

import { readFileSync } from 'node:fs';
import { Arena } from '../base/arena.ts';
import { clock } from '../base/clock.ts';
import { coverage } from '../base/coverage.ts';
import { memoryReporter } from '../base/memory.ts';
import { setSslConfig } from '../base/ssl-config.ts';
import { VERSION } from '../base/version.ts';
import { vlog } from '../base/vlog.ts';
import { adviseHugePages } from '../linux/huge-pages.ts';
import { watchLinks } from '../linux/link.ts';
import { netdevTypes } from '../netdev/index.ts';
import type { NetdevEnv } from '../netdev/netdev.ts';
import { datapathCapabilities } from '../ofproto/features.ts';
import { Idl, type Remote, type Row, type Transaction } from '../ovsdb/idl.ts';
import type { Json } from '../ovsdb/json.ts';
import { schemaFromJson } from '../ovsdb/schema.ts';
import { vswitchSchemaJson } from '../ovsdb/vswitch-schema.ts';
import { Bridge } from './bridge.ts';
import { readSwitch, type SwitchSpec } from './config.ts';
import { Datapaths, type DummyMode } from './datapaths.ts';
import { registerDpctlPortCommands } from './dpctl-ports.ts';
import type { Interface } from './interface.ts';
import {
  setPeerCheck,
  write,
  writeBridgeStatus,
  writeControllers,
  writeMirrors,
  writeProtocolStatus,
  writeStatistics,
} from './status.ts';
import { DATABASE, DATABASE_LOCK, SWITCH_TABLES } from './tables.ts';

const COUNT = {
  reconfigured: coverage('bridge_reconfigure'),
};

const log = vlog('bridge');

export interface SwitchOptions {
  readonly remote: Remote;
  /** Simulated devices: `none`, only where asked for, in place of `system`, or in place of every type. */
  readonly dummy: DummyMode;
}

/** How long news of devices are gathered before they are written. */
const NEWS_DELAY_MS = 50;
const CONTROLLER_POLL_MS = 500;
const RESTORE_WAIT = 'flow-restore-wait';

export class Switch {
  readonly bridges = new Map<string, Bridge>();
  readonly idl: Idl;
  readonly datapaths: Datapaths;
  private readonly options: SwitchOptions;
  private readonly env: NetdevEnv;
  private spec: SwitchSpec | null = null;
  private running: Promise<void> | null = null;
  private again = false;
  private stopping = false;
  private isFirst = true;
  private isRestoring = false;
  private newsTimer: Disposable | null = null;
  private statsTimer: Disposable | null = null;
  private statsIntervalMs = 0;
  private controllerTimer: Disposable | null = null;
  private links: Disposable | null = null;
  private statusInFlight = false;
  private statusAgain = false;
  private wasContended = false;
  private tellConfigured: () => void = () => {};

  constructor(options: SwitchOptions) {
    this.options = options;
    this.env = makeEnv(options);
    this.datapaths = new Datapaths(options.dummy, this.env);
    registerDpctlPortCommands(this.datapaths, this.env);
    const assumedSchema = schemaFromJson(vswitchSchemaJson() as Json);
    this.idl = new Idl(options.remote, {
      database: DATABASE,
      tables: SWITCH_TABLES,
      lock: DATABASE_LOCK,
      assumedSchema,
    });
    // In cells, of which a row has one for each column, as the original counts.
    memoryReporter(() => ({ [`idl-cells-${DATABASE}`]: this.idl.cells() }));
    setPeerCheck((bridge, iface) => this.hasPeer(bridge, iface));
  }

  start(): void {
    this.idl.onChange((changes) => {
      if (!this.lockIsOurs()) return;
      // What we wrote ourselves comes back as changes, too; only others' are configuration.
      const isConfig = changes.length === 0 || changes.some((change) => change.kind !== 'modify' || hasConfig(change));
      if (isConfig) this.reconfigure();
    });
    this.idl.start();
    if (this.options.dummy !== 'override') this.watchLinks();
    this.controllerTimer = clock.setInterval(() => this.pollControllers(), CONTROLLER_POLL_MS);
  }

  /** Resolves when the first configuration is in force, and the database says so. */
  readonly configured = new Promise<void>((resolve) => {
    this.tellConfigured = resolve;
  });

  /** Resolves when everything asked for so far is in force. */
  async settled(): Promise<void> {
    while (this.running !== null) await this.running;
  }

  /** Ends all bridges and lets go of their devices. */
  async stop(): Promise<void> {
    this.stopping = true;
    for (const timer of [this.newsTimer, this.statsTimer, this.controllerTimer, this.links]) timer?.[Symbol.dispose]();
    await this.settled();
    await this.datapaths.letGo();
    await this.destroyBridges();
    await this.datapaths.close();
    this.idl.close();
  }

  reconfigure(): void {
    if (this.stopping) return;
    if (this.running !== null) {
      this.again = true;
      return;
    }
    this.running = this.reconfigureLoop()
      .catch((error: unknown) =>
        log.err(`reconfiguration failed: ${error instanceof Error ? error.stack : String(error)}`),
      )
      .finally(() => {
        this.running = null;
        if (this.again) {
          this.again = false;
          this.reconfigure();
        }
      });
  }

  private async reconfigureLoop(): Promise<void> {
    do {
      this.again = false;
      // Messages that are here already belong to this round.
      await new Promise((resolve) => setImmediate(resolve));
      if (!this.idl.isSynced || !this.lockIsOurs()) continue;
      const row = this.idl.table('Open_vSwitch').only();
      COUNT.reconfigured.inc();
      if (row !== null) await this.apply(readSwitch(row));
      else await this.destroyBridges();
      this.tellConfigured();
    } while (this.again && !this.stopping);
  }

  private async apply(spec: SwitchSpec): Promise<void> {
    const previous = this.spec;
    this.spec = spec;
    // Only who starts up waits for flows.
    this.isRestoring = (this.isFirst || this.isRestoring) && spec.otherConfig.get(RESTORE_WAIT) === 'true';
    const otherConfig = new Map(spec.otherConfig);
    if (!this.isRestoring) otherConfig.delete(RESTORE_WAIT);
    if (spec.ssl) setSslConfig(spec.ssl);
    this.datapaths.configure(otherConfig);
    const wanted = new Map(spec.bridges.map((bridge) => [bridge.name, bridge]));
    for (const bridge of [...this.bridges.values()]) {
      const next = wanted.get(bridge.name);
      if (next?.datapathType === bridge.datapathType) continue;
      this.bridges.delete(bridge.name);
      await bridge.destroy();
    }
    for (const bridge of this.bridges.values()) await bridge.shrink(wanted.get(bridge.name)!); // Others went above.
    for (const one of spec.bridges) {
      if (this.bridges.has(one.name)) continue;
      const ofproto = await this.datapaths.createOfproto(one.name, one.datapathType);
      if (ofproto === null) continue;
      const deps = {
        env: this.env,
        mapType: (type: string) => this.datapaths.mapInterfaceType(type, one.datapathType),
        onNews: () => this.deviceNews(),
        keepOfports: () => this.isFirst,
        isRestoring: () => this.isRestoring,
      };
      this.bridges.set(one.name, new Bridge(one, ofproto, deps));
    }
    for (const bridge of this.bridges.values()) await bridge.grow();
    this.isFirst = false;
    if (previous === null) log.info(`ovs-vswitchd (Open vSwitch) ${VERSION}`);
    this.startStatistics(spec.statsIntervalMs);
    await Promise.all([...this.bridges.values()].map((bridge) => bridge.ofproto.settled()));
    await this.writeAll(spec);
  }

  /** Status and counters of everything, and that `next_cfg` is reached. Once more if others wrote at the same time. */
  private async writeAll(spec: SwitchSpec): Promise<void> {
    for (let attempt = 0; attempt < 5 && !this.stopping && !spec.row.isDeleted; attempt++) {
      const txn = this.idl.transaction();
      this.writeSwitch(txn, spec.row);
      for (const bridge of this.bridges.values()) {
        writeBridgeStatus(txn, bridge);
        writeStatistics(txn, bridge);
        writeMirrors(txn, bridge);
        writeControllers(txn, bridge, true);
      }
      txn.set(spec.row, 'cur_cfg', spec.nextCfg);
      const { status, error } = await txn.commit();
      if (status === 'error') log.rl().err(`writing status failed: ${error}`);
      if (status !== 'try again' || !this.idl.isSynced) return;
    }
  }

  private writeSwitch(txn: Transaction, row: Row): void {
    write(txn, row, 'iface_types', this.datapaths.interfaceTypes(netdevTypes()));
    write(txn, row, 'datapath_types', this.datapaths.types());
    write(txn, row, 'dpdk_initialized', false);
    if (row.table.monitored.has('datapaths')) {
      for (const [type, datapath] of row.refMap('datapaths'))
        if (this.datapaths.isUsed(String(type))) write(txn, datapath, 'capabilities', datapathCapabilities());
    }
    write(txn, row, 'dpdk_version', 'none');
    // Start scripts write these with what they know; we only where nobody did.
    const { type, version } = operatingSystem();
    const facts = {
      ovs_version: VERSION,
      db_version: this.idl.schema?.version ?? '',
      system_type: type,
      system_version: version,
    };
    for (const [column, value] of Object.entries(facts)) {
      if (row.optionalString(column) === null && value !== '') write(txn, row, column, value);
    }
  }

  /** Writes status now, or right after the write that is under way. */
  private async writeStatus(what: (txn: Transaction) => void): Promise<void> {
    if (this.stopping || this.running !== null || !this.idl.isSynced || !this.lockIsOurs()) return;
    if (this.statusInFlight) {
      this.statusAgain = true;
      return;
    }
    this.statusInFlight = true;
    try {
      const txn = this.idl.transaction();
      what(txn);
      await txn.commit();
    } finally {
      this.statusInFlight = false;
    }
    if (this.statusAgain) {
      this.statusAgain = false;
      this.deviceNews();
    }
  }

  private deviceNews(): void {
    if (this.stopping) return;
    this.newsTimer ??= clock.setTimeout(() => {
      this.newsTimer = null;
      if ([...this.bridges.values()].some((bridge) => bridge.hasStaleInterfaces())) return this.reconfigure();
      void this.writeStatus((txn) => {
        for (const bridge of this.bridges.values()) writeBridgeStatus(txn, bridge);
      });
    }, NEWS_DELAY_MS);
  }

  private startStatistics(intervalMs: number): void {
    if (intervalMs === this.statsIntervalMs) return;
    this.statsIntervalMs = intervalMs;
    this.statsTimer?.[Symbol.dispose]();
    this.statsTimer = clock.setInterval(() => {
      void this.writeStatus((txn) => {
        for (const bridge of this.bridges.values()) {
          writeStatistics(txn, bridge);
          writeProtocolStatus(txn, bridge);
          writeMirrors(txn, bridge);
          writeControllers(txn, bridge, true);
        }
      });
    }, intervalMs);
  }

  private pollControllers(): void {
    if (![...this.bridges.values()].some((bridge) => bridge.spec.controllerRows.length > 0)) return;
    void this.writeStatus((txn) => {
      for (const bridge of this.bridges.values()) writeControllers(txn, bridge, false);
    });
  }

  private watchLinks(): void {
    try {
      this.links = watchLinks(() => this.deviceNews());
    } catch (error) {
      log.warn(`cannot watch network devices (${error instanceof Error ? error.message : String(error)})`);
    }
  }

  /** While another switch has the lock, this one does nothing. */
  private lockIsOurs(): boolean {
    const contended = this.idl.isLockContended;
    if (contended && !this.wasContended) {
      log.err(
        `another ovs-vswitchd process is running, disabling this process (pid ${process.pid}) until it goes away`,
      );
      void this.settled().then(() => this.destroyBridges());
    }
    this.wasContended = contended;
    return this.idl.hasLock;
  }

  private async destroyBridges(): Promise<void> {
    for (const bridge of [...this.bridges.values()]) {
      this.bridges.delete(bridge.name);
      await bridge.destroy();
    }
  }

  /** Whether a patch port's peer is in a bridge of the same datapath and names it back. */
  private hasPeer(bridge: Bridge, iface: Interface): boolean {
    const name = iface.spec.options.get('peer') ?? '';
    for (const other of this.bridges.values()) {
      const peer = other.interfaces.get(name);
      if (peer === undefined || other.ofproto.type !== bridge.ofproto.type) continue;
      return peer.spec.type === 'patch' && peer.spec.options.get('peer') === iface.name;
    }
    return false;
  }
}

/** Bytes of packet memory, most of it for megaflows and ports, and how much of it are frames. Simulations need few frames. */
const ARENA_BYTES = 768 << 20;
const FRAME_BYTES = 128 << 20;
const SIMULATION_FRAME_BYTES = 16 << 20;
const PAGE = 4096;

function makeEnv({ dummy }: SwitchOptions): NetdevEnv {
  const isSimulation = dummy === 'override';
  const arena = new Arena(ARENA_BYTES);
  const bytes = isSimulation ? SIMULATION_FRAME_BYTES : FRAME_BYTES;
  const frames = { at: arena.alloc(bytes, PAGE), bytes };
  // Behind the frames: megaflows and caches. A hundred thousand flows are more pages than a processor remembers.
  if (!isSimulation) adviseHugePages(arena.u8, frames.at + bytes);
  return { arena, frames, byName: new Map() };
}

/** Columns that only the switch writes. */
const STATUS_COLUMNS: Readonly<Record<string, ReadonlySet<string>>> = {
  Open_vSwitch: new Set([
    'cur_cfg',
    'ovs_version',
    'db_version',
    'system_type',
    'system_version',
    'datapath_types',
    'iface_types',
    'dpdk_initialized',
    'dpdk_version',
  ]),
  Bridge: new Set(['datapath_version', 'datapath_id', 'status', 'rstp_status']),
  Datapath: new Set(['capabilities']),
  Port: new Set(['status', 'statistics', 'rstp_status', 'rstp_statistics', 'bond_active_slave']),
  Interface: new Set([
    'mac_in_use',
    'ifindex',
    'ofport',
    'statistics',
    'status',
    'admin_state',
    'link_state',
    'link_resets',
    'link_speed',
    'lacp_current',
    'bfd_status',
    'cfm_fault',
    'cfm_fault_status',
    'cfm_flap_count',
    'cfm_health',
    'cfm_remote_mpids',
    'cfm_remote_opstate',
    'duplex',
    'mtu',
    'error',
  ]),
  Controller: new Set(['is_connected', 'role', 'status']),
  Mirror: new Set(['statistics']),
};

function hasConfig(change: { readonly row: Row; readonly columns: ReadonlySet<string> }): boolean {
  const status = STATUS_COLUMNS[change.row.table.name];
  for (const column of change.columns) if (!status?.has(column)) return true;
  return false;
}

/** `ID` and `VERSION_ID` of os-release(5). */
function operatingSystem(): { type: string; version: string } {
  try {
    const text = readFileSync('/etc/os-release', 'utf8');
    const field = (name: string) => new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1];
    return { type: field('ID') ?? 'unknown', version: field('VERSION_ID') ?? 'unknown' };
  } catch {
    return { type: 'unknown', version: 'unknown' };
  }
}
