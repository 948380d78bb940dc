/** `--bundle`: all changes or none, in one OpenFlow 1.4 bundle (or ONF's extension of it for 1.3). */
import { writeAll } from '../../base/fatal.ts';
import type { OfMessage, OfMessageOf } from '../../openflow/messages.ts';
import { BUNDLE_CTRL } from '../../openflow/messages-ext.ts';
import { formatBytes, formatMessage } from '../../openflow/text.ts';
import { type Connection, connect, fatal, settings, versionsOfProtocols } from './context.ts';

const ATOMIC_ORDERED = 3;
const BUNDLE_VERSIONS = 0x70;
const OF14 = 0x20;
let nextBundleId = 0;

async function control(
  c: Connection,
  bundleId: number,
  ctrl: number,
  errors: OfMessageOf<'error'>[],
): Promise<boolean> {
  const xid = c.send({ type: 'bundle_control', bundleId, ctrl, flags: ATOMIC_ORDERED });
  for (;;) {
    const item = await c.next();
    if (item === null) return fatal(`talking to ${c.vconn.name} (End of file)`);
    if (item.message.type === 'error') errors.push(item.message);
    if (item.xid === xid) return item.message.type !== 'error';
  }
}

/** Sends all in one bundle; prints the errors and ends the program when it fails. */
export async function sendBundle(target: string, messages: readonly OfMessage[], usable = 127): Promise<void> {
  // Bundles need 1.3 or later, whichever was asked for.
  const versions = settings.versions & BUNDLE_VERSIONS || BUNDLE_VERSIONS & versionsOfProtocols(usable) & OF14;
  const c = await connect(target, 'mgmt', versions);
  const bundleId = nextBundleId++;
  const errors: OfMessageOf<'error'>[] = [];
  // A message in a bundle has the transaction id of the message that adds it.
  const sent = messages.map((message) => ({ message, xid: c.nextXid() }));
  let ok = await control(c, bundleId, BUNDLE_CTRL.open_request, errors);
  if (ok) {
    for (const { message, xid } of sent) {
      c.nextXid();
      c.vconn.send({ type: 'bundle_add', bundleId, flags: ATOMIC_ORDERED, message, messageXid: xid }, xid);
    }
    ok = await control(c, bundleId, BUNDLE_CTRL.commit_request, errors);
  }
  const texts = new Map<string, string>();
  for (const e of errors) {
    const xid = e.data.length >= 8 ? new DataView(e.data.buffer, e.data.byteOffset).getUint32(4) : 0;
    const failed = sent.find((s) => s.xid === xid);
    const about =
      failed === undefined
        ? formatBytes(e.data, settings.verbosity + 1, { inError: true })
        : formatMessage(failed.message, c.version, xid, settings.verbosity + 1);
    texts.set(`${xid}`, `Error ${e.name} for: ${about}`);
  }
  if (!ok || errors.length > 0) {
    for (const text of texts.values()) writeAll(2, text);
    fatal(`talking to ${c.vconn.name} (Protocol error)`);
  }
  c.close();
}
