/** The language of `add-group` (`ovs-ofctl(8)`, "Group Syntax"). */

import type { Field } from '../flow/field.ts';
import { fieldByName } from '../flow/fields.ts';
import { type Names, parsePort } from '../flow/names.ts';
import { parseFieldValue } from '../flow/value-text.ts';
import { parseActions } from './actions/index.ts';
import {
  type Bucket,
  type GroupCommand,
  type GroupMod,
  type GroupProps,
  type GroupType,
  OFPG_ALL,
  OFPG_ANY,
  OFPG15_BUCKET_ALL,
  OFPG15_BUCKET_FIRST,
  OFPG15_BUCKET_LAST,
} from './messages-ext.ts';
import { OFPP } from './ports.ts';

export type ParsedGroup =
  | { readonly ok: true; readonly group: GroupMod }
  | { readonly ok: false; readonly error: string };

class Syntax extends Error {}
function syntax(text: string): never {
  throw new Syntax(text);
}

const COMMAND_WORDS: Readonly<Record<string, GroupCommand>> = {
  add: 'add',
  delete: 'delete',
  insert_bucket: 'insert_bucket',
  remove_bucket: 'remove_bucket',
  add_or_mod: 'add_or_mod',
  modify: 'modify',
};
const TYPES: Readonly<Record<string, GroupType>> = {
  all: 'all',
  select: 'select',
  indirect: 'indirect',
  ff: 'ff',
  fast_failover: 'ff',
};
const NAMED_BUCKETS: Readonly<Record<string, number>> = {
  all: OFPG15_BUCKET_ALL,
  first: OFPG15_BUCKET_FIRST,
  last: OFPG15_BUCKET_LAST,
};

/** `command` null takes it from the line's first word, `add` when there is none. */
export function parseGroupMod(text: string, command: GroupCommand | null, names?: Names): ParsedGroup {
  try {
    const word = /^\s*([a-z_]+)(\s+|$)/.exec(text);
    if (command === null && word !== null && Object.hasOwn(COMMAND_WORDS, word[1]))
      return { ok: true, group: parse(text.slice(word[0].length), COMMAND_WORDS[word[1]], names) };
    return { ok: true, group: parse(text, command ?? 'add', names) };
  } catch (error) {
    if (error instanceof Syntax) return { ok: false, error: error.message };
    throw error;
  }
}

const u32 = (text: string): number | null =>
  /^(0x[0-9a-f]+|\d+)$/i.test(text) && Number(text) <= 0xffffffff ? Number(text) : null;

/** Splits at top-level commas and blanks; parentheses keep their inside together. */
function* words(text: string): Generator<{ key: string; value: string }> {
  let at = 0;
  while (at < text.length) {
    if (/[\s,]/.test(text[at])) {
      at++;
      continue;
    }
    let depth = 0;
    const start = at;
    for (; at < text.length; at++) {
      const ch = text[at];
      if (ch === '(') depth++;
      else if (ch === ')') depth--;
      else if (depth <= 0 && /[\s,]/.test(ch)) break;
    }
    const word = text.slice(start, at);
    const m = /^([^=:(]+)[=:]?([\s\S]*)$/.exec(word);
    yield { key: m?.[1] ?? word, value: m?.[2] ?? '' };
  }
}

function parse(text: string, command: GroupCommand, names?: Names): GroupMod {
  const accepts = {
    type: command === 'add' || command === 'modify' || command === 'add_or_mod',
    buckets: command === 'add' || command === 'modify' || command === 'add_or_mod' || command === 'insert_bucket',
    commandBucket: command === 'insert_bucket' || command === 'remove_bucket',
    all: command === 'delete',
  };
  const bucketAt = text.search(/\bbucket\s*=/);
  if (bucketAt >= 0 && !accepts.buckets) syntax('bucket is not needed');
  const head = bucketAt < 0 ? text : text.slice(0, bucketAt);
  let groupId: number | null = null;
  let groupType: GroupType | null = null;
  let commandBucketId: number | null = null;
  let selectionMethod = '';
  let selectionMethodParam = 0n;
  let fields: { field: Field; value: Uint8Array }[] = [];
  for (const { key, value } of words(head)) {
    if (key === 'command_bucket_id') {
      if (!accepts.commandBucket) syntax('command bucket id is not needed');
      const id = NAMED_BUCKETS[value] ?? u32(value);
      if (id === null || (id > 0xffffff00 && !Object.hasOwn(NAMED_BUCKETS, value)))
        syntax(`invalid command bucket id ${value}`);
      commandBucketId = id;
    } else if (key === 'group_id') {
      if (value === 'all') groupId = accepts.all ? OFPG_ALL : syntax(`invalid group id ${value}`);
      else {
        const id = u32(value) ?? syntax(`invalid group id ${value}`);
        if (id > 0xffffff00 && !(accepts.all && id === OFPG_ALL)) syntax(`invalid group id ${value}`);
        groupId = id;
      }
    } else if (key === 'type') {
      if (!accepts.type) syntax('type is not needed');
      groupType = Object.hasOwn(TYPES, value) ? TYPES[value] : syntax(`invalid group type ${value}`);
    } else if (key === 'selection_method') {
      if (!accepts.type) syntax('selection method is not needed');
      if (value.length >= 16) syntax('selection method is longer than 15 bytes long');
      selectionMethod = value;
    } else if (key === 'selection_method_param') {
      if (!accepts.type) syntax('selection method param is not needed');
      selectionMethodParam = /^(0x[0-9a-f]+|\d+)$/i.test(value)
        ? BigInt(value)
        : syntax(`invalid numeric format ${value}`);
    } else if (key === 'fields') {
      if (!accepts.type) syntax('fields are not needed');
      fields = parseFields(value, names);
    } else syntax(`unknown keyword ${key}`);
  }
  if (groupId === null) {
    if (command === 'delete') groupId = OFPG_ALL;
    else syntax('must specify a group_id');
  }
  if (accepts.type && groupType === null) syntax('must specify a type');
  if (command === 'insert_bucket' && commandBucketId === null) commandBucketId = OFPG15_BUCKET_LAST;
  if (command === 'remove_bucket' && commandBucketId === null) syntax('must specify a command bucket id');
  const type = groupType ?? 'all';
  if (selectionMethod === '' && fields.length > 0) syntax('fields may only be specified with a selection method');
  const buckets = bucketAt < 0 ? [] : parseBuckets(text.slice(bucketAt), type, names);
  if (type === 'indirect' && accepts.type && buckets.length > 1) syntax('Indirect groups can have at most one bucket.');
  const props: GroupProps | null = selectionMethod === '' ? null : { selectionMethod, selectionMethodParam, fields };
  return {
    type: 'group_mod',
    command,
    groupType: type,
    groupId,
    commandBucketId: commandBucketId ?? OFPG15_BUCKET_ALL,
    buckets,
    props,
  };
}

function parseFields(text: string, names?: Names): { field: Field; value: Uint8Array }[] {
  const inner = text.startsWith('(') ? text.slice(1, text.endsWith(')') ? -1 : undefined) : text;
  const list = [];
  for (const { key, value } of words(inner)) {
    const field = fieldByName(key) ?? syntax(`unknown field ${key}`);
    let bytes: Uint8Array = new Uint8Array(field.bytes).fill(0xff);
    if (value !== '') {
      const parsed = parseFieldValue(field, value, { names });
      if (!parsed.ok) syntax(parsed.error);
      bytes = parsed.value;
    }
    list.push({ field, value: bytes });
  }
  return list;
}

function parseBuckets(text: string, type: GroupType, names?: Names): Bucket[] {
  const parts = text.split(/\bbucket\s*=/).slice(1);
  return parts.map((part, i) => parseBucket(part, type, i, names));
}

const BUCKET_KEYS = ['weight', 'watch_port', 'watch_group', 'bucket_id', 'action', 'actions'];

function parseBucket(text: string, type: GroupType, index: number, names?: Names): Bucket {
  let weight = type === 'select' ? 1 : 0;
  let watchPort: number = OFPP.NONE;
  let watchGroup = OFPG_ANY;
  let bucketId = index;
  // What is not one of a bucket's own words is an action.
  const actions: string[] = [];
  for (const part of splitTopLevel(text)) {
    const m = /^([a-z_]+)\s*[=:]([\s\S]*)$/.exec(part);
    const key = m?.[1] ?? '';
    if (!BUCKET_KEYS.includes(key)) {
      actions.push(part);
      continue;
    }
    const value = m?.[2] ?? '';
    if (key === 'weight') weight = numberIn(value, 0xffff) ?? syntax(`invalid weight "${value}"`);
    else if (key === 'watch_port') {
      watchPort = parsePort(value, names);
      if (watchPort < 0 || (watchPort >= OFPP.MAX && watchPort !== OFPP.NONE)) syntax(`${value}: invalid watch_port`);
    } else if (key === 'watch_group') {
      watchGroup = numberIn(value, 0xffffff00) ?? syntax(`invalid watch_group id ${value}`);
    } else if (key === 'bucket_id') {
      bucketId = u32(value) ?? syntax(`invalid bucket_id id ${value}`);
      if (bucketId > 0xffffff00) syntax(`invalid bucket_id id ${bucketId}`);
    } else actions.push(value);
  }
  if (actions.length === 0) syntax('bucket must specify actions');
  const parsed = parseActions(actions.join(','), { names });
  if (!parsed.ok) syntax(parsed.error);
  return { bucketId, weight, watchPort, watchGroup, actions: parsed.actions };
}
const numberIn = (text: string, max: number): number | null => {
  const n = u32(text);
  return n !== null && n <= max ? n : null;
};

function splitTopLevel(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const ch = text[i];
    if (ch === '(') depth++;
    else if (ch === ')') depth--;
    else if (i === text.length || (depth <= 0 && /[\s,]/.test(ch))) {
      const part = text.slice(start, i).trim();
      if (part !== '') parts.push(part);
      start = i + 1;
    }
  }
  return parts;
}
