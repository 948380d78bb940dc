/** `signalbox lint` of a bridge, in a process of its own: a hard table takes seconds, and nothing else may wait for it. */
import { execFile } from 'node:child_process';
import { Refused } from './switch.ts';

const TIMEOUT_MS = 60_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

/** JSON as in `docs/schema/lint.json`. */
export function lintBridge(bridge: string): Promise<string> {
  const [program] = process.argv.slice(1);
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [program, 'lint', '--format=json', '--names', bridge],
      { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT },
      (error, stdout, stderr) => {
        // Status 1 says that there are findings.
        if (stdout !== '' && (error === null || error.code === 1)) return resolve(stdout);
        const late = error?.killed === true ? `not done after ${TIMEOUT_MS / 1000} s` : '';
        reject(new Refused(late || stderr.trim() || error?.message || 'lint said nothing'));
      },
    );
  });
}
