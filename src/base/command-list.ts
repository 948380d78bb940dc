/** What `list-commands` of the tools says: each command with its arguments. */

/** Names with what follows them, in the order in which they are told. */
export type CommandUsage = readonly (readonly [name: string, usage: string])[];

export function commandList(commands: CommandUsage): string {
  const lines = commands.map(([name, usage]) => `  ${name.padEnd(23)} ${usage}\n`);
  return `The available commands are:\n${lines.join('')}`;
}
