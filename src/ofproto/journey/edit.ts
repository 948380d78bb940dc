/**
 * `FIELD=VALUE` on a packet that waits. It is what the action `set_field:VALUE->FIELD` would do: the same prerequisites, the
 * same datapath actions, so checksums and lengths come out right.
 */
import { editPacket } from '../../datapath/edit.ts';
import type { HeldEdit } from '../../dpif/dpif.ts';
import { extractFlow } from '../../flow/extract.ts';
import { F, fieldByName } from '../../flow/fields.ts';
import { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';
import { fieldMaskBytes, formatSubfield, prereqsMet, wholeField } from '../../flow/subfield.ts';
import { parseFieldValue } from '../../flow/value-text.ts';
import { commitActions } from '../xlate/commit.ts';
import { Ctx } from '../xlate/ctx.ts';
import { setFieldAction } from '../xlate/fields.ts';
import type { XlateBridge } from '../xlate/types.ts';
import { RecircTable } from '../xlate.ts';

/** Of the switch, not of the packet. */
const OF_THE_SWITCH = /^(in_port|recirc_id|dp_hash|ct_|conj_id|actset|metadata|x*reg|packet_type|tun_)/;
/** What people mean: the number alone, without the bit that says that there is a tag. */
const MEANT = new Map([
  [F.vlan_vid, F.dl_vlan],
  [F.vlan_pcp, F.dl_vlan_pcp],
]);

export type EditResult =
  | { readonly ok: true; readonly edit: HeldEdit; readonly text: string }
  | { readonly ok: false; readonly error: string };

const failed = (error: string): EditResult => ({ ok: false, error });

/** `tp_src` and `tp_dst` are of whatever protocol the packet has. */
function named(name: string, key: FlowKey): ReturnType<typeof fieldByName> {
  const port = /^tp_(src|dst)$/.exec(name);
  if (!port) return fieldByName(name);
  const protocol = ['tcp', 'udp', 'sctp'].find((p) => {
    const field = fieldByName(`${p}_${port[1]}`);
    return field && prereqsMet(field, key);
  });
  return fieldByName(`${protocol ?? 'tcp'}_${port[1]}`);
}

/** What the packet would be with `FIELD=VALUE`. `bridge`: where it is. */
export function edited(packet: Uint8Array, metadata: FlowKey, text: string, bridge: XlateBridge): EditResult {
  const found = /^([\w-]+)=(.+)$/.exec(text);
  if (!found) return failed(`${text}: not of the form FIELD=VALUE`);
  const key = metadata.clone();
  const headers = new FlowKey();
  extractFlow(packet, headers);
  for (let w = OFS.eth_dst >> 2; w <= OFS.tp_dst >> 2; w++) key.w[w] = headers.w[w];
  key.set16(OFS.tcp_flags, headers.get16(OFS.tcp_flags));
  for (const [first, end] of HEADER_WORDS) for (let w = first; w < end; w++) key.w[w] = headers.w[w];
  const written = named(found[1], key);
  if (!written) return failed(`${found[1]}: unknown field`);
  const field = MEANT.get(written) ?? written;
  if (!field.writable || OF_THE_SWITCH.test(field.name)) return failed(`${field.name} cannot be edited`);
  const value = parseFieldValue(field, found[2]);
  if (!value.ok) return failed(value.error);
  const isTag = field === F.dl_vlan || field === F.dl_vlan_pcp || field === F.vlan_tci;
  if (!isTag && !prereqsMet(field, key)) return failed(`${field.name}: the packet has no such field`);
  const ones = fieldMaskBytes(field);
  const isWhole = value.mask.every((b, i) => (b & ones[i]) === ones[i]);
  const ctx = new Ctx({ bridge, flow: key, packet, recirc: new RecircTable(), nowMs: 0 });
  const mask = isWhole ? null : value.mask;
  setFieldAction(ctx, { kind: 'set_field', field, value: value.value, mask });
  commitActions(ctx);
  if (ctx.actions.length === 0) return failed(`${formatSubfield(wholeField(field))}: nothing would change`);
  const now = editPacket(packet, metadata, ctx.actions);
  if (!now) return failed('the packet would be too long');
  return { ok: true, edit: { packet: now.packet, key: now.key }, text };
}

/** What a packet carries itself, beyond the first words. */
const HEADER_WORDS: readonly (readonly [number, number])[] = [
  [OFS.vlan2_tpid >> 2, (OFS.vlan2_tpid >> 2) + 1],
  [OFS.mpls_lse0 >> 2, OFS.ct_label >> 2],
  [OFS.nsh_flags >> 2, OFS.tun_id >> 2],
];
