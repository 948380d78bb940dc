/** The built pages: a handful of files, read once. Their names hold hashes, so browsers may keep them for ever; the page itself is asked for anew. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  json: 'application/json',
  webmanifest: 'application/manifest+json',
};

interface Page {
  readonly type: string;
  readonly bytes: Buffer;
  readonly gzip: Buffer;
}

const NOT_BUILT = 'The pages of the dashboard are not built: run `npm run bundle` in the checkout.\n';

export class Pages {
  private readonly dir: string;
  private readonly files = new Map<string, Page>();
  private readAt = 0;

  constructor(dir: string) {
    this.dir = dir;
  }

  serve(request: IncomingMessage, response: ServerResponse, path: string): void {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    this.read();
    if (this.files.size === 0) {
      response.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' }).end(NOT_BUILT);
      return;
    }
    const name = path === '/' ? '/index.html' : path;
    const page = this.files.get(name);
    if (page === undefined) {
      response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('there is no such page\n');
      return;
    }
    const isZipped = /\bgzip\b/.test(request.headers['accept-encoding']?.toString() ?? '');
    const bytes = isZipped ? page.gzip : page.bytes;
    response.writeHead(200, {
      'content-type': page.type,
      'content-length': bytes.length,
      'cache-control': name.startsWith('/assets/') ? 'max-age=31536000, immutable' : 'no-cache',
      vary: 'accept-encoding',
      ...(isZipped ? { 'content-encoding': 'gzip' } : {}),
    });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  }

  /** Only files that are in the directory are served: a path is looked up, never opened. Built anew, they are read anew. */
  private read(): void {
    const index = statSync(join(this.dir, 'index.html'), { throwIfNoEntry: false });
    if (index === undefined || index.mtimeMs === this.readAt) return;
    this.readAt = index.mtimeMs;
    this.files.clear();
    for (const entry of readdirSync(this.dir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const type = TYPES[entry.name.slice(entry.name.lastIndexOf('.') + 1)];
      if (type === undefined) continue;
      const bytes = readFileSync(path);
      this.files.set(`/${relative(this.dir, path)}`, { type, bytes, gzip: gzipSync(bytes) });
    }
  }
}
