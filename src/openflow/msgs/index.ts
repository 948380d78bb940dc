/** Every message codec there is. To add a message is to add it to its family's file. */
import type { Codec } from '../codec.ts';
import { basicCodecs } from './basic.ts';
import { niciraCodecs } from './nicira.ts';
import { portCodecs } from './port.ts';

export const CODECS: readonly Codec[] = [...basicCodecs, ...portCodecs, ...niciraCodecs];
