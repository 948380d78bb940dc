/** The few pictures that stand for pages and things, in the text's colour. */
import type { JSX } from 'preact';

const PATHS: Readonly<Record<string, string>> = {
  topology: 'M12 4v5M12 9 6 15M12 9l6 6M12 2.500a1.500 1.500 0 1 0 .01 0M5 15h2.500v4H4v-4zM16.500 15H20v4h-3.500z',
  caches: 'M4 7l8-4 8 4-8 4zM4 12l8 4 8-4M4 17l8 4 8-4',
  flows: 'M4 5h16M4 10h16M4 15h10M4 20h7',
  trace: 'M6 4a2 2 0 1 0 .01 0M6 8v5a4 4 0 0 0 4 4h4M18 15a2 2 0 1 0 .01 0M14 6h6M14 9h4',
  journeys: 'M3 12h4l3-7 4 14 3-7h4',
  database: 'M4 6c0-4 16-4 16 0v12c0 4-16 4-16 0zM4 6c0 4 16 4 16 0M4 12c0 4 16 4 16 0',
  sun: 'M12 8a4 4 0 1 0 .01 0M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500 19 19M19 5l-1.500 1.500M6.500 17.500 5 19',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z',
  close: 'M6 6l12 12M18 6 6 18',
  play: 'M7 4l13 8-13 8z',
  stop: 'M6 6h12v12H6z',
  help: 'M9 9a3 3 0 1 1 4 2.800c-.7.3-1 .9-1 1.700v.5M12 17.500v.01',
  open: 'M9 5l7 7-7 7',
  back: 'M15 5l-7 7 7 7',
};

export function Icon({ name, size = 20 }: { readonly name: string; readonly size?: number }): JSX.Element {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
