/** Stateful rules and address translation under real programs: our switch, real devices, pings, HTTP and UDP. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { test } from 'node:test';
import { Netns, uniqueName, type Veth, veth } from './support/netns.ts';
import { missing, notRoot, Sandbox, until } from './support/sandbox.ts';

const skip = notRoot || missing('ovs-vsctl', 'ovs-ofctl', 'ip', 'ping', 'python3', 'tcpdump');

/** Bytes of each download: some thousand segments. */
const DOWNLOAD = 3_000_000;

const SERVER = `
import http.server, socket, threading, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200); self.send_header('Content-Length', '${DOWNLOAD}'); self.end_headers()
        self.wfile.write(b'x' * ${DOWNLOAD})
    def log_message(self, *a):
        print(self.client_address[0], flush=True)
class S(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(('::', 5300))
def echo():
    while True:
        d, a = u.recvfrom(2000); u.sendto(d.upper(), a)
threading.Thread(target=echo, daemon=True).start()
s = S(('::', 8000), H)
print('ready', flush=True)
s.serve_forever()`;

const get = (url: string): string =>
  `import urllib.request; print(len(urllib.request.urlopen('${url}', timeout=4).read()))`;

const ask = (address: string, port: number): string => `
import socket
s = socket.socket(socket.AF_INET6 if ':' in '${address}' else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
s.connect(('${address}', ${port}))
try:
    s.send(b'hello'); print(s.recv(100).decode())
except ConnectionRefusedError:
    print('refused')
except TimeoutError:
    print('silence')`;

class Host {
  readonly ns: Netns;
  readonly port: Veth;
  readonly address: string;
  mac = '';
  private readonly children: ChildProcess[] = [];

  private constructor(ns: Netns, port: Veth, address: string) {
    this.ns = ns;
    this.port = port;
    this.address = address;
  }

  static async create(n: number): Promise<Host> {
    const ns = await Netns.create();
    const host = new Host(ns, await veth(ns, `10.92.0.${n}/24`), `10.92.0.${n}`);
    await ns.must('ip', 'addr', 'add', `fd92::${n}/64`, 'dev', 'eth0', 'nodad');
    host.mac = (await ns.must('cat', '/sys/class/net/eth0/address')).trim();
    return host;
  }

  /** A program in the background, once it has said `word`. */
  async start(command: readonly string[], word: RegExp): Promise<() => string> {
    const [program, ...args] = [...this.ns.prefix(), ...command];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.children.push(child);
    let text = '';
    child.stdout.on('data', (b: Buffer) => (text += b));
    child.stderr.on('data', (b: Buffer) => (text += b));
    await until(() => word.test(text), 8000, `${command[0]} says ${word}: ${text}`);
    return () => text;
  }

  async python(code: string): Promise<string> {
    const r = await this.ns.exec('timeout', '6', 'python3', '-c', code);
    return r.status === 0 ? r.stdout.trim() : `failed: ${r.stderr.trim().split('\n').at(-1)}`;
  }

  async pings(to: string): Promise<boolean> {
    return (await this.ns.exec('ping', '-c', '2', '-i', '0.05', '-W', '1', to)).status === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.children) child.kill('SIGKILL');
    await this.port[Symbol.asyncDispose]();
    await this.ns[Symbol.asyncDispose]();
  }
}

test('a firewall by connection state, and translation of source and destination', { skip }, async (t) => {
  await using sb = await Sandbox.create();
  await using a = await Host.create(1);
  await using b = await Host.create(2);
  await sb.createDb();
  await sb.startOurs('ovsdb-server');
  await sb.startOurs('ovs-vswitchd', ['--disable-system']);
  const bridge = uniqueName('sbc');
  const c = async (program: string, ...args: string[]): Promise<string> => {
    const r = await sb.c(program, ...args);
    assert.equal(r.status, 0, `${program} ${args.join(' ')}: ${r.stderr}`);
    return r.stdout.trim();
  };
  await c(
    'ovs-vsctl',
    '--timeout=15',
    // Each port has a thread of its own where there are two cores: both directions meet in one table.
    ...'set open_vswitch . other_config:pmd-cpu-mask=0x3 --'.split(' '),
    ...`add-br ${bridge} -- set bridge ${bridge} datapath_type=netdev fail-mode=secure`.split(' '),
    ...`-- add-port ${bridge} ${a.port.outer} -- set interface ${a.port.outer} ofport_request=1`.split(' '),
    ...`-- add-port ${bridge} ${b.port.outer} -- set interface ${b.port.outer} ofport_request=2`.split(' '),
  );
  const flows = async (lines: readonly string[]): Promise<void> => {
    await c('ovs-ofctl', 'del-flows', bridge);
    await c('ovs-appctl', 'dpctl/flush-conntrack');
    for (const line of [
      'arp,actions=NORMAL',
      'icmp6,icmp_type=135,actions=NORMAL',
      'icmp6,icmp_type=136,actions=NORMAL',
      ...lines,
    ])
      await c(
        'ovs-ofctl',
        'add-flow',
        bridge,
        `table=0,priority=100,${line}`.replace(/table=0,priority=100,(?=table)/, ''),
      );
  };
  const connections = (): Promise<string> => c('ovs-appctl', 'dpctl/dump-conntrack');
  const served = await b.start(['python3', '-c', SERVER], /ready/);
  const watched = await b.start(['tcpdump', '-lnnvvv', '-i', 'eth0', '-c', '3000', 'ip or ip6'], /listening/);

  await t.test('what one side begins is let through both ways, nothing else', async () => {
    await flows([
      'table=0,priority=10,ip,actions=ct(table=1)',
      'table=0,priority=10,ipv6,actions=ct(table=1)',
      'table=1,priority=10,ip,in_port=1,ct_state=+trk+new,actions=ct(commit,exec(set_field:0x2a->ct_mark)),output:2',
      'table=1,priority=10,ipv6,in_port=1,ct_state=+trk+new,actions=ct(commit,exec(set_field:0x2a->ct_mark)),output:2',
      'table=1,priority=10,in_port=1,ct_state=+trk+est,ct_mark=0x2a,actions=output:2',
      'table=1,priority=10,in_port=2,ct_state=+trk+est+rpl,ct_mark=0x2a,actions=output:1',
      'table=1,priority=10,in_port=2,ct_state=+trk+rel,actions=output:1',
    ]);
    assert.ok(await a.pings(b.address));
    assert.equal(await b.pings(a.address), false);
    assert.ok(await a.pings('fd92::2'));
    assert.equal(await a.python(get(`http://${b.address}:8000/`)), String(DOWNLOAD));
    assert.equal(await a.python(get('http://[fd92::2]:8000/')), String(DOWNLOAD));
    assert.equal(await a.python(ask(b.address, 5300)), 'HELLO');
    assert.equal(await a.python(ask('fd92::2', 5300)), 'HELLO');
    assert.equal(await a.python(ask(b.address, 9)), 'refused', 'the error is related');
    const text = await connections();
    assert.match(text, /^tcp,orig=\(src=10\.92\.0\.1,dst=10\.92\.0\.2,sport=\d+,dport=8000\).*mark=42,protoinfo/m);
    assert.match(text, /^udp,orig=\(src=fd92::1,dst=fd92::2,sport=\d+,dport=5300\)/m);
    assert.match(text, /^icmp,orig=\(src=10\.92\.0\.1,dst=10\.92\.0\.2,id=\d+,type=8,code=0\)/m);
  });

  await t.test('the source is hidden behind another address', async () => {
    await b.ns.must('ip', 'neigh', 'replace', '10.92.0.100', 'lladdr', a.mac, 'dev', 'eth0');
    await flows([
      'ip,in_port=1,actions=ct(commit,zone=7,nat(src=10.92.0.100:20000-20100)),output:2',
      'ip,in_port=2,actions=ct(table=1,zone=7,nat)',
      'table=1,ct_state=+trk+est,actions=output:1',
      'table=1,ct_state=+trk+rel,actions=output:1',
    ]);
    assert.equal(await a.python(get(`http://${b.address}:8000/`)), String(DOWNLOAD));
    assert.match(served(), /10\.92\.0\.100/);
    assert.equal(await a.python(ask(b.address, 5300)), 'HELLO');
    assert.equal(await a.python(ask(b.address, 9)), 'refused', 'the packet inside the error is translated back');
    assert.ok(await a.pings(b.address));
    assert.match(
      await connections(),
      /^tcp,.*reply=\(src=10\.92\.0\.2,dst=10\.92\.0\.100,sport=8000,dport=20\d\d\d\),zone=7/m,
    );
  });

  await t.test('the destination is a virtual one', async () => {
    await a.ns.must('ip', 'neigh', 'replace', '10.92.0.200', 'lladdr', b.mac, 'dev', 'eth0');
    await a.ns.must('ip', 'neigh', 'replace', 'fd92::200', 'lladdr', b.mac, 'dev', 'eth0');
    await flows([
      'tcp,in_port=1,nw_dst=10.92.0.200,tp_dst=80,actions=ct(commit,zone=8,nat(dst=10.92.0.2:8000)),output:2',
      'tcp6,in_port=1,ipv6_dst=fd92::200,tp_dst=80,actions=ct(commit,zone=8,nat(dst=[fd92::2]:8000)),output:2',
      'tcp,in_port=2,actions=ct(table=1,zone=8,nat)',
      'tcp6,in_port=2,actions=ct(table=1,zone=8,nat)',
      'table=1,ct_state=+trk+est+rpl,actions=output:1',
    ]);
    assert.equal(await a.python(get('http://10.92.0.200/')), String(DOWNLOAD));
    assert.equal(await a.python(get('http://[fd92::200]/')), String(DOWNLOAD));
  });

  const seen = watched();
  assert.ok((seen.match(/\(correct\)/g) ?? []).length > 50, 'checksums were looked at');
  // What b itself sends has its checksum completed by the device.
  const wrong = seen
    .split('\n')
    .filter(
      (line) => /incorrect|bad (udp|icmp) ?ck?sum|wrong icmp/.test(line) && !/^\s+(10\.92\.0\.2|fd92::2)\b/.test(line),
    );
  assert.deepEqual(wrong.slice(0, 3), []);
});
