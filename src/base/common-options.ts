/** Options that many programs share, with what they do: logging (`-v`) and keys for `ssl:`. */

import { existsSync } from 'node:fs';
import { absInDir, ovsLogdir } from './dirs.ts';
import { ovsFatal } from './fatal.ts';
import type { OptionSpec, ParsedOption } from './getopt.ts';
import { setSslConfig, unknownProtocols } from './ssl-config.ts';
import { syslogTo } from './syslog.ts';
import { PROGRAM_VERSION_LINE } from './version.ts';
import { vlog, vlogParse, vlogSetFile } from './vlog.ts';

const sslLog = vlog('stream_ssl');

export const VLOG_OPTIONS: readonly OptionSpec[] = [
  { long: 'verbose', short: 'v', arg: 'optional' },
  { long: 'log-file', arg: 'optional' },
  { long: 'syslog-target', arg: 'required' },
  { long: 'syslog-method', arg: 'required' },
];

export const SSL_OPTIONS: readonly OptionSpec[] = [
  { long: 'private-key', short: 'p', arg: 'required' },
  { long: 'certificate', short: 'c', arg: 'required' },
  { long: 'ca-cert', short: 'C', arg: 'required' },
  { long: 'bootstrap-ca-cert', arg: 'required' },
  { long: 'peer-ca-cert', arg: 'required' },
  { long: 'ssl-protocols', arg: 'required' },
  { long: 'ssl-ciphers', arg: 'required' },
  { long: 'ssl-ciphersuites', arg: 'required' },
  { long: 'ssl-server-name', arg: 'required' },
];

export const HELP_OPTIONS: readonly OptionSpec[] = [
  { long: 'help', short: 'h' },
  { long: 'version', short: 'V' },
];

/** Carries out one option of `VLOG_OPTIONS`. False when it is none of them. */
export function applyVlogOption(program: string, option: ParsedOption): boolean {
  switch (option.id) {
    case 'verbose': {
      const error = vlogParse(option.value ?? 'any:any:dbg');
      if (error) ovsFatal(program, `processing "${option.value}": ${error}`);
      return true;
    }
    case 'log-file':
      // The reason has been logged.
      if (vlogSetFile(absInDir(ovsLogdir(), option.value ?? `${program}.log`)) !== null) process.exit(1);
      return true;
    case 'syslog-target':
      syslogOrExit(program, option.value ?? '');
      return true;
    case 'syslog-method':
      // The local daemon can't be reached from Node; see `syslog.ts`.
      if (option.value?.startsWith('udp:')) syslogOrExit(program, option.value.slice(4));
      return true;
    default:
      return false;
  }
}

function syslogOrExit(program: string, target: string): void {
  const error = syslogTo(target, program);
  if (error) ovsFatal(program, error);
}

/** Carries out one option of `SSL_OPTIONS`. False when it is none of them. */
export function applySslOption(option: ParsedOption): boolean {
  const { value } = option;
  switch (option.id) {
    case 'private-key':
      setSslConfig({ privateKey: value });
      return true;
    case 'certificate':
      setSslConfig({ certificate: value });
      return true;
    case 'ca-cert':
      if (value !== 'none' && value !== null && !existsSync(value)) {
        sslLog.err(`failed to load client certificates from ${value}: No such file or directory`);
      }
      setSslConfig({ caCert: value, bootstrapCaCert: false });
      return true;
    case 'bootstrap-ca-cert':
      setSslConfig({ caCert: value, bootstrapCaCert: true });
      return true;
    case 'peer-ca-cert':
      if (value !== null && !existsSync(value)) {
        sslLog.err(`failed to open ${value} for reading: No such file or directory`);
      }
      setSslConfig({ peerCaCert: value });
      return true;
    case 'ssl-protocols':
      for (const name of unknownProtocols(value ?? '')) sslLog.err(`${name}: SSL protocol not recognized`);
      setSslConfig({ protocols: value });
      return true;
    case 'ssl-ciphers':
      setSslConfig({ ciphers: value });
      return true;
    case 'ssl-ciphersuites':
      setSslConfig({ ciphersuites: value });
      return true;
    case 'ssl-server-name':
      setSslConfig({ serverName: value });
      return true;
    default:
      return false;
  }
}

/** What `--version` prints; `extra` lines follow the first. */
export function versionText(program: string, ...extra: string[]): string {
  return `${[PROGRAM_VERSION_LINE(program), ...extra].join('\n')}\n`;
}

export const VLOG_HELP = (program: string) => `
Logging options:
  -vSPEC, --verbose=SPEC   set logging levels
  -v, --verbose            set maximum verbosity level
  --log-file[=FILE]        enable logging to specified FILE
                           (default: ${absInDir(ovsLogdir(), `${program}.log`)})
  --syslog-method=(libc|unix:file|udp:ip:port)
                           specify how to send messages to syslog daemon
  --syslog-target=HOST:PORT  also send syslog msgs to HOST:PORT via UDP
`;
