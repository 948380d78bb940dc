/** The door to datapath flows and actions as text: see `dp-key-text.ts` and `dp-action-text.ts`. */
export { type DpActionsResult, formatDpAction, formatDpActions, parseDpActions } from './dp-action-text.ts';
export {
  type DpKeyOptions,
  type DpKeyResult,
  formatDpKey,
  formatDpPort,
  type PortNamer,
  parseDpKey,
} from './dp-key-text.ts';
