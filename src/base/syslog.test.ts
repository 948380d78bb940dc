import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { syslogTo } from './syslog.ts';
import { vlog, vlogParse } from './vlog.ts';

test('messages reach a syslog daemon with priority, time and host', { timeout: 5000 }, async () => {
  vlogParse('console:off');
  const server = createSocket('udp4');
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  assert.equal(syslogTo(`127.0.0.1:${server.address().port}`, 'prog'), null);
  const received = once(server, 'message');
  vlog('bridge').warn('look here');
  const [message] = await received;
  assert.match(
    String(message),
    /^<28>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ prog: ovs\|\d{5}\|bridge\|WARN\|look here$/,
  );
  server.close();
  assert.equal(syslogTo('a:b:c', 'prog'), 'a:b:c: bad syslog target');
});
