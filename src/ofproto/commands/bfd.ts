/** `bfd/show`, `bfd/set-forwarding`. `ovs-vswitchd(8)`, "BFD Commands" */
import { clock } from '../../base/clock.ts';
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { BFD_FLAG } from '../../packet/bfd.ts';
import { type Bfd, diagnostic } from '../bfd.ts';
import type { OfPort } from '../ofport.ts';
import { allBridges, type Backers } from './find.ts';

type Monitored = OfPort & { readonly bfd: Bfd };

export function registerBfdCommands(backers: Backers): void {
  const chosen = (name: string | undefined, refusal: string): Monitored[] => {
    const all = allBridges(backers)
      .flatMap((bridge) => bridge.sortedPorts())
      .filter((port): port is Monitored => port.bfd !== null);
    if (name === undefined) return all;
    const one = all.find((port) => port.name === name);
    if (!one) throw new UnixctlError(refusal);
    return [one];
  };
  registerCommand('bfd/show', '[interface]', 0, 1, ([name]) => chosen(name, 'no such bfd object').map(show).join(''));
  registerCommand('bfd/set-forwarding', '[interface] normal|false|true', 1, 2, (args) => {
    const word = args[args.length - 1].toLowerCase();
    const value = parseOverride(word);
    if (value === undefined) throw new UnixctlError('unknown fault string');
    for (const { bfd } of chosen(args.length > 1 ? args[0] : undefined, 'no such BFD object')) bfd.setOverride(value);
    return 'OK';
  });
}

/** Null for `normal`. */
export function parseOverride(word: string): boolean | null | undefined {
  return word === 'true' ? true : word === 'false' ? false : word === 'normal' ? null : undefined;
}

const FLAG_WORDS: readonly (readonly [number, string])[] = [
  [BFD_FLAG.multipoint, 'multipoint'],
  [BFD_FLAG.demand, 'demand'],
  [BFD_FLAG.auth, 'auth'],
  [BFD_FLAG.controlPlaneIndependent, 'ctl'],
  [BFD_FLAG.final, 'final'],
  [BFD_FLAG.poll, 'poll'],
];

function flagText(flags: number): string {
  const words = FLAG_WORDS.filter(([bit]) => flags & bit).map(([, word]) => word);
  return words.length === 0 ? 'none' : words.join(' ');
}

function show({ name, bfd }: Monitored): string {
  const now = clock.nowMs();
  const from = (at: number): string => `now ${at >= now ? '+' : '-'}${Math.abs(Math.round(at - now))}ms`;
  const lines = [
    `---- ${name} ----`,
    `  Forwarding: ${bfd.isForwarding}`,
    `  Detect Multiplier: ${bfd.config.mult}`,
    `  Concatenated Path Down: ${bfd.config.cpathDown}`,
    `  TX Interval: Approx ${bfd.txIntervalMs}ms`,
    `  RX Interval: Approx ${bfd.rxIntervalMs}ms`,
    `  Detect Time: ${from(bfd.detectAtMs)}`,
    `  Next TX Time: ${from(bfd.nextTxMs)}`,
    `  Last TX Time: ${from(bfd.lastTxMs ?? 0)}`,
    '',
    `  Local Flags: ${flagText(bfd.flags)}`,
    `  Local Session State: ${bfd.state}`,
    `  Local Diagnostic: ${diagnostic(bfd.diag)}`,
    `  Local Discriminator: 0x${bfd.discriminator.toString(16)}`,
    `  Local Minimum TX Interval: ${bfd.minTxMs}ms`,
    `  Local Minimum RX Interval: ${bfd.minRxMs}ms`,
    '',
    `  Remote Flags: ${flagText(bfd.remoteFlags)}`,
    `  Remote Session State: ${bfd.remoteState}`,
    `  Remote Diagnostic: ${diagnostic(bfd.remoteDiag)}`,
    `  Remote Discriminator: 0x${bfd.remoteDiscriminator.toString(16)}`,
    `  Remote Minimum TX Interval: ${bfd.remoteMinTxMs}ms`,
    `  Remote Minimum RX Interval: ${bfd.remoteMinRxMs}ms`,
    `  Remote Detect Multiplier: ${bfd.remoteMult}`,
  ];
  return `${lines.join('\n')}\n`;
}
