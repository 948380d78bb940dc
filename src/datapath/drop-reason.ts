/**
 * Why packets end: one table of stable names. The fast path counts by number (`PMD_STAT.DROPS` + number); what only the
 * slow path can know has a name and no number. Names are for scripts: they never change their meaning.
 */

/** What the fast path itself drops. */
export const DROP = {
  /** The megaflow has no actions: the OpenFlow tables said so. */
  NO_ACTIONS: 0,
  /** A `drop` action with a reason. */
  ACTION: 1,
  NO_PORT: 2,
  TX: 3,
  UPCALL_LOST: 4,
  RECIRC_LIMIT: 5,
  NESTING_LIMIT: 6,
  NO_MEMORY: 7,
  HANDOVER_FULL: 8,
  TOO_LONG: 9,
  METER: 10,
  CT: 11,
  TUNNEL: 12,
  /** At a breakpoint, by hand. */
  BREAK: 13,
  BREAK_QUEUE: 14,
  POLICED: 15,
} as const;

export const DROP_REASONS = 16;

export interface DropReason {
  readonly name: string;
  readonly text: string;
}

const reason = (name: string, text: string): DropReason => ({ name, text });

/** By number. */
export const DROP_REASON: readonly DropReason[] = [
  reason('flow-drop', 'the megaflow has no actions: the OpenFlow tables dropped it'),
  reason('drop-action', 'a drop action'),
  reason('no-port', 'output to a port that the datapath does not have (any more)'),
  reason('tx-failed', 'the device did not take it: its queue is full'),
  reason('upcall-lost', 'the ring of upcalls was full'),
  reason('recirc-limit', 'recirculated too often'),
  reason('nesting-limit', 'actions nested too deep'),
  reason('no-memory', 'no free frame'),
  reason('handover-full', 'the ring to the PMD that has the output port was full'),
  reason('too-long', 'longer than a frame'),
  reason('meter', 'a meter dropped it'),
  reason('conntrack', 'connection tracking dropped it'),
  reason('tunnel', 'a tunnel could not carry it'),
  reason('breakpoint', 'somebody dropped it at a breakpoint'),
  reason('break-queue', 'too many packets of its flow waited behind one at a breakpoint'),
  reason('policed', 'more than ingress policing allows its port'),
];

/** What only the main thread can tell. */
export const SLOW_DROP_REASON = {
  'no-match': reason('no-match', 'no rule matched in a table, and a miss drops'),
  'drop-rule': reason('drop-rule', 'the rule that matched has no actions that output'),
  'translation-error': reason('translation-error', 'translation failed'),
  'recv-disabled': reason('recv-disabled', 'the port does not receive (no-receive, or not forwarding)'),
  'no-output': reason('no-output', 'nothing the rules asked for could be done with it'),
  'flow-restore-wait': reason('flow-restore-wait', 'no flow yet, and flows are being restored'),
  'upcall-queue-full': reason('upcall-queue-full', 'too many upcalls of its port waited'),
  'port-down': reason('port-down', 'the device is down'),
  mtu: reason('mtu', 'longer than the MTU of the device'),
  breakpoint: reason('breakpoint', 'somebody dropped it at a breakpoint'),
  'unknown-port': reason('unknown-port', 'it came from a port that no bridge has'),
} as const;
export type SlowDropName = keyof typeof SLOW_DROP_REASON;
