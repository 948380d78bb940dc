/** `signalbox dashboard`: the switch in a browser, from a process of its own beside the running switch. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { ovsFatal } from '../../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../../base/getopt.ts';
import { packagePath } from '../../base/package-path.ts';
import { vlogSetLevels } from '../../base/vlog.ts';
import { type Dashboard, type DashboardOptions, serveDashboard } from '../../web/server.ts';

const PROGRAM = 'signalbox';
const DEFAULT_PORT = 8640;

const HELP = `signalbox dashboard: a running switch in the browser
usage: signalbox dashboard [OPTIONS]
Listens on 127.0.0.1, port ${DEFAULT_PORT}, unless told otherwise. Asks the switch for nothing
while no browser looks, and only reads.

Options:
  -l, --listen=ADDRESS[:PORT]
                           where to listen; others than this machine need the
                           token that is printed, or one from --token
  -p, --port=PORT          port on 127.0.0.1; 0 chooses one
  --token[=TOKEN]          ask for a token on loopback too
  --host=NAME              a name, beside addresses, that browsers may call this
                           machine by; may be given more than once
  --allow-changes          let pages do what holds packets up (breakpoints)
  -t, --target=TARGET      pidfile or socket of the switch
  --db=REMOTE              the database; the switch's own socket by default
  --pages=DIRECTORY        built pages, where they are not the package's own
`;

const OPTIONS: readonly OptionSpec[] = [
  { long: 'listen', short: 'l', arg: 'required' },
  { long: 'port', short: 'p', arg: 'required' },
  { long: 'token', arg: 'optional' },
  { long: 'host', arg: 'required' },
  { long: 'allow-changes' },
  { long: 'target', short: 't', arg: 'required' },
  { long: 'db', arg: 'required' },
  { long: 'pages', arg: 'required' },
  { long: 'help', short: 'h' },
];

export async function dashboard(args: readonly string[]): Promise<void> {
  const { options, operands } = getoptOrExit(PROGRAM, args, OPTIONS);
  const given = new Map(options.map((o) => [o.id, o.value ?? '']));
  if (given.has('help')) {
    process.stdout.write(HELP);
    return;
  }
  if (operands.length > 0) ovsFatal(PROGRAM, `'dashboard' command takes at most 0 arguments`);
  const { address, port } = listenAddress(given.get('listen'), given.get('port'));
  const isOpen = !isLoopback(address);
  const wanted = given.get('token');
  if (wanted !== undefined && wanted !== '' && !/^[\w.~+/=-]{8,}$/.test(wanted))
    ovsFatal(PROGRAM, '--token: at least 8 letters, digits, or characters of .~+/=_-');
  const token = wanted || (isOpen || wanted === '' ? randomBytes(18).toString('base64url') : null);
  const db = given.get('db');
  // That the switch is gone is said on the pages, not once a second here.
  for (const module of ['unixctl', 'daemon_unix', 'reconnect']) vlogSetLevels(module, 'console', 'off');
  const running = await serveDashboard({
    address,
    port,
    token,
    hosts: [...options.filter((o) => o.id === 'host').map((o) => o.value ?? ''), ...(isOpen ? [hostname()] : [])],
    allowsChanges: given.has('allow-changes'),
    target: given.get('target') ?? 'ovs-vswitchd',
    ...(db === undefined ? {} : { database: db }),
    pages: given.get('pages') ?? packagePath('dist/web'),
  }).catch((error: Error) => ovsFatal(PROGRAM, error.message));
  process.stdout.write(`The dashboard is at ${dashboardUrl(address, running.port, token)}\n`);
  if (isOpen)
    process.stdout.write(
      'It is open to other machines, who need the token above. What they read travels unencrypted.\n',
    );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      running.close();
      process.exit(0);
    });
  }
}

/**
 * For `signalbox up`: on loopback, for the switch in this process. `target` is its socket's path: to read one's own pidfile is to lose
 * the lock on it.
 */
export function serveOwnDashboard(port: number, target: string): Promise<Dashboard & { readonly url: string }> {
  const options: DashboardOptions = {
    address: '127.0.0.1',
    port,
    token: null,
    allowsChanges: false,
    target,
    pages: packagePath('dist/web'),
  };
  return serveDashboard(options).then((running) => ({
    ...running,
    url: dashboardUrl(options.address, running.port, null),
  }));
}

/** The token stands behind `#`: browsers keep it to themselves. */
function dashboardUrl(address: string, port: number, token: string | null): string {
  const any = address === '0.0.0.0' || address === '::';
  const host = any ? hostname() : address.includes(':') ? `[${address}]` : address;
  return `http://${host}:${port}/${token === null ? '' : `#token=${token}`}`;
}

function listenAddress(listen: string | undefined, portText: string | undefined): { address: string; port: number } {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(listen ?? '127.0.0.1');
  if (!found) ovsFatal(PROGRAM, `--listen: ${listen}: not ADDRESS or ADDRESS:PORT`);
  const port = Number(portText ?? found[3] ?? DEFAULT_PORT);
  if (!(Number.isInteger(port) && port >= 0 && port <= 0xffff)) ovsFatal(PROGRAM, `--port: ${portText}: not a port`);
  return { address: found[1] ?? found[2], port };
}

const isLoopback = (address: string): boolean =>
  /^127\.\d+\.\d+\.\d+$/.test(address) || address === '::1' || address === 'localhost';
