/** Sampling in translation: of all packets that come into a bridge (sFlow, IPFIX), and by the `sample` action. */
import type { DpAction, UserspaceAction } from '../../flow/dp-actions.ts';
import { OFS } from '../../flow/layout.ts';
import type { OfpactOf } from '../../openflow/actions/types.ts';
import { OFPM_SLOWPATH } from '../../openflow/messages-ext.ts';
import { OFPP } from '../../openflow/ports.ts';
import { NETFLOW_OUT } from '../export/netflow.ts';
import { commitActions } from './commit.ts';
import type { Ctx } from './ctx.ts';
import { readSubfield } from './fields.ts';
import { ETH_TYPE, FRAG_LATER, IPPROTO, VLAN_CFI } from './prereq.ts';

const ALWAYS = 0xffffffff;
const NO_PORT = 0xffffffff;
const DSCP = 0xfc;
/** How sFlow says where a packet went: one port, several, or nowhere and why. */
const SFLOW_OUTPUT = { many: 0x80000000, dropped: 0x40000000 + 256 } as const;

function sampled(ctx: Ctx, probability: number, userspace: UserspaceAction): DpAction {
  const send: DpAction = { kind: 'userspace', userspace };
  const meter = ctx.bridge.meter(OFPM_SLOWPATH);
  if (probability === ALWAYS && meter === null) return send;
  const actions: DpAction[] = meter === null ? [send] : [{ kind: 'meter', id: meter }, send];
  return { kind: 'sample', probability, actions };
}

/** The packet is new in this bridge. */
export function sampleReceived(ctx: Ctx): void {
  const exporters = ctx.bridge.exporters;
  if (!exporters) return;
  if (exporters.sflow !== null) {
    // What the packet looks like when it leaves is told with the sample.
    ctx.wc.set16(OFS.vlan_tci, 0xffff);
    ctx.sflow = { at: ctx.actions.length, probability: exporters.sflow };
    ctx.actions.push(sampled(ctx, exporters.sflow, { type: 'sflow', vlanTci: 0, output: 0 }));
  }
  const { ipfix } = exporters;
  if (ipfix?.input) ctx.actions.push(sampled(ctx, ipfix.probability, { type: 'ipfix', outputPort: NO_PORT }));
}

/** The packet is about to leave by a port of the datapath. */
export function sampleSent(ctx: Ctx, dpPort: number): void {
  const ipfix = ctx.bridge.exporters?.ipfix;
  if (ipfix?.output) ctx.actions.push(sampled(ctx, ipfix.probability, { type: 'ipfix', outputPort: dpPort }));
}

/** Translation is over: now it is known where the packet went. */
export function endSampling(ctx: Ctx): void {
  const { input, sflow } = ctx;
  const exporters = input.bridge.exporters;
  if (!exporters || input.flow.get32(OFS.recirc_id) !== 0) return;
  if (sflow && ctx.error === 'OK') {
    const ports = outputsOf(ctx.actions);
    const output =
      ports.length === 0
        ? SFLOW_OUTPUT.dropped
        : ports.length === 1
          ? exporters.ifindex(ports[0])
          : SFLOW_OUTPUT.many + ports.length;
    const tci = ctx.base.get16(OFS.vlan_tci);
    ctx.actions[sflow.at] = sampled(ctx, sflow.probability, { type: 'sflow', vlanTci: tci & ~VLAN_CFI, output });
  }
  const { netflow } = exporters;
  if (!netflow || input.actions) return;
  lookAtFlow(ctx);
  const flow = input.flow.clone();
  const outPort = netflowOutput(ctx);
  ctx.effects.push({
    kind: 'tell',
    tell: (packets, bytes, usedMs, tcpFlags) => netflow(flow, outPort, packets, bytes, usedMs, tcpFlags),
  });
}

/** All ports that actions send to, at any depth. */
function outputsOf(actions: readonly DpAction[]): number[] {
  return actions.flatMap((a) => {
    if (a.kind === 'output') return [a.port];
    if (a.kind === 'clone' || a.kind === 'sample') return outputsOf(a.actions);
    return a.kind === 'check_pkt_len' ? [...outputsOf(a.greater), ...outputsOf(a.lessOrEqual)] : [];
  });
}

function netflowOutput(ctx: Ctx): number {
  const ports = outputsOf(ctx.actions);
  if (ports.length === 0) return NETFLOW_OUT.drop;
  if (ports.length > 1) return ctx.hasFlooded ? NETFLOW_OUT.flood : NETFLOW_OUT.multi;
  for (const port of ctx.input.bridge.ports()) if (port.dpPort === ports[0]) return port.ofport;
  return NETFLOW_OUT.multi;
}

const WITH_PORTS: ReadonlySet<number> = new Set([IPPROTO.tcp, IPPROTO.udp, IPPROTO.sctp, IPPROTO.icmp]);

/** What NetFlow tells flows apart by. */
function lookAtFlow({ input: { flow }, wc }: Ctx): void {
  if (flow.get16(OFS.eth_type) !== ETH_TYPE.ip) return;
  wc.set8(OFS.ip_proto, 0xff);
  wc.set8(OFS.ip_tos, wc.get8(OFS.ip_tos) | DSCP);
  wc.set32(OFS.ip_src, 0xffffffff);
  wc.set32(OFS.ip_dst, 0xffffffff);
  const hasPorts = WITH_PORTS.has(flow.get8(OFS.ip_proto)) && (flow.get8(OFS.ip_frag) & FRAG_LATER) === 0;
  if (hasPorts) wc.set32(OFS.tp_src, 0xffffffff);
}

/** Does nothing where nobody collects. */
export function sample(ctx: Ctx, a: OfpactOf<'sample'>): void {
  if (!ctx.bridge.exporters?.samplesFlows) return;
  commitActions(ctx);
  const value = (id: typeof a.obsDomainId): number =>
    typeof id === 'number' ? id : Number(readSubfield(ctx, id) & 0xffffffffn);
  const port = a.samplingPort === OFPP.NONE ? null : (ctx.bridge.port(a.samplingPort)?.dpPort ?? null);
  ctx.actions.push(
    // 16 bits of probability are as many of 32.
    sampled(ctx, ((a.probability << 16) | a.probability) >>> 0, {
      type: 'flow_sample',
      probability: a.probability,
      collectorSetId: a.collectorSetId,
      obsDomainId: value(a.obsDomainId),
      obsPointId: value(a.obsPointId),
      outputPort: port ?? NO_PORT,
      direction: a.direction,
    }),
  );
}
