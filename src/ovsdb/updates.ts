/** Updates of a view, put into the bytes of a notification once for all clients that gave their monitor the same name. */
import { ZERO_UUID } from './atom.ts';
import type { MonitorVersion } from './monitor.ts';

export class Updates {
  /** Text of `<table-updates>`, of one commit each. */
  private readonly texts: readonly string[];
  private readonly made = new Map<string, Uint8Array>();

  constructor(texts: readonly string[]) {
    this.texts = texts;
  }

  /** `id` is the JSON text of the monitor's name. */
  bytes(version: MonitorVersion, id: string): Uint8Array {
    const key = `${version}${id}`;
    let bytes = this.made.get(key);
    if (bytes === undefined) {
      const method = version === 1 ? 'update' : `update${version}`;
      const txnId = version === 3 ? `"${ZERO_UUID}",` : '';
      const start = `{"id":null,"method":"${method}","params":[${id},${txnId}`;
      bytes = Buffer.from(this.texts.map((text) => `${start}${text}]}`).join(''));
      this.made.set(key, bytes);
    }
    return bytes;
  }
}
