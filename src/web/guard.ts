/**
 * Who may talk to the dashboard. Three things are checked of each request, each against another enemy:
 *
 * - `Host`: a page from elsewhere whose name suddenly resolves to this machine (DNS rebinding) is of the same origin as far as the
 *   browser knows, but it cannot change the name it asks for. IP addresses cannot be rebound.
 * - `Origin` and `Sec-Fetch-Site`: a page from elsewhere may send requests here, though not read the answers. Those with an effect
 *   must come from our own pages.
 * - The token, where there is one: in a cookie for pages, in `Authorization: Bearer` for programs.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

export interface Guard {
  readonly token: string | null;
  /** Names, beside `localhost` and addresses, that this machine is called by. */
  readonly hosts: ReadonlySet<string>;
}

export type Verdict = { readonly ok: true } | { readonly ok: false; readonly status: number; readonly error: string };

const OK: Verdict = { ok: true };
export const COOKIE = 'signalbox-token';

const refuse = (status: number, error: string): Verdict => ({ ok: false, status, error });

/** The name in a `Host` header, without its port; null when it is none. */
export function hostName(header: string | undefined): string | null {
  const found = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/.exec(header ?? '');
  if (!found) return null;
  return found[1].replace(/^\[|\]$/g, '').toLowerCase();
}

export function checkHost(guard: Guard, request: IncomingMessage): Verdict {
  const name = hostName(request.headers.host);
  if (name === null) return refuse(400, 'the request names no host');
  if (isIP(name) !== 0 || name === 'localhost' || guard.hosts.has(name)) return OK;
  return refuse(
    403,
    `${name} is not a name of this dashboard; ask for it by address, or start it with --host=${name} to allow that name`,
  );
}

/** Requests of pages from elsewhere. Programs send neither header. */
export function checkOrigin(request: IncomingMessage): Verdict {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return refuse(403, 'requests of other sites are refused');
  const { origin, host } = request.headers;
  if (origin === undefined) return OK;
  let from: string | null = null;
  try {
    from = new URL(origin).host;
  } catch {
    // `null`, of a page without an origin.
  }
  // `Host` may say the scheme's own port, an origin never does.
  return from !== null && from === (host ?? '').toLowerCase().replace(/:80$/, '')
    ? OK
    : refuse(403, 'requests of other origins are refused');
}

export function checkToken(guard: Guard, request: IncomingMessage): Verdict {
  if (guard.token === null) return OK;
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const given = bearer ?? cookieOf(request.headers.cookie ?? '');
  return given !== null && isToken(guard, given) ? OK : refuse(401, 'this dashboard asks for its token');
}

export function isToken(guard: Guard, given: string): boolean {
  // Hashes are of one length, and comparing them tells nothing of where the token differs.
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return guard.token !== null && timingSafeEqual(hash(given), hash(guard.token));
}

function cookieOf(header: string): string | null {
  for (const part of header.split(';')) {
    const [name, value] = part.trim().split('=');
    if (name === COOKIE && value !== undefined) return value;
  }
  return null;
}
