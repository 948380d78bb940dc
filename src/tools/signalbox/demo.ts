/**
 * `signalbox demo`: two hosts in network namespaces, a bridge between them, real pings across it, and what the switch then knows.
 * Everything it makes hangs on this process and its two children, so it is gone however this ends.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from '../../base/commands.ts';
import { ovsFatal } from '../../base/fatal.ts';
import { workerUrl } from '../../base/worker-url.ts';
import { getLink, setLink } from '../../linux/link.ts';
import { createVeth, deleteLink } from '../../linux/namespace.ts';
import { runVsctl } from '../vsctl/program.ts';
import type { HostReply, HostRequest } from './host-worker.ts';
import { type Running, startInProcess } from './running.ts';

const PROGRAM = 'signalbox';
const PINGS = 5;

interface Host {
  readonly name: string;
  readonly address: string;
  readonly port: string;
  readonly child: ChildProcess;
}

export async function demo(): Promise<void> {
  if (process.getuid?.() !== 0) {
    ovsFatal(PROGRAM, 'demo needs root: it makes network namespaces, veth pairs and a bridge');
  }
  const dir = mkdtempSync(join(tmpdir(), 'signalbox-demo-'));
  for (const name of ['OVS_RUNDIR', 'OVS_DBDIR', 'OVS_LOGDIR']) process.env[name] = dir;
  const hosts: Host[] = [];
  let running: Running | null = null;
  let cleaning: Promise<void> | null = null;
  const cleanUp = async () => {
    await running?.stop();
    for (const host of hosts) {
      deleteLink(host.port);
      host.child.disconnect();
    }
    rmSync(dir, { recursive: true, force: true });
  };
  const end = (status: number) => {
    cleaning ??= cleanUp().catch((error: unknown) => fail('cleaning up', error));
    void cleaning.then(() => process.exit(status));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(130));
  try {
    const id = process.pid.toString(36);
    running = startInProcess(join(dir, 'conf.db'), 'none');
    hosts.push(await startHost('alice', '10.0.0.1', `sb${id}a`), await startHost('bob', '10.0.0.2', `sb${id}b`));
    await show(running, hosts, `sb${id}`);
    end(0);
  } catch (error) {
    fail('demo', error);
    end(1);
  }
}

function fail(what: string, error: unknown): void {
  process.stderr.write(`${PROGRAM}: ${what}: ${error instanceof Error ? error.message : String(error)}\n`);
}

async function startHost(name: string, address: string, port: string): Promise<Host> {
  const child = fork(fileURLToPath(workerUrl('tools/signalbox/host-worker')), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await reply(child);
  createVeth(port, { name: 'eth0', pid: child.pid ?? 0 });
  const link = getLink(port);
  if (link !== null) setLink(link.ifindex, { up: true });
  await ask(child, { do: 'configure', device: 'eth0', address });
  console.log(`host ${name}: ${address} on eth0, in a network namespace of its own; the other end is ${port}`);
  return { name, address, port, child };
}

function ask(child: ChildProcess, request: HostRequest): Promise<number | null> {
  const answer = reply(child);
  child.send(request);
  return answer;
}

function reply(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('message', (message: HostReply) => {
      if (message.ok) resolve(message.ms);
      else reject(new Error(message.error));
    });
    child.once('exit', () => reject(new Error('a host ended early')));
  });
}

async function show(running: Running, hosts: readonly Host[], bridge: string): Promise<void> {
  const command = [
    `add-br ${bridge}`,
    `set bridge ${bridge} datapath_type=netdev`,
    ...hosts.map((host) => `add-port ${bridge} ${host.port}`),
  ].join(' -- ');
  console.log(`\n$ ovs-vsctl ${command}`);
  process.stdout.write(await runVsctl(running.connect, command.split(' ')));

  const [alice, bob] = hosts;
  let answered = 0;
  for (const [from, to] of [
    [alice, bob],
    [bob, alice],
  ]) {
    console.log(`\n${from.name} pings ${to.address}`);
    for (let sequence = 1; sequence <= PINGS; sequence++) {
      const ms = await ask(from.child, { do: 'ping', address: to.address, sequence });
      if (ms !== null) answered++;
      console.log(ms === null ? `  seq=${sequence} no answer` : `  seq=${sequence} time=${ms.toFixed(3)} ms`);
    }
  }

  await section('Ports', 'dpif/show');
  await section('OpenFlow table', 'bridge/dump-flows', bridge);
  await section('MAC addresses learned', 'fdb/show', bridge);
  await section('Megaflows', 'dpctl/dump-flows');
  await section('Hits of each cache', 'dpif-netdev/pmd-stats-show');
  const listing = '--columns=name,ofport,link_state,status list interface';
  console.log(`\n$ ovs-vsctl ${listing}`);
  process.stdout.write(await runVsctl(running.connect, listing.split(' ')));
  if (answered < 2 * PINGS - 2) throw new Error(`only ${answered} of ${2 * PINGS} pings were answered`);
  console.log(`\n${answered} of ${2 * PINGS} pings were answered. Everything made here is removed now.`);
}

async function section(title: string, command: string, ...args: string[]): Promise<void> {
  console.log(`\n${title} ($ ovs-appctl ${[command, ...args].join(' ')})`);
  const text = await runCommand(command, args, { format: 'text' });
  process.stdout.write(text.replace(/^(?=.)/gm, '  ').replace(/\n?$/, '\n'));
}
