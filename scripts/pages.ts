/** Builds the dashboard's pages (`src/web/app/`) into a directory. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

export async function buildPages(out: string): Promise<void> {
  await build({
    configFile: false,
    root: join(root, 'src/web/app'),
    publicDir: join(root, 'src/web/app/public'),
    logLevel: 'warn',
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: out,
      emptyOutDir: true,
      target: 'es2022',
      // The policy of the pages allows no content but their own files.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      // How long the plugins take is no warning to whoever runs this.
      rolldownOptions: { checks: { pluginTimings: false } },
    },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await buildPages(process.argv[2] ?? join(root, 'dist/web'));
}
