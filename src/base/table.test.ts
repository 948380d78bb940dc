import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  defaultTableStyle,
  formatTable,
  onelineText,
  prettyJson,
  type Table,
  type TableCell,
  TablePrinter,
} from './table.ts';

const value = (string: string, bare: string, json: string, isUuid = false): TableCell => ({
  text: (style) => (style === 'bare' ? bare : string),
  json: () => json,
  isUuid,
});

const UUID = '76f81e6d-e1df-4e0d-9389-cdf66d0dba93';

/** All expectations are what Open vSwitch 3.1.0 printed. */
const TABLE: Table = {
  headings: ['name', 'options', '_uuid', 'ports'],
  rows: [
    [
      value('p1', 'p1', '"p1"'),
      value('{a="b c"}', 'a=b c', '["map",[["a","b c"]]]'),
      value(UUID, UUID, `["uuid","${UUID}"]`, true),
      value(`[${UUID}]`, UUID, `["uuid","${UUID}"]`, true),
    ],
  ],
};

test('a table is aligned by bytes, and its last column is not padded', () => {
  const table: Table = {
    headings: ['external_ids', 'name'],
    rows: [
      ['{u="äöü"}', 'p1'],
      ['{}', 'br0'],
    ],
  };
  assert.equal(
    formatTable(table, defaultTableStyle()),
    'external_ids name\n------------ ----\n{u="äöü"} p1\n{}           br0\n',
  );
  const narrow = { ...defaultTableStyle(), maxColumnWidth: 4 };
  assert.equal(
    formatTable({ headings: ['name', 'tag', 'ids'], rows: [['p1', '5', '{abcdef}']] }, narrow),
    'name tag ids\n---- --- ----\np1   5   {abc\n',
  );
});

test('a list has twenty characters for the heading, and an empty line between rows', () => {
  const list = defaultTableStyle('list');
  const table: Table = {
    headings: ['name', 'mcast_snooping_enable'],
    rows: [
      ['a', 'false'],
      ['b', 'true'],
    ],
  };
  assert.equal(
    formatTable(table, list),
    'name                : a\nmcast_snooping_enable: false\n\nname                : b\nmcast_snooping_enable: true\n',
  );
  assert.equal(formatTable(table, { ...list, headings: false }), 'a\nfalse\n\nb\ntrue\n');
});

test('values are quoted for CSV, escaped and linked for HTML, kept as they are for JSON', () => {
  assert.equal(
    formatTable(TABLE, defaultTableStyle('csv')),
    `name,options,_uuid,ports\np1,"{a=""b c""}",${UUID},[${UUID}]\n`,
  );
  assert.equal(
    formatTable({ headings: TABLE.headings, rows: TABLE.rows }, { ...defaultTableStyle('html'), headings: false }),
    `<table border=1>\n  <tr>\n    <td>p1</td>\n    <td>{a=&quot;b c&quot;}</td>\n    <td><a name="${UUID}">76f81e6d</a></td>\n` +
      `    <td>[<a href="#${UUID}">76f81e6d</a>]</td>\n  </tr>\n</table>\n`,
  );
  assert.equal(
    formatTable(TABLE, defaultTableStyle('json')),
    `{"data":[["p1",["map",[["a","b c"]]],["uuid","${UUID}"],["uuid","${UUID}"]]],"headings":["name","options","_uuid","ports"]}\n`,
  );
});

test('tables in a row are separated by an empty line, but not as JSON or HTML', () => {
  const print = (format: 'csv' | 'html' | 'json') => {
    const printer = new TablePrinter(defaultTableStyle(format));
    const table: Table = { headings: ['a'], rows: [] };
    return printer.print(table) + printer.print(table);
  };
  assert.equal(print('csv'), 'a\n\na\n');
  assert.ok(!print('html').includes('\n\n'));
  assert.ok(!print('json').includes('\n\n'));
});

test('pretty JSON closes behind the last element', () => {
  assert.equal(
    prettyJson('{"data":[["p1",5]],"x":[],"s":"a,[\\"{"}'),
    `{
  "data": [
    [
      "p1",
      5]],
  "x": [],
  "s": "a,[\\"{"}`,
  );
});

test('one line for each command: newlines and backslashes are escaped', () => {
  assert.equal(onelineText('a\nb\n'), 'a\\nb\n');
  assert.equal(onelineText(''), '\n');
  assert.equal(onelineText('a\\b\n'), 'a\\\\b\n');
});
