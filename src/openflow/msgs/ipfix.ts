/** Statistics of IPFIX exporters (Nicira). */
import type { Reader } from '../bytes.ts';
import { codec, spot } from '../codec.ts';
import type { IpfixStats } from '../messages-ext.ts';

const COUNTERS = [
  'flows',
  'currentFlows',
  'packets',
  'ipv4Packets',
  'ipv6Packets',
  'errorPackets',
  'ipv4ErrorPackets',
  'ipv6ErrorPackets',
  'txPackets',
  'txErrors',
] as const;

function read(r: Reader): IpfixStats {
  const counts = Object.fromEntries(COUNTERS.map((name) => [name, r.count64()])) as Record<
    (typeof COUNTERS)[number],
    number
  >;
  const collectorSetId = r.u32();
  r.skip(4);
  return { ...counts, collectorSetId };
}

const family = (what: 'bridge' | 'flow', number: number) => {
  const request = `ipfix_${what}_stats_request` as const;
  const reply = `ipfix_${what}_stats_reply` as const;
  const name = `NXST_IPFIX_${what.toUpperCase()}`;
  return [
    codec(
      request,
      [spot('nxreq', 1, 6, number, `${name} request`, 24)],
      () => {},
      () => ({ type: request }),
    ),
    codec(
      reply,
      [spot('nxrep', 1, 6, number, `${name} reply`)],
      (w, m) => {
        w.boundary();
        for (const s of m.stats) {
          for (const counter of COUNTERS) w.count64(s[counter]);
          w.u32(s.collectorSetId).zero(4);
          w.boundary();
        }
      },
      (r, { more }) => {
        const stats: IpfixStats[] = [];
        while (r.left > 0) stats.push(read(r));
        return { type: reply, more, stats };
      },
    ),
  ];
};

export const ipfixCodecs = [...family('bridge', 3), ...family('flow', 4)];
