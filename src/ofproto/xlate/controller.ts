/**
 * Sending packets to controllers: the datapath hands the packet up with a `userspace` action, and the metadata that the
 * packet-in shall carry waits under a recirculation id.
 */
import { OFS } from '../../flow/layout.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';
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
    userdata: request.userdata ?? null,
  });
  ctx.actions.push({
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
  });
}
