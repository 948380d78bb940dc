/**
 * Reads the records of transactions straight from their bytes into rows: no text, no JSON values in between, so that opening a long file
 * costs little time and a large one little memory.
 *
 * It knows only what servers write (`plain-reader.ts`). Whatever else it meets, right or wrong, it leaves to `applyRecord`, which also has the
 * words for what is wrong. Nothing is changed before a record was read to its end and its hash is right.
 *
 * A record that is larger than the window is read row by row: when the bytes run out, the last row begun is read again when there are more.
 */
import { createHash } from 'node:crypto';
import type { Uuid } from './atom.ts';
import type { Database, Table } from './database.ts';
import { type Datum, datumApplyDiff, standsWhole } from './datum.ts';
import { type LogReader, type RecordPlace, WINDOW_SIZE } from './log-format.ts';
import { CLOSE_BRACE, COLON, isPlainUuid, NEWLINE, NOT_PLAIN, OPEN_BRACE, PlainReader } from './plain-reader.ts';
import { defaultData, makeRow, type Row, type RowChange } from './row.ts';
import type { ColumnSchema } from './schema.ts';

const NULL = Buffer.from('null');

/** Rows of a large record between two turns of others. */
const ROWS_PER_STEP = 50;

/** For more than these, lists of a record's rows are not kept for the next. */
const KEPT_ROWS = 1000;

type State = 'start' | 'member' | 'row' | 'after table' | 'end' | 'done';

export class RecordReader extends PlainReader {
  private readonly db: Database;
  /** Everything before it is read and need not be read again. */
  private good = 0;
  private goodValueCount = 0;
  private state: State = 'start';
  private table: Table | null = null;
  private isDiff = false;
  private readonly seenTables = new Set<Table>();
  private readonly seenRows = new Set<Uuid>();
  /** What the record changes: of the row `uuids[i]` of `tables[i]`, `olds[i]`, it makes `news[i]`; null for none. */
  private count = 0;
  private tables: Table[] = [];
  private uuids: Uuid[] = [];
  private olds: (Row | null)[] = [];
  private news: (Row | null)[] = [];
  /**
   * Rows that were there before are made when it is known whether their columns are differences: the columns of `news[updateRows[i]]` begin
   * at `updateStarts[i]`. Arrays that live on are filled anew for each record, since to make some for each is dear.
   */
  private updateCount = 0;
  private updateRows: number[] = [];
  private updateStarts: number[] = [];
  private valueCount = 0;
  private columns: ColumnSchema[] = [];
  private values: Datum[] = [];
  private rowSerial = 0;
  /** In which row a column of that index was last met. */
  private readonly columnSerials: number[] = [];

  constructor(db: Database) {
    super();
    this.db = db;
  }

  /** Whether a record can be read at one go. */
  static isSmall(place: RecordPlace): boolean {
    return place.end - place.start <= WINDOW_SIZE;
  }

  /** Applies a small record; false if it is not plain. Throws `OvsdbError` if it is damaged. */
  apply(reader: LogReader, place: RecordPlace): boolean {
    const body = reader.body(place);
    // It takes the part of the zero.
    if (body[body.length - 1] !== NEWLINE) return false;
    this.reset();
    this.buffer = body;
    try {
      while (this.state !== 'done') this.step();
      if (this.pos !== body.length) return false;
      this.finishUpdates();
    } catch (error) {
      if (error !== NOT_PLAIN) throw error;
      return false;
    }
    this.commit();
    return true;
  }

  /** The same for a large one, in steps. */
  *applyLarge(reader: LogReader, place: RecordPlace): Generator<void, boolean> {
    const hash = createHash('sha1');
    let buffer = Buffer.allocUnsafeSlow(WINDOW_SIZE);
    let filled = 0;
    let position = place.start;
    this.reset();
    const more = () => {
      const rest = filled - this.good;
      const old = buffer;
      if (rest > buffer.length / 2) buffer = Buffer.allocUnsafeSlow(2 * buffer.length);
      old.copy(buffer, 0, this.good, filled);
      const wanted = Math.min(buffer.length - 1 - rest, place.end - position);
      const n = reader.readInto(buffer.subarray(rest, rest + wanted), position);
      hash.update(buffer.subarray(rest, rest + n));
      position += n;
      filled = rest + n;
      buffer[filled] = 0;
      this.buffer = buffer;
      this.pos = this.good = 0;
      this.valueCount = this.goodValueCount;
      return n > 0;
    };
    more();
    for (let steps = 1; this.state !== 'done'; steps++) {
      try {
        this.step();
      } catch (error) {
        if (error !== NOT_PLAIN) throw error;
        if (!more()) return false;
      }
      if (steps % ROWS_PER_STEP === 0) yield;
    }
    if (position !== place.end || this.pos !== filled) return false;
    reader.checkDigest(place, hash.digest('hex'));
    try {
      this.finishUpdates();
    } catch (error) {
      if (error !== NOT_PLAIN) throw error;
      return false;
    }
    yield* this.commitInSteps();
    return true;
  }

  private reset(): void {
    this.pos = this.good = 0;
    this.state = 'start';
    this.isDiff = false;
    if (this.seenTables.size > 0) this.seenTables.clear();
    if (this.seenRows.size > 0) this.seenRows.clear();
    this.updateCount = 0;
    this.valueCount = this.goodValueCount = 0;
    const isLarge = this.count > KEPT_ROWS;
    this.count = 0;
    if (!isLarge) return;
    this.tables = [];
    this.uuids = [];
    this.olds = [];
    this.news = [];
    this.updateRows = [];
    this.updateStarts = [];
    this.columns = [];
    this.values = [];
  }

  /** Reads one member of the record, or one row. Everything is kept as it was when there are not bytes enough. */
  private step(): void {
    this.good = this.pos;
    this.goodValueCount = this.valueCount;
    switch (this.state) {
      case 'start':
        this.expect(OPEN_BRACE);
        this.state = this.take(CLOSE_BRACE) ? 'end' : 'member';
        return;
      case 'member':
        return this.member();
      case 'row':
        return this.row();
      case 'after table':
        this.state = this.isLast() ? 'end' : 'member';
        return;
      case 'end':
        this.expect(NEWLINE);
        this.state = 'done';
    }
  }

  private member(): void {
    const name = this.string();
    this.expect(COLON);
    if (name.startsWith('_')) return this.annotation(name);
    const table = this.db.tables.get(name);
    if (table === undefined || this.seenTables.has(table)) throw NOT_PLAIN;
    this.expect(OPEN_BRACE);
    const isEmpty = this.take(CLOSE_BRACE);
    this.seenTables.add(table);
    this.table = table;
    this.state = isEmpty ? 'after table' : 'row';
  }

  private annotation(name: string): void {
    let isDiff = false;
    if (name === '_comment') this.string();
    else if (name === '_date') this.integer();
    else if (name === '_is_diff') isDiff = this.boolean();
    else throw NOT_PLAIN;
    const isLast = this.isLast();
    if (name === '_is_diff') this.isDiff = isDiff;
    this.state = isLast ? 'end' : 'member';
  }

  private row(): void {
    const table = this.table!;
    const uuid = this.string();
    this.expect(COLON);
    const old = table.rows.get(uuid);
    if (old === undefined && !isPlainUuid(uuid)) throw NOT_PLAIN;
    const firstValue = this.valueCount;
    let row: Row | null = null;
    let isUpdate = false;
    if (this.buffer[this.pos] === NULL[0]) {
      this.expectBytes(NULL);
      if (old === undefined) throw NOT_PLAIN;
    } else if (old === undefined) {
      const data = defaultData(table.schema).slice();
      this.rowColumns(table, data);
      row = makeRow(uuid, data);
    } else {
      this.rowColumns(table, null);
      isUpdate = true;
    }
    const isLast = this.isLast();
    this.remember(uuid);
    const { count } = this;
    if (isUpdate) {
      this.updateRows[this.updateCount] = count;
      this.updateStarts[this.updateCount++] = firstValue;
    }
    this.tables[count] = table;
    this.uuids[count] = old?.uuid ?? uuid;
    this.olds[count] = old ?? null;
    this.news[count] = row;
    this.count++;
    if (isLast) this.state = 'after table';
  }

  /** A second value of the same member would be the one that counts. */
  private remember(uuid: Uuid): void {
    const { seenRows, count } = this;
    if (count === 0) return;
    if (count === 1) seenRows.add(this.uuids[0]!);
    // The same in two tables is rare, and not wrong for those who look closer.
    if (seenRows.has(uuid)) throw NOT_PLAIN;
    seenRows.add(uuid);
  }

  /** Values of a new row go into its data, those of an old one are listed. */
  private rowColumns(table: Table, data: Datum[] | null): void {
    this.expect(OPEN_BRACE);
    if (this.take(CLOSE_BRACE)) return;
    const serial = ++this.rowSerial;
    do {
      const column = table.schema.columnByName.get(this.string());
      if (column === undefined) throw NOT_PLAIN;
      const { index } = column;
      // A second value of the same column would be the one that counts.
      if (this.columnSerials[index] === serial) throw NOT_PLAIN;
      this.columnSerials[index] = serial;
      this.expect(COLON);
      const value = this.datum(column);
      if (data !== null) {
        if (!fits(column, value)) throw NOT_PLAIN;
        data[index] = value;
      } else {
        this.columns[this.valueCount] = column;
        this.values[this.valueCount++] = value;
      }
    } while (!this.isLast());
  }

  /** Makes the rows that were there before what they are now. */
  private finishUpdates(): void {
    for (let i = 0; i < this.updateCount; i++) {
      const old = this.olds[this.updateRows[i]!]!;
      const data = old.data.slice();
      const end = i + 1 < this.updateCount ? this.updateStarts[i + 1]! : this.valueCount;
      for (let at = this.updateStarts[i]!; at < end; at++) {
        const column = this.columns[at]!;
        const value = this.values[at]!;
        const { type, index } = column;
        const isWhole = !this.isDiff || standsWhole(type, data[index]!);
        if (isWhole && !fits(column, value)) throw NOT_PLAIN;
        data[index] = isWhole ? value : datumApplyDiff(type, data[index]!, value);
      }
      this.news[this.updateRows[i]!] = makeRow(old.uuid, data);
    }
  }

  private commit(): void {
    if (this.count === 1) {
      const change = this.change(0);
      this.db.leave(this.tables[0]!, this.uuids[0]!, change);
      this.db.replace(this.tables[0]!, this.uuids[0]!, change);
      return;
    }
    for (const _ of this.commitInSteps());
  }

  private *commitInSteps(): Generator<void> {
    const { db, tables, uuids, count } = this;
    for (let i = 0; i < count; i++) {
      db.leave(tables[i]!, uuids[i]!, this.change(i));
      if (i % ROWS_PER_STEP === 0) yield;
    }
    for (let i = 0; i < count; i++) {
      db.replace(tables[i]!, uuids[i]!, this.change(i));
      if (i % ROWS_PER_STEP === 0) yield;
    }
    this.reset();
  }

  private change(i: number): RowChange {
    return { old: this.olds[i]!, new: this.news[i]! };
  }
}

function fits({ type }: ColumnSchema, { keys }: Datum): boolean {
  return keys.length >= type.min && keys.length <= type.max;
}
