/** Where an exporter sends its datagrams: one or more `HOST:PORT` over UDP. What can't be sent is lost, and counted. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { vlog } from '../../base/vlog.ts';

const log = vlog('collectors');

interface Target {
  readonly host: string;
  readonly port: number;
}

export class Collectors {
  sent = 0;
  errors = 0;
  private readonly targets: readonly Target[];
  private readonly sockets = new Map<4 | 6, Socket>();

  constructor(texts: readonly string[], defaultPort: number) {
    this.targets = texts.flatMap((text) => {
      const target = parseTarget(text, defaultPort);
      if (!target) log.warn(`couldn't open connection to collector (${text})`);
      return target ?? [];
    });
  }

  get count(): number {
    return this.targets.length;
  }

  send(datagram: Uint8Array): void {
    for (const { host, port } of this.targets) {
      const socket = this.socket(isIPv6(host) ? 6 : 4);
      socket.send(datagram, port, host, (error) => {
        if (error) this.errors++;
        else this.sent++;
      });
    }
  }

  private socket(version: 4 | 6): Socket {
    let socket = this.sockets.get(version);
    if (!socket) {
      socket = createSocket(version === 4 ? 'udp4' : 'udp6');
      socket.on('error', () => this.errors++);
      socket.unref();
      this.sockets.set(version, socket);
    }
    return socket;
  }

  close(): void {
    for (const socket of this.sockets.values()) socket.close();
    this.sockets.clear();
  }
}

function parseTarget(text: string, defaultPort: number): Target | null {
  const m = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  if (!m) return null;
  const port = m[3] === undefined ? defaultPort : Number(m[3]);
  return port >= 1 && port <= 0xffff ? { host: m[1] ?? m[2], port } : null;
}
