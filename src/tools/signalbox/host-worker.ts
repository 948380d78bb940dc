/**
 * A host of the demonstration: a process in a network namespace of its own, told by its parent what to do. It ends with the
 * parent however that ends, and namespace and cable end with it.
 */
import { getLink, setLink } from '../../linux/link.ts';
import { addAddress, unshareNetwork } from '../../linux/namespace.ts';
import { pingOnce } from '../../linux/ping.ts';

export type HostRequest =
  | { readonly do: 'configure'; readonly device: string; readonly address: string }
  | { readonly do: 'ping'; readonly address: string; readonly sequence: number };

export type HostReply =
  | { readonly ok: true; readonly ms: number | null }
  | { readonly ok: false; readonly error: string };

const PREFIX_LENGTH = 24;
const PING_TIMEOUT_MS = 1000;

function carryOut(request: HostRequest): number | null {
  if (request.do === 'ping') return pingOnce(request.address, request.sequence, PING_TIMEOUT_MS);
  const link = getLink(request.device);
  if (link === null) throw new Error(`${request.device}: no such device in the namespace`);
  const loopback = getLink('lo');
  if (loopback !== null) setLink(loopback.ifindex, { up: true });
  addAddress(link.ifindex, request.address, PREFIX_LENGTH);
  setLink(link.ifindex, { up: true });
  return null;
}

function answer(body: () => number | null): void {
  let reply: HostReply;
  try {
    reply = { ok: true, ms: body() };
  } catch (error) {
    reply = { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
  process.send?.(reply);
}

// Ctrl-C reaches the whole group; the parent decides.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit(0));
process.on('message', (request: HostRequest) => answer(() => carryOut(request)));
answer(() => {
  unshareNetwork();
  return null;
});
