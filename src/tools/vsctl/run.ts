/**
 * One run of `ovs-vsctl` against a database: replica, transaction, commit, again if others were quicker, and the wait for
 * the switch.
 */

import type { Table } from '../../base/table.ts';
import { vlog } from '../../base/vlog.ts';
import type { CommitResult, Remote } from '../../ovsdb/idl.ts';
import { Idl } from '../../ovsdb/idl.ts';
import type { DatabaseSchema } from '../../ovsdb/schema.ts';
import { type Command, mergeNeeds, type Needs } from './command.ts';
import type { ParsedCommand } from './command-line.ts';
import { CommandError, Context, NotYet } from './context.ts';
import { target } from './target.ts';

const log = vlog('vsctl');

export interface RunOptions {
  readonly remote: Remote;
  readonly retry: boolean;
  readonly wait: boolean;
  readonly dryRun: boolean;
  /** Stored in the database's log with what changed. */
  readonly comment: string;
  readonly leaderOnly: boolean;
  /** Several remotes are tried in random order. */
  readonly shuffle: boolean;
}

export interface CommandOutput {
  readonly text: string;
  readonly table: Table | null;
}

export interface RunResult {
  readonly outputs: readonly CommandOutput[];
  /** Interfaces that this run added and that the switch reports as broken: `[name, error]`; the error is null where none is known. */
  readonly interfaceErrors: readonly (readonly [string, string | null])[];
}

/** The server cannot be reached. */
export class ConnectionFailure extends Error {}

export async function run(commands: readonly ParsedCommand<Command>[], options: RunOptions): Promise<RunResult> {
  const writes = commands.some((command) => command.syntax.writes);
  const waits = writes && options.wait && target().waits && !options.dryRun;
  const base: Needs = {
    [target().rootTable]: waits ? ['cur_cfg', 'next_cfg'] : [],
    ...(waits ? { Interface: ['name', 'error', 'ofport'] } : {}),
  };
  const needs = mergeNeeds([base, ...commands.map((command) => command.syntax.needs(command.args, command.options))]);
  const idl = new Idl(options.remote, {
    database: target().schemaName,
    tables: needs,
    eager: true,
    assumedSchema: assumedSchema(Object.keys(needs)),
    leaderOnly: options.leaderOnly,
    shuffle: options.shuffle,
  });
  try {
    return await follow(idl, commands, options, waits);
  } finally {
    idl.close();
  }
}

/** The schema this program was made for, as far as it is needed. */
function assumedSchema(names: readonly string[]): DatabaseSchema {
  const tables = names.flatMap((name) => target().table(name) ?? []);
  return {
    name: target().schemaName,
    version: target().schemaVersion,
    cksum: '',
    tables: new Map(tables.map((table) => [table.name, table])),
  };
}

async function follow(
  idl: Idl,
  commands: readonly ParsedCommand<Command>[],
  options: RunOptions,
  waits: boolean,
): Promise<RunResult> {
  const failure = new Promise<never>((_resolve, reject) => {
    let reason = '';
    idl.onFailure(({ error, isLast }) => {
      // Of several remotes, one that could not be reached says more than one that would not do.
      reason = (error ?? 'End of file') || reason;
      if (options.retry || !isLast) return;
      const remote = typeof options.remote === 'string' ? options.remote : 'in-process';
      reject(new ConnectionFailure(`${remote}: database connection failed (${reason})`));
    });
  });
  failure.catch(() => undefined);
  idl.start();
  await Promise.race([idl.synced(), failure]);
  for (;;) {
    const seqno = idl.seqno;
    const result = await Promise.race([attempt(idl, commands, options, waits), failure]);
    if (result !== null) return result;
    await Promise.race([changeSince(idl, seqno), failure]);
  }
}

/** Resolves once the replica is in sync and has changed since `seqno`. */
function changeSince(idl: Idl, seqno: number): Promise<void> {
  if (idl.isSynced && idl.seqno !== seqno) return Promise.resolve();
  return new Promise((resolve) => {
    const listener = idl.onChange(() => {
      if (!idl.isSynced) return;
      listener[Symbol.dispose]();
      resolve();
    });
  });
}

/** Null when it has to be done again. */
async function attempt(
  idl: Idl,
  commands: readonly ParsedCommand<Command>[],
  options: RunOptions,
  waits: boolean,
): Promise<RunResult | null> {
  const context = new Context(idl, idl.transaction());
  context.openVswitch();
  const outputs: { text: string; table: Table | null }[] = [];
  try {
    for (const { syntax, args, options: own } of commands) {
      context.commandName = syntax.name;
      context.args = args;
      context.options = own;
      context.output = '';
      context.table = null;
      syntax.run(context);
      outputs.push({ text: context.output, table: context.table });
    }
  } catch (error) {
    if (error instanceof NotYet) return null;
    throw error;
  }
  checkSymbols(context);

  const { txn } = context;
  const newInterfaces = waits
    ? context.rows('Interface').filter((row) => idl.table('Interface').get(row.uuid) !== row)
    : [];
  const names = newInterfaces.map((row) => context.view(row).string('name'));
  if (waits) txn.increment(context.openVswitch(), 'next_cfg');
  txn.comment(options.comment);
  if (options.dryRun) txn.abort();
  const result = await txn.commit();
  switch (result.status) {
    case 'try again':
      return null;
    case 'error':
      throw new CommandError(`transaction error: ${result.error}`);
    case 'not locked':
      throw new CommandError('database not locked');
    case 'success':
    case 'unchanged':
    case 'aborted':
      break;
  }

  commands.forEach(({ syntax }, i) => {
    if (syntax.finish === undefined) return;
    context.output = outputs[i].text;
    outputs[i].text = syntax.finish(context, (temporary) => realUuid(result, context, temporary));
  });
  const interfaceErrors: (readonly [string, string | null])[] = [];
  if (waits && result.status === 'success') {
    await switchReached(idl, result.incremented ?? 0);
    newInterfaces.forEach((row, i) => {
      const real = idl.table('Interface').get(result.insertedUuid(row) ?? '');
      if (real === undefined || (real.integer('ofport') ?? -1) >= 0) return;
      interfaceErrors.push([names[i], real.optionalString('error')]);
    });
  }
  return { outputs, interfaceErrors };
}

function realUuid(result: CommitResult, context: Context, temporary: string): string {
  for (const row of context.insertedRows) if (row.uuid === temporary) return result.insertedUuid(row) ?? temporary;
  return temporary;
}

/** Resolves when the switch has carried out configuration number `wanted`. */
async function switchReached(idl: Idl, wanted: number | bigint): Promise<void> {
  for (;;) {
    const seqno = idl.seqno;
    const row = idl.isSynced ? idl.table('Open_vSwitch').only() : null;
    if (row !== null && (row.get('cur_cfg').keys[0] as number | bigint) >= wanted) return;
    await changeSince(idl, seqno);
  }
}

function checkSymbols(context: Context): void {
  for (const [name, symbol] of context.symbols) {
    if (!symbol.created) {
      throw new CommandError(
        `row id "${name}" is referenced but never created (e.g. with "-- --id=${name} create ...")`,
      );
    }
    if (symbol.stronglyReferenced) continue;
    log.warn(
      symbol.referenced
        ? `row id "${name}" was created but only a weak reference to it was inserted, so it will not actually appear in the database`
        : `row id "${name}" was created but no reference to it was inserted, so it will not actually appear in the database`,
    );
  }
}
