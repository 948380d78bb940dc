/** `vlog/*`: the log's settings in a running program. */
import { MANY_ARGS, registerCommand, UnixctlError } from './commands.ts';
import {
  vlogCloseFile,
  vlogFilePath,
  vlogGetPattern,
  vlogHonorRateLimits,
  vlogModules,
  vlogParse,
  vlogReopen,
} from './vlog.ts';

export function registerVlogCommands(): void {
  registerCommand('vlog/set', '{spec | PATTERN:destination:pattern}', 0, MANY_ARGS, (specs) => {
    for (const spec of specs) {
      const error = vlogParse(spec);
      if (error) throw new UnixctlError(error);
    }
    return '';
  });
  registerCommand('vlog/list', '', 0, 0, (_args, { format }) => {
    const modules = vlogModules();
    if (format === 'json') return JSON.stringify(Object.fromEntries(modules.map((m) => [m.name, m.levels])));
    const rows = modules.map(({ name, levels }) => {
      const [c, s, f] = [levels.console, levels.syslog, levels.file].map((level) => level.toUpperCase().padStart(4));
      return `${name.padEnd(16)}  ${c}       ${s}       ${f}\n`;
    });
    return `                 console    syslog    file\n                 -------    ------    ------\n${rows.join('')}`;
  });
  registerCommand('vlog/list-pattern', '', 0, 0, () => {
    const row = (name: string, prefix: string, pattern: string) =>
      `${name.padEnd(8)} ${prefix.padEnd(33)} ${pattern}\n`;
    return [
      '         prefix                            format\n',
      '         ------                            ------\n',
      row('SYSLOG', '<%B> %D{%h %e %T} %E %A:', vlogGetPattern('syslog')),
      row('CONSOLE', 'none', vlogGetPattern('console')),
      row('FILE', 'none', vlogGetPattern('file')),
    ].join('');
  });
  registerCommand('vlog/reopen', '', 0, 0, () => {
    if (vlogFilePath() === null) throw new UnixctlError('Logging to file not configured');
    const error = vlogReopen();
    if (error) throw new UnixctlError(error);
    return '';
  });
  registerCommand('vlog/close', '', 0, 0, () => {
    vlogCloseFile();
    return '';
  });
  for (const [name, honor] of [
    ['vlog/enable-rate-limit', true],
    ['vlog/disable-rate-limit', false],
  ] as const) {
    registerCommand(name, '[module]...', 0, MANY_ARGS, (modules) => {
      if (modules.length === 0) vlogHonorRateLimits(null, honor);
      for (const module of modules) {
        if (!vlogHonorRateLimits(module.toLowerCase(), honor)) throw new UnixctlError('unknown module');
      }
      return '';
    });
  }
}
