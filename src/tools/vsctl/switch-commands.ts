/** Commands about controllers, managers, TLS, fail modes, Auto-Attach and conntrack zones, and the emergency reset. */
import { vlog } from '../../base/vlog.ts';
import type { Row } from '../../ovsdb/idl.ts';
import { command, mergeNeeds, type Needs, TOPOLOGY } from './command.ts';
import { CommandError, type Context, sortedNames } from './context.ts';

const log = vlog('vsctl');

const withBridge = (columns: readonly string[], more: Needs = {}) => mergeNeeds([TOPOLOGY, { Bridge: columns }, more]);
const controllers = () => withBridge(['controller'], { Controller: ['target', 'inactivity_probe'] });
const managers = () => ({ Open_vSwitch: ['manager_options'], Manager: ['target', 'inactivity_probe'] });
const ssl = () => ({
  Open_vSwitch: ['ssl'],
  SSL: ['private_key', 'certificate', 'ca_cert', 'bootstrap_ca_cert'],
});
const autoAttach = () => withBridge(['auto_attach'], { AutoAttach: ['mappings'] });
const zones = () => ({
  Open_vSwitch: ['datapaths'],
  Datapath: ['ct_zones'],
  CT_Zone: ['timeout_policy'],
  CT_Timeout_Policy: ['timeouts'],
});

export const SWITCH_COMMANDS = [
  command('init', [0, 0], '', '', { writes: true, needs: () => ({ Open_vSwitch: [] }), run: () => undefined }),

  command('get-controller', [1, 1], '!BRIDGE', '', {
    needs: controllers,
    run(context) {
      const bridge = context.findBridge(context.args[0], true);
      printTargets(context, context.view(bridge.row).refs('controller'));
    },
  }),
  command('del-controller', [1, 1], '!BRIDGE', '', {
    writes: true,
    needs: controllers,
    run(context) {
      const { row } = context.findRealBridge(context.args[0]);
      for (const controller of context.view(row).refs('controller')) context.txn.delete(controller);
      context.txn.set(row, 'controller', null);
    },
  }),
  command('set-controller', [1, 'any'], '!BRIDGE +TARGET', '--inactivity-probe=', {
    writes: true,
    needs: controllers,
    run(context) {
      const [name, ...targets] = context.args;
      const { row } = context.findRealBridge(name);
      for (const target of targets) warnOfTarget(target);
      for (const controller of context.view(row).refs('controller')) context.txn.delete(controller);
      const table = context.idl.table('Controller');
      const probe = inactivityProbe(context);
      const rows = targets.map((target) => context.txn.insert(table, { target, ...probe }));
      context.txn.set(row, 'controller', rows);
    },
  }),

  command('get-fail-mode', [1, 1], '!BRIDGE', '', {
    needs: () => withBridge(['fail_mode']),
    run(context) {
      const mode = context.view(context.findBridge(context.args[0], true).row).string('fail_mode');
      if (mode !== '') context.print(mode);
    },
  }),
  command('del-fail-mode', [1, 1], '!BRIDGE', '', {
    writes: true,
    needs: () => withBridge(['fail_mode']),
    run: (context) => context.txn.set(context.findRealBridge(context.args[0]).row, 'fail_mode', null),
  }),
  command('set-fail-mode', [2, 2], '!BRIDGE !MODE', '', {
    writes: true,
    needs: () => withBridge(['fail_mode']),
    run(context) {
      const [name, mode] = context.args;
      const { row } = context.findRealBridge(name);
      if (mode !== 'standalone' && mode !== 'secure') {
        throw new CommandError('fail-mode must be "standalone" or "secure"');
      }
      context.txn.set(row, 'fail_mode', mode);
    },
  }),

  command('get-manager', [0, 0], '', '', {
    needs: managers,
    run: (context) => printTargets(context, context.view(context.openVswitch()).refs('manager_options')),
  }),
  command('del-manager', [0, 0], '', '', {
    writes: true,
    needs: managers,
    run: (context) => setManagers(context, []),
  }),
  command('set-manager', [1, 'any'], '+TARGET', '--inactivity-probe=', {
    writes: true,
    needs: managers,
    run(context) {
      for (const target of context.args) warnOfTarget(target);
      setManagers(context, context.args);
    },
  }),

  command('get-ssl', [0, 0], '', '', {
    needs: ssl,
    run(context) {
      const row = context.view(context.openVswitch()).ref('ssl');
      if (row === null) return;
      const view = context.view(row);
      context.print(`Private key: ${view.string('private_key')}`);
      context.print(`Certificate: ${view.string('certificate')}`);
      context.print(`CA Certificate: ${view.string('ca_cert')}`);
      context.print(`Bootstrap: ${view.boolean('bootstrap_ca_cert')}`);
    },
  }),
  command('del-ssl', [0, 0], '', '', {
    writes: true,
    needs: ssl,
    run: deleteSsl,
  }),
  command('set-ssl', [3, 3], '!PRIVATE-KEY !CERTIFICATE !CA-CERT', '--bootstrap', {
    writes: true,
    needs: ssl,
    run(context) {
      const [privateKey, certificate, caCert] = context.args;
      deleteSsl(context);
      const row = context.txn.insert(context.idl.table('SSL'), {
        private_key: privateKey,
        certificate,
        ca_cert: caCert,
        bootstrap_ca_cert: context.has('--bootstrap'),
      });
      context.txn.set(context.openVswitch(), 'ssl', row);
    },
  }),

  command('add-aa-mapping', [3, 3], '!BRIDGE !ARG !ARG', '', {
    writes: true,
    needs: autoAttach,
    run(context) {
      const { row } = context.findRealBridge(context.args[0]);
      const [isid, vlan] = [number(context.args[1]), number(context.args[2])];
      let attach = context.view(row).ref('auto_attach');
      if (attach === null) {
        attach = context.txn.insert(context.idl.table('AutoAttach'));
        context.txn.set(row, 'auto_attach', attach);
      }
      context.txn.add(attach, 'mappings', new Map([[isid, vlan]]));
    },
  }),
  command('del-aa-mapping', [3, 3], '!BRIDGE !ARG !ARG', '', {
    writes: true,
    needs: autoAttach,
    run(context) {
      const { row } = context.findRealBridge(context.args[0]);
      const [isid, vlan] = [number(context.args[1]), number(context.args[2])];
      const attach = context.view(row).ref('auto_attach');
      if (attach === null) return;
      if (context.view(attach).map('mappings').get(String(isid)) === String(vlan)) {
        context.txn.remove(attach, 'mappings', [isid]);
      }
    },
  }),
  command('get-aa-mapping', [1, 1], '!BRIDGE', '', {
    needs: autoAttach,
    run(context) {
      const { row } = context.findRealBridge(context.args[0]);
      const attach = context.view(row).ref('auto_attach');
      if (attach === null) return;
      for (const [isid, vlan] of context.view(attach).map('mappings')) context.print(`${isid} ${vlan}`);
    },
  }),

  command('add-zone-tp', [3, 'any'], '', '--may-exist', { writes: true, needs: zones, run: addZonePolicy }),
  command('del-zone-tp', [2, 2], '', '--if-exists', {
    writes: true,
    needs: zones,
    run(context) {
      const [datapathName, zoneArg] = context.args;
      const datapath = findDatapath(context, datapathName);
      const zone = zoneNumber(zoneArg);
      if (!context.view(datapath).refMap('ct_zones').has(zone)) {
        if (context.has('--if-exists')) return;
        throw new CommandError(`zone id ${zone} does not exist`);
      }
      context.txn.remove(datapath, 'ct_zones', [zone]);
    },
  }),
  command('list-zone-tp', [1, 1], '', '', {
    needs: zones,
    run(context) {
      const datapath = findDatapath(context, context.args[0]);
      for (const [zone, row] of context.view(datapath).refMap('ct_zones')) {
        const policy = context.view(row).ref('timeout_policy');
        const timeouts = policy === null ? [] : [...context.view(policy).map('timeouts')];
        const text = timeouts.map(([name, seconds]) => `${name}=${seconds}`).join(' ');
        context.print(`Zone:${zone}, Timeout Policies: ${text === '' ? 'system default' : text}`);
      }
    },
  }),
  command('list-dp-cap', [1, 1], '', '', {
    needs: () => ({ Open_vSwitch: ['datapaths'], Datapath: ['capabilities'] }),
    run(context) {
      const datapath = context.view(context.openVswitch()).refMap('datapaths').get(context.args[0]);
      if (datapath === undefined) throw new CommandError(`datapath "${context.args[0]}" record not found`);
      const capabilities = context.view(datapath).map('capabilities');
      context.print([...capabilities].map(([name, value]) => `${name}=${value} `).join(''));
    },
  }),

  command('emer-reset', [0, 0], '', '', {
    writes: true,
    needs: () => ({
      Open_vSwitch: ['manager_options', 'ssl', 'bridges'],
      Bridge: ['controller', 'fail_mode', 'mirrors', 'netflow', 'sflow', 'ipfix', 'flood_vlans', 'other_config'],
      Port: ['other_config'],
      Interface: ['ingress_policing_rate', 'ingress_policing_burst'],
      Mirror: [],
      Controller: [],
      Manager: [],
      NetFlow: [],
      sFlow: [],
      IPFIX: [],
      SSL: [],
    }),
    run: emergencyReset,
  }),
];

export function printTargets(context: Context, rows: readonly Row[]): void {
  for (const target of sortedNames(rows.map((row) => context.view(row).string('target')))) context.print(target);
}

/** A target that nothing could connect to is stored all the same. */
export function warnOfTarget(target: string): void {
  if (!/^p?(tcp|ssl|unix):/.test(target)) log.warn(`target type "${target}" is possibly erroneous`);
}

function inactivityProbe(context: Context): { inactivity_probe?: number } {
  const text = context.options.get('--inactivity-probe');
  return text === undefined || text === null ? {} : { inactivity_probe: Number.parseInt(text, 10) || 0 };
}

export function setManagers(context: Context, targets: readonly string[], column = 'manager_options'): void {
  const { txn, idl } = context;
  const openVswitch = context.openVswitch();
  const before = context.view(openVswitch).refs(column);
  const probe = inactivityProbe(context);
  const rows = [...new Set(targets)].map((target) => {
    const old = before.find((row) => context.view(row).string('target') === target);
    const row = old ?? txn.insert(idl.table('Manager'), { target });
    for (const [column, value] of Object.entries(probe)) txn.set(row, column, value);
    return row;
  });
  for (const row of before) if (!rows.includes(row)) txn.delete(row);
  txn.set(openVswitch, column, rows);
}

function deleteSsl(context: Context): void {
  const openVswitch = context.openVswitch();
  const row = context.view(openVswitch).ref('ssl');
  if (row !== null) context.txn.delete(row);
  context.txn.set(openVswitch, 'ssl', null);
}

function number(text: string): number {
  if (!/^\s*[-+]?\d+$/.test(text)) throw new CommandError(`Invalid argument ${text}`);
  return Number(text);
}

function findDatapath(context: Context, name: string): Row {
  const datapath = context.view(context.openVswitch()).refMap('datapaths').get(name);
  if (datapath === undefined) throw new CommandError(`datapath: ${name} record not found`);
  return datapath;
}

/** `zone=5`; the word before the number is not looked at. */
function zoneNumber(text: string): number {
  return Number.parseInt(text.replace(/^[^0-9]*/, ''), 10) || 0;
}

function addZonePolicy(context: Context): void {
  const [datapathName, zoneArg, ...policies] = context.args;
  const { txn, idl } = context;
  const datapath = context.view(context.openVswitch()).refMap('datapaths').get(datapathName);
  if (datapath === undefined) throw new CommandError(`datapath ${datapathName} does not exist`);
  const zone = zoneNumber(zoneArg);
  if (context.view(datapath).refMap('ct_zones').has(zone)) {
    if (context.has('--may-exist')) return;
    throw new CommandError(`zone id ${zone} already exists`);
  }
  const timeouts = new Map<string, number>();
  for (const policy of policies) {
    const [name, seconds] = policy.split('=');
    if (seconds !== undefined) timeouts.set(name, Number.parseInt(seconds, 10) || 0);
  }
  const policy = findPolicy(context, timeouts) ?? txn.insert(idl.table('CT_Timeout_Policy'), { timeouts });
  const row = txn.insert(idl.table('CT_Zone'), { timeout_policy: policy });
  txn.add(datapath, 'ct_zones', new Map([[zone, row]]));
}

function findPolicy(context: Context, timeouts: ReadonlyMap<string, number>): Row | null {
  const wanted = [...timeouts].sort().join();
  const same = (row: Row) => [...context.view(row).map('timeouts')].sort().join() === wanted;
  return context.rows('CT_Timeout_Policy').find(same) ?? null;
}

function emergencyReset(context: Context): void {
  const { txn } = context;
  const openVswitch = context.openVswitch();
  txn.set(openVswitch, 'manager_options', null);
  txn.set(openVswitch, 'ssl', null);
  for (const bridge of context.rows('Bridge')) {
    for (const column of ['controller', 'fail_mode', 'mirrors', 'netflow', 'sflow', 'ipfix', 'flood_vlans']) {
      txn.set(bridge, column, null);
    }
    const hwaddr = context.view(bridge).map('other_config').get('hwaddr');
    txn.set(bridge, 'other_config', hwaddr === undefined ? null : { hwaddr });
  }
  for (const port of context.rows('Port')) txn.set(port, 'other_config', null);
  for (const iface of context.rows('Interface')) {
    txn.set(iface, 'ingress_policing_rate', 0);
    txn.set(iface, 'ingress_policing_burst', 0);
  }
  for (const table of ['Mirror', 'Controller', 'Manager', 'NetFlow', 'sFlow', 'IPFIX', 'SSL']) {
    for (const row of context.rows(table)) txn.delete(row);
  }
}
