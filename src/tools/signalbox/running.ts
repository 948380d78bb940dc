/** Database and switch in this process, which is what both `signalbox up` and `signalbox demo` run. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { streamPair } from '../../base/stream.ts';
import { lockFile } from '../../linux/file-lock.ts';
import { createDatabase } from '../../ovsdb/file.ts';
import type { Opener } from '../../ovsdb/idl.ts';
import type { JsonObject } from '../../ovsdb/json.ts';
import { setFileLocker } from '../../ovsdb/log.ts';
import { registerOvsdbMetrics } from '../../ovsdb/metrics.ts';
import { OvsdbServer } from '../../ovsdb/server.ts';
import { vswitchSchemaJson } from '../../ovsdb/vswitch-schema.ts';
import { registerSwitchCommands } from '../../vswitchd/commands.ts';
import type { DummyMode } from '../../vswitchd/datapaths.ts';
import { Switch } from '../../vswitchd/switch.ts';

export interface Running {
  readonly server: OvsdbServer;
  readonly self: Switch;
  /** Connects to the database without a socket. */
  readonly connect: Opener;
  readonly madeDatabase: boolean;
  stop(): Promise<void>;
}

/** Opens the database file, making it if there is none, and starts a switch on it. Throws `OvsdbError`. */
export function startInProcess(file: string, dummy: DummyMode): Running {
  setFileLocker(lockFile);
  const madeDatabase = !existsSync(file);
  if (madeDatabase) {
    mkdirSync(dirname(file), { recursive: true });
    createDatabase(file, [vswitchSchemaJson() as JsonObject]).close();
  }
  const server = new OvsdbServer();
  server.addDatabase(file);
  registerOvsdbMetrics(server);
  const connect: Opener = async () => {
    const [ours, theirs] = streamPair('in-process');
    server.attach(theirs);
    return ours;
  };
  const self = new Switch({ remote: connect, dummy });
  registerSwitchCommands(self);
  self.start();
  const stop = async () => {
    await self.stop();
    server.close();
  };
  return { server, self, connect, madeDatabase, stop };
}
