/**
 * The hidden rules by which packets of a `balance-tcp` bond leave: the datapath hashes a packet, it comes back with the bond's
 * recirculation id and that hash, and the last eight bits of the hash have a rule each that names a member. So a flow's first
 * megaflow does not look at its ports, and to move a part of the load is to change a rule.
 */
import { OFS } from '../flow/layout.ts';
import { Match } from '../flow/match.ts';
import { OFPP } from '../openflow/ports.ts';
import { BOND_BUCKETS, type Bond } from './bond.ts';
import type { Bridge } from './bridge.ts';
import type { Rule } from './rule.ts';
import { TBL_INTERNAL } from './tables.ts';

const PRIORITY = 20;
let lastCookie = 0n;

interface Placed {
  readonly rule: Rule;
  readonly ofport: number;
  /** Of the rule's counter, those that are the bucket's already. */
  bytes: number;
}

export class BondRules {
  readonly recircId: number;
  private readonly bridge: Bridge;
  private readonly placed: (Placed | null)[] = new Array(BOND_BUCKETS).fill(null);

  constructor(bridge: Bridge) {
    this.bridge = bridge;
    this.recircId = bridge.backer.recirc.allocatePinned({
      bridge,
      table: TBL_INTERNAL,
      // Makes the state this bond's own.
      cookie: --lastCookie & 0xffffffffffffffffn,
      resume: TBL_INTERNAL,
      inPort: OFPP.NONE,
      registers: new Int32Array(0),
      stack: [],
      actions: [],
      actionSet: [],
      conntracked: false,
      userdata: null,
    });
  }

  /** Puts the rules in agreement with where the bond wants each hash to go. */
  update(bond: Bond): void {
    for (let hash = 0; hash < BOND_BUCKETS; hash++) {
      const ofport = bond.memberOf(hash)?.port.ofport ?? null;
      const old = this.placed[hash];
      if (old && !old.rule.removed && old.ofport === ofport) continue;
      if (old && !old.rule.removed) {
        this.credit(bond, hash);
        this.bridge.tables.remove(old.rule, 'flush');
      }
      this.placed[hash] = ofport === null ? null : { rule: this.add(hash, ofport), ofport, bytes: 0 };
    }
  }

  private add(hash: number, ofport: number): Rule {
    const match = new Match();
    match.key.set32(OFS.recirc_id, this.recircId);
    match.mask.set32(OFS.recirc_id, 0xffffffff);
    match.key.set32(OFS.dp_hash, hash);
    match.mask.set32(OFS.dp_hash, BOND_BUCKETS - 1);
    return this.bridge.addInternalRule(match, PRIORITY, [{ kind: 'output', port: ofport, maxLen: 0 }]);
  }

  /** Gives the datapath a table of its own, or takes it away; returns whether it has one now. */
  updateTable(bond: Bond): boolean {
    const { bonds } = this.bridge.backer.dpif;
    if (!bonds || !bond.config.lbOutput) {
      bonds?.delete(this.recircId);
      return false;
    }
    const ports = Array.from({ length: BOND_BUCKETS }, (_, hash) => {
      const ofport = bond.memberOf(hash)?.port.ofport;
      return ofport === undefined ? null : (this.bridge.ofport(ofport)?.dpPort ?? null);
    });
    return bonds.set(this.recircId, ports);
  }

  /** Tells the bond what its rules have carried since last time. */
  creditAll(bond: Bond): void {
    const table = bond.lbOutput ? (this.bridge.backer.dpif.bonds?.bytes(this.recircId) ?? []) : [];
    for (const [hash, bytes] of table.entries()) bond.credit(hash, bytes);
    for (let hash = 0; hash < BOND_BUCKETS; hash++) this.credit(bond, hash);
  }

  private credit(bond: Bond, hash: number): void {
    const placed = this.placed[hash];
    if (!placed) return;
    bond.credit(hash, placed.rule.bytes - placed.bytes);
    placed.bytes = placed.rule.bytes;
  }

  close(): void {
    for (const one of this.placed) if (one && !one.rule.removed) this.bridge.tables.remove(one.rule, 'flush');
    this.placed.fill(null);
    this.bridge.backer.dpif.bonds?.delete(this.recircId);
    this.bridge.backer.recirc.unpin(this.recircId);
  }
}
