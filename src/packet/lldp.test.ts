import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildLldp, readLldp } from './lldp.ts';

const CHASSIS = Uint8Array.of(0xaa, 0x55, 0xaa, 0x56, 0xf1, 0x05);
const ADVERT = {
  chassis: CHASSIS,
  portName: 'a1',
  ttlSeconds: 120,
  systemName: 'sysn',
  systemDescription: 'some descr',
  mappings: [
    { isid: 100, vlan: 5 },
    { isid: 200, vlan: 6 },
  ],
};

test('an advertisement is the one that the original sends', () => {
  const zeros = '00'.repeat(32);
  assert.equal(
    Buffer.from(buildLldp(CHASSIS, ADVERT)).toString('hex'),
    '0180c200000eaa55aa56f10588cc020704aa55aa56f10504030561310602007' +
      '80a047379736e0c0a736f6d652064657363720e0400040004' +
      `fe3200040d0b${zeros}38000000aa55aa56f10500000000fe2e00040d0c${zeros}00050000640006` +
      '0000c80000',
  );
});

test('what was written is read, and nothing else does harm', () => {
  const frame = buildLldp(CHASSIS, ADVERT);
  const read = readLldp(frame);
  assert.deepEqual(
    read?.mappings.map(({ isid, vlan }) => ({ isid, vlan })),
    ADVERT.mappings,
  );
  assert.equal(read?.systemDescription, 'some descr');
  assert.equal(read?.ttlSeconds, 120);
  fc.assert(
    fc.property(fc.nat(200), fc.uint8Array({ maxLength: 80 }), (keep, bytes) => {
      const other = readLldp(Uint8Array.from([...frame.subarray(0, keep), ...bytes]));
      assert.ok(other === null || other.chassis.length > 0);
    }),
  );
});
