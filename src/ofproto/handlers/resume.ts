/** `NXT_RESUME`: a packet that paused in a controller goes on where it stopped. */
import { clock } from '../../base/clock.ts';
import { extractFlow } from '../../flow/extract.ts';
import { FlowKey } from '../../flow/key.ts';
import { DP_WORDS, OFS } from '../../flow/layout.ts';
import { OfDecodeError } from '../../openflow/errors.ts';
import { readContinuation } from '../continuation.ts';
import { creditEffects } from '../xlate.ts';
import type { Handler } from './index.ts';

const ETH_HEADER_LEN = 14;
const NO_DP_PORT = 0xffffffff;

export const resume: Handler<'nx_resume'> = (bridge, conn, request) => {
  const { packetIn } = request.message;
  const { packet, metadata } = packetIn;
  let state: ReturnType<typeof readContinuation>;
  try {
    state = readContinuation(packetIn, bridge, bridge.continuationId);
  } catch (error) {
    if (!(error instanceof OfDecodeError)) throw error;
    return conn.error(request, error.code);
  }
  if (typeof state === 'string') return conn.error(request, state);
  if (packet.length < ETH_HEADER_LEN) return conn.error(request, 'OFPBRC_BAD_PACKET');
  const { backer } = bridge;
  const flow = new FlowKey();
  extractFlow(packet, flow);
  for (let i = 0; i < DP_WORDS; i++)
    flow.w[i] = (flow.w[i] & ~metadata.mask.w[i]) | (metadata.key.w[i] & metadata.mask.w[i]);
  flow.set32(OFS.in_port, state.inPort);
  flow.set32(OFS.recirc_id, backer.recirc.allocate(state));
  const result = backer.translate({ bridge, flow, packet, sideEffects: true });
  if (result.actions.length > 0) {
    const dpKey = new FlowKey();
    dpKey.w.set(flow.w.subarray(0, DP_WORDS));
    dpKey.set32(OFS.recirc_id, 0);
    dpKey.set32(OFS.in_port, bridge.ofport(state.inPort)?.dpPort ?? NO_DP_PORT);
    backer.dpif.execute(packet.slice(), dpKey, result.actions, -1);
  }
  creditEffects(result.effects, { packets: 1, bytes: packet.length, usedMs: clock.nowMs(), tcpFlags: 0 });
};
