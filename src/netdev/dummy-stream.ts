/**
 * `options:stream` and `options:pstream` of a dummy device: a cable to another process. Each packet travels as two bytes of
 * length, big-endian, and its bytes.
 */
import { clock } from '../base/clock.ts';
import { connectStream, type Listener, listenStreams, type Stream } from '../base/stream.ts';

const RETRY_MS = 1000;
/** A peer that does not read loses packets, as on a wire. */
const MAX_BUFFERED = 1 << 20;

export interface DummyCable extends Disposable {
  send(packet: Uint8Array): void;
  /** For `netdev-dummy/conn-state`: only an active end knows. */
  state(): 'connected' | 'disconnected' | 'unknown';
}

/** Puts together what arrives in pieces; returns what takes the next piece. */
function reader(receive: (packet: Uint8Array) => void): (bytes: Uint8Array) => void {
  let rest: Uint8Array = new Uint8Array(0);
  return (bytes) => {
    let all = bytes;
    if (rest.length > 0) {
      all = new Uint8Array(rest.length + bytes.length);
      all.set(rest);
      all.set(bytes, rest.length);
    }
    let at = 0;
    while (all.length - at >= 2) {
      const length = (all[at] << 8) | all[at + 1];
      if (all.length - at - 2 < length) break;
      if (length > 0) receive(all.slice(at + 2, at + 2 + length));
      at += 2 + length;
    }
    rest = all.slice(at);
  };
}

function framed(packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 + packet.length);
  bytes[0] = packet.length >> 8;
  bytes[1] = packet.length;
  bytes.set(packet, 2);
  return bytes;
}

function attach(stream: Stream, streams: Set<Stream>, receive: (packet: Uint8Array) => void, closed: () => void): void {
  streams.add(stream);
  stream.onData(reader(receive));
  stream.onClose(() => {
    streams.delete(stream);
    closed();
  });
}

function sender(streams: Set<Stream>): (packet: Uint8Array) => void {
  return (packet) => {
    const bytes = framed(packet);
    for (const stream of streams) if (stream.bufferedBytes < MAX_BUFFERED) stream.write(bytes);
  };
}

/** Connects, and again whenever the connection is lost. */
export function activeCable(remote: string, receive: (packet: Uint8Array) => void): DummyCable {
  const streams = new Set<Stream>();
  let isClosed = false;
  let timer: Disposable | null = null;
  const retry = (): void => {
    if (!isClosed) timer = clock.setTimeout(open, RETRY_MS, { keepAlive: false });
  };
  const open = (): void => {
    connectStream(remote).then(
      (stream) => (isClosed ? stream.close() : attach(stream, streams, receive, retry)),
      () => retry(),
    );
  };
  open();
  return {
    send: sender(streams),
    state: () => (streams.size > 0 ? 'connected' : 'disconnected'),
    [Symbol.dispose]() {
      isClosed = true;
      timer?.[Symbol.dispose]();
      for (const stream of streams) stream.close();
    },
  };
}

/** Listens; a packet goes to all who are connected. */
export function passiveCable(remote: string, receive: (packet: Uint8Array) => void): DummyCable {
  const streams = new Set<Stream>();
  let isClosed = false;
  let listener: Listener | null = null;
  listenStreams(remote, (stream) => attach(stream, streams, receive, () => {})).then(
    (l) => {
      if (isClosed) l.close();
      else listener = l;
    },
    // Where nobody can listen nobody will connect.
    () => {},
  );
  return {
    send: sender(streams),
    state: () => 'unknown',
    [Symbol.dispose]() {
      isClosed = true;
      listener?.close();
      for (const stream of streams) stream.close();
    },
  };
}
