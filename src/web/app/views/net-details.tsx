/** What is known of one thing in the topology, beside the drawing. */
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Story } from '../../../ofproto/journey/story.ts';
import type { DropRow, NetBridge, NetData, NetInterface, NetPort, TopData } from '../../api.ts';
import { capture } from '../capture.ts';
import { bits, count } from '../format.ts';
import { Chart } from '../parts/chart.tsx';
import { samplesSoFar } from '../parts/history.ts';
import { Icon } from '../parts/icons.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { go, linkTo, setParams, useRoute } from '../route.ts';
import type { NetNode } from './net-layout.ts';
import { ratesOf } from './port-rates.ts';

interface Props {
  readonly node: NetNode;
  readonly net: NetData;
  readonly top: TopData | undefined;
  readonly patches: TopData['ports'] | undefined;
  readonly drops: readonly DropRow[];
  readonly close: () => void;
}

export function NodeDetails(props: Props): JSX.Element {
  const { node, close } = props;
  const within = useRoute().params.get('in');
  const ports = node.kind === 'panel' ? node.ports : node.kind === 'bridge' ? (node.bridge?.ports ?? []) : [];
  const inside = ports.find((p) => p.name === within) ?? null;
  const setInside = (one: NetPort | null): void => setParams({ in: one?.name ?? null });
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      if (event.key === 'Escape') close();
    };
    window.addEventListener('keydown', keys);
    return () => window.removeEventListener('keydown', keys);
  }, [close]);
  const port = inside ?? node.port;
  const title = inside?.name ?? node.title;
  const kind = inside ? 'port' : node.kind;
  return (
    <aside class="details panel" aria-label={`${kind} ${title}`}>
      <div class="details-head">
        {inside && (
          <button type="button" class="icon-button" aria-label="Back" onClick={() => setInside(null)}>
            <Icon name="back" />
          </button>
        )}
        <div>
          <span class="kind">{kind === 'panel' ? 'ports of ' + node.bridge?.name : kind}</span>
          <h2>{title}</h2>
        </div>
        <button type="button" class="icon-button" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </div>
      {kind === 'bridge' && node.bridge && <BridgeDetails {...props} bridge={node.bridge} open={setInside} />}
      {kind === 'port' && port && node.bridge && <PortDetails {...props} bridge={node.bridge} port={port} />}
      {kind === 'panel' && <PortList {...props} ports={node.ports} open={setInside} />}
      {kind === 'controller' && node.controller && (
        <Facts
          facts={{
            target: node.controller.target,
            connected: node.controller.isConnected ? 'yes' : 'no',
            role: node.controller.role,
            ...node.controller.status,
          }}
        />
      )}
      {kind === 'remote' && <RemoteDetails {...props} />}
    </aside>
  );
}

function Facts({
  facts,
}: {
  readonly facts: Readonly<Record<string, string | number | null | undefined>>;
}): JSX.Element {
  return (
    <dl class="facts">
      {Object.entries(facts)
        .filter(([, value]) => value !== null && value !== undefined && value !== '')
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function Drops({ rows }: { readonly rows: readonly DropRow[] }): JSX.Element | null {
  if (rows.length === 0) return null;
  return (
    <section>
      <h3>Drops</h3>
      <ul class="drops">
        {rows.map((row) => (
          <li key={`${row.reason}${row.text}${row.port}`} class={row.per_second > 0 ? 'is-now' : ''}>
            <b>{row.reason}</b>{' '}
            <span class="drop-rate">
              {row.per_second > 0 ? `${count(row.per_second)}/s` : `${count(row.packets)} in all`}
            </span>
            <p>
              {row.text}
              {row.port ? ` (from ${row.port})` : ''}
            </p>
            {row.journey && <RecentJourney story={row.journey} />}
          </li>
        ))}
      </ul>
    </section>
  );
}

function RecentJourney({ story }: { readonly story: Story }): JSX.Element {
  const open = (): void => {
    capture.add(story);
    go('journeys', { open: String(story.journey) });
  };
  return (
    <button type="button" class="link" onClick={open}>
      a recent one's journey
    </button>
  );
}

function BridgeDetails({
  bridge,
  top,
  patches,
  drops,
  open,
}: Props & { readonly bridge: NetBridge; readonly open: (port: NetPort) => void }): JSX.Element {
  return (
    <>
      <Facts
        facts={{
          datapath: bridge.datapathType,
          'datapath id': bridge.datapathId,
          'fail mode': bridge.failMode,
          controllers: bridge.controllers
            .map((c) => `${c.target} (${c.isConnected ? 'connected' : 'not connected'})`)
            .join(', '),
        }}
      />
      <p class="links">
        <a class="button" href={linkTo('flows', { bridge: bridge.name })}>
          Flow tables
        </a>
        <a class="button" href={linkTo('journeys', { bridge: bridge.name, start: '1' })}>
          Journeys
        </a>
        <a class="button" href={linkTo('database', { table: 'Bridge', row: bridge.uuid })}>
          Database
        </a>
      </p>
      <Drops rows={drops.filter((row) => row.bridge === bridge.name)} />
      <h3>Ports</h3>
      <PortList ports={bridge.ports} top={top} patches={patches} open={open} />
    </>
  );
}

function PortList({
  ports,
  top,
  patches,
  open,
}: Pick<Props, 'top' | 'patches'> & {
  readonly ports: readonly NetPort[];
  readonly open: (port: NetPort) => void;
}): JSX.Element {
  const [active, setActive] = useState(-1);
  return (
    <VirtualList
      class="port-list"
      label="ports"
      count={ports.length}
      rowHeight={34}
      active={active}
      onActive={setActive}
      onOpen={(i) => open(ports[i])}
      rowKey={(i) => ports[i].uuid}
      row={(i) => {
        const port = ports[i];
        const rates = port.interfaces.map((one) => ratesOf(one, top?.ports, patches));
        const sum = (k: 0 | 2): number => rates.reduce((n, r) => n + r[k], 0);
        const first = port.interfaces[0];
        return (
          <>
            <span class={`led is-${first?.error ? 'error' : first?.link}`} />
            <span class="grow">{port.name}</span>
            <span class="num is-rx">{sum(0) > 0 ? `↓ ${count(sum(0))}` : ''}</span>
            <span class="num is-tx">{sum(2) > 0 ? `↑ ${count(sum(2))}` : ''}</span>
          </>
        );
      }}
    />
  );
}

function PortDetails({
  bridge,
  port,
  top,
  patches,
  drops,
}: Props & { readonly bridge: NetBridge; readonly port: NetPort }): JSX.Element {
  const iface: NetInterface | undefined = port.interfaces[0];
  const rates = ratesOf(iface ?? null, top?.ports, patches);
  const samples = samplesSoFar().slice(-120);
  const series = (k: 0 | 2): number[] => samples.map((s) => ratesOf(iface ?? null, s.ports, undefined)[k]);
  return (
    <>
      {iface?.error && <p class="error">{iface.error}</p>}
      <div class="rates">
        <div>
          <b class="is-rx">↓ {count(rates[0])}</b>
          <span>packets/s in, {bits(rates[1])}</span>
        </div>
        <div>
          <b class="is-tx">↑ {count(rates[2])}</b>
          <span>packets/s out, {bits(rates[3])}</span>
        </div>
      </div>
      <p class="links">
        <a class="button" href={linkTo('journeys', { bridge: bridge.name, port: port.name, start: '1' })}>
          Journeys
        </a>
        <a class="button" href={linkTo('flows', { bridge: bridge.name, q: `in_port=${port.name}` })}>
          Its rules
        </a>
        {iface && (
          <a class="button" href={linkTo('database', { table: 'Interface', row: iface.uuid })}>
            Database
          </a>
        )}
      </p>
      {samples.length > 1 && iface?.type !== 'patch' && (
        <Chart
          label="Packets a second in and out"
          times={samples.map((s) => s.at)}
          series={[
            { label: 'in', color: '--rx', values: series(0) },
            { label: 'out', color: '--tx', values: series(2) },
          ]}
          height={130}
          unit=""
        />
      )}
      <Drops rows={drops.filter((row) => row.bridge === bridge.name && row.port === port.name)} />
      {port.interfaces.map((one) => (
        <Facts
          key={one.uuid}
          facts={{
            interface: port.interfaces.length > 1 ? one.name : '',
            type: one.type,
            'OpenFlow port': one.ofport,
            link: one.link,
            admin: one.admin,
            MAC: one.mac,
            MTU: one.mtu,
            speed: one.speed ? bits(one.speed / 8) : null,
            VLAN: port.tag ?? (port.trunks.length > 0 ? `trunk ${port.trunks.join(', ')}` : null),
            ...one.options,
          }}
        />
      ))}
    </>
  );
}

function RemoteDetails({ node, net }: Props): JSX.Element {
  const ip = node.id.slice(2);
  const ports = net.bridges.flatMap((b) =>
    b.ports.flatMap((p) => p.interfaces.filter((i) => i.options['remote_ip'] === ip).map((i) => ({ b, p, i }))),
  );
  return (
    <ul class="plain">
      {ports.map(({ b, p, i }) => (
        <li key={i.uuid}>
          <button type="button" class="link" onClick={() => setParams({ at: `p:${b.name}/${p.name}` })}>
            {i.name}
          </button>{' '}
          of {b.name}: {i.type}
          {i.options['key'] ? `, key ${i.options['key']}` : ''}
        </li>
      ))}
    </ul>
  );
}
