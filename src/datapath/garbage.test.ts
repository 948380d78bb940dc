/** The packet loop must make no garbage: the heap after millions of packets is the heap before. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

// In a process of its own, so that nothing but the loop runs between the two looks.
const PROGRAM = `
const { garbageRun } = await import(${JSON.stringify(new URL('./garbage-run.ts', import.meta.url).href)});
console.log(JSON.stringify(garbageRun()));
`;

it('makes no garbage: hits of each cache, megaflows of many masks, actions that change packets, connection tracking', async () => {
  const args = ['--expose-gc', '--input-type=module', '-e', PROGRAM];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  });
  const results = JSON.parse(stdout) as Record<string, { packets: number; bytes: number }>;
  for (const [name, { packets, bytes }] of Object.entries(results)) {
    assert.ok(packets >= 300_000);
    // The measurement itself leaves some; one object for each burst of 32 would be 10 000 times its size.
    assert.ok(bytes < packets / 100, `${name}: ${bytes} bytes of heap for ${packets} packets`);
  }
});
