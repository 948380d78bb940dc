/**
 * Random changes of a switch's configuration, as an administrator makes them with `ovs-vsctl`: bridges, ports of several types, bonds,
 * patches, VLANs, mirrors, queues, controllers. From one seed comes one sequence, so that two worlds can be given the same.
 */
import type { Result, Sandbox } from './sandbox.ts';

/** A small generator, so that a failure can be run again. */
export function random(seed: number): (below: number) => number {
  let state = seed & 0x7fffffff;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * below);
  };
}

/** Else a bridge's address, and its datapath's identifier, would come from the UUID of its row. */
const hwaddr = (n: number) => `other-config:hwaddr="02:00:00:00:${hex(n >> 8)}:${hex(n & 255)}"`;
const hex = (byte: number) => byte.toString(16).padStart(2, '0');

const MOST_BRIDGES = 4;
const MOST_PORTS = 10;

export class Churn {
  private readonly pick: (below: number) => number;
  private readonly bridges = new Map<string, string[]>();
  private count = 0;

  constructor(seed: number) {
    this.pick = random(seed);
  }

  get bridgeNames(): string[] {
    return [...this.bridges.keys()];
  }

  /** The arguments of the next `ovs-vsctl`. */
  next(): string[] {
    const bridges = this.bridgeNames;
    const n = this.count++;
    if (bridges.length === 0 || (bridges.length < MOST_BRIDGES && this.pick(10) === 0)) {
      this.bridges.set(`br${n}`, []);
      const set = ['--', 'set', 'bridge', `br${n}`, 'datapath_type=dummy', 'fail_mode=secure', hwaddr(n)];
      return ['add-br', `br${n}`, ...set];
    }
    const bridge = this.one(bridges);
    const ports = this.bridges.get(bridge)!;
    if (this.pick(25) === 0) {
      this.bridges.delete(bridge);
      return ['del-br', bridge];
    }
    if (ports.length === 0 || (ports.length < MOST_PORTS && this.pick(3) === 0)) return this.addPort(bridge, ports, n);
    const port = this.one(ports);
    if (this.pick(6) === 0) {
      ports.splice(ports.indexOf(port), 1);
      return ['del-port', bridge, port];
    }
    return this.one(this.settings(bridge, port, n));
  }

  private addPort(bridge: string, ports: string[], n: number): string[] {
    const port = `p${n}`;
    ports.push(port);
    switch (this.pick(6)) {
      case 0:
        return ['add-port', bridge, port, '--', 'set', 'interface', port, 'type=internal'];
      case 1: {
        const [a, b] = [`${port}a`, `${port}b`];
        const set = [a, b].flatMap((name, i) => [
          '--',
          'set',
          'interface',
          name,
          'type=dummy',
          `ofport_request=${1000 + 2 * n + i}`,
        ]);
        return ['add-bond', bridge, port, a, b, 'bond_mode=active-backup', ...set];
      }
      case 2:
        return [
          'add-port',
          bridge,
          port,
          '--',
          'set',
          'interface',
          port,
          'type=patch',
          `options:peer=p${this.pick(n + 1)}`,
        ];
      case 3:
        return ['add-port', bridge, port, `tag=${1 + this.pick(4000)}`, '--', 'set', 'interface', port, 'type=dummy'];
      default:
        return ['add-port', bridge, port, '--', 'set', 'interface', port, 'type=dummy', `ofport_request=${100 + n}`];
    }
  }

  private settings(bridge: string, port: string, n: number): string[][] {
    const vlan = 1 + this.pick(4000);
    return [
      ['set', 'port', port, `tag=${vlan}`],
      ['set', 'port', port, `trunks=${vlan},${1 + (vlan % 4000)}`, 'vlan_mode=native-untagged'],
      ['clear', 'port', port, 'tag', '--', 'clear', 'port', port, 'trunks', '--', 'clear', 'port', port, 'vlan_mode'],
      ['set', 'bridge', bridge, `protocols=OpenFlow10,OpenFlow1${3 + this.pick(3)}`],
      ['set', 'bridge', bridge, `other-config:mac-aging-time=${15 + this.pick(300)}`, `external-ids:n=${n}`],
      [
        'set',
        'bridge',
        bridge,
        `other-config:datapath-id=${(0x1000 + this.pick(1000)).toString(16).padStart(16, '0')}`,
      ],
      ['set', 'bridge', bridge, `other-config={${hwaddr(n).slice('other-config:'.length)}}`],
      ['set', 'bridge', bridge, `flood-vlans=${vlan}`],
      ['set-fail-mode', bridge, this.one(['secure', 'standalone'])],
      [
        'set-controller',
        bridge,
        `unix:nobody${this.pick(3)}`,
        '--',
        'set',
        'controller',
        bridge,
        'connection-mode=out-of-band',
      ],
      ['del-controller', bridge],
      [
        ...['--', '--id=@m', 'create', 'mirror', `name=m${n}`, 'select-all=true', `output-vlan=${vlan}`],
        ...['--', 'set', 'bridge', bridge, 'mirrors=@m'],
      ],
      ['clear', 'bridge', bridge, 'mirrors'],
      [
        ...['--', '--id=@q', 'create', 'qos', 'type=linux-htb', `other-config:max-rate=${1000 * vlan}`, 'queues:1=@r'],
        ...['--', '--id=@r', 'create', 'queue', `dscp=${this.pick(64)}`, '--', 'set', 'port', port, 'qos=@q'],
      ],
      ['clear', 'port', port, 'qos', '--', '--all', 'destroy', 'qos', '--', '--all', 'destroy', 'queue'],
      ['set', 'Open_vSwitch', '.', `external-ids:system-id=s${this.pick(100)}`, `other-config:max-idle=${500 + vlan}`],
      ['--if-exists', 'remove', 'Open_vSwitch', '.', 'external-ids', 'system-id'],
    ];
  }

  private one<T>(list: readonly T[]): T {
    return list[this.pick(list.length)]!;
  }
}

/** Columns that tell of time, load and attempts to connect. */
const VOLATILE = new Set(['_version', 'statistics', 'role', 'is_connected', 'rstp_statistics', 'pid']);
/** Patches' addresses are random; interfaces that come together, as a bond's, get theirs in no order. Bridges' are set. */
const OTHER_ADDRESS = /\b(?!02:00:00)[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b/g;
/** Whether a patch remembers that it once had no peer depends, in the original, on the order in which it meets its ports. */
const PEERLESS = /"error":"No usable peer [^"]*"/;
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

function out({ status, stdout, stderr }: Result): string {
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** Everything that a world has come to: the rows of the database, without what differs in two of the same, and the bridges' ports. */
export async function worldOf(sb: Sandbox, bridges: readonly string[]): Promise<string[]> {
  const schema = JSON.parse(out(await sb.c('ovsdb-client', 'get-schema', sb.db))) as {
    tables: Record<string, unknown>;
  };
  const tables = Object.keys(schema.tables).sort();
  const select = ['Open_vSwitch', ...tables.map((table) => ({ op: 'select', table, where: [] }))];
  const results = JSON.parse(out(await sb.c('ovsdb-client', 'transact', sb.db, JSON.stringify(select)))) as {
    rows: Record<string, unknown>[];
  }[];
  const rows = results.flatMap(({ rows }, i) =>
    rows.map((row) => {
      const kept = Object.entries(row).filter(
        ([name]) => !VOLATILE.has(name) && !(tables[i] === 'Controller' && name === 'status'),
      );
      return `${tables[i]} ${JSON.stringify(Object.fromEntries(kept))}`
        .replace(UUID, 'U')
        .replace(PEERLESS, '"error":["set",[]]')
        .replaceAll(sb.dir, 'DIR');
    }),
  );
  const switches: string[] = [];
  for (const bridge of [...bridges].sort()) {
    const shown = out(await sb.c('ovs-ofctl', '-OOpenFlow10', 'show', bridge));
    switches.push(
      `${bridge}: ${shown
        .split('\n')
        .slice(1)
        .filter((line) => !line.includes('speed:'))
        .join('\n')}`,
    );
  }
  return [...rows, ...switches].map((text) => text.replace(OTHER_ADDRESS, 'MAC')).sort();
}
