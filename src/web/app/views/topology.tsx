/** Bridges, ports, patches, tunnels and controllers as a drawing that lays itself out, with the traffic moving along its lines. */
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { DropRow, NetData, PortRates, TopData } from '../../api.ts';
import { count } from '../format.ts';
import { useTopic } from '../live.ts';
import { setParams, useRoute } from '../route.ts';
import { NodeDetails } from './net-details.tsx';
import { edgePoint, layOut, type NetLayout, type NetLink, type NetNode } from './net-layout.ts';
import { ratesOf } from './port-rates.ts';

const isStill = matchMedia('(prefers-reduced-motion: reduce)');

export function TopologyView(): JSX.Element {
  const net = useTopic<NetData>('net');
  const top = useTopic<TopData>('top');
  const patches = useTopic<TopData['ports']>('patches');
  const drops = useTopic<DropRow[]>('drops');
  const chosen = useRoute().params.get('at');
  const box = useRef<HTMLDivElement>(null);
  const [aspect, setAspect] = useState(0);
  const before = useRef<NetLayout | null>(null);
  useLayoutEffect(() => {
    const el = box.current;
    if (!el) return;
    const look = (): void => setAspect(Math.round((el.clientWidth / Math.max(1, el.clientHeight)) * 4) / 4);
    look();
    const watch = new ResizeObserver(look);
    watch.observe(el);
    return () => watch.disconnect();
  }, []);
  const layout = useMemo(() => {
    if (!net || aspect === 0) return null;
    return (before.current = layOut(net, aspect, before.current));
  }, [net, aspect]);
  const choose = (id: string | null, port: string | null = null): void => setParams({ at: id, in: port });
  const dropsAt = useMemo(() => dropsByPort(drops ?? []), [drops]);
  const node = layout?.nodes.find((n) => n.id === chosen) ?? null;
  return (
    <div class="topology">
      <div class="canvas" ref={box}>
        {layout && layout.nodes.length === 0 && (
          <p class="empty">
            No bridges yet: <code>ovs-vsctl add-br br0</code>
          </p>
        )}
        {layout && layout.nodes.length > 0 && (
          <svg
            class="net"
            viewBox={`${layout.box.x} ${layout.box.y} ${layout.box.w} ${layout.box.h}`}
            style={{ maxWidth: `${layout.box.w * 1.25}px`, maxHeight: `${layout.box.h * 1.25}px` }}
            aria-label="The net"
          >
            {layout.links.map((link) => (
              <LinkLine
                key={link.id}
                link={link}
                rates={ratesOf(link.iface, top?.ports, patches)}
                drops={link.kind === 'port' ? (dropsAt.get(dropKey(link)) ?? 0) : 0}
              />
            ))}
            {layout.nodes.map((n) => (
              <NodeBox
                key={n.id}
                node={n}
                top={top}
                patches={patches}
                drops={dropsAt}
                isChosen={n.id === chosen}
                choose={choose}
              />
            ))}
          </svg>
        )}
        <Legend />
      </div>
      {node && net && (
        <NodeDetails node={node} net={net} top={top} patches={patches} drops={drops ?? []} close={() => choose(null)} />
      )}
    </div>
  );
}

const dropKey = (link: NetLink): string => `${link.from.bridge?.name}/${link.iface?.name}`;

function dropsByPort(rows: readonly DropRow[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { bridge, port, per_second } of rows) {
    if (per_second <= 0) continue;
    for (const key of [`${bridge}/${port}`, `${bridge}`]) sums.set(key, (sums.get(key) ?? 0) + per_second);
  }
  return sums;
}

function Legend(): JSX.Element {
  return (
    <div class="legend" aria-hidden="true">
      <span>
        <i class="dot is-rx" /> into the bridge
      </span>
      <span>
        <i class="dot is-tx" /> out of it
      </span>
      <span>
        <i class="dot is-drop" /> dropped
      </span>
    </div>
  );
}

function LinkLine({
  link,
  rates,
  drops,
}: {
  readonly link: NetLink;
  readonly rates: PortRates;
  readonly drops: number;
}): JSX.Element {
  const a = edgePoint(link.from, link.to);
  const b = edgePoint(link.to, link.from);
  const length = Math.hypot(b.x - a.x, b.y - a.y) || 1;
  // Each direction keeps to its side.
  const side = { x: (-(b.y - a.y) / length) * 3.5, y: ((b.x - a.x) / length) * 3.5 };
  const line = (sign: number): string =>
    `M${a.x + side.x * sign} ${a.y + side.y * sign}L${b.x + side.x * sign} ${b.y + side.y * sign}`;
  const [rx, , tx] = rates;
  const stop = { x: a.x + (b.x - a.x) * 0.62, y: a.y + (b.y - a.y) * 0.62 };
  const isOff = link.kind === 'control' ? link.from.controller?.isConnected !== true : link.iface?.link === 'down';
  return (
    <g class={`link is-${link.kind}${isOff ? ' is-off' : ''}`}>
      <path class="line" d={`M${a.x} ${a.y}L${b.x} ${b.y}`} />
      <Moving path={line(1)} rate={Math.max(0, rx - drops)} kind="is-rx" backwards={false} />
      <Moving path={line(-1)} rate={tx} kind="is-tx" backwards />
      <Moving path={`M${a.x} ${a.y}L${stop.x} ${stop.y}`} rate={drops} kind="is-drop" backwards={false} />
      {drops > 0 && <path class="cross" d={`M${stop.x - 4} ${stop.y - 4}l8 8m0 -8l-8 8`} />}
      {link.kind === 'patch' && (
        <g transform={`translate(${(a.x + b.x) / 2} ${(a.y + b.y) / 2})`}>
          <rect class="tag" x="-22" y="-10" width="44" height="20" rx="10" />
          <text class="tag-text" text-anchor="middle" y="4">
            patch
          </text>
        </g>
      )}
    </g>
  );
}

/** Dots along a path: the more packets, the faster and thicker, on a logarithmic scale. */
function Moving({
  path,
  rate,
  kind,
  backwards,
}: {
  readonly path: string;
  readonly rate: number;
  readonly kind: string;
  readonly backwards: boolean;
}): JSX.Element {
  const line = useRef<SVGPathElement>(null);
  const motion = useRef<Animation | null>(null);
  const isMoving = rate >= 0.05;
  useEffect(() => {
    const el = line.current;
    if (!el || !isMoving || isStill.matches) return;
    const way = backwards ? [0, GAP] : [GAP, 0];
    const made = el.animate([{ strokeDashoffset: way[0] }, { strokeDashoffset: way[1] }], {
      duration: 1000,
      iterations: Number.POSITIVE_INFINITY,
    });
    motion.current = made;
    return () => made.cancel();
  }, [isMoving, backwards]);
  const speed = 0.5 + Math.log10(1 + rate) * 0.75;
  useEffect(() => motion.current?.updatePlaybackRate(Math.round(speed * 4) / 4), [speed, isMoving]);
  return (
    <path
      ref={line}
      class={`moving ${kind}${isMoving ? '' : ' is-idle'}`}
      d={path}
      stroke-dasharray={`0 ${GAP}`}
      stroke-width={Math.min(6.5, 3.6 + Math.log10(1 + rate) * 0.5)}
    />
  );
}
const GAP = 22;

interface NodeProps {
  readonly node: NetNode;
  readonly top: TopData | undefined;
  readonly patches: TopData['ports'] | undefined;
  readonly drops: ReadonlyMap<string, number>;
  readonly isChosen: boolean;
  readonly choose: (id: string | null, port?: string | null) => void;
}

function NodeBox(props: NodeProps): JSX.Element {
  const { node, isChosen, choose } = props;
  const open = (): void => choose(isChosen ? null : node.id);
  return (
    // biome-ignore lint/a11y/useSemanticElements: there is no <button> in SVG
    <g
      class={`node is-${node.kind}${isChosen ? ' is-chosen' : ''} ${stateClass(node)}`}
      style={{ transform: `translate(${node.x - node.w / 2}px, ${node.y - node.h / 2}px)` }}
      tabIndex={0}
      role="button"
      aria-label={`${node.kind} ${node.title}`}
      aria-pressed={isChosen}
      onClick={(event) => {
        // A square of a panel is a port.
        const square = (event.target as Element).getAttribute('data-port');
        if (square === null) open();
        else choose(node.id, square);
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        open();
      }}
    >
      <rect
        class="shape"
        width={node.w}
        height={node.h}
        rx={node.kind === 'bridge' ? 14 : node.kind === 'remote' ? node.h / 2 : 10}
      />
      {node.kind === 'panel' ? <Panel {...props} /> : <Face {...props} />}
    </g>
  );
}

function stateClass(node: NetNode): string {
  if (node.kind === 'controller') return node.controller?.isConnected ? 'is-up' : 'is-down';
  const iface = node.port?.interfaces[0];
  if (!iface) return '';
  if (iface.error !== '') return 'is-error';
  return iface.link === 'up' ? 'is-up' : iface.link === 'down' ? 'is-down' : '';
}

function Face({ node, top, patches, drops }: NodeProps): JSX.Element {
  const middle = node.w / 2;
  if (node.kind === 'bridge') {
    const lost = drops.get(node.title) ?? 0;
    return (
      <>
        <text class="name" x={middle} y={lost > 0 ? 24 : 26} text-anchor="middle">
          {node.title}
        </text>
        <text class={`sub${lost > 0 ? ' is-bad' : ''}`} x={middle} y={43} text-anchor="middle">
          {lost > 0 ? `drops ${count(lost)}/s` : `${node.bridge?.ports.length} ports`}
        </text>
      </>
    );
  }
  if (node.kind === 'remote' || node.kind === 'controller') {
    const sub =
      node.kind === 'remote'
        ? 'tunnel end'
        : node.controller?.isConnected
          ? 'connected'
          : (node.controller?.status['state'] ?? 'not connected').toLowerCase();
    return (
      <>
        {node.kind === 'controller' && <circle class="led" cx={14} cy={15} r={4} />}
        <text
          class="name"
          x={node.kind === 'controller' ? 24 : middle}
          y={19}
          text-anchor={node.kind === 'controller' ? 'start' : 'middle'}
        >
          {node.title}
        </text>
        <text
          class="sub"
          x={node.kind === 'controller' ? 24 : middle}
          y={33}
          text-anchor={node.kind === 'controller' ? 'start' : 'middle'}
        >
          {sub}
        </text>
      </>
    );
  }
  const rates = (node.port?.interfaces ?? []).map((i) => ratesOf(i, top?.ports, patches));
  const [rx, tx] = [rates.reduce((n, r) => n + r[0], 0), rates.reduce((n, r) => n + r[2], 0)];
  const iface = node.port?.interfaces[0];
  const tag = node.port?.tag;
  return (
    <>
      <circle class="led" cx={14} cy={15} r={4} />
      <text class="name" x={24} y={19}>
        {node.title}
      </text>
      {iface?.error ? (
        <text class="sub is-bad" x={24} y={33}>
          error
        </text>
      ) : (
        <text class="sub" x={24} y={33}>
          {rx > 0 || tx > 0
            ? `↓${count(rx)} ↑${count(tx)}`
            : iface && iface.type !== 'system'
              ? iface.type
              : iface?.link === 'down'
                ? 'down'
                : 'idle'}
          {tag !== null && tag !== undefined ? ` · vlan ${tag}` : ''}
        </text>
      )}
    </>
  );
}

/** Many ports: a small square each, the brighter the busier. */
function Panel({ node, top, patches, drops }: NodeProps): JSX.Element {
  const columns = Math.round((node.w - 18) / 11);
  const busy = node.ports.filter((p) =>
    p.interfaces.some((i) => ratesOf(i, top?.ports, patches)[0] + ratesOf(i, top?.ports, patches)[2] > 0),
  ).length;
  return (
    <>
      <text class="name" x={10} y={19}>
        {node.title}
      </text>
      <text class="sub" x={node.w - 10} y={19} text-anchor="end">
        {busy} busy
      </text>
      {node.ports.map((port, i) => {
        const rate = port.interfaces.reduce(
          (n, one) => n + ratesOf(one, top?.ports, patches)[0] + ratesOf(one, top?.ports, patches)[2],
          0,
        );
        const isBad = (drops.get(`${node.bridge?.name}/${port.name}`) ?? 0) > 0;
        const level = isBad ? 'bad' : rate <= 0 ? 0 : Math.min(4, 1 + Math.floor(Math.log10(1 + rate)));
        return (
          <rect
            key={port.uuid}
            data-port={port.name}
            class={`cell is-${level}`}
            x={9 + (i % columns) * 11}
            y={29 + Math.floor(i / columns) * 11}
            width={9}
            height={9}
            rx={2}
          />
        );
      })}
    </>
  );
}
