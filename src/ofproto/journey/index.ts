/**
 * The door to journeys for programs: `backer.journeys` is a `JourneyCollector`.
 *
 * ```ts
 * using session = backer.journeys.start({ filter: 'icmp', only: 'drops' }, (story) => console.log(storyText(story)));
 * using point = backer.journeys.breaks.set({ stages: ['tx'], filter: 'tcp,tp_dst=80' });
 * ```
 */
export { heldState, heldText } from './break-state.ts';
export {
  BREAK_STAGES,
  type BreakOptions,
  type Breakpoint,
  type BreakStage,
  type Breaks,
  type HeldPacket,
  type Release,
} from './breaks.ts';
export type { JourneyCollector } from './collector.ts';
export type { DropRow } from './drop-row.ts';
export type { HeldState } from './held.ts';
export { megaflowStory, replayOf } from './megaflow.ts';
export { JourneyError, type JourneyOptions, type JourneySession, ONLY, type Only } from './session.ts';
export type { MegaflowStory, PortName, Replay, Step, Story, TranslationStory } from './story.ts';
export { storyText } from './text.ts';
export { whyDrop } from './why-drop.ts';
