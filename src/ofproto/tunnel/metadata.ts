/** Which `tun_metadata` fields matches and actions speak of: a bridge takes only those its TLV table has. */
import type { Field } from '../../flow/field.ts';
import { OFS } from '../../flow/layout.ts';
import type { Match } from '../../flow/match.ts';
import type { Ofpact } from '../../openflow/actions/types.ts';

const N_FIELDS = 64;
const NAME = 'tun_metadata';

export const matchesTunMetadata = (match: Match, index: number): boolean =>
  match.mask.w[(OFS.tun_metadata >> 2) + index] !== 0;

/** The fields that a match looks at. */
export function matchedTunMetadata(match: Match): number[] {
  const first = OFS.tun_metadata >> 2;
  const w = match.mask.w;
  let any = 0;
  for (let i = first; i < first + N_FIELDS; i++) any |= w[i];
  const out: number[] = [];
  if (any !== 0) for (let i = 0; i < N_FIELDS; i++) if (matchesTunMetadata(match, i)) out.push(i);
  return out;
}

export const usesTunMetadata = (actions: readonly Ofpact[], index: number): boolean =>
  usedTunMetadata(actions).includes(index);

/** The fields that actions read or write, those of nested lists included. */
export function usedTunMetadata(actions: readonly Ofpact[]): number[] {
  const out: number[] = [];
  const see = (field: Field): void => {
    if (field.name.startsWith(NAME)) out.push(Number(field.name.slice(NAME.length)));
  };
  for (const a of actions) {
    switch (a.kind) {
      case 'set_field':
      case 'delete_field':
        see(a.field);
        break;
      case 'reg_move':
        see(a.src.field);
        see(a.dst.field);
        break;
      case 'stack_push':
      case 'stack_pop':
        see(a.subfield.field);
        break;
      case 'output_reg':
        see(a.src.field);
        break;
      case 'clone':
      case 'write_actions':
      case 'ct':
        out.push(...usedTunMetadata(a.actions));
        break;
    }
  }
  return out;
}
