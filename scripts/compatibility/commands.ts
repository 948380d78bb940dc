/** Programs and their commands, ours beside the original's. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { registerTimeCommands } from '../../src/base/clock.ts';
import { listCommands } from '../../src/base/commands.ts';
import { registerCommonCommands } from '../../src/base/common-commands.ts';
import { Unixctl } from '../../src/base/unixctl.ts';
import { registerNetdevCommands } from '../../src/dpif/netdev-commands.ts';
import { registerDummyCommands } from '../../src/netdev/dummy-commands.ts';
import { registerOfprotoCommands } from '../../src/ofproto/commands/index.ts';
import { BUNDLE_COMMANDS } from '../../src/tools/ofctl/bundle-file.ts';
import { FLOW_COMMANDS } from '../../src/tools/ofctl/flows.ts';
import { GROUP_COMMANDS } from '../../src/tools/ofctl/groups.ts';
import { MISC_COMMANDS } from '../../src/tools/ofctl/misc.ts';
import { MONITOR_COMMANDS } from '../../src/tools/ofctl/monitor.ts';
import { PCAP_COMMANDS } from '../../src/tools/ofctl/pcap.ts';
import { SHOW_COMMANDS } from '../../src/tools/ofctl/show.ts';
import { registerServerCommands } from '../../src/tools/ovsdb/server-commands.ts';
import { BRIDGE_COMMANDS } from '../../src/tools/vsctl/bridge-commands.ts';
import { DATABASE_COMMANDS } from '../../src/tools/vsctl/db-commands.ts';
import { PORT_COMMANDS } from '../../src/tools/vsctl/port-commands.ts';
import { SHOW_COMMAND } from '../../src/tools/vsctl/show-command.ts';
import { SWITCH_COMMANDS } from '../../src/tools/vsctl/switch-commands.ts';
import { registerSwitchCommands } from '../../src/vswitchd/commands.ts';
import { code, ORIGINAL, ROOT, table, yes } from './text.ts';

export function programs(): string {
  const all = [...new Set([...ORIGINAL.programs, 'signalbox'])].sort();
  const note = (name: string): string => (name === 'signalbox' ? 'yes (ours alone)' : yes(isProgram(name)));
  return `## Programs\n\n${table(
    ['program', 'here'],
    all.map((name) => [code(name), note(name)]),
  )}`;
}

const isProgram = (name: string): boolean => existsSync(join(ROOT, 'bin', name));

export async function commands(): Promise<string> {
  const daemons = await daemonCommands();
  const datapath = new Set([...daemons['ovs-vswitchd']].filter((n) => n.startsWith('dpctl/')).map((n) => n.slice(6)));
  const names = (list: readonly { readonly name: string }[]): Set<string> => new Set(list.map((one) => one.name));
  const have: Readonly<Record<string, ReadonlySet<string>>> = {
    ...daemons,
    'ovs-vsctl': names([...DATABASE_COMMANDS, SHOW_COMMAND, ...BRIDGE_COMMANDS, ...PORT_COMMANDS, ...SWITCH_COMMANDS]),
    'ovs-ofctl': names([
      ...[...SHOW_COMMANDS, ...FLOW_COMMANDS, ...GROUP_COMMANDS],
      ...[...MONITOR_COMMANDS, ...MISC_COMMANDS, ...PCAP_COMMANDS, ...BUNDLE_COMMANDS],
    ]),
    // A datapath in user space answers in the switch, under the same name.
    'ovs-dpctl': new Set([...datapath, 'help', 'list-commands']),
    'ovsdb-client': commandsInSource('ovsdb-client'),
    'ovsdb-tool': commandsInSource('ovsdb-tool'),
  };
  const heads: Readonly<Record<string, string>> = {
    'ovs-vswitchd': '`ovs-appctl` to `ovs-vswitchd` (with `--enable-dummy`)',
    'ovsdb-server': '`ovs-appctl -t ovsdb-server`',
  };
  const parts = Object.entries(ORIGINAL.commands).map(([program, theirs]) => {
    const ours = have[program];
    const all = [...new Set([...Object.keys(theirs), ...ours])].sort();
    const missing = Object.keys(theirs).filter((name) => !ours.has(name));
    const count = `${Object.keys(theirs).length - missing.length} of ${Object.keys(theirs).length} commands of Open vSwitch ${ORIGINAL.version}.`;
    const status = (name: string): string => (name in theirs ? yes(ours.has(name)) : 'yes (not in 3.1)');
    const lines = all.map((name) => [code(name), code(theirs[name] ?? ''), status(name)]);
    return `### ${heads[program] ?? code(program)}\n\n${count}\n\n${table(['command', 'arguments', 'here'], lines)}`;
  });
  return `## Commands\n\n${parts.join('\n\n')}`;
}

/** What the daemons' control sockets answer: the same functions register the commands that do it in the programs. */
async function daemonCommands(): Promise<Record<'ovs-vswitchd' | 'ovsdb-server', Set<string>>> {
  const known = (): Set<string> => new Set(listCommands().map((c) => c.name));
  const nothing = {} as never;
  (await Unixctl.listen('none', 'compatibility')).close();
  registerCommonCommands();
  const common = known();
  registerServerCommands(nothing, () => {}, null);
  const server = known();
  registerTimeCommands();
  registerDummyCommands();
  using _datapath = registerNetdevCommands(nothing);
  registerOfprotoCommands(() => []);
  registerSwitchCommands(nothing);
  const both = known();
  const own = [...both].filter((name) => !server.has(name) || common.has(name));
  // `exit` is registered by each daemon's main file.
  return { 'ovs-vswitchd': new Set([...own, 'exit']), 'ovsdb-server': server };
}

/** Programs that are all one file keep their table to themselves. */
function commandsInSource(program: string): Set<string> {
  const text = readFileSync(join(ROOT, `src/tools/${program}.ts`), 'utf8');
  const body = /const COMMANDS\b[^=]*= (?:new Map\()?[{[]\n(.*?)\n[}\]]/s.exec(text)?.[1];
  if (body === undefined) throw new Error(`${program}: no table of commands found`);
  // What only says that there are no clusters is not a command that works.
  const lines = body.split('\n').filter((text) => !/\b(?:clustered|notClustered)\b/.test(text));
  return new Set(lines.flatMap((text) => /^ {2}'?([a-z-]+)'?: /.exec(text)?.[1] ?? []));
}

/** Starts daemons and compares what they answer with what the page says of them. */
export async function compareWithDaemons(page: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'compatibility-'));
  const env = { ...process.env, OVS_RUNDIR: dir, OVS_DBDIR: dir, OVS_LOGDIR: dir };
  const bin = (name: string, ...args: string[]): string =>
    execFileSync(join(ROOT, 'bin', name), args, { env, encoding: 'utf8' });
  const daemons: number[] = [];
  try {
    bin('ovsdb-tool', 'create', join(dir, 'conf.db'));
    for (const [name, ...args] of [
      ['ovsdb-server', `--remote=punix:${join(dir, 'db.sock')}`],
      ['ovs-vswitchd', '--enable-dummy=override', '--disable-system', '-vconsole:off'],
    ]) {
      const child = spawn(join(ROOT, 'bin', name), ['--detach', '--pidfile', '--no-chdir', ...args], {
        env,
        stdio: 'inherit',
      });
      await new Promise((resolve) => child.on('exit', resolve));
      daemons.push(Number(readFileSync(join(dir, `${name}.pid`), 'utf8')));
    }
    bin('ovs-vsctl', 'add-br', 'br0', '--', 'add-port', 'br0', 'p0', '--', 'set', 'interface', 'p0', 'type=dummy');
    for (const name of ['ovs-vswitchd', 'ovsdb-server']) {
      const real = bin('ovs-appctl', '-t', name, 'list-commands')
        .trim()
        .split('\n')
        .slice(1)
        .map((text) => text.trim().split(' ')[0]);
      const section = page.slice(page.indexOf(name === 'ovs-vswitchd' ? '`ovs-appctl` to' : '`ovs-appctl -t ovsdb'));
      const said = section
        .slice(0, section.indexOf('\n### '))
        .split('\n')
        .filter((text) => text.includes('| yes'))
        .map((text) => text.split('`')[1]);
      const differ = [...real.filter((n) => !said.includes(n)), ...said.filter((n) => !real.includes(n))];
      console.log(
        differ.length === 0
          ? `${name}: ${real.length} commands, all as the page says`
          : `${name} differs: ${differ.join(' ')}`,
      );
      if (differ.length > 0) process.exitCode = 1;
    }
  } finally {
    for (const pid of daemons.reverse()) process.kill(pid, 'SIGTERM');
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}
