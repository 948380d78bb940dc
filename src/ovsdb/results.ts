/** The reply to a `transact`: the results of its operations, of which those of large selects are put into text in pieces. */
import { type Json, stringifyJson } from './json.ts';
import type { LargeSelect } from './operations.ts';

export class Results {
  private readonly id: string;
  private readonly results: Json[];
  private readonly large: ReadonlyMap<number, LargeSelect> | null;

  /** `id` is the JSON text of the request's. */
  constructor(id: string, results: Json[], large: ReadonlyMap<number, LargeSelect> | null) {
    this.id = id;
    this.results = results;
    this.large = large;
  }

  add(result: object): void {
    this.results.push(result as Json);
  }

  get isLarge(): boolean {
    return this.large !== null;
  }

  text(): string {
    return `{"id":${this.id},"result":${stringifyJson(this.results)},"error":null}`;
  }

  *texts(): Generator<string> {
    yield `{"id":${this.id},"result":[`;
    for (const [i, result] of this.results.entries()) {
      if (i > 0) yield ',';
      const select = this.large?.get(i);
      if (select === undefined) {
        yield stringifyJson(result);
        continue;
      }
      let before = '{"rows":[';
      for (const row of select.rows) {
        yield `${before}${stringifyJson(select.toJson(row))}`;
        before = ',';
      }
      yield ']}';
    }
    yield '],"error":null}';
  }
}
