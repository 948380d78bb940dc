/** Numbers and times for people. */

const UNITS = ['', 'k', 'M', 'G', 'T'];

/** Three digits are enough: `7`, `3.2`, `12.4k`, `1.05M`. */
export function count(n: number): string {
  let value = n;
  let unit = 0;
  while (Math.abs(value) >= 9999.5 || (unit > 0 && Math.abs(value) >= 999.5)) {
    value /= 1000;
    unit++;
    if (unit === UNITS.length - 1) break;
  }
  if (unit === 0) return n !== 0 && Math.abs(n) < 9.95 && !Number.isInteger(n) ? n.toFixed(1) : String(Math.round(n));
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)}${UNITS[unit]}`;
}

export const bits = (bytes: number): string => `${count(bytes * 8)}b/s`;
export const packets = (n: number): string => `${count(n)} pkt/s`;
export const percent = (part: number, of: number): string => {
  if (of <= 0) return '–';
  const value = (part / of) * 100;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
};

export function duration(ns: number): string {
  if (ns < 1000) return `${ns} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(2)} ms`;
  return `${(ns / 1e9).toFixed(2)} s`;
}

export function ago(seconds: number): string {
  if (seconds < 1.5) return 'now';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export function clockTime(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour12: false });
}
