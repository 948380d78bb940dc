/** `bundle`: changes of flows and groups and packets to send, a line each, in one bundle. ovs-ofctl(8) */
import type { Names } from '../../flow/names.ts';
import { flowLines, parseFlowMod } from '../../openflow/flow-text.ts';
import { parseGroupMod } from '../../openflow/group-text.ts';
import type { OfMessage } from '../../openflow/messages.ts';
import { sendBundle } from './bundle.ts';
import type { Command } from './command.ts';
import { fatal, namesToAccept } from './context.ts';
import { readText } from './flows.ts';
import { parsePacketOut } from './misc.ts';

const ALL_PROTOCOLS = 127;

interface Line {
  readonly message: OfMessage;
  /** Protocols that can say it. */
  readonly usable: number;
}

function parseLine(text: string, names: Names | undefined): Line | { readonly error: string } {
  const [, type, rest] = /^(\S+)\s*(.*)$/s.exec(text) ?? ['', '', ''];
  if (type === 'flow') {
    const parsed = parseFlowMod(rest, null, { names });
    return parsed.ok ? { message: parsed.flow, usable: parsed.usable } : { error: parsed.error };
  }
  if (type === 'group') {
    const parsed = parseGroupMod(rest, null, names);
    return parsed.ok ? { message: parsed.group, usable: ALL_PROTOCOLS } : { error: parsed.error };
  }
  if (type === 'packet-out') return { message: parsePacketOut(rest, names), usable: ALL_PROTOCOLS };
  return { error: `Unsupported bundle message type: ${/^[^ ,]*/.exec(text)?.[0]}` };
}

async function bundle([target, path]: readonly string[]): Promise<void> {
  const names = await namesToAccept(target);
  const messages: OfMessage[] = [];
  let usable = ALL_PROTOCOLS;
  for (const [i, line] of readText(path).split('\n').entries()) {
    for (const text of flowLines(line)) {
      const parsed = parseLine(text, names);
      if ('error' in parsed) return fatal(`${path}:${i + 1}: ${parsed.error}`);
      messages.push(parsed.message);
      usable &= parsed.usable;
    }
  }
  await sendBundle(target, messages, usable);
}

export const BUNDLE_COMMANDS: readonly Command[] = [{ name: 'bundle', min: 2, max: 2, writes: true, run: bundle }];
