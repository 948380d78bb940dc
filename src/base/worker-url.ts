/**
 * Where a worker thread's code is: `src/NAME.ts` when we run from source, `dist/workers/NAME.mjs` from the bundle. The bundler
 * takes every `src/ROOM/SOMETHING-worker.ts` as an entry.
 */
import { pathToFileURL } from 'node:url';
import { packagePath } from './package-path.ts';

/** `workerUrl('datapath/pmd-worker')`, for `new Worker(…)`. */
export function workerUrl(name: string): URL {
  const fromSource = import.meta.url.endsWith('.ts');
  return pathToFileURL(packagePath(fromSource ? `src/${name}.ts` : `dist/workers/${name}.mjs`));
}
