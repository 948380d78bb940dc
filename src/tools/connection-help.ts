/** The part of `--help` that says how to reach a peer, the same in every program but for what the peer is called. */

interface ConnectionHelp {
  /** Listening too. */
  readonly passive?: boolean;
  /** Not every program takes a certificate on first sight. */
  readonly bootstrap?: boolean;
  /** The port that may be left out. */
  readonly defaultPort?: number;
  /** Protocols and ciphers may be chosen. */
  readonly sslOptions?: boolean;
}

const active = (port?: number): string => {
  const rows = port === undefined ? ['HOST:PORT', 'PORT'] : ['HOST[:PORT]', `PORT (default: ${port})`];
  return `  tcp:${rows[0].padEnd(18)}  ${rows[1]} at remote HOST
  ssl:${rows[0].padEnd(18)}  SSL ${rows[1]} at remote HOST
  unix:FILE               Unix domain socket named FILE
`;
};
const listening = (port?: number): string => {
  const rows = port === undefined ? ['PORT[:IP]', 'PORT'] : ['[PORT][:IP]', `PORT (default: ${port})`];
  return `  ptcp:${rows[0].padEnd(17)}  listen to TCP ${rows[1]} on IP
  pssl:${rows[0].padEnd(17)}  listen for SSL on ${rows[1]} on IP
  punix:FILE              listen on Unix domain socket FILE
`;
};
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

/** `what` is connected to. */
export function connectionHelp(what: string, options: ConnectionHelp = {}): string {
  const { passive = true, bootstrap = true, sslOptions = true, defaultPort } = options;
  const listen = passive ? `Passive ${what} connection methods:\n${listening(defaultPort)}` : '';
  const ssl = `${PKI}${bootstrap ? BOOTSTRAP : ''}${sslOptions ? SSL : ''}`;
  return `Active ${what} connection methods:\n${active(defaultPort)}${listen}${ssl}`;
}
