/**
 * Log messages to a syslog daemon by UDP, as `--syslog-target=HOST:PORT` and `--syslog-method=udp:IP:PORT` ask. (Node has no
 * Unix datagram sockets, so the local `/dev/log` is not written; the log file and the console are.)
 */
import type { Socket } from 'node:dgram';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { parseActiveAddress } from './remote.ts';
import { vlogSetSyslog } from './vlog.ts';
import { syslogPriority } from './vlog-pattern.ts';

const SYSLOG_PORT = 514;

/** Starts sending. Returns an error's text or null. */
export function syslogTo(target: string, program: string): string | null {
  const at = parseActiveAddress(target, SYSLOG_PORT);
  if (!at) return `${target}: bad syslog target`;
  // Loaded only here: few programs need it, and all of them start with this module.
  const { createSocket } = createRequire(import.meta.url)('node:dgram') as typeof import('node:dgram');
  const socket: Socket = createSocket(at.host.includes(':') ? 'udp6' : 'udp4');
  socket.unref();
  socket.on('error', () => {}); // a log that can't be written has nowhere to say so
  vlogSetSyslog((level, line) => {
    const text = `<${syslogPriority(level)}>${syslogTime()} ${hostname()} ${program}: ${line}`;
    socket.send(text, at.port, at.host);
  });
  return null;
}

/** `Mmm dd hh:mm:ss` in local time, of RFC 3164. */
function syslogTime(): string {
  const now = new Date();
  const month = now.toLocaleString('en-US', { month: 'short' });
  return `${month} ${String(now.getDate()).padStart(2)} ${now.toTimeString().slice(0, 8)}`;
}
