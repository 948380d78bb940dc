import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { F, FIELDS, fieldByHeader, fieldByName, fieldHeader } from './fields.ts';
import { FlowKey } from './key.ts';
import { DP_WORDS, FLOW_BYTES, OFS } from './layout.ts';
import {
  bigintOfBytes,
  fieldMaskBytes,
  formatSubfield,
  getBits,
  getField,
  getFieldMask,
  getNumber,
  isFieldMaskExact,
  parseSubfield,
  setBits,
  setField,
  setFieldMask,
  setNumber,
} from './subfield.ts';

test('names and wire numbers are unambiguous and lie within the key', () => {
  const names = new Set<string>();
  const numbers = new Set<string>();
  for (const f of FIELDS) {
    assert.equal(FIELDS[f.index], f);
    assert.ok(f.bit + f.width <= FLOW_BYTES * 8, f.name);
    for (const n of [f.name, ...f.aliases]) {
      assert.ok(!names.has(n), n);
      names.add(n);
      assert.equal(fieldByName(n), f);
    }
    for (const h of f.headers) {
      const id = `${h.class}.${h.field}.${h.experimenter}`;
      assert.ok(!numbers.has(id), `${f.name} ${id}`);
      numbers.add(id);
      assert.equal(fieldByHeader(h.class, h.field, h.experimenter), f);
    }
  }
  assert.ok(F.reg0.bit >= DP_WORDS * 32);
});

test('a version chooses its own number', () => {
  assert.equal(fieldHeader(F.tcp_flags, 0)?.name, 'NXM_NX_TCP_FLAGS');
  assert.equal(fieldHeader(F.tcp_flags, 3)?.name, 'NXM_NX_TCP_FLAGS');
  assert.equal(fieldHeader(F.tcp_flags, 4)?.name, 'ONFOXM_ET_TCP_FLAGS');
  assert.equal(fieldHeader(F.tcp_flags, 6)?.name, 'OXM_OF_TCP_FLAGS');
  assert.equal(fieldHeader(F.metadata, 0)?.name, 'OXM_OF_METADATA');
  assert.equal(fieldHeader(F.dl_vlan, 0), undefined);
});

test('bits written to a field are read back and leave the rest of the key alone', () => {
  const plain = FIELDS.filter((f) => f.format !== 'ofp_port_oxm' && f.name !== 'nw_tos' && !/pcp|dl_vlan/.test(f.name));
  fc.assert(
    fc.property(
      fc.constantFrom(...plain),
      fc.nat(),
      fc.nat(),
      fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
      (f, a, b, v) => {
        const limit = Math.min(f.nBits, f.width);
        const ofs = a % limit;
        const nBits = 1 + (b % (limit - ofs));
        const sf = { field: f, ofs, nBits };
        const value = v & ((1n << BigInt(nBits)) - 1n);
        const key = new FlowKey();
        key.u8.fill(0xa5);
        const before = key.clone();
        setBits(key, sf, value);
        assert.equal(getBits(key, sf), value);
        if (nBits <= 32) assert.equal(BigInt(getNumber(key, sf)), value);
        const key2 = before.clone();
        if (nBits <= 32) {
          setNumber(key2, sf, Number(value));
          assert.deepEqual(key2.u8, key.u8);
        }
        setBits(key, sf, getBits(before, sf));
        if (f.name !== 'in_port' && f.name !== 'arp_op') assert.deepEqual(key.u8, before.u8);
      },
    ),
  );
});

test('an exact mask is exact', () => {
  for (const f of FIELDS) {
    const mask = new FlowKey();
    setFieldMask(mask, f);
    assert.ok(isFieldMaskExact(mask, f), f.name);
    if (f.name !== 'arp_op') assert.deepEqual(getFieldMask(mask, f), fieldMaskBytes(f), f.name);
  }
});

test('port numbers are widened and narrowed', () => {
  const key = new FlowKey();
  setField(key, F.in_port_oxm, Uint8Array.of(0xff, 0xff, 0xff, 0xfe));
  assert.equal(key.get32(OFS.in_port), 0xfffe);
  assert.equal(bigintOfBytes(getField(key, F.in_port)), 0xfffen);
  assert.equal(bigintOfBytes(getField(key, F.in_port_oxm)), 0xfffffffen);
});

test('subfields as text', () => {
  const ok = (text: string, out: string): void => {
    const r = parseSubfield(text);
    assert.ok(r.ok, JSON.stringify(r));
    assert.equal(formatSubfield(r.subfield), out);
  };
  ok('reg0[4..7]', 'NXM_NX_REG0[4..7]');
  ok('NXM_OF_ETH_SRC[]', 'NXM_OF_ETH_SRC[]');
  ok('eth_src', 'NXM_OF_ETH_SRC[]');
  ok('vlan_vid', 'OXM_OF_VLAN_VID[]');
  ok('reg1[3]', 'NXM_NX_REG1[3]');
  const bad = (text: string, error: string): void => assert.deepEqual(parseSubfield(text), { ok: false, error });
  bad('foo', "foo: unknown field `foo'");
  bad('reg0[3', 'reg0[3: syntax error expecting [] or [<bit>] or [<start>..<end>]');
  bad('reg0[5..3]', 'reg0[5..3]: starting bit 5 is after ending bit 3');
  bad('reg0[33]', 'reg0[33]: starting bit 33 is not valid because field is only 32 bits wide');
  bad('reg0[0..33]', 'reg0[0..33]: ending bit 33 is not valid because field is only 32 bits wide');
});
