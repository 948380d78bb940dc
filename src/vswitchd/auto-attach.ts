/**
 * Auto-attach: a VLAN that is joined to a network enters the trunks of the ports that speak LLDP, and leaves them with the mapping.
 *
 * As in the original this is written into the database as if somebody had configured it, members of bonds are left out, and neither
 * a port that stops to speak LLDP nor a bridge that loses its `auto_attach` gives VLANs back.
 */
import type { AutoAttachConfig } from '../ofproto/lldp.ts';
import type { Row, Transaction } from '../ovsdb/idl.ts';

interface Change {
  readonly port: string;
  readonly vlan: number;
  readonly isAdded: boolean;
}

export class AutoAttachTrunks {
  /** By port: networks and their VLANs. */
  private attached = new Map<string, ReadonlyMap<number, number>>();
  /** Until the database has them. */
  private changes: Change[] = [];

  update(config: AutoAttachConfig | null, speakers: readonly string[]): void {
    const wanted = config && new Map(config.mappings.map(({ isid, vlan }) => [isid, vlan]));
    const next = new Map<string, ReadonlyMap<number, number>>();
    for (const port of speakers) {
      const before = this.attached.get(port) ?? new Map<number, number>();
      next.set(port, wanted ?? before);
      if (!wanted) continue;
      const [old, now] = [new Set(before.values()), new Set(wanted.values())];
      for (const vlan of old) if (!now.has(vlan)) this.change({ port, vlan, isAdded: false });
      for (const vlan of now) if (!old.has(vlan)) this.change({ port, vlan, isAdded: true });
    }
    this.attached = next;
  }

  private change(change: Change): void {
    this.changes = this.changes.filter(({ port, vlan }) => port !== change.port || vlan !== change.vlan);
    this.changes.push(change);
  }

  write(txn: Transaction, rowOf: (port: string) => Row | null): void {
    if (this.changes.length === 0) return;
    this.changes = this.changes.filter(({ port, vlan, isAdded }) => {
      const row = rowOf(port);
      return row !== null && trunksOf(row).has(vlan) !== isAdded;
    });
    for (const port of new Set(this.changes.map((change) => change.port))) {
      const row = rowOf(port);
      if (!row) continue;
      const trunks = trunksOf(row);
      for (const { port: of, vlan, isAdded } of this.changes) {
        if (of !== port) continue;
        if (isAdded) trunks.add(vlan);
        else trunks.delete(vlan);
      }
      txn.set(row, 'trunks', [...trunks]);
      if (trunks.size < 2) txn.set(row, 'vlan_mode', trunks.size === 0 ? 'access' : 'trunk');
    }
  }
}

const trunksOf = (row: Row): Set<number> => new Set(row.get('trunks').keys.map(Number));
