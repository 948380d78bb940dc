/**
 * The dashboard's HTTP server: pages, the live stream, journeys, and questions to the switch.
 *
 * It only reads, unless it was started with leave to change. What is asked of the switch goes through its control socket, its
 * OpenFlow sockets and its database's, as any client's does; nothing is asked while nobody looks.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ovsRundir } from '../base/dirs.ts';
import { VERSION } from '../base/version.ts';
import type { Status } from './api.ts';
import { breaksFeed, carryOut } from './breaks.ts';
import { cachesFeed, Megaflows } from './caches.ts';
import { changesFeed, Database, netFeed, patchesFeed, rowsFeed, tablesFeed } from './database.ts';
import { dropsFeed } from './drops.ts';
import { Feed } from './feed.ts';
import { flowsFeed } from './flows.ts';
import { COOKIE, checkHost, checkOrigin, checkToken, type Guard, isToken, type Verdict } from './guard.ts';
import { journeyLines } from './journeys.ts';
import { lintBridge } from './lint.ts';
import { Pages } from './pages.ts';
import { Refused, SwitchClient } from './switch.ts';
import { topFeed } from './top.ts';

export interface DashboardOptions {
  /** Address and port to listen at; port 0 chooses one. */
  readonly address: string;
  readonly port: number;
  readonly token: string | null;
  /** Names that this machine is called by, beside `localhost`. */
  readonly hosts?: readonly string[];
  /** May pages do what holds packets up? */
  readonly allowsChanges: boolean;
  /** Pidfile's name or socket of the switch. */
  readonly target: string;
  /** `unix:…` of the database. */
  readonly database?: string;
  /** Where the built pages are. */
  readonly pages: string;
}

export interface Dashboard {
  readonly port: number;
  close(): void;
}

const MAX_BODY = 256 * 1024;
const MAX_TOPICS = 16;
/** A reader that takes nothing any more is let go. */
const MAX_BUFFERED = 64 * 1024 * 1024;
/** Says that the stream lives, while nothing happens. */
const PULSE_MS = 5000;

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

/** Rejects when the address cannot be had. */
export function serveDashboard(options: DashboardOptions): Promise<Dashboard> {
  const handler = new Handler(options);
  const server: Server = createServer((request, response) => {
    handler.handle(request, response).catch((error: Error) => fail(response, 500, error.message));
  });
  // Live streams stay open.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 30_000;
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`dashboard: ${error.message}`)));
    server.listen(options.port, options.address, () => {
      const at = server.address();
      resolve({
        port: typeof at === 'object' && at !== null ? at.port : options.port,
        close() {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}

class Handler {
  private readonly options: DashboardOptions;
  private readonly guard: Guard;
  private readonly to: SwitchClient;
  private readonly db: Database;
  private readonly megaflows: Megaflows;
  private readonly pages: Pages;
  private readonly feeds = new Map<string, Feed>();

  constructor(options: DashboardOptions) {
    this.options = options;
    const hosts = (options.hosts ?? []).map((name) => name.toLowerCase());
    this.guard = { token: options.token, hosts: new Set(hosts) };
    this.to = new SwitchClient(options.target);
    this.db = new Database(options.database ?? `unix:${ovsRundir()}/db.sock`);
    this.megaflows = new Megaflows(this.to);
    this.pages = new Pages(options.pages);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const url = parseUrl(request.url ?? '');
    const host = checkHost(this.guard, request);
    if (!host.ok) return refuse(response, host);
    if (url === null) return fail(response, 400, 'not an address of this dashboard');
    if (!url.pathname.startsWith('/api/')) return this.pages.serve(request, response, url.pathname);
    response.setHeader('cache-control', 'no-store');
    const origin = checkOrigin(request);
    if (!origin.ok) return refuse(response, origin);
    if (url.pathname === '/api/login') return this.login(request, response);
    const token = checkToken(this.guard, request);
    if (!token.ok) return refuse(response, token);
    const [method, path] = [request.method ?? '', url.pathname];
    const route = ROUTES[path];
    if (route === undefined) return fail(response, 404, `there is no ${path}`);
    if (route.method !== method) {
      response.setHeader('allow', route.method);
      return fail(response, 405, `${path} is asked for by ${route.method}`);
    }
    if (route.changes === true && !this.options.allowsChanges)
      return fail(response, 403, 'this dashboard only looks; start it with --allow-changes to change that');
    try {
      await this[route.name](url.searchParams, request, response);
    } catch (error) {
      // The switch's own words; or that it cannot be reached.
      fail(
        response,
        error instanceof Refused ? 422 : error instanceof BadRequest ? 400 : 502,
        (error as Error).message,
      );
    }
  }

  /** Takes the token once, and leaves it in a cookie that no script can read and no other site makes a browser send. */
  private async login(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') return fail(response, 405, '/api/login is asked for by POST');
    const { token } = await jsonBody(request, response);
    if (this.guard.token !== null && (typeof token !== 'string' || !isToken(this.guard, token)))
      return fail(response, 401, 'that is not the token');
    if (this.guard.token !== null)
      response.setHeader('set-cookie', `${COOKIE}=${token as string}; Path=/; HttpOnly; SameSite=Strict`);
    json(response, {});
  }

  // ---- live ----

  async live(query: URLSearchParams, _request: IncomingMessage, response: ServerResponse): Promise<void> {
    const topics = [...new Set(query.getAll('topic'))];
    if (topics.length > MAX_TOPICS) throw new BadRequest(`at most ${MAX_TOPICS} topics at a time`);
    const feeds = topics.map((topic) => ({ topic, feed: this.feedOf(topic) }));
    const stream = startLines(response);
    const held = feeds.map(({ topic, feed }) => feed.subscribe((data) => stream.line({ topic, data })));
    // Asking is what tells whether the switch is there; and changes are news from the moment that somebody looks at anything.
    for (const topic of ['top', 'changes']) held.push(this.feedOf(topic).subscribe(() => {}));
    stream.onClose(() => {
      for (const one of held) one[Symbol.dispose]();
    });
  }

  private feedOf(topic: string): Feed {
    let feed = this.feeds.get(topic);
    if (feed) return feed;
    const made = this.makeFeed(topic);
    if (made === null) throw new BadRequest(`there is no topic ${topic}`);
    // Feeds that nobody looks at any more are nothing; those of old queries need not be kept.
    for (const [name, old] of this.feeds) if (!old.isOpen) this.feeds.delete(name);
    feed = made;
    this.feeds.set(topic, feed);
    return feed;
  }

  private makeFeed(topic: string): Feed | null {
    const { to, db } = this;
    const colon = topic.indexOf(':');
    const [name, argument] = colon < 0 ? [topic, ''] : [topic.slice(0, colon), topic.slice(colon + 1)];
    switch (name) {
      case 'status':
        return this.statusFeed();
      case 'top':
        return topFeed(to);
      case 'net':
        return netFeed(db);
      case 'patches':
        return patchesFeed(db);
      case 'caches':
        return cachesFeed(this.megaflows);
      case 'drops':
        return dropsFeed(to);
      case 'flows': {
        const [bridge, query = ''] = splitAt(argument, '?');
        if (!isBridgeName(bridge)) return null;
        const params = new URLSearchParams(query);
        return flowsFeed(bridge, params.get('q') ?? '', params.get('mode') === 'hits' ? 'hits' : 'says');
      }
      case 'tables':
        return tablesFeed(db);
      case 'rows':
        return rowsFeed(db, argument);
      case 'changes':
        return changesFeed(db);
      case 'breaks':
        // To ask for breakpoints is to keep them: only who may set them asks.
        return this.options.allowsChanges ? breaksFeed(to) : null;
      default:
        return null;
    }
  }

  private statusFeed(): Feed {
    return new Feed((publish) => {
      let hasBreakpoints = false;
      let lookedAt = 0;
      const now = (): Status => ({
        switch: this.to.reach,
        database: this.db.reach,
        version: VERSION,
        allowsChanges: this.options.allowsChanges,
        hasBreakpoints,
      });
      // Asked again of each switch that comes: it may be another one.
      const look = async (): Promise<void> => {
        const { isUp, since } = this.to.reach;
        if (!isUp || lookedAt === since) return;
        lookedAt = since;
        const commands = await this.to.ask('list-commands').catch(() => '');
        hasBreakpoints = /^\s*journey\/break-set\b/m.test(commands);
        publish(now());
      };
      const tell = (): void => {
        publish(now());
        void look();
      };
      const held = [this.to.onReach(tell), this.db.onReach(tell), this.db.watch(() => {})];
      void look();
      return {
        snapshot: now,
        close() {
          for (const one of held) one[Symbol.dispose]();
        },
      };
    });
  }

  // ---- questions ----

  async journeys(query: URLSearchParams, _request: IncomingMessage, response: ServerResponse): Promise<void> {
    const lines = await journeyLines(this.to, query);
    const stream = startLines(response);
    stream.onClose(() => lines.stop());
    await lines.run((line) => stream.text(line));
    stream.end();
  }

  async megaflowList(query: URLSearchParams, _request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.megaflows.isFresh) await this.megaflows.poll();
    json(response, this.megaflows.of(query.get('mask') ?? ''));
  }

  async lint(query: URLSearchParams, _request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bridge = query.get('bridge') ?? '';
    if (!isBridgeName(bridge)) throw new BadRequest(`${bridge}: not the name of a bridge`);
    json(response, JSON.parse(await lintBridge(bridge)));
  }

  /** `ofproto/trace`: it asks what would happen, and nothing does. */
  async trace(_query: URLSearchParams, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { bridge, flow, packet } = await jsonBody(request, response);
    if (typeof bridge !== 'string' || typeof flow !== 'string' || (packet !== undefined && typeof packet !== 'string'))
      throw new BadRequest('bridge and flow must be text');
    if ([bridge, flow].some((text) => text.trim().startsWith('-'))) throw new BadRequest('options are not accepted');
    if (packet !== undefined && !/^([0-9a-f]{2}){14,}$/i.test(packet))
      throw new BadRequest('a packet is an even number of hexadecimal digits, 14 bytes at least');
    const rest = packet === undefined ? [] : [packet];
    json(response, { text: await this.to.ask('ofproto/trace', '--names', bridge, flow, ...rest) });
  }

  async breakpoint(_query: URLSearchParams, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const order = await jsonBody(request, response);
    json(response, { text: await carryOut(this.to, order) });
  }
}

type RouteName = 'live' | 'lint' | 'journeys' | 'megaflowList' | 'trace' | 'breakpoint';

const ROUTES: Readonly<Record<string, { method: string; name: RouteName; changes?: boolean }>> = {
  '/api/live': { method: 'GET', name: 'live' },
  '/api/journeys': { method: 'GET', name: 'journeys' },
  '/api/megaflows': { method: 'GET', name: 'megaflowList' },
  '/api/lint': { method: 'GET', name: 'lint' },
  '/api/trace': { method: 'POST', name: 'trace' },
  '/api/break': { method: 'POST', name: 'breakpoint', changes: true },
};

class BadRequest extends Error {}

/** It becomes part of a socket's path, and a command's argument. */
const isBridgeName = (name: string): boolean => /^[^/\0:.-][^/\0:]*$/.test(name);

function parseUrl(text: string): URL | null {
  try {
    return new URL(text, 'http://localhost');
  } catch {
    return null;
  }
}

function splitAt(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(value));
}

function fail(response: ServerResponse, status: number, error: string): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify({ error }));
}

function refuse(response: ServerResponse, verdict: Extract<Verdict, { ok: false }>): void {
  fail(response, verdict.status, verdict.error);
}

/** A JSON object, which only our own pages' scripts can send without being asked whether they may. */
async function jsonBody(request: IncomingMessage, response: ServerResponse): Promise<Record<string, unknown>> {
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    throw new BadRequest('the body must be application/json');
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    parts.push(part as Buffer);
    length += (part as Buffer).length;
    if (length > MAX_BODY) {
      response.setHeader('connection', 'close');
      throw new BadRequest(`the body is longer than ${MAX_BODY} bytes`);
    }
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(parts).toString());
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new BadRequest('the body is no JSON object');
}

interface Lines {
  line(value: unknown): void;
  text(line: string): void;
  onClose(listener: () => void): void;
  end(): void;
}

/** A response that goes on, a line of JSON at a time. Empty lines are a pulse. */
function startLines(response: ServerResponse): Lines {
  response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8', 'x-accel-buffering': 'no' });
  response.flushHeaders();
  response.socket?.setNoDelay(true);
  const text = (line: string): void => {
    if (response.writableLength > MAX_BUFFERED) response.destroy();
    else response.write(`${line}\n`);
  };
  const pulse = setInterval(() => text(''), PULSE_MS);
  response.once('close', () => clearInterval(pulse));
  return {
    line: (value) => text(JSON.stringify(value)),
    text,
    onClose(listener) {
      if (response.destroyed) listener();
      else response.once('close', listener);
    },
    end: () => response.end(),
  };
}
