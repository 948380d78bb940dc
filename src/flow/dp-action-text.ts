/** Datapath actions as text, both ways, in the words of `ovs-dpctl dump-flows` and `ofproto/trace`. */
import { formatEth, parseEth } from './address-text.ts';
import type { DpAction, DpHeader, UserspaceAction } from './dp-actions.ts';
import { SlowReason } from './dp-actions.ts';
import { formatCt, parseCt } from './dp-ct-text.ts';
import {
  DP_GROUPS,
  DP_SCALARS,
  type DpGroup,
  formatDpFields,
  formatDpValue,
  wholeNumber as number,
  parseDpFields,
  parseDpValue,
  sharpHex,
  splitArguments,
  splitCall,
} from './dp-groups.ts';
import { formatDpPort, type PortNamer, parseMplsLse } from './dp-key-text.ts';
import { formatNshHeader, parseNshHeader } from './dp-nsh-text.ts';
import { formatTnlPush, parseTnlPush } from './dp-tnl-text.ts';
import { formatTunnel, parseTunnel } from './dp-tunnel-text.ts';
import { FlowKey } from './key.ts';
import { OFS } from './layout.ts';
import { parseInteger } from './value-text.ts';

const VLAN_CFI = 0x1000;
const MAX_NESTING = 16;
/** A probability of 1. */
const ALWAYS = 0xffffffff;

const SLOW_REASONS = Object.entries(SlowReason);

/** `drop` for an empty list. */
export function formatDpActions(actions: readonly DpAction[], names?: PortNamer): string {
  return actions.length === 0 ? 'drop' : actions.map((a) => formatDpAction(a, names)).join(',');
}

export function formatDpAction(a: DpAction, names?: PortNamer): string {
  switch (a.kind) {
    case 'output':
      return formatDpPort(a.port, names);
    case 'userspace':
      return formatUserspace(a.userspace);
    case 'set':
      return `set(${formatSet(a.header, a.key, a.mask)})`;
    case 'push_vlan': {
      const tpid = a.tpid === 0x8100 ? '' : `tpid=0x${a.tpid.toString(16).padStart(4, '0')},`;
      const cfi = a.tci & VLAN_CFI ? '' : ',cfi=0';
      return `push_vlan(${tpid}vid=${a.tci & 0xfff},pcp=${a.tci >>> 13}${cfi})`;
    }
    case 'push_mpls':
      return `push_mpls(${formatLse(a.lse)},eth_type=0x${a.ethertype.toString(16)})`;
    case 'pop_mpls':
      return `pop_mpls(eth_type=0x${a.ethertype.toString(16)})`;
    case 'push_eth':
      return `push_eth(src=${formatEth(a.src)},dst=${formatEth(a.dst)})`;
    case 'push_nsh':
      return `push_nsh(${formatNshHeader(a.header)})`;
    case 'pop_nsh':
      return 'pop_nsh()';
    case 'add_mpls':
      return `add_mpls(${formatLse(a.lse)},eth_type=0x${a.ethertype.toString(16)})`;
    case 'pop_vlan':
    case 'pop_eth':
    case 'ct_clear':
      return a.kind;
    case 'lb_output':
      return `lb_output(${a.bondId})`;
    case 'recirc':
      return `recirc(${sharpHex(a.id)})`;
    case 'hash':
      return `hash(${a.algorithm}(${a.basis}))`;
    case 'sample': {
      const percent = ((100 * a.probability) / ALWAYS).toFixed(1);
      return `sample(sample=${percent}%,actions(${formatDpActions(a.actions, names)}))`;
    }
    case 'clone':
      return `clone(${formatDpActions(a.actions, names)})`;
    case 'trunc':
      return `trunc(${a.maxLen})`;
    case 'meter':
      return `meter(${a.id})`;
    case 'check_pkt_len': {
      const greater = formatDpActions(a.greater, names);
      return `check_pkt_len(size=${a.size},gt(${greater}),le(${formatDpActions(a.lessOrEqual, names)}))`;
    }
    case 'ct':
      return formatCt(a.ct);
    case 'tnl_push':
      return formatTnlPush(a, (no) => formatDpPort(no, names));
    case 'tnl_pop':
      return `tnl_pop(${formatDpPort(a.port, names)})`;
    case 'drop':
      return 'drop';
  }
}

function formatLse(lse: number): string {
  return `label=${lse >>> 12},tc=${(lse >>> 9) & 7},ttl=${lse & 0xff},bos=${(lse >>> 8) & 1}`;
}

/** The group behind each kind of `set`. */
function setGroup(header: DpHeader): DpGroup | null {
  return Object.hasOwn(DP_GROUPS, header) ? DP_GROUPS[header as keyof typeof DP_GROUPS] : null;
}

function formatSet(header: DpHeader, key: FlowKey, mask: FlowKey): string {
  switch (header) {
    case 'skb_priority':
    case 'skb_mark':
      return `${header}(${formatDpValue(DP_SCALARS[header], key, mask)})`;
    case 'tunnel':
      return `tunnel(${formatTunnel(key, null)})`;
    case 'mpls':
      return `mpls(${formatLse(key.get32(OFS.mpls_lse0))})`;
    case 'vlan':
      return `vlan(vid=${key.get16(OFS.vlan_tci) & 0xfff},pcp=${key.get16(OFS.vlan_tci) >>> 13})`;
  }
  const group = setGroup(header);
  return group ? `${group.name}(${formatDpFields(group, key, mask, false).join(',')})` : header;
}

function formatUserspace(u: UserspaceAction): string {
  switch (u.type) {
    case 'slow_path': {
      const reasons = SLOW_REASONS.filter(([, bit]) => (u.reasons & bit) !== 0).map(([name]) => name);
      return `userspace(pid=0,slow_path(${reasons.join(',')}))`;
    }
    case 'controller':
      return (
        `userspace(pid=0,controller(reason=${u.reason},dont_send=${u.dontSend ? 1 : 0},continuation=${u.continuation ? 1 : 0}` +
        `,recirc_id=${u.recircId},rule_cookie=${sharpHex(u.ruleCookie)},controller_id=${u.controllerId},max_len=${u.maxLen}))`
      );
    case 'sflow':
      return `userspace(pid=0,sFlow(vid=${u.vlanTci & 0xfff},pcp=${u.vlanTci >>> 13},output=${u.output}),actions)`;
    case 'ipfix':
      return `userspace(pid=0,ipfix(output_port=${u.outputPort}))`;
    case 'flow_sample': {
      const way = u.direction === 'default' ? '' : `,${u.direction}`;
      return (
        `userspace(pid=0,flow_sample(probability=${u.probability},collector_set_id=${u.collectorSetId}` +
        `,obs_domain_id=${u.obsDomainId},obs_point_id=${u.obsPointId},output_port=${u.outputPort}${way}))`
      );
    }
    case 'opaque':
      return `userspace(pid=0,userdata(${Buffer.from(u.data).toString('hex')}))`;
  }
}

// ---- reading ----

export type DpActionsResult =
  | { readonly ok: true; readonly actions: readonly DpAction[] }
  /** `error` is the action that could not be read. */
  | { readonly ok: false; readonly error: string };

type ByName = (name: string) => number | undefined;

class BadAction extends Error {}

/** Reads what `formatDpActions` writes. */
export function parseDpActions(text: string, portByName?: ByName): DpActionsResult {
  try {
    return { ok: true, actions: parseList(text, portByName, 0) };
  } catch (error) {
    if (error instanceof BadAction) return { ok: false, error: error.message };
    throw error;
  }
}

function parseList(text: string, portByName: ByName | undefined, depth: number): DpAction[] {
  if (depth > MAX_NESTING) throw new BadAction(text);
  if (text.trim() === 'drop' || text.trim() === '') return [];
  return splitArguments(text.replace(/\s+(?![^(]*\))/g, ',')).map((one) => {
    const action = parseOne(one, portByName, depth);
    if (!action) throw new BadAction(one);
    return action;
  });
}

/** `a=1,b=2` as a record; null when something in it has no value. */
function named(text: string): Map<string, string> | null {
  const out = new Map<string, string>();
  for (const part of splitArguments(text)) {
    const m = /^([a-z_]+)(?:=(.*))?$/s.exec(part);
    if (!m) {
      const call = splitCall(part);
      if (!call) return null;
      out.set(call.name, call.args);
    } else out.set(m[1], m[2] ?? '');
  }
  return out;
}

function parseOne(text: string, portByName: ByName | undefined, depth: number): DpAction | null {
  if (/^\d+$/.test(text)) return { kind: 'output', port: Number(text) };
  if (text === 'pop_vlan' || text === 'pop_eth' || text === 'ct_clear') return { kind: text };
  if (text === 'ct') return parseCt('');
  const call = splitCall(text);
  if (!call) {
    const port = portByName?.(text);
    return port === undefined ? null : { kind: 'output', port };
  }
  const { name, args } = call;
  const nested = (list: string): DpAction[] => parseList(list, portByName, depth + 1);
  switch (name) {
    case 'set':
      return parseSet(args);
    case 'userspace':
      return parseUserspace(args);
    case 'push_vlan':
      return parsePushVlan(args);
    case 'push_mpls':
    case 'add_mpls': {
      const m = /^(.*),eth_type=(0x[0-9a-f]+|\d+)$/i.exec(args);
      const lse = m && parseMplsLse(m[1]);
      return lse ? { kind: name, ethertype: Number(m[2]), lse: lse.lse } : null;
    }
    case 'pop_mpls': {
      const type = number(named(args)?.get('eth_type'), 2);
      return type === null ? null : { kind: 'pop_mpls', ethertype: type };
    }
    case 'push_nsh': {
      const header = parseNshHeader(args);
      return header ? { kind: 'push_nsh', header } : null;
    }
    case 'pop_nsh':
      return args === '' ? { kind: 'pop_nsh' } : null;
    case 'push_eth': {
      const a = named(args);
      const src = parseEth(a?.get('src') ?? '');
      const dst = parseEth(a?.get('dst') ?? '');
      return src && dst ? { kind: 'push_eth', src, dst } : null;
    }
    case 'lb_output': {
      const bondId = number(args);
      return bondId === null ? null : { kind: 'lb_output', bondId };
    }
    case 'recirc': {
      const id = number(args);
      return id === null ? null : { kind: 'recirc', id };
    }
    case 'hash': {
      const inner = splitCall(args);
      const basis = number(inner?.args);
      return basis !== null && (inner?.name === 'l4' || inner?.name === 'sym_l4')
        ? { kind: 'hash', algorithm: inner.name, basis }
        : null;
    }
    case 'sample': {
      const m = /^sample=([\d.]+)%,actions\((.*)\)$/s.exec(args);
      const percent = m ? Number(m[1]) : Number.NaN;
      if (!m || !(percent >= 0 && percent <= 100)) return null;
      return { kind: 'sample', probability: Math.floor((percent * ALWAYS) / 100 + 0.5), actions: nested(m[2]) };
    }
    case 'clone':
      return { kind: 'clone', actions: nested(args) };
    case 'trunc': {
      const maxLen = number(args);
      return maxLen === null ? null : { kind: 'trunc', maxLen };
    }
    case 'meter': {
      const id = number(args);
      return id === null ? null : { kind: 'meter', id };
    }
    case 'check_pkt_len': {
      const a = named(args);
      const size = number(a?.get('size'), 2);
      const greater = a?.get('gt');
      const less = a?.get('le');
      if (size === null || greater === undefined || less === undefined) return null;
      return { kind: 'check_pkt_len', size, greater: nested(greater), lessOrEqual: nested(less) };
    }
    case 'ct':
      return parseCt(args);
    case 'tnl_push':
      return parseTnlPush(args, (port) => parsePort(port, portByName));
    case 'tnl_pop': {
      const port = parsePort(args, portByName);
      return port === null ? null : { kind: 'tnl_pop', port };
    }
  }
  return null;
}

const parsePort = (text: string, portByName: ByName | undefined): number | null =>
  /^\d+$/.test(text) ? Number(text) : (portByName?.(text) ?? null);

function parsePushVlan(args: string): DpAction | null {
  const a = named(args);
  const vid = number(a?.get('vid'), 2);
  const pcp = number(a?.get('pcp') ?? '0', 1);
  const tpid = number(a?.get('tpid') ?? '0x8100', 2);
  const cfi = number(a?.get('cfi') ?? '1', 1);
  if (vid === null || pcp === null || tpid === null || cfi === null || vid > 0xfff || pcp > 7 || cfi > 1) return null;
  return { kind: 'push_vlan', tpid, tci: vid | (pcp << 13) | (cfi << 12) };
}

function parseSet(args: string): DpAction | null {
  const call = splitCall(args);
  if (!call) return null;
  const key = new FlowKey();
  const mask = new FlowKey();
  const header = call.name as DpHeader;
  switch (call.name) {
    case 'skb_priority':
    case 'skb_mark':
      if (!parseDpValue(DP_SCALARS[call.name], call.args, key, mask)) return null;
      break;
    case 'tunnel':
      if (!parseTunnel(call.args, key, mask)) return null;
      break;
    case 'mpls': {
      const lse = parseMplsLse(call.args);
      if (!lse) return null;
      key.set32(OFS.mpls_lse0, lse.lse);
      mask.set32(OFS.mpls_lse0, lse.mask);
      break;
    }
    case 'eth':
    case 'ipv4':
    case 'ipv6':
    case 'arp':
    case 'tcp':
    case 'udp':
    case 'sctp':
    case 'icmp':
    case 'icmpv6':
    case 'nd':
    case 'nd_ext':
    case 'nsh':
      if (!parseDpFields(DP_GROUPS[call.name], call.args, key, mask)) return null;
      break;
    default:
      return null;
  }
  for (let i = 0; i < key.w.length; i++) key.w[i] &= mask.w[i];
  return { kind: 'set', header, key, mask };
}

function parseUserspace(args: string): DpAction | null {
  const parts = splitArguments(args);
  if (!/^pid=\d+$/.test(parts[0] ?? '')) return null;
  let data: Uint8Array = new Uint8Array(0);
  for (const part of parts.slice(1)) {
    const call = splitCall(part);
    if (call?.name === 'slow_path') {
      let reasons = 0;
      for (const name of call.args.split(',').filter((n) => n !== '')) {
        const bit = SLOW_REASONS.find(([known]) => known === name)?.[1];
        if (bit === undefined) return null;
        reasons |= bit;
      }
      return { kind: 'userspace', userspace: { type: 'slow_path', reasons } };
    }
    if (call?.name === 'controller') return parseController(call.args);
    if (call?.name === 'sFlow' || call?.name === 'ipfix' || call?.name === 'flow_sample') {
      return parseSampled(call.name, call.args);
    }
    if (call?.name !== 'userdata' || !/^([0-9a-f]{2})*$/i.test(call.args)) return null;
    data = new Uint8Array(Buffer.from(call.args, 'hex'));
  }
  return { kind: 'userspace', userspace: { type: 'opaque', data } };
}

function parseSampled(name: 'sFlow' | 'ipfix' | 'flow_sample', args: string): DpAction | null {
  const words = args.split(',');
  const direction = words.find((word) => word === 'ingress' || word === 'egress') ?? 'default';
  const a = named(words.filter((word) => word.includes('=')).join(','));
  const get = (key: string): number => number(a?.get(key), 4) ?? Number.NaN;
  const outputPort = get('output_port');
  const userspace: UserspaceAction =
    name === 'sFlow'
      ? { type: 'sflow', vlanTci: get('vid') | (get('pcp') << 13), output: get('output') }
      : name === 'ipfix'
        ? { type: 'ipfix', outputPort }
        : {
            type: 'flow_sample',
            probability: get('probability'),
            collectorSetId: get('collector_set_id'),
            obsDomainId: get('obs_domain_id'),
            obsPointId: get('obs_point_id'),
            outputPort,
            direction: direction as 'default' | 'ingress' | 'egress',
          };
  const isWhole = !Object.values(userspace).some((value) => typeof value === 'number' && Number.isNaN(value));
  return isWhole ? { kind: 'userspace', userspace } : null;
}

function parseController(args: string): DpAction | null {
  const a = named(args);
  const get = (name: string, bytes = 4): number => number(a?.get(name), bytes) ?? Number.NaN;
  const cookie = parseInteger(a?.get('rule_cookie') ?? '', 8)?.value;
  const controller = {
    type: 'controller' as const,
    reason: get('reason'),
    dontSend: get('dont_send') === 1,
    continuation: get('continuation') === 1,
    recircId: get('recirc_id'),
    ruleCookie: cookie ?? 0n,
    controllerId: get('controller_id'),
    maxLen: get('max_len'),
  };
  const complete = [controller.reason, controller.recircId, controller.controllerId, controller.maxLen];
  if (complete.some(Number.isNaN) || cookie === undefined || cookie === null) return null;
  return { kind: 'userspace', userspace: controller };
}
