/** Names of ports and tables, for the tools' `--names` and for text that people write. */
import { OFPP } from './ofpp.ts';

export interface Names {
  /** The name of a port, undefined where it has none. */
  readonly port?: (port: number) => string | undefined;
  readonly portByName?: (name: string) => number | undefined;
  readonly table?: (table: number) => string | undefined;
  readonly tableByName?: (name: string) => number | undefined;
}

const RESERVED = new Map<string, number>([
  ['IN_PORT', OFPP.IN_PORT],
  ['TABLE', OFPP.TABLE],
  ['NORMAL', OFPP.NORMAL],
  ['FLOOD', OFPP.FLOOD],
  ['ALL', OFPP.ALL],
  ['CONTROLLER', OFPP.CONTROLLER],
  ['LOCAL', OFPP.LOCAL],
  ['ANY', OFPP.NONE],
  ['UNSET', OFPP.UNSET],
]);
const RESERVED_NAMES = new Map([...RESERVED].map(([name, port]) => [port, name]));

/**
 * A port as people write it: a number, the name of a reserved port in any case, or a port's name. `warn` gets what the original would log.
 * Returns -1 for no port.
 */
export function parsePort(text: string, names?: Names, warn?: (text: string) => void): number {
  if (/^\d+$/.test(text) && Number(text) <= 0xffffffff) {
    const port = Number(text);
    if (port < OFPP.MAX) return port;
    if (port <= 0xffff) {
      const reserved = RESERVED_NAMES.get(port);
      if (reserved) {
        warn?.(`referring to port ${reserved} as ${port} is deprecated for compatibility with OpenFlow 1.1 and later`);
      } else {
        warn?.(
          `port ${port} is a reserved OF1.0 port number that will be translated to ${port + 0xffff0000} when talking to an OF1.1 or later controller`,
        );
      }
      return port;
    }
    if (port >= 0xffffff00) return port - 0xffff0000;
    warn?.(`port ${port} is outside the supported range 0 through ffff or 0xffffff00 through 0xffffffff`);
    return -1;
  }
  const upper = text.toUpperCase();
  if (upper === 'NONE') return OFPP.NONE;
  const reserved = RESERVED.get(upper);
  if (reserved !== undefined) return reserved;
  return names?.portByName?.(unquote(text)) ?? -1;
}

/** `LOCAL`, `3`, or the port's name. */
export function formatPort(port: number, names?: Names): string {
  const reserved = RESERVED_NAMES.get(port);
  if (reserved) return reserved;
  const name = names?.port?.(port);
  return name === undefined ? String(port) : quoteName(name);
}

export function formatTable(table: number, names?: Names): string {
  const name = names?.table?.(table);
  return name === undefined ? String(table) : quoteName(name);
}

/** A table number or name; -1 for neither. */
export function parseTable(text: string, names?: Names): number {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const n = Number(text);
    return n <= 255 ? n : -1;
  }
  return names?.tableByName?.(unquote(text)) ?? -1;
}

/** A name that is not a letter and then letters and digits is written in quotes. */
export function quoteName(name: string): string {
  return /^[a-zA-Z][a-zA-Z0-9]*$/.test(name) ? name : JSON.stringify(name);
}

export function unquote(text: string): string {
  if (!/^".*"$/.test(text)) return text;
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}
