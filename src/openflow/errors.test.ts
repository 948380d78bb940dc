import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorFromWire, errorToWire, OF_ERRORS } from './errors.ts';
import type { OfpVersion } from './messages.ts';

test('every error that a version can write is read back by a name with the same number', () => {
  let seen = 0;
  for (const name of Object.keys(OF_ERRORS)) {
    for (let v = 1; v <= 6; v++) {
      const wire = errorToWire(v as OfpVersion, name);
      if (wire === null) continue;
      const back = errorFromWire(v as OfpVersion, wire.vendor, wire.type, wire.code);
      assert.notEqual(back, null);
      assert.deepEqual(errorToWire(v as OfpVersion, back!), wire);
      seen++;
    }
  }
  assert.ok(seen > 700, `${seen} numbers`);
});

test('an error that OpenFlow 1.2 brought is a Nicira one before', () => {
  assert.deepEqual(errorToWire(1, 'OFPBMC_BAD_PREREQ'), { vendor: 0x2320, type: 1, code: 260 });
  assert.deepEqual(errorToWire(4, 'OFPBMC_BAD_PREREQ'), { vendor: 0, type: 4, code: 9 });
  assert.equal(errorFromWire(1, 0, 1, 5), 'OFPBRC_EPERM');
});
