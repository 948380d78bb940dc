/** `-O`: the versions of OpenFlow that a program may speak. */
import { ovsFatal } from '../base/fatal.ts';

/** `OpenFlow10,OpenFlow13` or `1.0 1.3` as a set: bit n is wire version n. */
export function parseVersions(program: string, text: string): number {
  let versions = 0;
  for (const word of text.split(/[,\s]+/).filter((w) => w !== '')) {
    const m = /^OpenFlow1([0-5])$/i.exec(word) ?? /^1\.([0-5])$/.exec(word);
    if (m === null) return ovsFatal(program, `Unknown OpenFlow version: "${word}"`);
    versions |= 1 << (Number(m[1]) + 1);
  }
  return versions;
}
