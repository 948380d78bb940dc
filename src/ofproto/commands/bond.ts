/** `bond/*`: what bonds do, and telling them otherwise. `ovs-vswitchd(8)`, "Bond Commands" */
import { clock } from '../../base/clock.ts';
import { registerCommand, UnixctlError } from '../../base/commands.ts';
import { parseEth as parseMac } from '../../flow/address-text.ts';
import { BOND_BUCKETS, type Bond, type BondMember } from '../bond.ts';
import { macText } from '../mac-learning.ts';
import { sourceHash } from '../xlate/bond.ts';
import { allBridges, type Backers } from './find.ts';

export function registerBondCommands(backers: Backers): void {
  const all = (): Bond[] => allBridges(backers).flatMap((bridge) => bridge.bonds());
  const find = (name: string): Bond => {
    const bond = all().find((b) => b.name === name);
    if (!bond) throw new UnixctlError('no such bond');
    return bond;
  };
  const member = (bond: Bond, name: string): BondMember => {
    const found = bond.members.find((m) => m.name === name);
    if (!found) throw new UnixctlError('no such member');
    return found;
  };

  registerCommand('bond/list', '', 0, 0, () => {
    const lines = all().map(
      (bond) =>
        `${bond.name}\t${bond.config.mode}\t${bond.recircId ?? 0}\t${bond.members.map((m) => m.name).join(', ')}\n`,
    );
    return `bond\ttype\trecircID\tmembers\n${lines.join('')}`;
  });
  registerCommand('bond/show', '[port]', 0, 1, ([name]) =>
    (name === undefined ? all() : [find(name)]).map(show).join(''),
  );
  const setActive = ([port, name]: string[]): string => {
    const bond = find(port);
    const chosen = member(bond, name);
    if (!chosen.isEnabled) throw new UnixctlError('cannot make disabled member active');
    if (bond.active === chosen) return 'no change';
    bond.setActive(chosen);
    return 'done';
  };
  const enable =
    (isEnabled: boolean) =>
    ([port, name]: string[]): string => {
      const bond = find(port);
      bond.enable(member(bond, name), isEnabled);
      bond.run();
      return isEnabled ? 'enabled' : 'disabled';
    };
  for (const word of ['member', 'slave']) {
    const usage = `port ${word}`;
    registerCommand(`bond/set-active-${word}`, usage, 2, 2, setActive);
    registerCommand(`bond/enable-${word}`, usage, 2, 2, enable(true));
    registerCommand(`bond/disable-${word}`, usage, 2, 2, enable(false));
  }
  registerCommand('bond/hash', 'mac [vlan] [basis]', 1, 3, ([mac, vlan, basis]) => {
    const bytes = parseMac(mac);
    if (!bytes) throw new UnixctlError('invalid mac');
    if (vlan !== undefined && !/^\d+$/.test(vlan)) throw new UnixctlError('invalid vlan');
    if (basis !== undefined && !/^\d+$/.test(basis)) throw new UnixctlError('invalid basis');
    return String(sourceHash(bytes, Number(vlan ?? 0), Number(basis ?? 0)));
  });
  registerCommand('bond/migrate', 'port hash member', 3, 3, ([port, hash, name]) => {
    const bond = find(port);
    if (bond.config.mode !== 'balance-slb') throw new UnixctlError('not an SLB bond');
    if (!/^\d+$/.test(hash)) throw new UnixctlError('bad hash');
    const to = member(bond, name);
    if (!to.isEnabled) throw new UnixctlError('cannot migrate to disabled member');
    bond.migrate(Number(hash) % BOND_BUCKETS, to);
    return 'migrated';
  });
}

function show(bond: Bond): string {
  const { config, active, members, buckets } = bond;
  const now = clock.nowMs();
  const lines = [
    `---- ${bond.name} ----`,
    `bond_mode: ${config.mode}`,
    `bond may use recirculation: ${bond.recircId === null ? 'no' : 'yes'}, Recirc-ID : ${bond.recircId ?? -1}`,
    `bond-hash-basis: ${config.hashBasis}`,
    `lb_output action: ${bond.lbOutput ? `enabled, bond-id: ${bond.recircId}` : 'disabled, bond-id: -1'}`,
  ];
  if (config.mode === 'balance-slb') lines.push(`all members active: ${config.allMembersActive}`);
  lines.push(`updelay: ${config.upDelayMs} ms`, `downdelay: ${config.downDelayMs} ms`);
  const { mode } = bond;
  if ((mode === 'none' ? config.mode : mode) !== 'active-backup' && Number.isFinite(bond.nextRebalanceMs)) {
    lines.push(`next rebalance: ${Math.max(0, Math.round(bond.nextRebalanceMs - now))} ms`);
  }
  lines.push(`lacp_status: ${bond.lacpStatus}`);
  lines.push(`lacp_fallback_ab: ${config.lacpFallback}`);
  lines.push(`active-backup primary: ${config.primary ?? '<none>'}`);
  lines.push(
    `active member mac: ${active ? macText(active.port.netdev.mac()) : '00:00:00:00:00:00'}(${active?.name ?? 'none'})`,
    '',
  );
  for (const m of [...members].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    lines.push(`member ${m.name}: ${m.isEnabled ? 'enabled' : 'disabled'}`);
    if (m === active) lines.push('  active member');
    if (m.changesAtMs !== null) {
      lines.push(
        `  ${m.isEnabled ? 'downdelay' : 'updelay'} expires in ${Math.max(0, Math.round(m.changesAtMs - now))} ms`,
      );
    }
    lines.push(`  may_enable: ${bond.mayEnable(m)}`);
    buckets.forEach(({ member, bytes }, hash) => {
      if (member === m && bytes >= 1024) lines.push(`  hash ${hash}: ${Math.floor(bytes / 1024)} kB load`);
    });
    lines.push('');
  }
  return `${lines.join('\n')}\n`;
}
