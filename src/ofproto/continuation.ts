/**
 * What a packet-in that pauses carries so that the pipeline can go on when the controller sends it back (`NXT_RESUME`): all
 * that a frozen translation remembers, as properties. Only the switch that wrote it reads it; where the original's form
 * is known it is the same, so that `ovs-ofctl monitor` can show it.
 */
import { FlowKey } from '../flow/key.ts';
import { DP_WORDS, OFS } from '../flow/layout.ts';
import { decodeActions, decodeInstructions, encodeActions, encodeInstructions } from '../openflow/actions/index.ts';
import type { Ofpact } from '../openflow/actions/types.ts';
import { Reader, Writer } from '../openflow/bytes.ts';
import type { PacketIn } from '../openflow/messages.ts';
import { properties, property } from '../openflow/msgs/phy-port.ts';
import { type FrozenState, freezeRegisters } from './xlate/recirc.ts';
import type { XlateBridge } from './xlate/types.ts';

const PROP = {
  BRIDGE: 0x8000,
  /** One for each value, the top first. */
  STACK: 0x8001,
  MIRRORS: 0x8002,
  CONNTRACKED: 0x8003,
  /** Of the actions that follow. */
  TABLE_ID: 0x8004,
  COOKIE: 0x8005,
  ACTIONS: 0x8006,
  ACTION_SET: 0x8007,
  ODP_PORT: 0x8008,
  /** As `ACTIONS`, where there are instructions among them. */
  INSTRUCTIONS: 0x8100,
} as const;

/** Actions are written in the form of OpenFlow 1.3. */
const VERSION = 4;

const INSTRUCTIONS: ReadonlySet<Ofpact['kind']> = new Set([
  'goto_table',
  'write_actions',
  'clear_actions',
  'write_metadata',
  'meter',
]);

/** `bridgeId` is 16 bytes that no other bridge, nor this one in another life, has. */
export function writeContinuation(state: FrozenState, bridgeId: Uint8Array, dpPort: number): Uint8Array {
  const w = new Writer();
  property(w, PROP.BRIDGE, () => w.bytes(bridgeId));
  for (const value of state.stack.toReversed()) property(w, PROP.STACK, () => w.bytes(value));
  if (state.mirrored) property(w, PROP.MIRRORS, () => w.u32(state.mirrored ?? 0));
  if (state.conntracked) property(w, PROP.CONNTRACKED, () => {});
  let list: Ofpact[] = [];
  const flush = (): void => {
    if (list.length === 0) return;
    const hasInstructions = list.some((a) => INSTRUCTIONS.has(a.kind));
    const bytes = hasInstructions ? encodeInstructions(VERSION, list) : encodeActions(VERSION, list);
    property(w, hasInstructions ? PROP.INSTRUCTIONS : PROP.ACTIONS, () => w.zero(4).bytes(bytes));
    list = [];
  };
  for (const action of state.actions) {
    if (action.kind === 'unroll_xlate') {
      flush();
      property(w, PROP.TABLE_ID, () => w.u8(action.table));
      property(w, PROP.COOKIE, () => w.zero(4).u64(action.cookie));
    } else list.push(action);
  }
  flush();
  if (state.actionSet.length > 0) {
    property(w, PROP.ACTION_SET, () => w.zero(4).bytes(encodeActions(VERSION, state.actionSet)));
  }
  property(w, PROP.ODP_PORT, () => w.u32(dpPort));
  return w.finish();
}

/** The frozen translation that a resume asks for, or the name of an error. */
export function readContinuation(
  { continuation, metadata }: PacketIn,
  bridge: XlateBridge,
  bridgeId: Uint8Array,
): FrozenState | string {
  if (!continuation) return 'NXR_STALE';
  const stack: Uint8Array[] = [];
  const actions: Ofpact[] = [];
  let actionSet: readonly Ofpact[] = [];
  let isOurs = false;
  let table = 0;
  let cookie = 0n;
  let mirrored = 0;
  let conntracked = false;
  for (const [type, p] of properties(new Reader(continuation))) {
    if (type === PROP.BRIDGE) isOurs = Buffer.compare(p.rest(), bridgeId) === 0;
    else if (type === PROP.STACK) stack.unshift(p.rest().slice());
    else if (type === PROP.MIRRORS) mirrored = p.u32();
    else if (type === PROP.CONNTRACKED) conntracked = true;
    else if (type === PROP.TABLE_ID) table = p.u8();
    else if (type === PROP.COOKIE) cookie = p.skip(4).u64();
    else if (type === PROP.ACTIONS || type === PROP.INSTRUCTIONS) {
      const bytes = p.skip(4).rest();
      const decoded = type === PROP.ACTIONS ? decodeActions(bytes, VERSION) : decodeInstructions(bytes, VERSION);
      if (!decoded.ok) return decoded.error;
      actions.push({ kind: 'unroll_xlate', table, cookie, hasRule: true }, ...decoded.actions);
    } else if (type === PROP.ACTION_SET) {
      const decoded = decodeActions(p.skip(4).rest(), VERSION);
      if (!decoded.ok) return decoded.error;
      actionSet = decoded.actions;
    }
  }
  if (!isOurs) return 'NXR_STALE';
  const flow = new FlowKey();
  flow.w.set(metadata.key.w.subarray(DP_WORDS), DP_WORDS);
  return {
    bridge,
    table,
    cookie,
    resume: null,
    inPort: metadata.key.get32(OFS.in_port),
    registers: freezeRegisters(flow),
    stack,
    actions,
    actionSet,
    conntracked,
    mirrored,
    userdata: null,
  };
}
