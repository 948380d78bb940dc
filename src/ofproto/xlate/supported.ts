/** Which OpenFlow actions translation knows. */
import type { Ofpact } from '../../openflow/actions/types.ts';
import { TRANSLATED } from './actions.ts';

/** The kind of the first action, at any depth, that cannot be translated; null when all can. */
export function unsupportedAction(actions: readonly Ofpact[]): Ofpact['kind'] | null {
  for (const action of actions) {
    if (action.kind === 'ct') {
      const nested = action.actions.find((a) => a.kind !== 'nat' && a.kind !== 'set_field');
      if (nested) return nested.kind;
    } else if (!TRANSLATED.has(action.kind)) {
      return action.kind;
    } else if (action.kind === 'clone' || action.kind === 'write_actions') {
      const nested = unsupportedAction(action.actions);
      if (nested) return nested;
    }
  }
  return null;
}
