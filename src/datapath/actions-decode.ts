/**
 * Reads back what `encodeActions` wrote, so that a journey tells the actions that really ran. What a `userspace` action
 * means is known where its number was given out.
 */
import type { CtAction, DpAction, UserspaceAction } from '../flow/dp-actions.ts';
import { FlowKey } from '../flow/key.ts';
import { OP, SET_HEADERS, SET_RANGES } from './actions-code.ts';
import { CT_CODE, CT_FLAG, HELPER } from './ct/code.ts';

export interface DecodedAction {
  /** Null for what this file has no words for. */
  readonly action: DpAction | null;
  readonly op: number;
}

type Userspace = (id: number) => UserspaceAction | undefined;

const be16 = (v: number): number => ((v >> 8) & 0xff) | ((v & 0xff) << 8);
const be32 = (v: number): number => ((be16(v & 0xffff) << 16) | be16((v >>> 16) & 0xffff)) >>> 0;

/** The actions in `[at, end)`. */
export function decodeActions(code: Int32Array, at: number, end: number, userspace: Userspace): DecodedAction[] {
  const out: DecodedAction[] = [];
  while (at < end) {
    const length = code[at] >>> 8;
    if (length === 0) break;
    out.push({ action: decodeAction(code, at, userspace), op: code[at] & 0xff });
    at += length;
  }
  return out;
}

const known = (list: readonly DecodedAction[]): DpAction[] => list.flatMap(({ action }) => (action ? [action] : []));

/** The action that begins at word `at`. */
export function decodeAction(code: Int32Array, at: number, userspace: Userspace): DpAction | null {
  const next = at + (code[at] >>> 8);
  const a = code[at + 1];
  const b = code[at + 2];
  const nested = (first: number, end: number): DpAction[] => known(decodeActions(code, first, end, userspace));
  switch (code[at] & 0xff) {
    case OP.OUTPUT:
      // Above 16 bits stands which of the port's queues it is.
      return { kind: 'output', port: a & 0xffff };
    case OP.USERSPACE:
      return { kind: 'userspace', userspace: userspace(a) ?? { type: 'opaque', data: new Uint8Array() } };
    case OP.SET:
      return decodeSet(code, at);
    case OP.PUSH_VLAN:
      return { kind: 'push_vlan', tpid: be16(a & 0xffff), tci: be16(a >>> 16) | 0x1000 };
    case OP.POP_VLAN:
      return { kind: 'pop_vlan' };
    case OP.PUSH_MPLS:
      return { kind: 'push_mpls', ethertype: be16(a & 0xffff), lse: be32(b) };
    case OP.POP_MPLS:
      return { kind: 'pop_mpls', ethertype: be16(a & 0xffff) };
    case OP.PUSH_ETH: {
      const mac = new Uint8Array(code.slice(at + 1, at + 4).buffer);
      return { kind: 'push_eth', dst: mac.slice(0, 6), src: mac.slice(6, 12) };
    }
    case OP.POP_ETH:
      return { kind: 'pop_eth' };
    case OP.PUSH_NSH:
      return { kind: 'push_nsh', header: new Uint8Array(code.slice(at + 2, next).buffer) };
    case OP.POP_NSH:
      return { kind: 'pop_nsh' };
    case OP.ADD_MPLS:
      return { kind: 'add_mpls', ethertype: be16(a & 0xffff), lse: be32(b) };
    case OP.LB_OUTPUT:
      return { kind: 'lb_output', bondId: b };
    case OP.RECIRC:
      return { kind: 'recirc', id: be32(a) };
    case OP.HASH:
      return { kind: 'hash', algorithm: a === 0 ? 'l4' : 'sym_l4', basis: b >>> 0 };
    case OP.SAMPLE:
      return { kind: 'sample', probability: a >>> 0, actions: nested(at + 2, next) };
    case OP.CLONE:
      return { kind: 'clone', actions: nested(at + 1, next) };
    case OP.TRUNC:
      return { kind: 'trunc', maxLen: a >>> 0 };
    case OP.CHECK_PKT_LEN:
      return {
        kind: 'check_pkt_len',
        size: a,
        greater: nested(at + 3, at + 3 + b),
        lessOrEqual: nested(at + 3 + b, next),
      };
    case OP.METER:
      return { kind: 'meter', id: b };
    case OP.DROP:
      return { kind: 'drop', reason: a };
    case OP.TNL_PUSH: {
      const header = new Uint8Array(code.slice(at + 7, next - 1).buffer).slice(0, code[at + 6]);
      return { kind: 'tnl_push', port: code[next - 1], outPort: be32(b), type: a, header };
    }
    case OP.TNL_POP:
      return { kind: 'tnl_pop', port: be32(b) };
    case OP.CT:
      return { kind: 'ct', ct: decodeCt(code, at + 1) };
    case OP.CT_CLEAR:
      return { kind: 'ct_clear' };
    default:
      return null;
  }
}

function decodeCt(code: Int32Array, at: number): CtAction {
  const flags = code[at + CT_CODE.FLAGS];
  const has = (bit: number): boolean => (flags & bit) !== 0;
  const bytes = (word: number, n: number): Uint8Array => new Uint8Array(code.slice(at + word, at + word + n).buffer);
  const n = has(CT_FLAG.NAT_V6) ? 4 : 1;
  const address = (word: number): Uint8Array | null => (has(CT_FLAG.ADDRESSES) ? bytes(word, n) : null);
  const helper = Object.entries(HELPER).find(([, number]) => number === code[at + CT_CODE.HELPER]);
  return {
    commit: has(CT_FLAG.COMMIT),
    force: has(CT_FLAG.FORCE),
    zone: code[at + CT_CODE.ZONE],
    mark: has(CT_FLAG.MARK) ? { value: be32(code[at + CT_CODE.MARK]), mask: be32(code[at + CT_CODE.MARK_MASK]) } : null,
    label: has(CT_FLAG.LABEL) ? { value: bytes(CT_CODE.LABEL, 4), mask: bytes(CT_CODE.LABEL_MASK, 4) } : null,
    helper: helper?.[0] ?? null,
    timeout: null,
    nat: has(CT_FLAG.NAT)
      ? {
          type: has(CT_FLAG.NAT_SRC) ? 'src' : has(CT_FLAG.NAT_DST) ? 'dst' : null,
          addrMin: address(CT_CODE.ADDR_MIN),
          addrMax: address(CT_CODE.ADDR_MAX),
          portMin: code[at + CT_CODE.PORT_MIN],
          portMax: code[at + CT_CODE.PORT_MAX],
          persistent: false,
          hash: false,
          random: has(CT_FLAG.RANDOM),
        }
      : null,
  };
}

function decodeSet(code: Int32Array, at: number): DpAction {
  const header = SET_HEADERS[code[at + 1]];
  const key = new FlowKey();
  const mask = new FlowKey();
  let from = at + 2;
  for (const into of [key, mask])
    for (const [first, end] of SET_RANGES[header]) for (let w = first; w < end; w++) into.w[w] = code[from++];
  return { kind: 'set', header, key, mask };
}

/** The name of an operation that `decodeAction` has no words for. */
export function opName(op: number): string {
  return (Object.entries(OP).find(([, number]) => number === op)?.[0] ?? `op${op}`).toLowerCase();
}
