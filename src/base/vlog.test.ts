import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { vlog, vlogCloseFile, vlogModules, vlogParse, vlogReopen, vlogSetFile } from './vlog.ts';
import { formatLogLine } from './vlog-pattern.ts';

const dir = mkdtempSync(join(tmpdir(), 'sb-vlog-'));
after(() => rmSync(dir, { recursive: true, force: true }));
vlogParse('console:off');

const facts = {
  program: 'ovs-vswitchd',
  subprogram: 'handler1',
  module: 'bridge',
  level: 'warn',
  text: 'a|b %m',
  sequence: 7,
  wallMs: Date.UTC(2026, 0, 2, 3, 4, 5, 67),
};

test('patterns expand', () => {
  const expand = (pattern: string) => formatLogLine(pattern, facts);
  assert.equal(
    expand('%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m'),
    '2026-01-02T03:04:05.067Z|00007|bridge(handler1)|WARN|a|b %m',
  );
  assert.equal(expand('<%B> %D{%h %e %T} %A:'), '<28> Jan  2 03:04:05 ovs-vswitchd:');
  assert.equal(expand('[%8c][%-8c][%3m]%%%n'), '[  bridge][bridge  ][a|b %m]%\n');
  assert.equal(expand('%P'), String(process.pid));
});

test('levels are set by module, destination and level in any order', () => {
  const log = vlog('bridge');
  assert.equal(vlogParse('file:bridge,warn'), null);
  assert.equal(vlogParse('reconnect:syslog:err'), null);
  const levels = () => Object.fromEntries(vlogModules().map((m) => [m.name, m.levels]));
  assert.deepEqual(levels()['bridge'], { syslog: 'info', console: 'off', file: 'warn' });
  vlog('reconnect');
  assert.equal(levels()['reconnect'].syslog, 'err', 'also for a module that comes later');
  assert.equal(vlogParse('ANY:file:dbg'), null);
  assert.equal(levels()['bridge'].file, 'dbg');
  assert.equal(log.isEnabled('err'), false, 'there is no file yet');
});

test('errors', () => {
  assert.equal(vlogParse('foo'), 'no destination, level, or module "foo"');
  assert.equal(vlogParse('dbg:info'), 'cannot specify multiple levels');
  assert.equal(vlogParse('file:syslog'), 'cannot specify multiple destinations');
  assert.equal(vlogParse('PATTERN:foo:x'), 'unknown destination "foo"');
  assert.equal(vlogParse('FACILITY:foo'), 'invalid facility');
  assert.equal(vlogSetFile(join(dir, 'none', 'x.log')), 'No such file or directory');
});

test('the file gets its lines, also after rotation, and rates are limited', () => {
  const path = join(dir, 'x.log');
  assert.equal(vlogParse('PATTERN:file:%c|%p|%m'), null);
  assert.equal(vlogParse('file:info'), null);
  assert.equal(vlogSetFile(path), null);
  const log = vlog('bridge');
  log.info('one');
  log.dbg('not seen');
  renameSync(path, `${path}.1`);
  log.info('two');
  assert.equal(vlogReopen(), null);
  for (let i = 0; i < 50; i++) log.rl({ perMinute: 1, burst: 3 }).warn(`noise ${i}`);
  vlogCloseFile();
  log.info('lost');
  assert.equal(
    readFileSync(`${path}.1`, 'utf8'),
    `vlog|INFO|opened log file ${path}\nbridge|INFO|one\nbridge|INFO|two\nvlog|INFO|closing log file\n`,
  );
  assert.equal(
    readFileSync(path, 'utf8'),
    `vlog|INFO|opened log file ${path}\nbridge|WARN|noise 0\nbridge|WARN|noise 1\nbridge|WARN|noise 2\n`,
  );
});
