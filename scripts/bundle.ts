/**
 * Bundles each program, and each worker thread's entry (`src/ROOM/NAME-worker.ts`), into one file in `dist/`: a program in
 * one file starts in half the time of sixty. `dist/.stamp` has the time at which bundling began; `scripts/launch` uses the
 * bundle only while no source is newer.
 */
import { existsSync, globSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

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
        external: ['koffi'],
        minifyWhitespace: true,
        legalComments: 'none',
        logLevel: 'warning',
      }),
    ),
  );
  if (results.some((result) => result.status === 'rejected')) process.exitCode = 1;
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
