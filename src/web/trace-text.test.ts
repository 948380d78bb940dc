import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTrace, pathOf } from './trace-text.ts';

const TRACE = `Flow: icmp,in_port=1,nw_dst=10.0.0.2

bridge("br0")
-------------
 0. ip, priority 10
    resubmit(,1)
 1. icmp, priority 40, cookie 0x51
    ct(table=12)
     -> A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 12.

Final flow: unchanged
Megaflow: recirc_id=0,eth,icmp,in_port=1,nw_frag=no
Datapath actions: ct,recirc(0x1)
This flow is handled by the userspace slow path because it:
  - Sends "packet-in" messages to the OpenFlow controller.

===============================================================================
recirc(0x1) - resume conntrack with default ct_state=trk|new (use --ct-next to customize)
===============================================================================

Flow: recirc_id=0x1,eth,icmp,in_port=1

bridge("br0")
-------------
    thaw
        Resuming from table 12
12. udp
    NORMAL
     -> no learned MAC for destination, flooding

    bridge("br1")
    -------------
         0. No match.
            drop
     >> native tunnel routing failed

Final flow: unchanged
Megaflow: recirc_id=0x1
Datapath actions: drop
`;

test('a trace is chapters of bridges, rules, actions and remarks', () => {
  const [first, second, ...rest] = parseTrace(TRACE);
  assert.equal(rest.length, 0);
  assert.equal(first.flow, 'icmp,in_port=1,nw_dst=10.0.0.2');
  assert.deepEqual([first.final, first.actions], ['unchanged', 'ct,recirc(0x1)']);
  assert.deepEqual(
    first.lines.map((l) => [l.kind, l.depth]),
    [
      ['bridge', 0],
      ['rule', 0],
      ['action', 1],
      ['rule', 0],
      ['action', 1],
      ['note', 1],
    ],
  );
  assert.deepEqual(first.remarks.length, 2);
  assert.match(second.title, /^recirc\(0x1\) - resume/);
  assert.equal(second.actions, 'drop');
  assert.deepEqual(
    second.lines.map((l) => l.kind),
    ['bridge', 'action', 'action', 'rule', 'action', 'note', 'bridge', 'rule', 'action', 'warning'],
  );
});

test('the way names rules as dump-flows does', () => {
  assert.deepEqual(pathOf(parseTrace(TRACE)), [
    { bridge: 'br0', table: 0, priority: 10, match: 'ip' },
    { bridge: 'br0', table: 1, priority: 40, match: 'icmp' },
    { bridge: 'br0', table: 12, priority: 32768, match: 'udp' },
    { bridge: 'br1', table: 0, priority: 0, match: null },
  ]);
  const [any] = parseTrace('bridge("b")\n-----------\n 0. priority 0\n    drop\n');
  assert.deepEqual(pathOf([any]), [{ bridge: 'b', table: 0, priority: 0, match: '' }]);
});

test('text that is no trace gives no chapters, or plain lines', () => {
  assert.deepEqual(parseTrace(''), []);
  assert.equal(parseTrace('something else')[0].lines[0].kind, 'action');
});
