/** What an action did to a packet's headers, in words: both packets are parsed, and the fields that differ are named. */
import { extractFlow } from '../../flow/extract.ts';
import type { Field } from '../../flow/field.ts';
import { FIELDS } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { getField, prereqsMet } from '../../flow/subfield.ts';
import { formatFieldValue } from '../../flow/value-text.ts';

/** No headers; and what other fields say, too. */
const NOT_SHOWN =
  /^(in_port|recirc_id|ct_|tun_|dp_hash|conj_id|packet_type|pkt_mark|skb_|actset|metadata|x*reg|vlan_|dl_vlan|ip_dscp)/;

const HEADER_FIELDS: readonly Field[] = FIELDS.filter((f) => !NOT_SHOWN.test(f.name) && f.bit < OFS.tun_id * 8);

/** The packet whose headers are now `headers` and whose length is `length`; what lies behind them is as it was. */
export function withHeaders(packet: Uint8Array, headers: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length);
  const tail = length - headers.length;
  if (tail > 0) out.set(packet.subarray(Math.max(0, packet.length - tail)), headers.length);
  out.set(headers.subarray(0, length));
  return out;
}

export function changesOf(before: Uint8Array, after: Uint8Array): string[] {
  const a = new FlowKey();
  const b = new FlowKey();
  extractFlow(before, a);
  extractFlow(after, b);
  const changes: string[] = [];
  const tags = [tagText(a), tagText(b)];
  if (tags[0] !== tags[1]) changes.push(`vlan: ${tags[0]} -> ${tags[1]}`);
  for (const field of HEADER_FIELDS) {
    const x = getField(a, field);
    const y = getField(b, field);
    if (Buffer.compare(x, y) === 0 || !prereqsMet(field, b)) continue;
    // What a header hid and now shows again has not changed.
    if (prereqsMet(field, a))
      changes.push(`${field.name}: ${formatFieldValue(field, x)} -> ${formatFieldValue(field, y)}`);
    else if (field.prereq === 'mpls') changes.push(`${field.name}: none -> ${formatFieldValue(field, y)}`);
  }
  if (before.length !== after.length) changes.push(`length: ${before.length} -> ${after.length}`);
  return changes;
}

function tagText(key: FlowKey): string {
  const one = (ofs: number): string => {
    const tci = key.get16(ofs);
    if ((tci & 0x1000) === 0) return '';
    const priority = tci >> 13;
    return priority ? `${tci & 0xfff}(pcp ${priority})` : String(tci & 0xfff);
  };
  return [one(OFS.vlan_tci), one(OFS.vlan2_tci)].filter((t) => t !== '').join('+') || 'none';
}
