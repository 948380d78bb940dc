/**
 * The table of commands that a running program answers on its control socket. There is one in a process: any room
 * registers its own, at import or when it starts, and `Unixctl` serves them all.
 */

export type CommandHandler = (args: string[], context: CommandContext) => string | Promise<string>;

export interface CommandContext {
  /** What the client asked for with `ovs-appctl --format`. */
  readonly format: 'text' | 'json';
}

export interface Command {
  readonly name: string;
  readonly usage: string;
  readonly minArgs: number;
  readonly maxArgs: number;
  readonly handler: CommandHandler;
}

/** Thrown by a handler: its text is the error that the client prints. */
export class UnixctlError extends Error {
  readonly code = 'UNIXCTL_ERROR';
}

/** For the maximum number of arguments of a command that takes any. */
export const MANY_ARGS = 0x7fffffff;

const commands = new Map<string, Command>();

/**
 * Adds a command, replacing one of the same name. `usage` is what `list-commands` shows. The handler returns the answer,
 * to which a new line is added if it has none, or throws `UnixctlError`.
 */
export function registerCommand(
  name: string,
  usage: string,
  minArgs: number,
  maxArgs: number,
  handler: CommandHandler,
): Disposable {
  const command = { name, usage, minArgs, maxArgs, handler };
  commands.set(name, command);
  return {
    [Symbol.dispose]: () => {
      if (commands.get(name) === command) commands.delete(name);
    },
  };
}

/** All commands by name, in order. */
export function listCommands(): Command[] {
  return [...commands.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Runs a command as a client would; errors are `UnixctlError`, whatever the handler threw. */
export async function runCommand(name: string, args: string[], context: CommandContext): Promise<string> {
  const command = commands.get(name);
  if (!command) {
    throw new UnixctlError(`"${name}" is not a valid command (use "list-commands" to see a list of valid commands)`);
  }
  if (args.length < command.minArgs) {
    throw new UnixctlError(`"${name}" command requires at least ${command.minArgs} arguments`);
  }
  if (args.length > command.maxArgs) {
    throw new UnixctlError(`"${name}" command takes at most ${command.maxArgs} arguments`);
  }
  try {
    return await command.handler(args, context);
  } catch (error) {
    if (error instanceof UnixctlError) throw error;
    throw new UnixctlError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
