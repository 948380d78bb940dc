/** What the documentation says is so: the generated page is fresh, links lead somewhere, commands in examples exist. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { compatibilityPage, PAGE } from '../scripts/compatibility.ts';
import { ROOT } from './support/run.ts';

const page = await compatibilityPage();
const guides = ['README.md', ...globSync('docs/*.md', { cwd: ROOT })];

test('docs/compatibility.md says what the code does', () => {
  const fresh = readFileSync(PAGE, 'utf8') === page;
  assert.ok(fresh, 'docs/compatibility.md is stale: run scripts/node26 scripts/compatibility.ts');
});

test('every table of the page has lines', () => {
  for (const section of page.split('\n## ').slice(1)) {
    assert.match(section, /^\| .+ \|\n\|[-|]+\|\n\| .+ \|$/m, section.slice(0, 40));
  }
});

test('links lead to files and headings', () => {
  const anchors = (file: string): string[] =>
    [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
  for (const guide of guides) {
    const text = readFileSync(join(ROOT, guide), 'utf8');
    for (const [, to] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https?:/.test(to)) continue;
      const [path, anchor] = to.split('#');
      const file = path === '' ? join(ROOT, guide) : join(ROOT, dirname(guide), path);
      assert.ok(existsSync(file), `${guide}: ${to}`);
      if (anchor) assert.ok(anchors(file).includes(anchor), `${guide}: no heading for ${to}`);
    }
  }
});

test('programs and commands in examples are there', () => {
  const has = (program: string, command: string): boolean => {
    const heads: Readonly<Record<string, string>> = {
      'ovs-appctl': '### `ovs-appctl` to',
      'ovs-vsctl': '### `ovs-vsctl`',
    };
    const head = heads[program] ?? `### \`${program}\``;
    const from = page.indexOf(head);
    const section = page.slice(from, page.indexOf('\n##', from + 1));
    return (
      section.includes(`\n| \`${command}\` |`) && !new RegExp(`^\\| \`${command}\` .*not yet \\|$`, 'm').test(section)
    );
  };
  for (const guide of guides) {
    const text = readFileSync(join(ROOT, guide), 'utf8');
    for (const [, block] of text.matchAll(/```sh\n(.*?)```/gs)) {
      for (const line of block.split('\n')) {
        const call =
          /^(?:\$ )?(ovs-ofctl|ovs-appctl|ovs-dpctl|ovsdb-tool|ovsdb-client) ((?:-\S+(?: (?:OpenFlow\d+|ovs\S+))? )*)([a-z][a-z0-9/-]*)/.exec(
            line,
          );
        if (!call) continue;
        const [, program, options, command] = call;
        if (options.includes('-t ')) continue;
        assert.ok(has(program, command), `${guide}: ${line}`);
      }
    }
  }
});
