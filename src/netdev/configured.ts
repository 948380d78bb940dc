/** What is only kept for a device until its packet halves ask: policing, `other_config`, and who wants to hear of changes. */
import type { Policing } from './netdev.ts';

const NO_POLICING: Policing = { kbitsRate: 0, kbitsBurst: 0, kpktsRate: 0, kpktsBurst: 0 };

function sameMap(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

export abstract class ConfiguredNetdev {
  readonly name: string;
  policing: Policing = NO_POLICING;
  otherConfig: ReadonlyMap<string, string> = new Map();
  private readonly listeners = new Set<() => void>();

  constructor(name: string) {
    this.name = name;
  }

  setPolicing(policing: Policing): void {
    if (JSON.stringify(policing) === JSON.stringify(this.policing)) return;
    this.policing = policing;
    this.changed();
  }

  setOtherConfig(config: ReadonlyMap<string, string>): void {
    if (sameMap(config, this.otherConfig)) return;
    this.otherConfig = config;
    this.changed();
  }

  onChange(listener: () => void): Disposable {
    this.listeners.add(listener);
    return { [Symbol.dispose]: () => void this.listeners.delete(listener) };
  }

  protected changed(): void {
    for (const listener of [...this.listeners]) listener();
  }

  protected forgetListeners(): void {
    this.listeners.clear();
  }
}
