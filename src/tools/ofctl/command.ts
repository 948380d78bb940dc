/** One command of `ovs-ofctl`. */
export interface Command {
  readonly name: string;
  /** Arguments behind the name; `max` Infinity takes any number. */
  readonly min: number;
  readonly max: number;
  /** Refused with `--read-only`. */
  readonly writes?: boolean;
  /** Asks the switch something and prints the answer, which may be JSON (`--format=json`). */
  readonly dumps?: boolean;
  run(args: readonly string[]): Promise<void>;
}
