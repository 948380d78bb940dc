/**
 * The ports of a bridge by OpenFlow number and by name, and the choice of numbers: the one asked for if it is free, else
 * the one the name had before, else the next that nobody uses.
 */
import { OFPP } from '../openflow/ports.ts';
import type { OfPort } from './ofport.ts';

export class PortTable {
  private readonly byNumber = new Map<number, OfPort>();
  private readonly byName = new Map<string, OfPort>();
  /** Numbers that names had, so that a port that comes back is the same port to controllers. */
  private readonly remembered = new Map<string, number>();
  private last = 0;

  get size(): number {
    return this.byNumber.size;
  }

  get(ofport: number): OfPort | undefined {
    return this.byNumber.get(ofport);
  }

  named(name: string): OfPort | undefined {
    return this.byName.get(name);
  }

  /** In the order of their numbers. */
  sorted(): OfPort[] {
    return [...this.byNumber.values()].sort((a, b) => a.ofport - b.ofport);
  }

  [Symbol.iterator](): IterableIterator<OfPort> {
    return this.byNumber.values();
  }

  /** Null when all numbers are taken. */
  choose(name: string, request: number | null): number | null {
    if (request !== null && this.isFree(request)) return request;
    const before = this.remembered.get(name);
    if (before !== undefined && this.isFree(before)) return before;
    const taken = new Set(this.remembered.values());
    // First a number that never meant another port, then any.
    for (const isAvoiding of [true, false]) {
      for (let i = 1; i < OFPP.MAX; i++) {
        const candidate = ((this.last + i - 1) % (OFPP.MAX - 1)) + 1;
        if (!this.isFree(candidate) || (isAvoiding && taken.has(candidate))) continue;
        this.last = candidate;
        return candidate;
      }
    }
    return null;
  }

  add(port: OfPort): void {
    const { ofport } = port;
    this.byNumber.set(ofport, port);
    this.byName.set(port.name, port);
    this.remembered.set(port.name, ofport);
  }

  remove(port: OfPort): void {
    this.byNumber.delete(port.ofport);
    this.byName.delete(port.name);
  }

  private isFree(ofport: number): boolean {
    const isValid = (ofport >= 1 && ofport < OFPP.MAX) || ofport === OFPP.LOCAL;
    return isValid && !this.byNumber.has(ofport);
  }
}
