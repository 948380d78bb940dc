/**
 * Sending packets to controllers: the datapath hands the packet up with a `userspace` action, and the metadata that the
 * packet-in shall carry waits under a recirculation id.
 */
import type { DpAction } from '../../flow/dp-actions.ts';
import { OFS } from '../../flow/layout.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
import { OFPM_CONTROLLER } from '../../openflow/messages-ext.ts';
import { commitActions } from './commit.ts';
import type { Ctx } from './ctx.ts';
import { freezeRegisters } from './recirc.ts';

export interface ControllerRequest {
  readonly maxLen: number;
  readonly reason: number;
  readonly controllerId: number;
  readonly userdata?: Uint8Array | null;
  /** `pause`: the controller may resume the translation with what is left. */
  readonly pause?: boolean;
  readonly remaining?: readonly Ofpact[];
  /** An OpenFlow meter that the packet goes through on its way; without, the virtual one of controllers, if any. */
  readonly meterId?: number | null;
}

export function controller(ctx: Ctx, request: ControllerRequest): void {
  commitActions(ctx);
  const recircId = ctx.input.recirc.allocate({
    bridge: ctx.bridge,
    table: ctx.table,
    cookie: ctx.ruleCookie,
    resume: null,
    inPort: ctx.flow.get32(OFS.in_port),
    registers: freezeRegisters(ctx.flow),
    stack: [...ctx.stack],
    actions: request.remaining ?? [],
    actionSet: request.pause ? [...ctx.actionSet] : [],
    conntracked: ctx.conntracked,
    mirrored: ctx.mirrored,
    userdata: request.userdata ?? null,
  });
  const send: DpAction = {
    kind: 'userspace',
    userspace: {
      type: 'controller',
      reason: request.reason,
      dontSend: ctx.input.isTrace ?? false,
      continuation: request.pause ?? false,
      recircId,
      ruleCookie: ctx.ruleCookie,
      controllerId: request.controllerId,
      maxLen: request.maxLen,
    },
  };
  const own = request.meterId ? ctx.bridge.meter(request.meterId) : null;
  ctx.actions.push(...metered(send, own ?? ctx.bridge.meter(OFPM_CONTROLLER)));
}

/** Only copies that the meter of the datapath lets through are sent; the packet itself goes on. */
export function metered(send: DpAction, meter: number | null): DpAction[] {
  if (meter === null) return [send];
  return [{ kind: 'sample', probability: 0xffffffff, actions: [{ kind: 'meter', id: meter }, send] }];
}
