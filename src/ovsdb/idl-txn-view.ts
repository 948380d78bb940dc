/** A row as a transaction sees it. */
import { type Row, RowView } from './idl-replica.ts';
import type { Transaction } from './idl-txn.ts';
import type { ColumnSchema } from './schema.ts';
import type { Datum, Uuid } from './types.ts';

export class TransactionView extends RowView {
  private readonly transaction: Transaction;
  private readonly row: Row;

  constructor(transaction: Transaction, row: Row) {
    super();
    this.transaction = transaction;
    this.row = row;
  }

  get(column: string): Datum {
    return this.transaction.get(this.row, column);
  }

  protected lookUp(table: string, uuid: Uuid): Row | undefined {
    return this.transaction.lookUp(table, uuid);
  }

  protected columnSchema(column: string): ColumnSchema {
    return this.row.table.column(column);
  }
}
