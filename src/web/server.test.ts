/** Who is let in, and what they may do. There is no switch behind it here: what needs one says that it is gone. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Dashboard, type DashboardOptions, serveDashboard } from './server.ts';

const pages = mkdtempSync(join(tmpdir(), 'sb-pages-'));
mkdirSync(join(pages, 'assets'));
writeFileSync(join(pages, 'index.html'), '<!doctype html><title>Pages</title>');
writeFileSync(join(pages, 'assets/app-1a2b.js'), 'console.log(1)');
writeFileSync(join(pages, '../outside.js'), 'secret');
after(() => {
  rmSync(pages, { recursive: true });
  rmSync(join(pages, '../outside.js'), { force: true });
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

async function withDashboard(
  options: Partial<DashboardOptions>,
  use: (ask: (path: string, init?: Init) => Promise<Answer>, running: Dashboard) => Promise<void>,
): Promise<void> {
  const running = await serveDashboard({
    address: '127.0.0.1',
    port: 0,
    token: null,
    allowsChanges: false,
    target: join(pages, 'no-switch.ctl'),
    database: `unix:${join(pages, 'no-db.sock')}`,
    pages,
    ...options,
  });
  try {
    await use((path, init) => ask(running.port, path, init), running);
  } finally {
    running.close();
  }
}

interface Init {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** As raw as possible: `fetch` would set `Host` and clean up paths. */
function ask(port: number, path: string, { method = 'GET', headers = {}, body }: Init = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port, path, method, headers, setHost: headers['host'] === undefined },
      (reply) => {
        const parts: Buffer[] = [];
        const finish = (): void => {
          sent.destroy();
          resolve({ status: reply.statusCode ?? 0, headers: reply.headers, body: Buffer.concat(parts).toString() });
        };
        reply.on('data', (part: Buffer) => {
          parts.push(part);
          // A stream does not end: its first line will do.
          if (reply.headers['content-type']?.startsWith('application/x-ndjson')) finish();
        });
        reply.on('end', finish);
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

const JSON_TYPE = { 'content-type': 'application/json' };
const TRACE = { method: 'POST', headers: JSON_TYPE, body: '{"bridge":"br0","flow":"icmp"}' };

test('a name that is not ours is refused, whatever it resolves to', async () => {
  await withDashboard({ hosts: ['Switch.Example'] }, async (ask) => {
    for (const host of [
      'localhost',
      'localhost:80',
      '127.0.0.1:9',
      '[::1]:9',
      '192.0.2.1',
      'switch.example',
      'SWITCH.example:8640',
    ])
      assert.equal((await ask('/', { headers: { host } })).status, 200, host);
    for (const host of ['evil.example', 'localhost.evil.example', 'evil.example:8640'])
      assert.equal((await ask('/', { headers: { host } })).status, 403, host);
    assert.equal((await ask('/api/live?topic=status', { headers: { host: 'evil.example' } })).status, 403);
    assert.equal((await ask('/', { headers: { host: 'a b' } })).status, 400);
  });
});

test('other sites can neither ask nor start anything', async () => {
  await withDashboard({}, async (ask, { port }) => {
    const host = `127.0.0.1:${port}`;
    const foreign: Readonly<Record<string, string>>[] = [
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { origin: `http://127.0.0.1:${port + 1}` },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ];
    for (const headers of foreign) {
      assert.equal(
        (await ask('/api/live?topic=status', { headers: { host, ...headers } })).status,
        403,
        JSON.stringify(headers),
      );
      assert.equal((await ask('/api/trace', { ...TRACE, headers: { ...JSON_TYPE, host, ...headers } })).status, 403);
      assert.equal((await ask('/api/journeys', { headers: { host, ...headers } })).status, 403);
    }
    const own = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
    assert.equal((await ask('/api/live?topic=status', { headers: own })).status, 200);
    // A form of another site could send this without being asked whether it may.
    const form = await ask('/api/trace', { ...TRACE, headers: { 'content-type': 'text/plain' } });
    assert.equal(form.status, 400);
    assert.match(form.body, /application\/json/);
  });
});

test('with a token nothing is told without it; a cookie no script reads keeps it', async () => {
  await withDashboard({ token: 'right-token' }, async (ask) => {
    assert.equal((await ask('/')).status, 200, 'the page that asks for it is free');
    for (const path of ['/api/live?topic=status', '/api/journeys', '/api/megaflows'])
      assert.equal((await ask(path)).status, 401, path);
    const wrongs: Readonly<Record<string, string>>[] = [
      { authorization: 'Bearer wrong-token' },
      { cookie: 'signalbox-token=wrong' },
      { cookie: 'signalbox-token=' },
    ];
    for (const headers of wrongs) assert.equal((await ask('/api/live?topic=status', { headers })).status, 401);
    const login = (token: unknown) =>
      ask('/api/login', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ token }) });
    for (const wrong of ['wrong', '', null, 7]) assert.equal((await login(wrong)).status, 401);
    const right = await login('right-token');
    assert.equal(right.status, 200);
    const cookie = right.headers['set-cookie']?.[0] ?? '';
    assert.match(cookie, /; HttpOnly; SameSite=Strict$/);
    assert.equal((await ask('/api/live?topic=status', { headers: { cookie: cookie.split(';')[0] } })).status, 200);
    assert.equal(
      (await ask('/api/live?topic=status', { headers: { authorization: 'Bearer right-token' } })).status,
      200,
    );
  });
});

test('only files of the pages are served, with a policy that keeps everything else out', async () => {
  await withDashboard({}, async (ask) => {
    const index = await ask('/');
    assert.match(index.body, /Pages/);
    const policy = String(index.headers['content-security-policy']);
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    assert.equal(index.headers['cache-control'], 'no-cache');
    assert.match(String((await ask('/assets/app-1a2b.js')).headers['cache-control']), /immutable/);
    for (const path of [
      '/../outside.js',
      '/%2e%2e/outside.js',
      '/assets/../../outside.js',
      '//etc/passwd',
      '/nothing.js',
    ])
      assert.notEqual((await ask(path)).status, 200, path);
    assert.equal((await ask('/', { method: 'POST' })).status, 405);
  });
});

test('it only reads unless told otherwise', async () => {
  const set = { method: 'POST', headers: JSON_TYPE, body: '{"do":"set","stage":"rx"}' };
  await withDashboard({}, async (ask) => {
    const refused = await ask('/api/break', set);
    assert.equal(refused.status, 403);
    assert.match(refused.body, /--allow-changes/);
    assert.equal((await ask('/api/live?topic=breaks')).status, 400);
  });
  await withDashboard({ allowsChanges: true }, async (ask) => {
    // It gets as far as the switch.
    assert.equal((await ask('/api/break', set)).status, 502);
  });
});

test('nonsense is answered, not obeyed', async () => {
  await withDashboard({}, async (ask) => {
    for (const [path, status] of [
      ['/api/nothing', 404],
      ['/api/live?topic=nothing', 400],
      ['/api/live?topic=flows:../../etc/x', 400],
      ['/api/live?topic=flows:', 400],
      [`/api/live?${Array.from({ length: 40 }, (_, i) => `topic=rows:${i}`).join('&')}`, 400],
      ['/api/trace', 405],
      ['/api/lint?bridge=--file', 400],
      ['/api/lint?bridge=tcp:192.0.2.1', 400],
      ['/api/lint?bridge=../x', 400],
      ['/api/journeys?filter=--count=1', 422],
    ] as const)
      assert.equal((await ask(path)).status, status, path);
    for (const body of [
      '',
      '[]',
      'null',
      '{',
      '{"bridge":1,"flow":"x"}',
      '{"bridge":"b","flow":"-generate"}',
      '{"bridge":"b","flow":"x","packet":"zz"}',
    ])
      assert.equal((await ask('/api/trace', { ...TRACE, body })).status, 400, body);
    const long = JSON.stringify({ bridge: 'b', flow: 'x'.repeat(300_000) });
    assert.equal((await ask('/api/trace', { ...TRACE, body: long })).status, 400);
    const gone = await ask('/api/trace', TRACE);
    assert.equal(gone.status, 502);
    assert.match(gone.body, /cannot connect/);
  });
});

test('a switch that is not there is said to be gone', async () => {
  await withDashboard({}, async (_ask, { port }) => {
    const reply = await fetch(`http://127.0.0.1:${port}/api/live?topic=status`);
    const reader = (reply.body as ReadableStream<Uint8Array>).getReader();
    let text = '';
    while (!/"switch":\{"isUp":false,"error":"cannot connect/.test(text))
      text += Buffer.from((await reader.read()).value ?? assert.fail(text)).toString();
    await reader.cancel();
  });
});
