/**
 * Metrics for Prometheus. A switch that runs as `signalbox up` serves its own; `signalbox metrics` gathers those of programs
 * that run by themselves, the switch and the database server, and prints or serves them, each labeled with its program.
 */
import { createServer } from 'node:http';
import { ovsFatal, writeAll } from '../../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../../base/getopt.ts';
import { METRICS_CONTENT_TYPE, metricsText } from '../../base/metrics.ts';
import { unixctlRequest } from '../../base/unixctl-client.ts';
import { vlogSetLevels } from '../../base/vlog.ts';

const PROGRAM = 'signalbox';
const PROGRAMS = ['ovs-vswitchd', 'ovsdb-server'] as const;

const HELP = `signalbox metrics: metrics for Prometheus, of switch and database server
usage: signalbox metrics [OPTIONS]
Prints what the running programs tell, or serves it at /metrics.

Options:
  --listen=PORT            serve on this port of the loopback interface
  -t, --target=TARGET      ask only this program (pidfile or socket);
                           may be given several times
`;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'listen', arg: 'required' },
  { long: 'target', short: 't', arg: 'required' },
  { long: 'help', short: 'h' },
];

export async function metrics(args: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  if (options.some((o) => o.id === 'help')) return writeAll(1, HELP);
  if (operands.length > 0) ovsFatal(PROGRAM, `'metrics' command takes at most 0 arguments`);
  const named = options.filter((o) => o.id === 'target').map((o) => o.value ?? '');
  const targets = named.length > 0 ? named : PROGRAMS;
  // That a program is not there is told with the request's error.
  for (const module of ['daemon_unix', 'unixctl']) vlogSetLevels(module, 'console', 'off');
  const listen = options.findLast((o) => o.id === 'listen')?.value;
  if (listen === undefined || listen === null) {
    const text = await gather(targets).catch((error: Error) => ovsFatal(PROGRAM, error.message));
    return writeAll(1, text);
  }
  const port = Number(listen);
  if (!/^\d+$/.test(listen) || port > 0xffff) ovsFatal(PROGRAM, `--listen: ${listen}: not a port`);
  const address = await serveMetrics(port, () => gather(targets), true).catch((error: Error) =>
    ovsFatal(PROGRAM, error.message),
  );
  process.stderr.write(`${address}\n`);
}

/** Of all programs that answer. Rejects when none does. */
async function gather(targets: readonly string[]): Promise<string> {
  const answers = await Promise.all(
    targets.map((target) =>
      unixctlRequest(target, 'metrics/show', []).catch((error: Error) => ({ ok: false, text: error.message })),
    ),
  );
  const told = targets.flatMap((target, i) => (answers[i].ok ? [{ program: target, text: answers[i].text }] : []));
  if (told.length === 0) throw new Error(answers.map((a) => a.text.trimEnd()).join('; '));
  return merge(told);
}

/** Metrics that several tell stand together, as the format wants them. */
export function merge(told: readonly { readonly program: string; readonly text: string }[]): string {
  const families = new Map<string, { readonly head: string[]; readonly samples: string[] }>();
  for (const { program, text } of told) {
    const label = `program=${JSON.stringify(program)}`;
    let family: { head: string[]; samples: string[] } | undefined;
    let isKnown = false;
    for (const line of text.split('\n')) {
      const head = /^# (HELP|TYPE) (\S+)/.exec(line);
      if (head) {
        const name = head[2];
        if (head[1] === 'HELP') isKnown = families.has(name);
        family = families.get(name) ?? { head: [], samples: [] };
        families.set(name, family);
        if (!isKnown) family.head.push(line);
      } else if (line !== '' && family) {
        const [, name, labels, value] = /^([^\s{]+)(?:\{(.*)\})? (.*)$/.exec(line) ?? [];
        family.samples.push(`${name}{${label}${labels ? `,${labels}` : ''}} ${value}`);
      }
    }
  }
  return [...families.values()].map(({ head, samples }) => `${[...head, ...samples].join('\n')}\n`).join('\n');
}

/** Resolves with the address, or rejects with the error's text. Other paths and methods are refused. */
export function serveMetrics(port: number, text = metricsText, keepsAlive = false): Promise<string> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0];
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(path === '/metrics' ? 405 : 404).end();
      return;
    }
    text().then(
      (body) => response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(body),
      (error: Error) => response.writeHead(503).end(`${error.message}\n`),
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`metrics: ${error.message}`)));
    server.listen(port, '127.0.0.1', () => {
      if (!keepsAlive) server.unref();
      resolve(`http://127.0.0.1:${(server.address() as { port: number }).port}/metrics`);
    });
  });
}
