/** Programs under their own names: from any directory, through links, found by PATH, from bundle and from source. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { BIN, must, ROOT, run } from './support/run.ts';

const dir = mkdtempSync(join(tmpdir(), 'sb launch '));
after(() => rmSync(dir, { recursive: true, force: true }));

const PROGRAMS = readdirSync(BIN);

test('every program that package.json promises is there', async () => {
  const { bin } = JSON.parse(await must('cat', [join(ROOT, 'package.json')])) as { bin: Record<string, string> };
  assert.deepEqual(Object.keys(bin).sort(), PROGRAMS.toSorted());
  for (const [name, path] of Object.entries(bin)) assert.equal(path, `bin/${name}`);
});

describe('says who it is and how to use it', { concurrency: 2 }, () => {
  for (const program of PROGRAMS) {
    test(program, async () => {
      const version = await run(join(BIN, program), ['--version']);
      assert.equal(version.stderr, '');
      assert.equal(version.status, 0);
      assert.match(
        version.stdout,
        program === 'signalbox' ? /^signalbox\b/ : new RegExp(`^${program} \\(Open vSwitch\\) 3\\.7\\.0\n`),
      );
      const help = await run(join(BIN, program), ['--help']);
      assert.equal(help.status, 0, help.stderr);
      assert.match(help.stdout, /usage: /i);
      assert.match(help.stdout, /--version/);
      const bad = await run(join(BIN, program), ['--no-such-option']);
      assert.equal(bad.status, 1);
      assert.match(bad.stderr, new RegExp(`^${program}: `));
    });
  }
});

test('through symbolic links of any name, from any directory, by PATH', async () => {
  const link = join(dir, 'ovs-appctl');
  symlinkSync(join(BIN, 'ovs-appctl'), link);
  symlinkSync(link, join(dir, 'my appctl'));
  const line = 'ovs-appctl (Open vSwitch) 3.7.0\n';
  assert.equal(await must(link, ['--version'], { cwd: '/' }), line);
  assert.equal(await must('./my appctl', ['--version'], { cwd: dir }), line);
  const env = { PATH: `${BIN}:${process.env['PATH']}` };
  assert.equal(await must('sh', ['-c', 'ovs-appctl --version'], { env, cwd: dir }), line);
});

test('from a checkout in a directory with spaces, without a bundle', async () => {
  const copy = join(dir, 'a copy');
  mkdirSync(copy);
  for (const name of ['bin', 'scripts', 'src', 'package.json']) await must('cp', ['-r', join(ROOT, name), copy]);
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  assert.equal(await must(join(copy, 'bin/ovs-appctl'), ['-V']), 'ovs-appctl (Open vSwitch) 3.7.0\n');
});

test('a machine without the library that Node.js needs gets it, or is told', async () => {
  const bin = join(dir, 'poor machine');
  mkdirSync(bin);
  for (const name of ['ldconfig', 'apt-get'])
    writeFileSync(join(bin, name), `#!/bin/sh\necho "${name} $*" >>"${bin}/calls"\n`, { mode: 0o755 });
  const env = { PATH: `${bin}:${process.env['PATH']}` };
  const { status, stderr } = await run(join(ROOT, 'scripts/setup'), [], { env });
  assert.equal(status, 1);
  assert.match(stderr, /^signalbox: Node\.js 26 needs the library libatomic\.so\.1.*apt-get install libatomic1/);
  const calls = await must('cat', [join(bin, 'calls')]);
  if (process.getuid?.() === 0) assert.match(calls, /^apt-get install .*libatomic1$/m);
});
