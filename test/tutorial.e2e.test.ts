/**
 * `docs/tutorial.md` as a reader follows it: the commands of each section run in network and mount namespaces of their own,
 * beside a switch, and what the page shows must come out, in order. Times, addresses, numbers of journeys and rates are
 * as they come.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BIN, missing, notRoot, ROOT } from './support/sandbox.ts';

const skip = notRoot || missing('ip', 'ping', 'unshare');
const NETWORK = 'The network';
const TIMEOUT_MS = 60_000;

interface Block {
  readonly commands: string;
  /** Lines that are shown, without those that stand for lines left out. */
  expected: string[];
}

const sections = new Map<string, Block[]>();
for (const part of readFileSync(join(ROOT, 'docs/tutorial.md'), 'utf8').split(/^## /m).slice(1)) {
  const blocks: Block[] = [];
  for (const [, language, text] of part.matchAll(/^```(\w*)\n(.*?)^```$/gms)) {
    const lines = text.split('\n').filter((line) => line.trim() !== '' && line.trim() !== '…');
    const last = blocks.at(-1);
    if (language === 'sh') blocks.push({ commands: text, expected: [] });
    else if (last) last.expected = lines;
  }
  sections.set(part.slice(0, part.indexOf('\n')), blocks);
}

/** What no two runs have in common. */
function constant(line: string): string {
  return line
    .trim()
    .replace(/\b\d\d:\d\d:\d\d\.\d{6}\b/g, 'TIME')
    .replace(/\bjourney \d+/g, 'journey N')
    .replace(/\d+(\.\d+)? (ns|µs|ms|s)\b/g, 'D')
    .replace(/time \d+ms/g, 'time D')
    .replace(/\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, 'MAC')
    .replace(/\d+\.\d\/s +\d+/g, 'RATE')
    .replace(/pmd \d+/g, 'pmd N')
    .replace(/tp_src=\d+/g, 'tp_src=N')
    .replace(/ +/g, ' ');
}

const MARK = '@@@ block';

async function follow(blocks: readonly Block[]): Promise<string[][]> {
  const dir = mkdtempSync(join(tmpdir(), 'sb-tutorial-'));
  const script = [
    'mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns',
    `export PATH=${BIN}:$PATH OVS_RUNDIR=${dir} OVS_DBDIR=${dir} OVS_LOGDIR=${dir}`,
    'ip link set lo up; ip link set lo mtu 65536',
    'signalbox up > up.log 2>&1 &',
    'ovs-vsctl --retry --timeout=20 --no-wait list open_vswitch > /dev/null',
    ...blocks.map(({ commands }, i) => `echo '${MARK} ${i}'\n${commands.replaceAll('/tmp/bob', `${dir}/bob`)}`),
    // Switches stop in order, so that nothing of theirs stays behind.
    'ovs-appctl exit; [ -d bob ] && OVS_RUNDIR=$PWD/bob ovs-appctl exit; kill $(jobs -p) 2> /dev/null; true',
  ].join('\n');
  writeFileSync(join(dir, 'script'), script);
  try {
    const output = await new Promise<string>((resolve, reject) => {
      const args = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', 'script'];
      execFile('unshare', args, { cwd: dir, timeout: TIMEOUT_MS, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
        if (error) reject(new Error(`${error.message}\n${stdout}\n${stderr}`));
        else resolve(stdout);
      });
    });
    return output
      .split(new RegExp(`^${MARK} \\d+$`, 'm'))
      .slice(1)
      .map((text) => text.split('\n').filter((line) => line.trim() !== ''));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function assertShown(expected: readonly string[], actual: readonly string[]): void {
  const lines = actual.map(constant);
  let at = 0;
  for (const line of expected) {
    const found = lines.indexOf(constant(line), at);
    assert.ok(found >= 0, `the page shows\n${line}\nbut there was\n${actual.join('\n')}`);
    at = found + 1;
  }
}

test('the tutorial has its four mistakes', () => {
  assert.deepEqual(
    [...sections.keys()],
    [NETWORK, 'A wrong VLAN tag', 'A shadowed rule', 'Missing ARP', 'MTU through a tunnel'],
  );
});

// Each has its own world, and most of the time is pings that wait.
test('what the tutorial shows is what comes out', { skip, concurrency: true }, async (t) => {
  const all = [...sections].filter(([title]) => title !== NETWORK);
  await Promise.all(
    all.map(([title, blocks]) =>
      t.test(title, async () => {
        const before = title === 'MTU through a tunnel' ? [] : (sections.get(NETWORK) ?? []);
        const outputs = await follow([...before, ...blocks]);
        assert.equal(outputs.length, before.length + blocks.length);
        blocks.forEach((block, i) => {
          assertShown(block.expected, outputs[before.length + i]);
        });
      }),
    ),
  );
});
