/**
 * Where files live. Each directory is the value of its environment variable, else what Debian's packages use, so that
 * programs of both families find each other's sockets, pidfiles and databases.
 */
import { isAbsolute, join } from 'node:path';

export function ovsRundir(): string {
  return process.env['OVS_RUNDIR'] || '/var/run/openvswitch';
}

export function ovsLogdir(): string {
  return process.env['OVS_LOGDIR'] || '/var/log/openvswitch';
}

export function ovsSysconfdir(): string {
  return process.env['OVS_SYSCONFDIR'] || '/etc';
}

/** `OVS_DBDIR`, else the `openvswitch` directory of a chosen `OVS_SYSCONFDIR`, else `/etc/openvswitch`. */
export function ovsDbdir(): string {
  return process.env['OVS_DBDIR'] || join(ovsSysconfdir(), 'openvswitch');
}

export function ovsPkgdatadir(): string {
  return process.env['OVS_PKGDATADIR'] || '/usr/share/openvswitch';
}

/** `name` itself when absolute, else inside `dir`. */
export function absInDir(dir: string, name: string): string {
  return isAbsolute(name) ? name : join(dir, name);
}
