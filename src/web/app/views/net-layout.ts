/**
 * Lays the net out: bridges, their ports, what tunnels and patches lead to, controllers. The force simulation runs to its end at
 * once, from where everything stood before, so the drawing does not dance; only what is new moves the rest aside.
 */
import { forceLink, forceManyBody, forceSimulation, forceX, forceY, type SimulationNodeDatum } from 'd3-force';
import type { NetBridge, NetController, NetData, NetInterface, NetPort } from '../../api.ts';

/** A bridge with more ports than that shows them as one panel of small squares. */
export const MANY_PORTS = 24;
const TICKS = 260;

export type NodeKind = 'bridge' | 'port' | 'panel' | 'remote' | 'controller';

export interface NetNode extends SimulationNodeDatum {
  readonly id: string;
  readonly kind: NodeKind;
  readonly title: string;
  readonly w: number;
  readonly h: number;
  readonly bridge: NetBridge | null;
  readonly port: NetPort | null;
  readonly controller: NetController | null;
  /** For a panel. */
  readonly ports: readonly NetPort[];
  x: number;
  y: number;
}

export interface NetLink {
  readonly id: string;
  readonly from: NetNode;
  readonly to: NetNode;
  /** Whose traffic flows along it: from `from` to `to` is what the interface receives. */
  readonly iface: NetInterface | null;
  readonly kind: 'port' | 'patch' | 'tunnel' | 'control' | 'panel';
}

export interface NetLayout {
  readonly nodes: readonly NetNode[];
  readonly links: readonly NetLink[];
  readonly box: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

const TUNNELS = new Set(['vxlan', 'geneve', 'gre', 'ip6gre', 'erspan', 'gtpu', 'stt', 'lisp', 'bareudp']);
export const isTunnel = (i: NetInterface): boolean => TUNNELS.has(i.type);

const ruler = document.createElement('canvas').getContext('2d');

/** How wide a node's title is drawn; `style/topology.css` has the same font. */
function textWidth(text: string, size = 12.5): number {
  if (ruler === null) return text.length * size * 0.65;
  ruler.font = `620 ${size}px ${getComputedStyle(document.body).fontFamily}`;
  return Math.ceil(ruler.measureText(text).width);
}

export function layOut(net: NetData, aspect: number, before: NetLayout | null): NetLayout {
  const old = new Map((before?.nodes ?? []).map((n) => [n.id, n]));
  const nodes: NetNode[] = [];
  const links: NetLink[] = [];
  const byId = new Map<string, NetNode>();
  const add = (
    part: Partial<NetNode> & Pick<NetNode, 'id' | 'kind' | 'title' | 'w' | 'h'>,
    near: { readonly x: number; readonly y: number },
    angle: number,
    far = 150,
  ): NetNode => {
    const was = old.get(part.id);
    const node: NetNode = {
      bridge: null,
      port: null,
      controller: null,
      ports: [],
      ...part,
      x: was?.x ?? near.x + Math.cos(angle) * far,
      y: was?.y ?? near.y + Math.sin(angle) * far,
    };
    nodes.push(node);
    byId.set(node.id, node);
    return node;
  };

  net.bridges.forEach((bridge, i) => {
    // In a row along the longer side of the window.
    const along = (i - (net.bridges.length - 1) / 2) * 340;
    const across = (i % 2) * 30;
    const at = aspect >= 1 ? { x: along, y: across } : { x: across, y: along };
    add(
      {
        id: `b:${bridge.name}`,
        kind: 'bridge',
        title: bridge.name,
        w: Math.max(132, textWidth(bridge.name, 15) + 48),
        h: 56,
        bridge,
      },
      at,
      0,
      0,
    );
  });
  for (const bridge of net.bridges) addPorts(bridge);
  for (const bridge of net.bridges) addControllers(bridge);

  function addPorts(bridge: NetBridge): void {
    const hub = byId.get(`b:${bridge.name}`) as NetNode;
    const ordinary = bridge.ports.filter((p) => !p.interfaces.some((i) => i.type === 'patch'));
    const isMany = ordinary.length > MANY_PORTS;
    const alone = isMany
      ? ordinary.filter((p) => p.name === bridge.name || p.interfaces.some(isTunnel)).slice(0, MANY_PORTS)
      : ordinary;
    if (isMany) {
      const rest = ordinary.filter((p) => !alone.includes(p));
      const columns = Math.min(40, Math.ceil(Math.sqrt(rest.length * 1.9)));
      const rows = Math.ceil(rest.length / columns);
      const panel = add(
        {
          id: `m:${bridge.name}`,
          kind: 'panel',
          title: `${rest.length} ports`,
          w: columns * 11 + 18,
          h: rows * 11 + 38,
          bridge,
          ports: rest,
        },
        hub,
        Math.PI / 2,
      );
      links.push({ id: `l:${panel.id}`, from: panel, to: hub, iface: null, kind: 'panel' });
    }
    alone.forEach((port, i) => {
      const angle = (i / Math.max(1, alone.length)) * 2 * Math.PI - Math.PI / 2;
      const node = add(
        {
          id: `p:${bridge.name}/${port.name}`,
          kind: 'port',
          title: port.name,
          w: Math.max(84, textWidth(port.name) + 34),
          h: 42,
          bridge,
          port,
        },
        hub,
        angle,
      );
      const iface = port.interfaces[0] ?? null;
      links.push({ id: `l:${node.id}`, from: node, to: hub, iface, kind: 'port' });
      for (const one of port.interfaces.filter(isTunnel)) {
        const to = one.options['remote_ip'] ?? '?';
        const id = `r:${to}`;
        const remote =
          byId.get(id) ??
          add(
            { id, kind: 'remote', title: to === 'flow' ? 'chosen by flows' : to, w: textWidth(to) + 56, h: 40 },
            node,
            angle,
          );
        links.push({ id: `t:${one.name}`, from: remote, to: node, iface: one, kind: 'tunnel' });
      }
    });
    for (const port of bridge.ports) {
      for (const iface of port.interfaces) {
        if (iface.type !== 'patch') continue;
        const peer = iface.options['peer'];
        const other = net.bridges.find((b) => b.ports.some((p) => p.interfaces.some((i) => i.name === peer)));
        // One line for both ends.
        if (!other || (peer ?? '') < iface.name) continue;
        links.push({
          id: `x:${iface.name}`,
          from: byId.get(`b:${other.name}`) as NetNode,
          to: hub,
          iface,
          kind: 'patch',
        });
      }
    }
  }

  function addControllers(bridge: NetBridge): void {
    bridge.controllers.forEach((controller) => {
      const id = `c:${controller.target}`;
      const hub = byId.get(`b:${bridge.name}`) as NetNode;
      const node =
        byId.get(id) ??
        add(
          {
            id,
            kind: 'controller',
            title: controller.target,
            w: textWidth(controller.target) + 34,
            h: 42,
            controller,
            bridge,
          },
          hub,
          -Math.PI / 2,
        );
      links.push({ id: `k:${bridge.name}/${controller.target}`, from: node, to: hub, iface: null, kind: 'control' });
    });
  }

  settle(nodes, links, aspect);
  const pad = 24;
  const left = Math.min(0, ...nodes.map((n) => n.x - n.w / 2)) - pad;
  const right = Math.max(0, ...nodes.map((n) => n.x + n.w / 2)) + pad;
  const top = Math.min(0, ...nodes.map((n) => n.y - n.h / 2)) - pad;
  const bottom = Math.max(0, ...nodes.map((n) => n.y + n.h / 2)) + pad;
  return { nodes, links, box: { x: left, y: top, w: right - left, h: bottom - top } };
}

const DISTANCE: Readonly<Record<NetLink['kind'], number>> = {
  port: 150,
  patch: 300,
  tunnel: 120,
  control: 150,
  panel: 210,
};

function settle(nodes: NetNode[], links: NetLink[], aspect: number): void {
  const wide = Math.min(2.4, Math.max(0.45, aspect));
  const simulation = forceSimulation(nodes)
    .force(
      'charge',
      forceManyBody<NetNode>()
        .strength((n) => (n.kind === 'bridge' ? -1500 : -420))
        .distanceMax(900),
    )
    .force(
      'link',
      forceLink<NetNode, { source: NetNode; target: NetNode; kind: NetLink['kind'] }>(
        links.map((l) => ({ source: l.from, target: l.to, kind: l.kind })),
      )
        .distance((l) => DISTANCE[l.kind] + (l.source.kind === 'panel' ? l.source.h / 2 : 0))
        .strength((l) => (l.kind === 'patch' ? 0.5 : 0.7)),
    )
    // A wide window pulls up and down together, a tall one left and right.
    .force('x', forceX<NetNode>(0).strength(0.05 / wide))
    .force('y', forceY<NetNode>(0).strength(0.05 * wide))
    .force('apart', () => separate(nodes))
    .force('clear', () => clearLines(nodes, links))
    .stop();
  simulation.tick(TICKS);
  for (let i = 0; i < 40; i++) {
    if (i < 20) clearLines(nodes, links);
    separate(nodes);
  }
}

/** Rectangles that overlap push each other away along the shorter way. */
function separate(nodes: readonly NetNode[]): void {
  const gap = 18;
  for (let i = 0; i < nodes.length; i++) {
    const a = nodes[i];
    for (let j = i + 1; j < nodes.length; j++) {
      const b = nodes[j];
      const dx = b.x - a.x;
      const dy = b.y - a.y;
      const overX = (a.w + b.w) / 2 + gap - Math.abs(dx);
      const overY = (a.h + b.h) / 2 + gap - Math.abs(dy);
      if (overX <= 0 || overY <= 0) continue;
      if (overX < overY) {
        const push = ((dx < 0 ? -1 : 1) * overX) / 2;
        a.x -= push;
        b.x += push;
      } else {
        const push = ((dy < 0 ? -1 : 1) * overY) / 2;
        a.y -= push;
        b.y += push;
      }
    }
  }
}

/** Nothing stands upon a line between two others. */
function clearLines(nodes: readonly NetNode[], links: readonly NetLink[]): void {
  if (nodes.length > 120) return;
  for (const { from, to } of links) {
    const dx = to.x - from.x;
    const dy = to.y - from.y;
    const length = Math.hypot(dx, dy) || 1;
    for (const node of nodes) {
      if (node === from || node === to) continue;
      const along = ((node.x - from.x) * dx + (node.y - from.y) * dy) / (length * length);
      if (along <= 0 || along >= 1) continue;
      const off = ((node.x - from.x) * dy - (node.y - from.y) * dx) / length;
      // How far the rectangle reaches across the line.
      const reach = (node.w / 2) * Math.abs(dy / length) + (node.h / 2) * Math.abs(dx / length) + 14;
      if (Math.abs(off) >= reach) continue;
      const push = (reach - Math.abs(off)) * 0.25 * (off < 0 ? -1 : 1);
      node.x += (dy / length) * push;
      node.y -= (dx / length) * push;
    }
  }
}

/** Where the line from a node's middle towards a point leaves its rectangle. */
export function edgePoint(
  node: NetNode,
  towards: { readonly x: number; readonly y: number },
): { x: number; y: number } {
  const dx = towards.x - node.x;
  const dy = towards.y - node.y;
  if (dx === 0 && dy === 0) return { x: node.x, y: node.y };
  const scale = Math.min(
    dx === 0 ? Number.POSITIVE_INFINITY : node.w / 2 / Math.abs(dx),
    dy === 0 ? Number.POSITIVE_INFINITY : node.h / 2 / Math.abs(dy),
  );
  return { x: node.x + dx * scale, y: node.y + dy * scale };
}
