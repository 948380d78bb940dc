/** `ovs-testcontroller`: a controller that makes learning switches of what connects. `ovs-testcontroller(8)` */
import { readFileSync } from 'node:fs';
import { registerCommonCommands } from '../base/common-commands.ts';
import {
  applySslOption,
  applyVlogOption,
  HELP_OPTIONS,
  SSL_OPTIONS,
  VLOG_HELP,
  VLOG_OPTIONS,
  versionText,
} from '../base/common-options.ts';
import {
  applyDaemonOption,
  DAEMON_HELP,
  DAEMON_OPTIONS,
  daemonComplete,
  daemonLaunch,
  daemonStart,
} from '../base/daemon.ts';
import { errorText } from '../base/errno.ts';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { getoptOrExit, type OptionSpec } from '../base/getopt.ts';
import { Unixctl } from '../base/unixctl.ts';
import { vlog, vlogSetProgram } from '../base/vlog.ts';
import { lockFile } from '../linux/file-lock.ts';
import { flowLines, parseFlowMod } from '../openflow/flow-text.ts';
import type { FlowMod, OfMessage } from '../openflow/messages.ts';
import { OFPP } from '../openflow/ports.ts';
import { Rconn } from '../openflow/rconn.ts';
import { formatBytes } from '../openflow/text.ts';
import { ALL_VERSIONS, listenVconns, OFP_DEFAULT_PORT, type Vconn } from '../openflow/vconn.ts';
import { connectionHelp } from './connection-help.ts';
import { parseVersions } from './openflow-versions.ts';
import { type ControllerSettings, LearningSwitch } from './testcontroller/switch.ts';

const PROGRAM = 'ovs-testcontroller';
const MAX_SWITCHES = 16;
const DEFAULT_MAX_IDLE = 60;
const L2_WILDCARDS = 0x2820f0;

const log = vlog('controller');

const OWN_OPTIONS: readonly OptionSpec[] = [
  { long: 'hub', short: 'H' },
  { long: 'noflow', short: 'n' },
  { long: 'normal', short: 'N' },
  { long: 'wildcards', short: 'w', arg: 'optional' },
  { long: 'max-idle', arg: 'required' },
  { long: 'mute' },
  { long: 'queue', short: 'q', arg: 'required' },
  { long: 'port-queue', short: 'Q', arg: 'required' },
  { long: 'with-flows', arg: 'required' },
  { long: 'unixctl', arg: 'required' },
  { long: 'protocols', short: 'O', arg: 'required' },
];

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

async function main(args: readonly string[]): Promise<void> {
  vlogSetProgram(PROGRAM);
  const { options, operands } = getoptOrExit(PROGRAM, args, [
    ...OWN_OPTIONS,
    ...HELP_OPTIONS,
    ...VLOG_OPTIONS,
    ...SSL_OPTIONS,
    ...DAEMON_OPTIONS,
  ]);
  await daemonLaunch(PROGRAM, options);
  const portQueues = new Map<string, number>();
  const flows: FlowMod[] = [];
  const settings: Mutable<ControllerSettings> = {
    mode: 'learn',
    maxIdle: DEFAULT_MAX_IDLE,
    wildcards: 0,
    queue: null,
    portQueues,
    flows,
    mute: false,
  };
  let versions = ALL_VERSIONS;
  let unixctlPath: string | null = null;
  for (const option of options) {
    const value = option.value ?? '';
    switch (option.id) {
      case 'hub':
        settings.mode = 'hub';
        break;
      case 'normal':
        settings.mode = 'normal';
        break;
      case 'noflow':
        settings.maxIdle = null;
        break;
      case 'wildcards':
        settings.wildcards = option.value === null ? L2_WILDCARDS : Number.parseInt(value, 16) || 0;
        break;
      case 'max-idle':
        settings.maxIdle = idleSeconds(value);
        break;
      case 'mute':
        settings.mute = true;
        break;
      case 'queue':
        settings.queue = Number.parseInt(value, 10) || 0;
        break;
      case 'port-queue': {
        const [, name, queue] = /^(.*?):(\d+)$/.exec(value) ?? [];
        if (name === undefined) {
          ovsFatal(PROGRAM, 'argument to -Q or --port-queue should take the form "<port-name>:<queue-id>"');
        }
        if (portQueues.has(name)) ovsFatal(PROGRAM, `${name}: port name specified multiple times`);
        portQueues.set(name, Number(queue));
        break;
      }
      case 'with-flows':
        flows.push(...readFlows(value));
        break;
      case 'unixctl':
        unixctlPath = option.value;
        break;
      case 'protocols':
        versions = parseVersions(PROGRAM, value);
        break;
      case 'help':
        writeAll(1, HELP);
        process.exit(0);
        break;
      case 'version':
        writeAll(1, versionText(PROGRAM));
        process.exit(0);
        break;
      default:
        if (!applyVlogOption(PROGRAM, option) && !applySslOption(option)) applyDaemonOption(PROGRAM, option);
    }
  }
  if (operands.length === 0) ovsFatal(PROGRAM, 'at least one vconn argument required; use --help for usage');

  daemonStart(PROGRAM, { lockFile });
  const unixctl = await Unixctl.listen(unixctlPath, PROGRAM).catch((error: Error) => ovsFatal(PROGRAM, error.message));
  registerCommonCommands();
  let methods = 0;
  for (const target of operands) if (await serve(target, versions, settings)) methods++;
  if (methods === 0) ovsFatal(PROGRAM, 'no active or passive switch connections');
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      unixctl.close();
      process.exit(0);
    });
  }
  daemonComplete();
}

let connected = 0;

/** Connects or listens; false after saying why it can do neither. */
async function serve(target: string, versions: number, settings: ControllerSettings): Promise<boolean> {
  try {
    if (/^(tcp|ssl|unix):/.test(target)) {
      const rconn = new Rconn(target, { versions });
      let self: LearningSwitch | null = null;
      rconn.onConnected((vconn) => {
        self = begin(vconn, settings);
      });
      rconn.onMessage((message, _xid, raw) => self?.receive(message, formatBytes(raw, 1).trimEnd()));
      rconn.start();
      return true;
    }
    await listenVconns(target, versions, (vconn) => {
      if (connected >= MAX_SWITCHES) return vconn.close();
      connected++;
      vconn.onClose(() => connected--);
      vconn.onConnected(() => {
        const self = begin(vconn, settings);
        vconn.onMessage((message, xid, raw) => {
          if (message.type === 'echo_request') vconn.send({ type: 'echo_reply', data: message.data }, xid);
          else self.receive(message, formatBytes(raw, 1).trimEnd());
        });
      });
    });
    return true;
  } catch (error) {
    const what = /^p(tcp|ssl|unix):/.test(target) ? 'listen' : 'connect';
    log.err(`${target}: ${what}: ${(error as Error).message}`);
    return false;
  }
}

function begin(vconn: Vconn, settings: ControllerSettings): LearningSwitch {
  const self = new LearningSwitch(settings, (message: OfMessage) => void vconn.send(message));
  const version = vconn.version ?? 1;
  self.begin(version);
  if (version > 1 && settings.portQueues.size > 0 && !settings.mute)
    vconn.send({ type: 'port_desc_request', portNo: OFPP.NONE });
  return self;
}

/** 0 is for ever. */
function idleSeconds(text: string): number {
  if (text === 'permanent') return 0;
  const seconds = Number.parseInt(text, 10);
  if (!(seconds >= 1 && seconds <= 65535)) {
    ovsFatal(PROGRAM, "--max-idle argument must be between 1 and 65535 or the word 'permanent'");
  }
  return seconds;
}

function readFlows(path: string): readonly FlowMod[] {
  let text = '';
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    ovsFatal(PROGRAM, `${path}: open (${errorText(error)})`);
  }
  return flowLines(text).map((line, i) => {
    const flow = parseFlowMod(line, null);
    return flow.ok ? flow.flow : ovsFatal(PROGRAM, `${path}:${i + 1}: ${flow.error}`);
  });
}

const HELP = `${PROGRAM}: OpenFlow controller
usage: ${PROGRAM} [OPTIONS] METHOD
where METHOD is any OpenFlow connection method.

${connectionHelp('OpenFlow', { bootstrap: false, sslOptions: false, defaultPort: OFP_DEFAULT_PORT })}${DAEMON_HELP(PROGRAM)}
OpenFlow version options:
  -V, --version           display version information
  -O, --protocols         set allowed OpenFlow versions
                          (default: OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14, OpenFlow15)
${VLOG_HELP(PROGRAM)}
Other options:
  -H, --hub               act as hub instead of learning switch
  -n, --noflow            pass traffic, but don't add flows
  --max-idle=SECS         max idle time for new flows
  -N, --normal            use OFPP_NORMAL action
  -w, --wildcards[=MASK]  wildcard (specified) bits in flows
  -q, --queue=QUEUE-ID    OpenFlow queue ID to use for output
  -Q PORT-NAME:QUEUE-ID   use QUEUE-ID for frames from PORT-NAME
  --with-flows FILE       use the flows from FILE
  --unixctl=SOCKET        override default control socket name
  -h, --help              display this help message
  -V, --version           display version information
`;

void main(process.argv.slice(2));
