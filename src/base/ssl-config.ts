/**
 * The keys and certificates that `ssl:` and `pssl:` use, one set for the process as `--private-key` and its siblings
 * (or the database) give them. Files are read at each connection, so renewed certificates take effect by themselves.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { SecureContextOptions, SecureVersion } from 'node:tls';
import { errorText } from './errno.ts';

export interface SslConfig {
  privateKey: string | null;
  certificate: string | null;
  caCert: string | null;
  /** `caCert` may be learned from the first peer. */
  bootstrapCaCert: boolean;
  /** Of certificates to hand to peers that bootstrap. */
  peerCaCert: string | null;
  protocols: string | null;
  ciphers: string | null;
  ciphersuites: string | null;
  serverName: string | null;
}

const NOTHING: SslConfig = {
  privateKey: null,
  certificate: null,
  caCert: null,
  bootstrapCaCert: false,
  peerCaCert: null,
  protocols: null,
  ciphers: null,
  ciphersuites: null,
  serverName: null,
};

let config: SslConfig = { ...NOTHING };

export function sslConfig(): Readonly<SslConfig> {
  return config;
}

export function setSslConfig(changes: Partial<SslConfig>): void {
  config = { ...config, ...changes };
}

export function clearSslConfig(): void {
  config = { ...NOTHING };
}

/** Whether the certificate of the authority still has to be learned. */
export function mustBootstrap(): boolean {
  return config.bootstrapCaCert && config.caCert !== null && !existsSync(config.caCert);
}

/** Keeps the authority that a peer presented, given as DER. */
export function saveBootstrapped(der: Uint8Array): void {
  if (config.caCert === null) return;
  const base64 = Buffer.from(der).toString('base64').replace(/.{64}/g, '$&\n').trimEnd();
  const pem = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
  writeFileSync(config.caCert, pem, { flag: 'wx', mode: 0o644 });
}

/** Options for `node:tls`, for both sides; or what is missing. */
export function tlsOptions(): SecureContextOptions | { error: string } {
  const { privateKey, certificate, caCert } = config;
  if (privateKey === null) return { error: 'Private key must be configured to use SSL' };
  if (certificate === null) return { error: 'Certificate must be configured to use SSL' };
  if (caCert === null) return { error: 'CA certificate must be configured to use SSL' };
  const options: SecureContextOptions = {};
  try {
    options.key = readFileSync(privateKey);
    options.cert = readFileSync(certificate);
    if (caCert !== 'none' && !mustBootstrap()) options.ca = readFileSync(caCert);
  } catch (error) {
    const path = (error as NodeJS.ErrnoException).path ?? '';
    return { error: `failed to read ${path}: ${errorText(error)}` };
  }
  if (config.ciphers || config.ciphersuites) {
    options.ciphers = [config.ciphersuites, config.ciphers].filter(Boolean).join(':');
  }
  const range = protocolRange(config.protocols);
  if ('error' in range) return range;
  return { ...options, ...range };
}

const PROTOCOLS: readonly SecureVersion[] = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

const protocolNames = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);
const rankOfProtocol = (name: string): number => PROTOCOLS.indexOf(name.replace(/\+$/, '') as SecureVersion);

/** Names in a list of protocols that are none. */
export function unknownProtocols(text: string): string[] {
  return protocolNames(text).filter((name) => rankOfProtocol(name) < 0);
}

/** `TLSv1.2,TLSv1.3`, or `TLSv1.2+` for it and what came later. */
function protocolRange(
  text: string | null,
): { minVersion?: SecureVersion; maxVersion?: SecureVersion } | { error: string } {
  if (!text) return { minVersion: 'TLSv1.2' };
  const names = protocolNames(text);
  const ranks = names.map(rankOfProtocol);
  const bad = ranks.indexOf(-1);
  if (bad >= 0) return { error: `${names[bad]}: SSL protocol not recognized` };
  const min = PROTOCOLS[Math.min(...ranks)];
  return names.some((name) => name.endsWith('+'))
    ? { minVersion: min }
    : { minVersion: min, maxVersion: PROTOCOLS[Math.max(...ranks)] };
}
