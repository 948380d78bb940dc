/** The part of `--help` that says how to reach a peer, the same in every program but for what the peer is called. */

const ACTIVE = `  tcp:HOST:PORT           PORT at remote HOST
  ssl:HOST:PORT           SSL PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
`;
const PASSIVE = `  ptcp:PORT[:IP]          listen to TCP PORT on IP
  pssl:PORT[:IP]          listen for SSL on PORT on IP
  punix:FILE              listen on Unix domain socket FILE
`;
const PKI = `PKI configuration (required to use SSL):
  -p, --private-key=FILE  file with private key
  -c, --certificate=FILE  file with certificate for private key
  -C, --ca-cert=FILE      file with peer CA certificate
`;
const BOOTSTRAP = '  --bootstrap-ca-cert=FILE  file with peer CA certificate to read or create\n';
const SSL = `SSL options:
  --ssl-protocols=PROTOS  list of SSL protocols to enable
  --ssl-ciphers=CIPHERS   list of SSL ciphers to enable
`;

/** `what` is connected to, or with `passive` listened for; not every program takes a certificate on first sight. */
export function connectionHelp(what: string, options: { passive?: boolean; bootstrap?: boolean } = {}): string {
  const { passive = true, bootstrap = true } = options;
  const listen = passive ? `Passive ${what} connection methods:\n${PASSIVE}` : '';
  return `Active ${what} connection methods:\n${ACTIVE}${listen}${PKI}${bootstrap ? BOOTSTRAP : ''}${SSL}`;
}
