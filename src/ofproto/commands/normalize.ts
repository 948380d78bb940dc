/**
 * `dpctl/normalize-actions`: what a list of actions does, sorted by the tags and labels that the packet has when it is done,
 * so that lists that put them on and off differently can be compared. Also for the original's own tests.
 */
import { MANY_ARGS, registerCommand, UnixctlError } from '../../base/commands.ts';
import type { DpAction } from '../../flow/dp-actions.ts';
import { formatDpActions, formatDpKey, parseDpActions, parseDpKey } from '../../flow/dp-text.ts';
import type { FlowKey } from '../../flow/key.ts';
import { OFS } from '../../flow/layout.ts';

const CFI = 0x1000;

/** Tags and labels, the outermost first. */
interface Headers {
  readonly vlans: readonly number[];
  readonly labels: readonly number[];
}

const VLANS = [OFS.vlan_tci, OFS.vlan2_tci];
const LABELS = [OFS.mpls_lse0, OFS.mpls_lse1, OFS.mpls_lse2];

function headersOf(key: FlowKey): Headers {
  const isMpls = [0x8847, 0x8848].includes(key.get16(OFS.eth_type));
  return {
    vlans: VLANS.map((at) => key.get16(at)).filter((tci) => tci & CFI),
    labels: isMpls ? LABELS.map((at) => key.get32(at)).filter((lse, i) => i === 0 || lse !== 0) : [],
  };
}

/** The packet's headers after an action; null when it is no such action, or has nothing to take off. */
function change({ vlans, labels }: Headers, a: DpAction): Headers | null {
  switch (a.kind) {
    case 'push_vlan':
      return { vlans: [a.tci | CFI, ...vlans], labels };
    case 'pop_vlan':
      return vlans.length > 0 ? { vlans: vlans.slice(1), labels } : null;
    case 'push_mpls':
      return { vlans, labels: [a.lse, ...labels] };
    case 'pop_mpls':
      return labels.length > 0 ? { vlans, labels: labels.slice(1) } : null;
    default:
      return null;
  }
}

const vlanText = (tci: number): string => `vlan(vid=${tci & 0xfff},pcp=${tci >> 13}): `;
const labelText = (lse: number): string =>
  `mpls(label=${lse >>> 12},tc=${(lse >>> 9) & 7},ttl=${lse & 0xff},bos=${(lse >>> 8) & 1}): `;

function headersText({ vlans, labels }: Headers): string {
  const before = vlans.length > 0 ? vlans.map(vlanText).join('') : 'no vlan: ';
  return before + (labels.length > 0 ? labels.map(labelText).join('') : 'no mpls: ');
}

/** What a key must also say once it has said this: else it is no whole flow. */
const NEEDS: readonly (readonly [said: RegExp, needed: RegExp])[] = [
  [/^/, /\beth\(|packet_type\(ns=[^0]/],
  [/eth_type\(0x0?800\)/, /\bipv4\(/],
  [/eth_type\(0x86dd\)/, /\bipv6\(/],
  [/eth_type\(0x0?806\)/, /\barp\(/],
  [/\bipv[46]\([^)]*proto=6,/, /\btcp\(/],
  [/\bipv[46]\([^)]*proto=17,/, /\budp\(/],
  [/\bipv4\([^)]*proto=1,/, /\bicmp\(/],
  [/\bipv6\([^)]*proto=58,/, /\bicmpv6\(/],
];

/** The key is printed with what it always has: what the text did not say goes. */
function onlySaid(text: string, flow: string): string {
  const withoutId = /\brecirc_id\(/.test(flow) ? text : text.replace('recirc_id(0),', '');
  return /\beth\(/.test(flow) ? withoutId : withoutId.replace(',eth()', '');
}

export function normalize(args: readonly string[]): string {
  const [flow, ...list] = args.filter((arg) => !arg.startsWith('-'));
  const fail = (said: string, why: string): never => {
    throw new UnixctlError(`${said}ovs-vswitchd: ${why}`);
  };
  const parsed = parseDpKey(flow);
  if (!parsed.ok) return fail('', `odp_flow_key_from_string (${parsed.error}) (Invalid argument)`);
  const input = `input flow: ${onlySaid(formatDpKey(parsed.key, parsed.mask), flow)}\n`;
  const actions = parseDpActions(list.join(','));
  if (!actions.ok) return fail(input, 'odp_actions_from_string (Invalid argument)');
  if (NEEDS.some(([said, needed]) => said.test(flow) && !needed.test(flow)))
    return fail(input, 'odp_flow_key_to_flow failed (reason unknown) (No such file or directory)');
  if (list.every((text) => text.trim() === '')) return input;

  let headers = headersOf(parsed.key);
  const groups = new Map<string, { readonly headers: Headers; readonly actions: DpAction[] }>();
  const put = (a: DpAction | null): void => {
    const name = headersText(headers);
    const group = groups.get(name) ?? { headers, actions: [] };
    groups.set(name, group);
    if (a !== null) group.actions.push(a);
  };
  if (actions.actions.length === 0) put(null);
  for (const a of actions.actions) {
    const changed = change(headers, a);
    if (changed === null) put(a);
    else headers = changed;
  }
  const rank = ({ headers: h }: { readonly headers: Headers }): string => JSON.stringify([h.vlans, h.labels]);
  const sorted = [...groups].sort(
    ([, a], [, b]) => a.headers.vlans.length - b.headers.vlans.length || (rank(a) < rank(b) ? -1 : 1),
  );
  return `${input}${sorted.map(([name, group]) => name + formatDpActions(group.actions)).join('')}\n`;
}

export function registerNormalize(): void {
  registerCommand('dpctl/normalize-actions', 'actions', 2, MANY_ARGS, normalize);
}
