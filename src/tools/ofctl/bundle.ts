/** `--bundle`: all changes or none, in one OpenFlow 1.4 bundle (or ONF's extension of it for 1.3). */
import { writeAll } from '../../base/fatal.ts';
import type { OfMessage } from '../../openflow/messages.ts';
import { BUNDLE_CTRL } from '../../openflow/messages-ext.ts';
import { formatBytes } from '../../openflow/text.ts';
import { type Connection, connect, fatal, settings, versionsOfProtocols } from './context.ts';

const ATOMIC_ORDERED = 3;
const BUNDLE_VERSIONS = 0x70;
let lastBundleId = 0;

async function control(c: Connection, bundleId: number, ctrl: number, errors: Uint8Array[]): Promise<void> {
  const xid = c.send({ type: 'bundle_control', bundleId, ctrl, flags: ATOMIC_ORDERED });
  for (;;) {
    const item = await c.next();
    if (item === null) return fatal(`talking to ${c.vconn.name} (End of file)`);
    if (item.message.type === 'error') errors.push(item.raw);
    if (item.xid === xid) return;
  }
}

/** Sends all in one bundle; prints the errors and ends the program when it fails. */
export async function sendBundle(target: string, messages: readonly OfMessage[], usable = 127): Promise<void> {
  // Bundles need 1.3 or later, whichever was asked for.
  const versions = settings.versions & BUNDLE_VERSIONS || BUNDLE_VERSIONS & versionsOfProtocols(usable) & 0x20;
  const c = await connect(target, 'mgmt', versions);
  const bundleId = ++lastBundleId;
  const errors: Uint8Array[] = [];
  const fail = () => {
    for (const raw of errors) writeAll(2, formatBytes(raw, settings.verbosity + 1));
    process.exit(1);
  };
  await control(c, bundleId, BUNDLE_CTRL.open_request, errors);
  if (errors.length > 0) fail();
  for (const message of messages) {
    // A bundle's messages must carry the transaction id of the message that adds them.
    const xid = c.nextXid();
    c.vconn.send({ type: 'bundle_add', bundleId, flags: ATOMIC_ORDERED, message, messageXid: xid }, xid);
  }
  await control(c, bundleId, BUNDLE_CTRL.commit_request, errors);
  if (errors.length > 0) fail();
  c.close();
}
