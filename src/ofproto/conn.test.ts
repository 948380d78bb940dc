import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Match } from '../flow/match.ts';
import type { OfMessage, OfpVersion, PacketIn, PhyPort } from '../openflow/messages.ts';
import { sendPacketIn, sendPortStatus } from './async.ts';
import { OfConn, type Request, type RequestHandler } from './conn.ts';

class Channel {
  readonly version: OfpVersion;
  backlogBytes = 0;
  isOpen = true;
  readonly sent: { message: OfMessage; xid: number | undefined }[] = [];

  constructor(version: OfpVersion) {
    this.version = version;
  }
  send(message: OfMessage, xid?: number): void {
    this.sent.push({ message, xid });
  }
  close(): void {
    this.isOpen = false;
  }
}

const echo = Uint8Array.of(4, 2, 0, 8, 0, 0, 0, 1);

function connect(version: OfpVersion = 4, isService = false, handler: RequestHandler = () => {}) {
  const channel = new Channel(version);
  return { channel, conn: new OfConn(channel, 'br0<->test', isService, handler) };
}

test('requests of a connection are carried out in order, even when one must wait', async () => {
  const order: number[] = [];
  let release = (): void => {};
  const { conn } = connect(4, false, (_conn, request: Request) => {
    order.push(request.xid);
    return request.xid === 1 ? new Promise<void>((resolve) => (release = resolve)) : undefined;
  });
  for (const xid of [1, 2, 3]) conn.receive({ type: 'barrier_request' }, xid, echo);
  assert.deepEqual(order, [1]);
  release();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, [1, 2, 3]);
});

test('a handler that throws costs the peer an error, nobody else', () => {
  const { conn, channel } = connect(4, false, () => {
    throw new Error('on purpose');
  });
  conn.receive({ type: 'barrier_request' }, 7, echo);
  assert.deepEqual(
    channel.sent.map((s) => [s.message.type, s.xid]),
    [['error', 7]],
  );
  assert.ok(channel.isOpen);
});

test('a peer that does not read gets no asynchronous messages and has its requests wait', () => {
  let handled = 0;
  const { conn, channel } = connect(4, false, () => void handled++);
  channel.backlogBytes = 8 << 20;
  assert.equal(conn.sendAsync({ type: 'barrier_reply' }), false);
  conn.receive({ type: 'barrier_request' }, 1, echo);
  assert.equal(handled, 0);
  assert.deepEqual(channel.sent, []);
  conn.close();
});

test('a peer that sends without end while it must wait is cut off', () => {
  const { conn, channel } = connect(4, false, () => new Promise(() => {}));
  const big = new Uint8Array(60_000);
  for (let i = 0; i < 2000 && channel.isOpen; i++) conn.receive({ type: 'echo_request', data: big }, i, big);
  assert.equal(channel.isOpen, false);
});

const pin = (reason: number): PacketIn => ({
  type: 'packet_in',
  packet: new Uint8Array(60),
  totalLen: 60,
  bufferId: 0xffffffff,
  reason,
  table: 0,
  cookie: 0n,
  metadata: new Match(),
  userdata: null,
  continuation: null,
});

test('service connections get packets only after they set miss_send_len', () => {
  const { conn, channel } = connect(1, true);
  const order = { pin: pin(1), controllerId: 0, cause: 'explicit' } as const;
  assert.equal(sendPacketIn([conn], order), 0);
  conn.missSendLen = 65534;
  assert.equal(sendPacketIn([conn], order), 1);
  assert.equal(channel.sent.length, 1);
  assert.equal(sendPacketIn([conn], { ...order, controllerId: 3 }), 0, 'another controller id');
  conn.role = 'secondary';
  assert.equal(sendPacketIn([conn], order), 0, 'secondaries get none');
});

test('each version has its own word for why a packet comes', () => {
  const reasons = (version: OfpVersion, reason: number, cause: 'explicit' | 'miss_flow' | 'implicit') => {
    const { conn, channel } = connect(version);
    sendPacketIn([conn], { pin: pin(reason), controllerId: 0, cause });
    return channel.sent.map((s) => (s.message as PacketIn).reason);
  };
  assert.deepEqual(reasons(1, 0, 'miss_flow'), [1]);
  assert.deepEqual(reasons(4, 0, 'miss_flow'), [0]);
  assert.deepEqual(reasons(1, 0, 'implicit'), [0]);
  assert.deepEqual(reasons(4, 0, 'implicit'), [], 'since 1.3 packets that miss are dropped');
  assert.deepEqual(reasons(4, 5, 'explicit'), [1], 'packet-out is a reason since 1.4');
  assert.deepEqual(reasons(5, 5, 'explicit'), [5]);
  assert.deepEqual(reasons(4, 2, 'explicit'), [], 'invalid TTL must be asked for');
});

test('packet-ins are limited to the configured rate', () => {
  const { conn, channel } = connect(4);
  conn.limitPacketIns(100, 25);
  for (let i = 0; i < 100; i++) sendPacketIn([conn], { pin: pin(1), controllerId: 0, cause: 'explicit' });
  assert.ok(channel.sent.length >= 25 && channel.sent.length < 40, `${channel.sent.length} sent`);
});

test('a port-mod is told to others, and to its sender since 1.5', () => {
  const port: PhyPort = {
    portNo: 1,
    hwAddr: new Uint8Array(6),
    name: 'p1',
    config: 0,
    state: 4,
    curr: 0,
    advertised: 0,
    supported: 0,
    peer: 0,
    currSpeed: 0,
    maxSpeed: 0,
  };
  const down = { ...port, config: 1, state: 1 };
  const [a, b, c] = [connect(4), connect(4), connect(6)];
  const all = [a.conn, b.conn, c.conn];
  sendPortStatus(all, 'modify', down, port, a.conn);
  assert.deepEqual([a.channel.sent.length, b.channel.sent.length, c.channel.sent.length], [0, 1, 1]);
  sendPortStatus(all, 'modify', { ...down, config: 1 | 16 }, down, c.conn);
  assert.deepEqual([b.channel.sent.length, c.channel.sent.length], [1, 1], 'NO_FLOOD exists in 1.0 only');
});
