/** Packets for property tests: well-formed ones of every protocol, cut and bent at random. */
import fc from 'fast-check';

const byte = fc.integer({ min: 0, max: 255 });
const bytes = (n: number): fc.Arbitrary<number[]> => fc.array(byte, { minLength: n, maxLength: n });
const be16 = (v: number): number[] => [(v >> 8) & 255, v & 255];

const transport = (v6: boolean): fc.Arbitrary<{ proto: number; data: number[] }> => {
  const payload = fc.array(byte, { maxLength: 20 });
  const tcp = fc.tuple(bytes(12), fc.constantFrom(5, 5, 5, 6, 4, 15), byte, bytes(6), payload);
  const option = fc.tuple(fc.constantFrom(1, 2, 1, 14), fc.constantFrom(1, 1, 1, 2, 0), bytes(6));
  const nd = fc.tuple(
    fc.constantFrom(135, 136),
    fc.constantFrom(0, 0, 0, 1),
    bytes(22),
    fc.array(option, { maxLength: 3 }),
  );
  return fc.oneof(
    tcp.map(([a, offset, flags, c, p]) => ({
      proto: 6,
      data: [...a, (offset << 4) | (flags & 15), flags, ...c, ...p],
    })),
    fc
      .tuple(bytes(4), payload)
      .map(([ports, p]) => ({ proto: 17, data: [...ports, ...be16(8 + p.length), 0, 0, ...p] })),
    fc.tuple(bytes(12), payload).map(([h, p]) => ({ proto: 132, data: [...h, ...p] })),
    fc.tuple(bytes(8), payload).map(([h, p]) => ({ proto: v6 ? 58 : 1, data: [...h, ...p] })),
    fc.tuple(bytes(8), payload).map(([h, p]) => ({ proto: 2, data: [...h, ...p] })),
    nd.map(([type, code, rest, options]) => ({
      proto: 58,
      data: [
        type,
        code,
        ...rest,
        ...options.flatMap(([t, l, mac]) => [t, l, ...mac, ...new Array(Math.max(0, l - 1) * 8).fill(7)]),
      ],
    })),
    fc.tuple(byte, payload).map(([proto, p]) => ({ proto, data: p })),
  );
};

const ipv4 = fc
  .record({
    tos: byte,
    options: fc.integer({ min: 0, max: 3 }),
    frag: fc.constantFrom(0, 0, 0, 0x4000, 0x2000, 0x0007, 0x2005),
    ttl: byte,
    addresses: bytes(8),
    t: transport(false),
    padding: fc.integer({ min: 0, max: 8 }),
  })
  .map(({ tos, options, frag, ttl, addresses, t, padding }) => {
    const header = 20 + options * 4;
    const total = header + t.data.length;
    const h = [0x40 | (header / 4), tos, ...be16(total), 1, 2, ...be16(frag), ttl, t.proto, 0, 0, ...addresses];
    return { type: 0x0800, data: [...h, ...new Array(options * 4).fill(1), ...t.data, ...new Array(padding).fill(0)] };
  });

const extension = fc.oneof(
  fc.tuple(fc.constantFrom(0, 43, 60), fc.integer({ min: 0, max: 1 })).map(([type, n]) => ({
    type,
    body: [n, ...new Array(6 + n * 8).fill(0)],
  })),
  fc.integer({ min: 1, max: 3 }).map((n) => ({ type: 51, body: [n, ...new Array((n + 2) * 4 - 2).fill(0)] })),
  fc.constantFrom(0, 1, 8, 0x0101).map((offset) => ({ type: 44, body: [0, ...be16(offset), 1, 2, 3, 4] })),
);

const ipv6 = fc
  .record({
    flow: bytes(3),
    hops: byte,
    addresses: bytes(32),
    extensions: fc.array(extension, { maxLength: 2 }),
    t: transport(true),
    padding: fc.integer({ min: 0, max: 8 }),
  })
  .map(({ flow, hops, addresses, extensions, t, padding }) => {
    const next = [...extensions.map((e) => e.type), t.proto];
    const body = [...extensions.flatMap((e, i) => [next[i + 1], ...e.body]), ...t.data];
    const h = [0x60 | (flow[0] & 15), flow[0], flow[1], flow[2], ...be16(body.length), next[0], hops, ...addresses];
    return { type: 0x86dd, data: [...h, ...body, ...new Array(padding).fill(0)] };
  });

const arp = fc
  .tuple(fc.constantFrom(0x0806, 0x8035), fc.constantFrom(0, 0, 0, 1), byte, bytes(20))
  .map(([type, high, op, rest]) => ({ type, data: [0, 1, 8, 0, 6, 4, high, op, ...rest] }));

const mpls = fc
  .tuple(fc.constantFrom(0x8847, 0x8848), fc.array(bytes(4), { minLength: 1, maxLength: 5 }), bytes(8))
  .map(([type, labels, rest]) => ({ type, data: [...labels.flat(), ...rest] }));

const nsh = fc
  .tuple(fc.constantFrom(1, 2, 1, 0), fc.constantFrom(6, 6, 2, 8), byte, byte, bytes(24))
  .map(([md, words, flags, np, rest]) => ({
    type: 0x894f,
    data: [flags & 0x3f, words | (flags & 0xc0), md, np, ...rest],
  }));

const other = fc
  .tuple(fc.integer({ min: 0, max: 0xffff }), fc.array(byte, { maxLength: 30 }))
  .map(([type, data]) => ({ type, data }));

/** What follows an Ethernet type, and the type. */
export const arbitraryLayer3 = fc.oneof(
  { weight: 4, arbitrary: ipv4 },
  { weight: 4, arbitrary: ipv6 },
  arp,
  mpls,
  nsh,
  other,
);

const tag = fc.tuple(fc.constantFrom(0x8100, 0x8100, 0x88a8), bytes(2)).map(([tpid, tci]) => [...be16(tpid), ...tci]);

/** Whole, correct as far as it goes. */
export const arbitraryFrame = fc
  .tuple(bytes(12), fc.array(tag, { maxLength: 3 }), fc.boolean(), arbitraryLayer3, fc.integer({ min: 0, max: 9 }))
  .map(([macs, tags, isSnap, { type, data }, dice]) => {
    const type2 = be16(type);
    const l2 = isSnap && dice < 2 ? [...be16(data.length + 8), 0xaa, 0xaa, 3, 0, 0, 0, ...type2] : type2;
    return Uint8Array.from([...macs, ...tags.flat(), ...l2, ...data]);
  });

/** Anything: whole, cut short, bits flipped, or noise. */
export const arbitraryPacket = fc.oneof(
  { weight: 5, arbitrary: arbitraryFrame },
  { weight: 2, arbitrary: fc.tuple(arbitraryFrame, fc.nat()).map(([p, n]) => p.subarray(0, n % (p.length + 1))) },
  {
    weight: 3,
    arbitrary: fc.tuple(arbitraryFrame, fc.nat(), byte).map(([p, at, value]) => {
      const bent = p.slice();
      if (bent.length > 12) bent[12 + (at % (bent.length - 12))] = value;
      return bent;
    }),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }) },
);
