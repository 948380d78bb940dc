import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BFD_STATES, type BfdPacket, buildBfd, readBfd } from './bfd.ts';
import { buildCcm, type Ccm, readCcm } from './ccm.ts';

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');
const MAC = Uint8Array.of(0xaa, 0x55, 0xaa, 0x55, 0xc1, 0x5f);

const BFD: BfdPacket = {
  diag: 0,
  state: 'down',
  flags: 0,
  mult: 3,
  myDiscriminator: 0xcb84e62e,
  yourDiscriminator: 0,
  minTxUs: 1_000_000,
  minRxUs: 1_000_000,
};
const ADDRESSES = {
  srcMac: MAC,
  dstMac: Uint8Array.of(0, 0x23, 0x20, 0, 0, 1),
  src: Uint8Array.of(169, 254, 1, 1),
  dst: Uint8Array.of(169, 254, 1, 0),
};

test('a BFD packet is the one that the original sends', () => {
  assert.equal(
    hex(buildBfd(ADDRESSES, BFD)),
    '002320000001aa55aa55c15f080045c0003400000000ff1164fba9fe0101a9fe0100c0000ec800200000' +
      '20400318cb84e62e00000000000f4240000f424000000000',
  );
});

test('a CCM is the one that the original sends, standard and extended', () => {
  const ccm: Ccm = {
    isExtended: false,
    seq: 1,
    mpid: 1n,
    rdi: false,
    intervalCode: 4,
    intervalMs: 1000,
    isOpDown: false,
  };
  const maid = `04036f76730203${'6f7673'}`.padEnd(96, '0');
  assert.equal(
    hex(buildCcm(MAC, ccm, null)),
    `0180c2000030aa55aa55c15f890200010446000000010001${maid}${'00'.repeat(17)}`,
  );
  const extended = { ...ccm, isExtended: true, seq: 0x33, mpid: 0x123456789abcdef0n, rdi: true, intervalCode: 0 };
  const frame = buildCcm(MAC, { ...extended, intervalMs: 700, isOpDown: true }, 0x6009);
  const head = '012320000030aa55aa55c15f81006009890200018046';
  const mpid = hex(frame.subarray(26, 28));
  assert.equal(hex(frame), `${head}00000033${mpid}${maid}02bc123456789abcdef001${'00'.repeat(6)}`);
});

test('packets of health protocols are read as they were written, and others harm nobody', () => {
  const u32 = fc.nat(0xffffffff);
  const packet = fc.record({
    diag: fc.nat(31),
    state: fc.constantFrom(...BFD_STATES),
    flags: fc.constantFrom(0, 8, 16, 32),
    mult: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
    yourDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
    minTxUs: u32,
    minRxUs: u32,
  });
  fc.assert(fc.property(packet, (p) => assert.deepEqual(readBfd(buildBfd(ADDRESSES, p)), { ...p })));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(80), (bytes, keep) => {
      const bfd = Uint8Array.from([...buildBfd(ADDRESSES, BFD).subarray(0, keep), ...bytes]);
      assert.ok(['string', 'object'].includes(typeof readBfd(bfd)));
      assert.ok(readCcm(bytes, keep % 2 === 0) !== undefined);
    }),
  );
});
