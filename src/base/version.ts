/** The Open vSwitch version whose interfaces we present; clients compare it. */
export const VERSION = '3.7.0';

/** The first line that `PROGRAM --version` prints and the answer to the `version` command. */
export function PROGRAM_VERSION_LINE(program: string): string {
  return `${program} (Open vSwitch) ${VERSION}`;
}
