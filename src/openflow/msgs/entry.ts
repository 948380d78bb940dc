/** Lists whose elements start with their length. */
import type { Reader } from '../bytes.ts';
import type { OfErrorName } from '../errors.ts';

/** A reader over one entry of a list whose elements start with their length. */
export function entry(r: Reader, least: number, error: OfErrorName = 'OFPBRC_BAD_LEN'): Reader {
  const at = r.pos;
  const length = r.u16();
  if (length < least || length > r.end - at) r.fail(error);
  r.pos = at;
  return r.sub(length).skip(2);
}
