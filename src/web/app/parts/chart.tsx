/** uPlot in the page's colours: areas, stacked or not, of the last minutes. */
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { count } from '../format.ts';
import { useTheme } from '../theme.ts';

export interface ChartSeries {
  readonly label: string;
  /** A custom property of the style sheet. */
  readonly color: string;
  readonly values: readonly number[];
}

export interface ChartProps {
  readonly times: readonly number[];
  readonly series: readonly ChartSeries[];
  readonly stacked?: boolean;
  readonly height: number;
  readonly unit: string;
  readonly label: string;
}

const cssColor = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function dataOf({ times, series, stacked }: ChartProps): uPlot.AlignedData {
  const columns: number[][] = [];
  if (!stacked) return [[...times], ...series.map((s) => [...s.values])];
  // The first is drawn at the bottom; uPlot draws each as the sum up to it.
  const sum = new Array<number>(times.length).fill(0);
  for (const { values } of series) {
    for (let i = 0; i < times.length; i++) sum[i] += values[i];
    columns.push([...sum]);
  }
  return [[...times], ...columns];
}

export function Chart(props: ChartProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = useTheme();
  const names = props.series.map((s) => s.label).join();
  useLayoutEffect(() => {
    const el = box.current;
    if (!el) return;
    const { series, stacked, unit } = props;
    const axis = {
      stroke: cssColor('--muted'),
      grid: { stroke: cssColor('--line'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
    };
    const made = new uPlot(
      {
        width: el.clientWidth,
        height: props.height,
        padding: [8, 8, 0, 0],
        cursor: { y: false, points: { size: 5 } },
        legend: { show: false },
        scales: { y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.15)] } },
        axes: [
          {
            ...axis,
            size: 26,
            space: 90,
            values: (_u, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour12: false })),
          },
          { ...axis, size: 56, space: 34, values: (_u, ticks) => ticks.map((n) => (n === 0 ? `0 ${unit}` : count(n))) },
        ],
        series: [
          {},
          ...series.map(({ label, color }, i) => ({
            label,
            stroke: cssColor(color),
            width: stacked ? 1 : 1.75,
            points: { show: false },
            fill: `${cssColor(color)}${!stacked ? '22' : i === 0 ? 'b0' : '00'}`,
          })),
        ],
        // Between each sum and the one below it.
        bands: stacked
          ? series.map((s, i) => ({ series: [i + 1, i] as [number, number], fill: `${cssColor(s.color)}b0` })).slice(1)
          : [],
      },
      dataOf(props),
      el,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => {
      if (el.clientWidth > 0 && el.clientWidth !== made.width)
        made.setSize({ width: el.clientWidth, height: props.height });
    });
    watch.observe(el);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [theme, names, props.stacked, props.height, props.unit]);
  useEffect(() => plot.current?.setData(dataOf(props)));
  return <div ref={box} class="chart" role="img" aria-label={props.label} style={{ height: `${props.height}px` }} />;
}
