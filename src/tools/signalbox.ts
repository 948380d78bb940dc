/** `signalbox`: the whole switch in one process, for people. */
import { applyVlogOption, HELP_OPTIONS, VLOG_HELP, VLOG_OPTIONS, versionText } from '../base/common-options.ts';
import { ovsFatal, writeAll } from '../base/fatal.ts';
import { getoptOrExit } from '../base/getopt.ts';
import { vlogSetLevels, vlogSetProgram } from '../base/vlog.ts';

const PROGRAM = 'signalbox';

const USAGE = `signalbox: Open vSwitch, whole, in one process
usage: signalbox [OPTIONS] COMMAND

Commands:
  up [--metrics=PORT] [--dashboard=PORT]
                           run database and switch in the foreground; with
                           --metrics, Prometheus finds /metrics on that port;
                           with --dashboard, browsers on this machine find the
                           dashboard there
  demo                     send pings through a bridge between two namespaces,
                           show what the switch knows, and remove it all
  journey [FILTER]         tell the journeys of packets as they pass
                           (journey --help says more)
  break STAGE [FILTER]     let packets wait before a stage of their way, look at
                           them, edit them, step (break --help says more)
  why-drop                 what is dropped, where and why
  lint BRIDGE              what is strange in a bridge's OpenFlow tables: rules
                           that never match, loops, … (lint --help says more)
  top                      ports, caches, threads, megaflows and rules, live
  metrics                  metrics of switch and database server for Prometheus
  dashboard                all of it in a browser (dashboard --help says more)
${VLOG_HELP(PROGRAM)}
Other options:
  -h, --help               display this help message
  -V, --version            display version information

Sockets, database and logs are where OVS_RUNDIR, OVS_DBDIR and OVS_LOGDIR
say, else where Open vSwitch has them.
`;

async function main(args: readonly string[]): Promise<void> {
  vlogSetProgram(PROGRAM);
  vlogSetLevels(null, 'console', 'warn');
  const { options, operands } = getoptOrExit(PROGRAM, args, [...HELP_OPTIONS, ...VLOG_OPTIONS], {
    stopAtOperand: true,
  });
  for (const option of options) {
    if (option.id === 'help' || option.id === 'version') {
      writeAll(1, option.id === 'help' ? USAGE : versionText(PROGRAM));
      process.exit(0);
    }
    applyVlogOption(PROGRAM, option);
  }
  const [command, ...rest] = operands;
  if (command === undefined) ovsFatal(PROGRAM, 'missing command name (use --help for help)');
  if (rest.length > 0 && command === 'demo') {
    ovsFatal(PROGRAM, `'${command}' command takes at most 0 arguments`);
  }
  switch (command) {
    case 'up': {
      const { up } = await import('./signalbox/up.ts');
      return up(rest);
    }
    case 'demo': {
      const { demo } = await import('./signalbox/demo.ts');
      return demo();
    }
    case 'journey': {
      const { journey } = await import('./signalbox/journey.ts');
      return journey(rest);
    }
    case 'break': {
      const { breakAt } = await import('./signalbox/break.ts');
      return breakAt(rest);
    }
    case 'why-drop': {
      const { whyDrop } = await import('./signalbox/why-drop.ts');
      return whyDrop(rest);
    }
    case 'lint': {
      const { lint } = await import('./signalbox/lint.ts');
      return lint(rest);
    }
    case 'top': {
      const { top } = await import('./signalbox/top.ts');
      return top(rest);
    }
    case 'metrics': {
      const { metrics } = await import('./signalbox/metrics.ts');
      return metrics(rest);
    }
    case 'dashboard': {
      const { dashboard } = await import('./signalbox/dashboard.ts');
      return dashboard(rest);
    }
    default:
      ovsFatal(PROGRAM, `unknown command '${command}'; use --help for help`);
  }
}

void main(process.argv.slice(2));
