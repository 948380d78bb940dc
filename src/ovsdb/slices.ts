/**
 * Long work in slices, between which the event loop serves everybody else. Whoever makes text for such work makes it in pieces that
 * are small beside a slice.
 */

/** Characters of a piece, about. */
export const PIECE_LENGTH = 64 * 1024;

const PIECE_PARTS = 500;

/** After so long the others have their turn. */
const SLICE_MS = 5;

export class Slicer {
  private started = performance.now();

  /** Resolves at once within a slice, else when others have had their turn. */
  async turn(): Promise<void> {
    if (performance.now() - this.started < SLICE_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.started = performance.now();
  }
}

/** Joins texts to pieces of some length. */
export function* pieces(texts: Iterable<string>): Generator<string> {
  let parts: string[] = [];
  let length = 0;
  for (const text of texts) {
    parts.push(text);
    length += text.length;
    // Many empty texts are work as well.
    if (length < PIECE_LENGTH && parts.length < PIECE_PARTS) continue;
    yield parts.join('');
    parts = [];
    length = 0;
  }
  if (parts.length > 0) yield parts.join('');
}

/**
 * The pieces as bytes, made slice by slice. They lie in shared memory, which the engine's collector does not count: a hundred megabytes that
 * come and go would have it look through the whole database again and again.
 */
export async function slicedBytes(texts: Iterable<string>): Promise<Uint8Array[]> {
  const slicer = new Slicer();
  const bytes: Uint8Array[] = [];
  for (const piece of pieces(texts)) {
    const size = Buffer.byteLength(piece);
    const part = Buffer.from(new SharedArrayBuffer(size));
    part.write(piece);
    bytes.push(part);
    await slicer.turn();
  }
  return bytes;
}
