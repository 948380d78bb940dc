/** Expands the patterns of log lines, as `ovs-appctl(8)` describes them under `vlog/set PATTERN`. */
import { hostname } from 'node:os';

export interface LogFacts {
  readonly program: string;
  readonly subprogram: string;
  readonly module: string;
  readonly level: string;
  readonly text: string;
  readonly sequence: number;
  readonly wallMs: number;
}

const SYSLOG_SEVERITY: Readonly<Record<string, number>> = { off: 7, emer: 1, err: 3, warn: 4, info: 6, dbg: 7 };
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
let facility = 3 << 3; // daemon

const FACILITIES = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'clock', 'ftp', 'ntp', 'audit'],
  ...['alert', 'clock2', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
];

/** Chooses syslog's facility by name. False when there is none of that name. */
export function setFacility(name: string): boolean {
  const i = FACILITIES.indexOf(name);
  if (i < 0) return false;
  facility = (i >= 13 ? i + 1 : i) << 3;
  return true;
}

/** Syslog's PRI value of a level, with the facility in force. */
export function syslogPriority(level: string): number {
  return facility | (SYSLOG_SEVERITY[level] ?? 6);
}

const DIRECTIVE = /%(-?)(0?)(\d*)(?:([dD])(?:\{([^}]*)\})?|(c|t|T)(?:\{([^}]*)\})?|([A-Za-z%]))/g;

/** A line, without its end, of `pattern`. */
export function formatLogLine(pattern: string, f: LogFacts): string {
  return pattern.replace(DIRECTIVE, (_all, left, zero, width, date, dateFormat, named, _arg, letter) => {
    let out: string;
    if (date) out = formatDate(dateFormat ?? '%Y-%m-%d %H:%M:%S.###', f.wallMs, date === 'D');
    else out = expand(named ?? letter, f);
    const n = Number(width || 0);
    if (out.length >= n) return out;
    return left ? out.padEnd(n) : out.padStart(n, zero ? '0' : ' ');
  });
}

function expand(letter: string, f: LogFacts): string {
  switch (letter) {
    case 'A':
      return f.program;
    case 'B':
      return String(syslogPriority(f.level));
    case 'c':
      return f.module;
    case 'E':
      return hostname();
    case 'm':
      return f.text;
    case 'N':
      return String(f.sequence);
    case 'n':
      return '\n';
    case 'p':
      return f.level.toUpperCase();
    case 'P':
      return String(process.pid);
    case 'r':
      return String(Math.round(performance.now()));
    case 't':
      return f.subprogram || 'main';
    case 'T':
      return f.subprogram ? `(${f.subprogram})` : '';
    case '%':
      return '%';
    default:
      return letter;
  }
}

/** `strftime` as far as log patterns use it, with a run of `#` for fractions of a second. */
function formatDate(format: string, wallMs: number, utc: boolean): string {
  const shifted = utc ? wallMs : wallMs - new Date(wallMs).getTimezoneOffset() * 60000;
  const d = new Date(shifted);
  const two = (n: number) => String(n).padStart(2, '0');
  const time = () => `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
  const text = format.replace(/%(.)/g, (_all, letter) => {
    switch (letter) {
      case 'Y':
        return String(d.getUTCFullYear());
      case 'y':
        return two(d.getUTCFullYear() % 100);
      case 'm':
        return two(d.getUTCMonth() + 1);
      case 'd':
        return two(d.getUTCDate());
      case 'e':
        return String(d.getUTCDate()).padStart(2);
      case 'H':
        return two(d.getUTCHours());
      case 'M':
        return two(d.getUTCMinutes());
      case 'S':
        return two(d.getUTCSeconds());
      case 'T':
        return time();
      case 'F':
        return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
      case 'b':
      case 'h':
        return MONTHS[d.getUTCMonth()];
      case 'a':
        return DAYS[d.getUTCDay()];
      case 's':
        return String(Math.floor(wallMs / 1000));
      case '%':
        return '%';
      default:
        return `%${letter}`;
    }
  });
  const fraction = String(d.getUTCMilliseconds()).padStart(3, '0');
  return text.replace(/#+/g, (run) => fraction.padEnd(9, '0').slice(0, run.length));
}
