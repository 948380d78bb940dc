/** Imports point down the house, never up: `docs/design/borders.md` has the order. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { ROOT } from './support/run.ts';

const ROOMS = [
  ...['tools', 'web', 'vswitchd', 'ofproto', 'dpif', 'datapath', 'netdev', 'linux'],
  ...['ovsdb', 'openflow', 'flow', 'packet', 'base'],
];

const IMPORT =
  /(?:^|[;\n])\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s+['"]([^'"]+)['"]/g;

interface Import {
  readonly file: string;
  readonly to: string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(IMPORT)].map((m) => ({ file, to: m[1] ?? m[2] ?? m[3] }));
}

const files = globSync('src/**/*.ts', { cwd: ROOT }).filter((file) => !file.startsWith('src/web/app/'));
const imports = files.flatMap(importsOf);

/** A test, or what only tests import. */
function isForTests(file: string): boolean {
  if (file.endsWith('.test.ts')) return true;
  const importers = imports.filter((i) => i.to.startsWith('.') && normalize(join(dirname(i.file), i.to)) === file);
  return importers.length > 0 && importers.every((i) => i.file.endsWith('.test.ts'));
}

function room(path: string): string {
  return path.split('/')[1];
}

test('every file is in a room', () => {
  assert.deepEqual(
    files.filter((file) => !ROOMS.includes(room(file))),
    [],
  );
  assert.ok(imports.length > 20);
});

test('imports point down', () => {
  const up = imports
    .filter(({ to }) => to.startsWith('.'))
    .map(({ file, to }) => ({ file, to: normalize(join(dirname(file), to)) }))
    .filter(({ file, to }) => ROOMS.indexOf(room(to)) < ROOMS.indexOf(room(file)))
    .map(({ file, to }) => `${file} imports ${to}`);
  assert.deepEqual(up, []);
});

test('imports name files that exist, with their extension', () => {
  const missing = imports
    .filter(({ to }) => to.startsWith('.'))
    .map(({ file, to }) => ({ file, to: normalize(join(dirname(file), to)) }))
    .filter(({ to }) => !existsSync(join(ROOT, to)))
    .map(({ file, to }) => `${file} imports ${to}`);
  assert.deepEqual(missing, []);
});

test('packages are those that package.json lists, and only the kernel room uses FFI', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const foreign = imports.filter(({ to }) => !to.startsWith('.') && !to.startsWith('node:'));
  for (const { file, to } of foreign) {
    const known = isForTests(file) ? { ...dependencies, ...devDependencies } : dependencies;
    assert.ok(to in known, `${file} imports ${to}`);
    if (to === 'koffi') assert.equal(room(file), 'linux', `${file} imports koffi`);
  }
});
