/** `/metrics` on loopback, for Prometheus. */
import { createServer } from 'node:http';
import { runCommand } from '../../base/commands.ts';

/** Resolves with the address, or rejects with the error's text. Other paths and methods are refused. */
export function serveMetrics(port: number): Promise<string> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0];
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(path === '/metrics' ? 405 : 404).end();
      return;
    }
    runCommand('metrics/show', [], { format: 'text' }).then(
      (text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text),
      (error: Error) => response.writeHead(503).end(`${error.message}\n`),
    );
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`metrics: ${error.message}`)));
    server.listen(port, '127.0.0.1', () => {
      server.unref();
      resolve(`http://127.0.0.1:${(server.address() as { port: number }).port}/metrics`);
    });
  });
}
