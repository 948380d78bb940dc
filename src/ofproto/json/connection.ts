/** Tracked connections as JSON. `dpctl/dump-conntrack --format json`; the schema is `docs/schema/conntrack.json`. */
import { TCP_STATES } from '../../datapath/ct/entry.ts';
import type { CtConnection, CtTuple } from '../../datapath/ct/host.ts';
import { formatIpv4, formatIpv6 } from '../../flow/address-text.ts';
import { hexText, type JsonObject } from '../../flow/json.ts';

/** `words` are what the text of the commands says: the protocol's name, the state of a TCP connection. */
export function connectionJson(
  c: CtConnection,
  words: { readonly proto: string | null; readonly state: string | null },
): JsonObject {
  return {
    proto: c.proto,
    proto_name: words.proto,
    zone: c.zone,
    orig: tupleJson(c.original),
    reply: tupleJson(c.reply),
    mark: c.mark,
    labels: hexText(c.label),
    state: words.state,
    tcp: c.tcp === null ? null : { state_orig: TCP_STATES[c.tcp[0]], state_reply: TCP_STATES[c.tcp[1]] },
    timeout_s: Math.max(0, Math.trunc(c.expiresInMs / 1000)),
    helper: c.helper === 0 ? null : c.helper === 1 ? 'ftp' : 'tftp',
  };
}

function tupleJson(t: CtTuple): JsonObject {
  const show = (a: Uint8Array): string => (a.length === 4 ? formatIpv4(a) : formatIpv6(a));
  const addresses = { src: show(t.src), dst: show(t.dst) };
  return t.icmp === null
    ? { ...addresses, sport: t.srcPort, dport: t.dstPort }
    : { ...addresses, icmp: { id: t.icmp.id, type: t.icmp.type, code: t.icmp.code } };
}
