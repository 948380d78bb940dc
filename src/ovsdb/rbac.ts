/**
 * Role-based access control (ovsdb(7), "Access Control"): what a client of a connection with a `role` may change, as the tables
 * `RBAC_Role` and `RBAC_Permission` of the database say. A client is known by the common name of its certificate. Without a role, or
 * without such tables, everything is allowed; reading always is.
 */
import type { Uuid } from './atom.ts';
import type { Database, Table } from './database.ts';
import type { Datum } from './datum.ts';
import { OvsdbError } from './error.ts';
import type { Row } from './row.ts';
import type { ColumnSchema } from './schema.ts';

export interface Client {
  /** Of the connection; empty for none. */
  readonly role: string;
  /** Null for a client that showed no certificate. */
  readonly id: string | null;
}

interface Permission {
  readonly authorization: Datum;
  readonly insertDelete: boolean;
  readonly update: Datum;
}

/** Each check throws `OvsdbError`, a `permission error`. A table without a permission is refused at once, else rows decide. */
export class Rbac {
  private readonly client: Client;
  private readonly roles: Table;
  private readonly permissions: Table | undefined;

  /** Null when nothing is to be checked. */
  static of(db: Database, client: Client | undefined): Rbac | null {
    const roles = db.tables.get('RBAC_Role');
    if (client === undefined || client.role === '' || roles === undefined) return null;
    return new Rbac(client, roles, db.tables.get('RBAC_Permission'));
  }

  private constructor(client: Client, roles: Table, permissions: Table | undefined) {
    this.client = client;
    this.roles = roles;
    this.permissions = permissions;
  }

  insert(table: Table, row: Row): void {
    const permission = this.permission(table);
    if (permission?.insertDelete && this.mayTouch(permission, table, row)) return;
    throw this.denied(`prohibit row insertion into table "${table.schema.name}".`);
  }

  delete(table: Table, rows: Iterable<Row>): void {
    const permission = this.permission(table);
    const allowed =
      permission !== null && all(rows, (row) => permission.insertDelete && this.mayTouch(permission, table, row));
    if (!allowed) throw this.denied(`prohibit row deletion from table "${table.schema.name}".`);
  }

  update(table: Table, columns: Iterable<ColumnSchema>, rows: Iterable<Row>): void {
    if (!this.mayModify(table, columns, rows))
      throw this.denied(`prohibit modification of table "${table.schema.name}".`);
  }

  mutate(table: Table, columns: Iterable<ColumnSchema>, rows: Iterable<Row>): void {
    if (!this.mayModify(table, columns, rows)) {
      throw this.denied(`prohibit mutate operation on table "${table.schema.name}".`);
    }
  }

  private mayModify(table: Table, columns: Iterable<ColumnSchema>, rows: Iterable<Row>): boolean {
    const permission = this.permission(table);
    if (permission === null) return false;
    const mayUpdate = all(columns, ({ name }) => permission.update.keys.includes(name));
    return all(rows, (row) => mayUpdate && this.mayTouch(permission, table, row));
  }

  private permission(table: Table): Permission | null {
    if (this.client.id === null || this.permissions === undefined) return null;
    for (const role of this.roles.rows.values()) {
      if (datumOf(this.roles, role, 'name')?.keys[0] !== this.client.role) continue;
      const byTable = datumOf(this.roles, role, 'permissions');
      const at = byTable?.keys.indexOf(table.schema.name) ?? -1;
      const row = at < 0 ? undefined : this.permissions.rows.get(byTable!.values![at] as Uuid);
      const authorization = row && datumOf(this.permissions, row, 'authorization');
      const update = row && datumOf(this.permissions, row, 'update');
      if (row === undefined || authorization === undefined || update === undefined) return null;
      const insertDelete = datumOf(this.permissions, row, 'insert_delete')?.keys[0] === true;
      return { authorization, insertDelete, update };
    }
    return null;
  }

  /** One of the columns, or `COLUMN:KEY` of maps, names the client; or the empty word lets everybody in. */
  private mayTouch({ authorization }: Permission, table: Table, row: Row): boolean {
    return authorization.keys.some((word) => {
      if (word === '') return true;
      const [name, key] = String(word).split(':') as [string, string?];
      const datum = datumOf(table, row, name);
      if (datum === undefined) return false;
      if (key === undefined) return datum.values === null && datum.keys.some((atom) => atom === this.client.id);
      const at = datum.keys.indexOf(key);
      return at >= 0 && datum.values?.[at] === this.client.id;
    });
  }

  private denied(what: string): OvsdbError {
    const { id, role } = this.client;
    return new OvsdbError('permission error', `RBAC rules for client "${id ?? '(null)'}" role "${role}" ${what}`);
  }
}

function datumOf(table: Table, row: Row, name: string): Datum | undefined {
  const column = table.schema.columnByName.get(name);
  return column === undefined ? undefined : row.data[column.index];
}

function all<T>(items: Iterable<T>, holds: (item: T) => boolean): boolean {
  for (const item of items) if (!holds(item)) return false;
  return true;
}
