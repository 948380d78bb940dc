/** Files that come with the package, and worker threads, found from source and from the bundle alike. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let root: string | null = null;

/** The directory that holds `package.json`. */
export function packageRoot(): string {
  if (root !== null) return root;
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) {
    const up = dirname(dir);
    if (up === dir) throw new Error('the package is incomplete: there is no package.json');
    dir = up;
  }
  root = dir;
  return dir;
}

/** `packagePath('schema/vswitch.ovsschema')`. */
export function packagePath(relative: string): string {
  return join(packageRoot(), relative);
}
