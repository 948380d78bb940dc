/**
 * Bundles each program, and each worker thread's entry (`src/ROOM/NAME-worker.ts`), into one file in `dist/`: a program in
 * one file starts in half the time of sixty. `dist/.stamp` has the time at which bundling began; `scripts/launch` uses the
 * bundle only while no source is newer.
 *
 * Node's own modules are not imported but fetched when something of theirs is first used: an import also runs what the module
 * only offers (`node:fs` its streams, `node:util` half of Node), which is a third of the start of a small program.
 *
 * The dashboard's pages go to `dist/web`.
 */
import { existsSync, globSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { buildPages } from './pages.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const began = new Date();
const out = join(root, `dist.${process.pid}`);

const programs = globSync('bin/*', { cwd: root })
  .map((path) => ({ out: relative('bin', path), in: join(root, 'src/tools', `${relative('bin', path)}.ts`) }))
  .filter((entry) => existsSync(entry.in));
const workers = globSync('src/**/*-worker.ts', { cwd: root }).map((path) => ({
  out: join('workers', relative('src', path).replace(/\.ts$/, '')),
  in: join(root, path),
}));

/** Part of Node's own start, so that to fetch them costs nothing. */
const LOADED = new Set(['node:fs', 'node:module', 'node:os', 'node:path', 'node:url']);

/**
 * The bundler gives an importer an object with the prototype of what the module exports, and copies its own properties, each
 * of which it thereby reads. So all there is to have is had through the prototype.
 */
const builtinsWhenUsed: Plugin = {
  name: 'builtins when used',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: 'builtin' }));
    onLoad({ filter: /^/, namespace: 'builtin' }, ({ path }) => {
      const module = `process.getBuiltinModule('${path}')`;
      const source = LOADED.has(path) ? module : `new Proxy({}, { get: (_, name) => ${module}[name] })`;
      return { contents: `module.exports = Object.create(${source});`, loader: 'js' };
    });
  },
};

try {
  // One at a time: what does not bundle runs from source, and does not keep the others from it.
  const results = await Promise.allSettled(
    [...programs, ...workers].map((entry) =>
      build({
        entryPoints: [entry],
        outdir: out,
        outExtension: { '.js': '.mjs' },
        bundle: true,
        platform: 'node',
        format: 'esm',
        target: 'esnext',
        external: ['koffi', 'prom-client'],
        minifySyntax: true,
        minifyWhitespace: true,
        plugins: [builtinsWhenUsed],
        legalComments: 'none',
        logLevel: 'warning',
      }),
    ),
  );
  if (results.some((result) => result.status === 'rejected')) process.exitCode = 1;
  await buildPages(join(out, 'web')).catch((error: Error) => {
    process.stderr.write(`the dashboard's pages: ${error.message}\n`);
    process.exitCode = 1;
  });
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, '.stamp'), '');
  utimesSync(join(out, '.stamp'), began, began);
  const dist = join(root, 'dist');
  const old = `${out}.old`;
  if (existsSync(dist)) renameSync(dist, old);
  renameSync(out, dist);
  rmSync(old, { recursive: true, force: true });
} finally {
  rmSync(out, { recursive: true, force: true });
}
