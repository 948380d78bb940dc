/** `ssl:` and `pssl:` through `node:tls`; loaded only when used. Peers are known by their certificates, not by names. */
import { readFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import type { DetailedPeerCertificate, SecureContextOptions } from 'node:tls';
import { mustBootstrap, saveBootstrapped, sslConfig, tlsOptions } from './ssl-config.ts';
import { vlog } from './vlog.ts';

// Not a static import: a bundle would load all of TLS when a program starts.
const { connect: tlsConnect, createServer: tlsCreateServer } = process.getBuiltinModule('node:tls');

const log = vlog('stream_ssl');

/** A socket that emits `secureConnect` when it may be used. Throws when the configuration lacks something. */
export function connectTls(at: { host: string; port: number }): Socket {
  const options = checkedOptions();
  const bootstrap = mustBootstrap();
  const { serverName, caCert } = sslConfig();
  const socket = tlsConnect({
    ...options,
    host: at.host,
    port: at.port,
    ...(serverName ? { servername: serverName } : {}),
    rejectUnauthorized: !bootstrap && caCert !== 'none',
    checkServerIdentity: () => undefined,
  });
  socket.setNoDelay(true);
  if (bootstrap) {
    // The authority is taken on trust once; this connection itself is given up and opened again, checked.
    socket.prependOnceListener('secureConnect', () => {
      const root = topOf(socket.getPeerCertificate(true));
      if (root) {
        saveBootstrapped(root.raw);
        log.info(`successfully bootstrapped CA cert to ${caCert}`);
      } else {
        log.err('could not bootstrap CA cert: peer did not send its authority');
      }
      socket.destroy(Object.assign(new Error('Protocol error'), { code: 'EPROTO' }));
    });
  }
  return socket;
}

/** The self-signed certificate at the end of a chain. */
function topOf(leaf: DetailedPeerCertificate): DetailedPeerCertificate | null {
  let cert: DetailedPeerCertificate = leaf;
  for (let depth = 0; depth < 16 && cert?.issuerCertificate; depth++) {
    if (cert.issuerCertificate.fingerprint256 === cert.fingerprint256) return cert;
    cert = cert.issuerCertificate;
  }
  return null;
}

export function createTlsServer(accept: (socket: Socket) => void): Server {
  const options = checkedOptions();
  const { peerCaCert } = sslConfig();
  // Peers that bootstrap learn the authority from the chain.
  if (peerCaCert) options.cert = Buffer.concat([options.cert as Buffer, Buffer.from('\n'), readFileSync(peerCaCert)]);
  const verify = sslConfig().caCert !== 'none';
  const server = tlsCreateServer({ ...options, requestCert: verify, rejectUnauthorized: verify }, accept);
  server.on('tlsClientError', (error) => log.rl(5).warn(`SSL_accept: ${error.message.trimEnd()}`));
  return server;
}

function checkedOptions(): SecureContextOptions {
  const options = tlsOptions();
  if ('error' in options) {
    log.err(options.error);
    throw Object.assign(new Error(options.error), { code: 'ENOPROTOOPT' });
  }
  return options;
}
