/** The dashboard in a real browser, with a real switch behind it that forwards real packets between namespaces. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import type { Story } from '../src/ofproto/journey/story.ts';
import { writePcap } from '../src/packet/pcap.ts';
import { Browser, builtPages } from './support/browser.ts';
import { Netns, uniqueName, type Veth, veth } from './support/netns.ts';
import { BIN, type Daemon, missing, notRoot, Sandbox, until } from './support/sandbox.ts';

const skip = notRoot || missing('ip', 'ping', 'chromium');
const WAIT = { timeout: 15_000 };

interface Host {
  readonly ns: Netns;
  readonly port: Veth;
  readonly address: string;
}

describe('dashboard', { skip }, () => {
  const hosts: Host[] = [];
  const bridge = uniqueName('sbd');
  const running: ChildProcess[] = [];
  let sb: Sandbox;
  let vswitchd: Daemon;
  let browser: Browser;
  let page: Page;
  let url: string;
  let pages: string;

  const ours = async (program: string, ...args: string[]): Promise<string> => {
    const r = await sb.ours(program, ...args);
    assert.equal(r.status, 0, `${program} ${args.join(' ')}: ${r.stderr}`);
    return r.stdout;
  };
  /** Goes on until the tests are over. */
  const pinging = (from: Host, to: string, interval: string): void => {
    const [command, ...args] = [...from.ns.prefix(), 'ping', '-i', interval, to];
    running.push(spawn(command, args, { stdio: 'ignore' }));
  };
  const dashboard = async (...args: string[]): Promise<string> => {
    const child = spawn(join(BIN, 'signalbox'), ['dashboard', '--port=0', `--pages=${pages}`, ...args], {
      env: { ...process.env, ...sb.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    running.push(child);
    let said = '';
    child.stdout.on('data', (bytes: Buffer) => (said += bytes));
    const found = await until(() => /http:\S+/.exec(said) ?? child.exitCode !== null, 15_000, 'the dashboard is up');
    assert.ok(found !== true, `it ended with status ${child.exitCode}`);
    return found[0];
  };
  const open = async (hash: string): Promise<void> => {
    await page.goto('about:blank');
    await page.goto(`${url}${hash}`);
  };
  const text = (selector: string): Promise<string> => page.locator(selector).first().innerText(WAIT);

  before(async () => {
    pages = await builtPages();
    sb = await Sandbox.create();
    await sb.createDb();
    await sb.startOurs('ovsdb-server');
    vswitchd = await sb.startOurs('ovs-vswitchd', ['--disable-system']);
    for (let i = 1; i <= 2; i++) {
      const ns = await Netns.create();
      const address = `10.93.0.${i}`;
      hosts.push({ ns, address, port: await veth(ns, `${address}/24`) });
    }
    const ports = hosts.map((h) => `-- add-port ${bridge} ${h.port.outer}`).join(' ');
    const line = `add-br ${bridge} -- set bridge ${bridge} datapath_type=netdev fail_mode=secure ${ports}`;
    await ours('ovs-vsctl', '--timeout=15', ...line.split(' '));
    for (const flow of [
      'table=0,priority=10,arp,actions=NORMAL',
      'table=0,priority=5,ip,actions=resubmit(,1)',
      'table=1,priority=9,icmp,nw_dst=10.93.0.9,cookie=0xbad,actions=drop',
      'table=1,priority=1,ip,actions=dec_ttl,NORMAL',
    ])
      await ours('ovs-ofctl', 'add-flow', bridge, flow);
    await hosts[0].ns.exec(
      'ip',
      'neigh',
      'add',
      '10.93.0.9',
      'lladdr',
      '02:00:00:00:00:09',
      'dev',
      hosts[0].port.inner,
    );
    pinging(hosts[0], hosts[1].address, '0.1');
    pinging(hosts[0], '10.93.0.9', '0.2');
    [url, browser] = await Promise.all([dashboard('--allow-changes'), Browser.start()]);
    page = browser.page;
  });

  after(async () => {
    for (const child of running) child.kill('SIGTERM');
    await browser?.[Symbol.asyncDispose]();
    await sb?.[Symbol.asyncDispose]();
    for (const host of hosts) {
      await host.port[Symbol.asyncDispose]();
      await host.ns[Symbol.asyncDispose]();
    }
  });

  test('the topology draws bridge and ports, traffic moves, drops are red, details open', async () => {
    const began = performance.now();
    await open('#/topology');
    await page.locator('.node.is-bridge').waitFor(WAIT);
    const loaded = performance.now() - began;
    assert.ok(loaded < 5000, `it takes ${loaded} ms on a busy machine, far below a second on a quiet one`);
    const [a, b] = hosts;
    const port = page.locator(`[aria-label="port ${a.port.outer}"]`);
    await until(async () => /↓\d/.test((await port.textContent()) ?? ''), 15_000);
    await page.locator(`[aria-label="port ${b.port.outer}"]`).waitFor(WAIT);
    // Dots run along the lines of both directions, and some of a's end in a cross.
    await until(() => page.evaluate<boolean>('document.getAnimations().length >= 4'), 15_000, 'traffic moves');
    await page.locator('.link .cross').first().waitFor(WAIT);
    assert.match((await page.locator('.node.is-bridge').textContent()) ?? '', /drops \d/);
    await port.click();
    const details = page.locator('aside.details');
    await details.waitFor(WAIT);
    assert.match(await details.innerText(), /drop-rule[\s\S]*cookie=0xbad/);
    // A chart of its traffic, once there are two points to draw a line between.
    await details.locator('canvas').waitFor(WAIT);
    const reason = details.locator('.drops li', { hasText: 'cookie=0xbad' });
    await reason.getByText("a recent one's journey").click();
    await page.locator('.story .drop-line', { hasText: 'cookie=0xbad' }).first().waitFor(WAIT);
    await page.goBack();
    await details.waitFor(WAIT);
    await page.keyboard.press('Escape');
    await details.waitFor({ state: 'detached' });
  });

  test('the caches show who decided, and subtables open', async () => {
    await open('#/caches');
    await until(async () => /\d+/.test(await text('.stage .stage-rate')), 15_000);
    await until(async () => (await page.locator('.stage b').allInnerTexts()).some((t) => /[1-9]\d* %/.test(t)), 15_000);
    assert.equal(await page.locator('.chart canvas').count(), 1);
    const subtable = page.locator('.subtables li button').first();
    await subtable.waitFor(WAIT);
    assert.match(await subtable.innerText(), /in_port/);
    await subtable.click();
    await page.locator('.megaflows .row').first().waitFor(WAIT);
  });

  test('flow tables: rates, search in match syntax, hit in the last minute, news', async () => {
    await open(`#/flows?bridge=${bridge}`);
    const rows = page.locator('.rules .row:not(.is-head)');
    await until(async () => (await rows.count()) === 4, 15_000, 'all rules');
    const hot = page.locator('.rules .row.is-hot', { hasText: 'dec_ttl' });
    await hot.waitFor(WAIT);
    assert.match(await hot.locator('.c-rate').innerText(), /^\d/);
    await page.keyboard.press('/');
    await page.keyboard.type('icmp,nw_dst=10.93.0.9');
    await until(async () => (await rows.count()) === 1, 15_000, 'the search');
    assert.match(await rows.innerText(), /drop/);
    await page.locator('select[aria-label="How the search chooses"]').selectOption('hits');
    // A packet of that kind may meet all but the rule for ARP.
    await until(async () => (await rows.count()) === 3, 15_000, 'rules it may hit');
    await page.locator('input[type=search]').fill('nw_dst=nonsense');
    await page.locator('.flows-panel .error').waitFor(WAIT);
    await page.locator('input[type=search]').fill('');
    await page.locator('select[aria-label="How the search chooses"]').selectOption('says');
    await until(async () => (await rows.count()) === 4, 15_000, 'all rules again');
    await Promise.all([
      page.locator('.rules .row.is-new', { hasText: 'udp' }).waitFor(WAIT),
      ours('ovs-ofctl', 'add-flow', bridge, 'table=7,priority=3,udp,actions=drop'),
    ]);
    // The rule that a stronger one hides is found, and shown.
    await ours('ovs-ofctl', 'add-flow', bridge, 'table=1,priority=7,icmp,nw_dst=10.93.0.9,actions=NORMAL');
    await page.getByRole('button', { name: 'Lint' }).click();
    const finding = page.locator('.lint li', { hasText: 'shadowed' });
    await finding.waitFor(WAIT);
    await finding.locator('.link').first().click();
    await page.locator('.rules .row.is-active', { hasText: '10.93.0.9' }).waitFor(WAIT);
    assert.equal(await text('.rules .row.is-active .c-priority'), '7');
    await page.getByRole('button', { name: 'Close lint' }).click();
    await ours('ovs-ofctl', '--strict', 'del-flows', bridge, 'table=1,priority=7,icmp,nw_dst=10.93.0.9');
    await page.getByText('hit in the last minute').click();
    await until(
      async () => (await rows.count()) >= 3 && !(await page.locator('.rules').innerText()).includes('udp'),
      15_000,
    );
  });

  test('a trace is a picture, and its way is drawn over the tables', async () => {
    await open(`#/trace?bridge=${bridge}&port=${hosts[0].port.outer}`);
    await page.locator('input[name=nw_dst]').fill('10.93.0.9');
    await page.locator('button[type=submit]:enabled').waitFor(WAIT);
    await page.keyboard.press('Enter');
    await page.locator('.outcome.is-drop').waitFor(WAIT);
    assert.equal(await text('.trace-result .verdict'), 'dropped');
    assert.deepEqual(await page.locator('.way.is-rule .table-no').allInnerTexts(), ['0', '1']);
    await page.getByText('Show in the flow tables').click();
    await page.locator('.path-line path').waitFor(WAIT);
    assert.deepEqual(await page.locator('.row.is-on-path .c-path').allInnerTexts(), ['1', '2']);
    // The same packet as bytes in a capture.
    const packet = await capturedPing();
    await open(`#/trace?bridge=${bridge}&port=${hosts[0].port.outer}&way=pcap`);
    await page.locator('input[type=file]').setInputFiles({
      name: 'one.pcap',
      mimeType: 'application/vnd.tcpdump.pcap',
      buffer: Buffer.from(writePcap([packet])),
    });
    const captured = page.locator('.captured .row');
    await captured.waitFor(WAIT);
    assert.match(await captured.innerText(), new RegExp(`ICMP 10.93.0.1 → ${hosts[1].address}`));
    await captured.click();
    await page.locator('.outcome').first().waitFor(WAIT);
    assert.equal(await text('.trace-result .verdict'), 'forwarded');
    await page.locator('select').nth(1).selectOption(hosts[1].port.outer);
    await page.getByRole('tab', { name: 'Fields' }).click();
    await page.locator('input[name=nw_src]').fill('no address');
    await page.keyboard.press('Enter');
    await page.locator('.trace-result .error').waitFor(WAIT);
  });

  /** A ping as a reader of the dashboard's journeys gets it: JSON lines, as `docs/schema/journey.json` says. */
  async function capturedPing(): Promise<Uint8Array> {
    const response = await fetch(`${url}api/journeys?count=1&filter=icmp,nw_dst=${hosts[1].address}`);
    assert.equal(response.status, 200);
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    assert.equal(lines.length, 1);
    const story = JSON.parse(lines[0]) as Story;
    assert.equal(story.in_port.name, hosts[0].port.outer);
    return Buffer.from(story.packet, 'hex');
  }

  test('journeys arrive, one is stepped through by keys, headers stand side by side', async () => {
    await open('#/journeys');
    await page.locator('input[name=filter]').fill(`icmp,nw_dst=${hosts[1].address}`);
    await page.keyboard.press('Enter');
    const rows = page.locator('.stories .row');
    await until(async () => (await rows.count()) >= 3, 15_000, 'stories');
    assert.match(await rows.first().innerText(), new RegExp(`ICMP 10.93.0.1 → ${hosts[1].address}`));
    await page.getByRole('button', { name: 'Stop' }).click();
    await rows.nth(1).click();
    await page.locator('.story').waitFor(WAIT);
    // On to the action that counts the TTL down.
    const changed = page.locator('.fields-table tr.is-changed', { hasText: 'TTL' });
    for (let i = 0; i < 8 && (await changed.count()) === 0; i++) await page.keyboard.press('ArrowRight');
    assert.deepEqual(await changed.locator('td').allInnerTexts(), ['64', '63']);
    await page.getByText('In the flow tables').click();
    await page.locator('.path-line path').waitFor(WAIT);
    assert.deepEqual(await page.locator('.row.is-on-path .c-path').allInnerTexts(), ['1', '2']);
    await open('#/journeys?filter=nonsense%3D1&start=1');
    await page.locator('.capture .error').waitFor(WAIT);
  });

  test('a packet waits at a breakpoint until a button lets it go', async () => {
    const [a, b] = hosts;
    await open('#/journeys?way=break');
    await page.locator('input[name=break-filter]').fill(`icmp,nw_src=${b.address}`);
    await page.getByRole('button', { name: 'Set', exact: true }).click();
    await page.locator('.held').waitFor(WAIT);
    assert.match(await text('.held h2'), /waits before rx/);
    await page.locator('.held input[name=nw_ttl]').fill('7');
    await page.keyboard.press('Enter');
    await until(async () => /nw_ttl=7\b|ttl=7\b/.test(await text('.held')), 15_000, 'the edit');
    const before = Number((await text('.held h2')).replace(/\D+/g, ''));
    await page.getByRole('button', { name: 'Continue' }).click();
    await until(async () => Number((await text('.held h2')).replace(/\D+/g, '')) !== before, 15_000, 'the next one');
    await page.getByRole('button', { name: /Delete breakpoint/ }).click();
    await page.locator('.held').waitFor({ state: 'detached', ...WAIT });
    assert.equal((await ours('ovs-appctl', 'journey/break-list')).trim(), 'no breakpoints');
    assert.equal((await a.ns.exec('ping', '-c', '1', '-W', '5', b.address)).status, 0, 'pings are answered again');
  });

  test('the database: references are followed, changes come by themselves', async () => {
    await open('#/database?table=Bridge');
    const cell = page.locator('.row-details .refs a', { hasText: hosts[0].port.outer });
    await cell.click(WAIT);
    await until(async () => (await text('.row-details > p')).startsWith('Port '), 15_000);
    await page.locator('.row-details .refs a', { hasText: hosts[0].port.outer }).click();
    await until(async () => (await text('.row-details > p')).startsWith('Interface '), 15_000);
    await Promise.all([
      page.locator('.cells .is-fresh', { hasText: 'looked=at' }).waitFor(WAIT),
      ours('ovs-vsctl', 'set', 'interface', hosts[0].port.outer, 'external_ids:looked=at'),
    ]);
    await page.getByRole('link', { name: 'Changes' }).click();
    await ours('ovs-vsctl', 'set', 'interface', hosts[0].port.outer, 'external_ids:looked=again');
    await page.locator('.change-list ins', { hasText: 'looked=again' }).waitFor(WAIT);
  });

  test('ten thousand rules are a list like any other', async () => {
    const many = uniqueName('sbm');
    await ours(
      'ovs-vsctl',
      '--timeout=15',
      'add-br',
      many,
      '--',
      'set',
      'bridge',
      many,
      'datapath_type=netdev',
      'fail_mode=secure',
    );
    const lines = Array.from(
      { length: 10_000 },
      (_, i) => `table=${i % 4},priority=${i % 100},ip,nw_dst=10.${i >> 8}.${i & 255}.0/24,actions=drop\n`,
    );
    const added = await sb.runOurs('ovs-ofctl', ['add-flows', many, '-'], { input: lines.join('') });
    assert.equal(added.status, 0, added.stderr);
    await open(`#/flows?bridge=${many}`);
    await page.locator('.tools .count', { hasText: '10.0k of 10.0k' }).waitFor(WAIT);
    const elements = () => page.evaluate<number>(`document.querySelectorAll('*').length`);
    assert.ok((await elements()) < 2000, `${await elements()} elements`);
    await page.locator('.rules').focus();
    await page.keyboard.press('End');
    await page.locator('.rules .row.is-active', { hasText: 'nw_dst' }).waitFor(WAIT);
    assert.match(await text('.rules .row.is-active .c-priority'), /^3$/, 'the last of table 3');
    assert.ok((await elements()) < 2000);
    await page.locator('input[type=search]').fill('table=2,nw_dst=10.7.0.0/16');
    await until(async () => (await text('.tools .count')).startsWith('64 of'), 15_000, 'every fourth of 256');
    await ours('ovs-vsctl', '--timeout=15', 'del-br', many);
  });

  test('works by keyboard, in the dark, and on a phone', async () => {
    await open('#/topology');
    await page.locator('.node.is-bridge').waitFor(WAIT);
    await page.keyboard.press('2');
    await page.locator('.stages').waitFor(WAIT);
    await page.keyboard.press('?');
    await page.getByRole('dialog').waitFor(WAIT);
    await page.keyboard.press('Escape');
    const background = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    const light = await background();
    await page.emulateMedia({ colorScheme: 'dark' });
    await until(async () => (await background()) !== light, 5000, 'dark as the system says');
    await page.keyboard.press('t');
    await until(async () => (await background()) === light, 5000, 'light as the user says');
    await page.keyboard.press('t');
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize({ width: 375, height: 700 });
    for (const name of ['topology', 'caches', `flows?bridge=${bridge}`, 'trace', 'journeys', 'database']) {
      await open(`#/${name}`);
      await page.locator('main > *').waitFor(WAIT);
      for (const element of ['document.documentElement', 'document.querySelector("main")']) {
        const width = await page.evaluate<number>(`${element}.scrollWidth`);
        assert.ok(width <= 375, `${name}: ${element} is ${width} wide`);
      }
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  test('says plainly when the switch is gone, and goes on when it is back', async () => {
    await open('#/topology');
    await page.locator('.light.is-up').waitFor(WAIT);
    await vswitchd.kill('SIGTERM');
    await page.locator('.trouble', { hasText: 'The switch is gone' }).waitFor(WAIT);
    assert.equal(await text('.light'), 'gone');
    assert.equal(await page.locator('.node.is-bridge').count(), 1, 'what was known stays');
    vswitchd = await sb.startOurs('ovs-vswitchd', ['--disable-system']);
    await page.locator('.trouble').waitFor({ state: 'detached', ...WAIT });
    await page.locator('.light.is-up').waitFor(WAIT);
  });

  test('opened to others it asks for its token, which the address brings along', async () => {
    const locked = await dashboard('--token=a-long-enough-token');
    assert.match(locked, /#token=a-long-enough-token$/);
    const bare = locked.replace(/#.*/, '');
    assert.equal((await fetch(`${bare}api/live?topic=status`)).status, 401);
    await page.goto('about:blank');
    await page.goto(bare);
    await page.locator('input[name=token]').fill('wrong');
    await page.keyboard.press('Enter');
    await page.locator('.token-form .error').waitFor(WAIT);
    await page.goto('about:blank');
    await page.goto(locked);
    await page.locator('.node.is-bridge').waitFor(WAIT);
    assert.doesNotMatch(page.url(), /token/, 'and it is taken out of the address');
  });

  test('the browser had nothing to complain of', () => {
    assert.deepEqual(browser.complaints, []);
  });
});
