/** The text of remotes, `tcp:HOST:PORT`, `ptcp:PORT:HOST` and so on, as `ovsdb(7)` defines them. */

export const OPENFLOW_PORT = 6653;
export const OVSDB_PORT = 6640;

const ACTIVE = ['unix', 'tcp', 'ssl'] as const;
const PASSIVE = ['punix', 'ptcp', 'pssl'] as const;

export interface Remote {
  readonly kind: (typeof ACTIVE)[number] | (typeof PASSIVE)[number];
  readonly passive: boolean;
  /** What follows the first colon. */
  readonly rest: string;
}

/** Splits a remote. Null when its kind is unknown. */
export function parseRemote(text: string): Remote | null {
  const colon = text.indexOf(':');
  if (colon < 0) return null;
  const kind = text.slice(0, colon);
  const rest = text.slice(colon + 1);
  if ((ACTIVE as readonly string[]).includes(kind)) return { kind: kind as Remote['kind'], passive: false, rest };
  if ((PASSIVE as readonly string[]).includes(kind)) return { kind: kind as Remote['kind'], passive: true, rest };
  return null;
}

/** `HOST[:PORT]`, an IPv6 address in brackets. Null when it is not one. */
export function parseActiveAddress(text: string, defaultPort: number): { host: string; port: number } | null {
  const m = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(text);
  if (!m) return null;
  return withPort(m[1] ?? m[2], m[3], defaultPort);
}

/** `[PORT][:HOST]`, an IPv6 address in brackets. Null when it is not one. */
export function parsePassiveAddress(text: string, defaultPort: number): { host: string | null; port: number } | null {
  const m = /^(\d*)(?::(?:\[([^\]]+)\]|([^:[\]]+)))?$/.exec(text);
  if (!m) return null;
  const at = withPort(m[2] ?? m[3] ?? '', m[1] || undefined, defaultPort);
  return at && { host: at.host || null, port: at.port };
}

function withPort(host: string, text: string | undefined, defaultPort: number): { host: string; port: number } | null {
  const port = text === undefined ? defaultPort : Number(text);
  return port <= 65535 ? { host, port } : null;
}

/** A host as it stands in a remote: IPv6 addresses get their brackets, IPv4 in IPv6 is IPv4. */
export function formatHost(host: string): string {
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host);
  if (v4) return v4[1];
  return host.includes(':') ? `[${host}]` : host;
}
