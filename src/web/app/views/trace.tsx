/** A packet that is built from fields, or given as bytes or in a capture, and what `ofproto/trace` says becomes of it. */
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { readPcap } from '../../../packet/pcap.ts';
import type { NetData } from '../../api.ts';
import { summary } from '../../headers.ts';
import { parseTrace, pathOf, type TraceChapter } from '../../trace-text.ts';
import { errorOf, post, useTopic } from '../live.ts';
import { TracePicture } from '../parts/trace-picture.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { keepPath } from '../path.ts';
import { go, setParams, useRoute } from '../route.ts';

interface FieldSpec {
  readonly name: string;
  readonly label: string;
  readonly hint: string;
}

const f = (name: string, label: string, hint = ''): FieldSpec => ({ name, label, hint });
const ETH = [
  f('dl_src', 'Ethernet source', '00:00:00:00:00:01'),
  f('dl_dst', 'Ethernet destination', '00:00:00:00:00:02'),
  f('dl_vlan', 'VLAN', 'none'),
];
const IP4 = [f('nw_src', 'IP source', '10.0.0.1'), f('nw_dst', 'IP destination', '10.0.0.2'), f('nw_ttl', 'TTL', '64')];
const IP6 = [
  f('ipv6_src', 'IPv6 source', 'fd00::1'),
  f('ipv6_dst', 'IPv6 destination', 'fd00::2'),
  f('nw_ttl', 'hop limit', '64'),
];
const ports = (protocol: string): FieldSpec[] => [
  f(`${protocol}_src`, 'source port', '49152'),
  f(`${protocol}_dst`, 'destination port', '80'),
];

const KINDS: Readonly<Record<string, readonly FieldSpec[]>> = {
  icmp: [...ETH, ...IP4, f('icmp_type', 'ICMP type', '8'), f('icmp_code', 'ICMP code', '0')],
  tcp: [...ETH, ...IP4, ...ports('tcp'), f('tcp_flags', 'flags', '+syn')],
  udp: [...ETH, ...IP4, ...ports('udp')],
  ip: [...ETH, ...IP4, f('nw_proto', 'protocol', '47')],
  arp: [
    ...ETH,
    f('arp_spa', 'sender address', '10.0.0.1'),
    f('arp_tpa', 'target address', '10.0.0.2'),
    f('arp_op', 'operation', '1'),
  ],
  icmp6: [...ETH, ...IP6, f('icmpv6_type', 'ICMPv6 type', '128')],
  tcp6: [...ETH, ...IP6, ...ports('tcp')],
  udp6: [...ETH, ...IP6, ...ports('udp')],
  ethernet: [...ETH, f('dl_type', 'Ethertype', '0x88cc')],
};

const WAYS = [
  ['fields', 'Fields'],
  ['hex', 'Bytes'],
  ['pcap', 'Capture'],
] as const;

interface Shown {
  readonly text: string;
  readonly chapters: readonly TraceChapter[];
}

export function TraceView(): JSX.Element {
  const net = useTopic<NetData>('net');
  const { params } = useRoute();
  const [values, setValues] = useState<Record<string, string>>({ nw_ttl: '64' });
  const [hex, setHex] = useState(params.get('packet') ?? '');
  const [shown, setShown] = useState<Shown | null>(null);
  const [error, setError] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [isText, setText] = useState(false);
  // What was asked for before the bridges are known; a link from a journey brings its packet along, and asks at once.
  const waiting = useRef<{ readonly packet: string | undefined } | null>(
    params.get('packet') === null ? null : { packet: undefined },
  );
  const bridges = net?.bridges ?? [];
  const bridge = bridges.find((b) => b.name === params.get('bridge')) ?? bridges[0];
  const ports = bridge?.ports.flatMap((p) => p.interfaces) ?? [];
  const port = params.get('port') ?? ports.find((i) => i.name !== bridge?.name)?.name ?? '';
  const kind = params.get('kind') ?? 'icmp';
  const way = params.get('way') ?? (params.get('packet') ? 'hex' : 'fields');
  const flow = [
    `in_port=${port}`,
    ...(way === 'fields'
      ? [
          kind === 'ethernet' ? '' : kind,
          ...(KINDS[kind] ?? []).map(({ name }) => (values[name] ? `${name}=${values[name].trim()}` : '')),
        ]
      : []),
    way === 'fields' ? (values['more']?.trim() ?? '') : '',
  ]
    .filter((part) => part !== '')
    .join(',');

  const run = async (packet?: string): Promise<void> => {
    if (!bridge) {
      waiting.current = { packet };
      return;
    }
    setBusy(true);
    try {
      const bytes = packet ?? (way === 'hex' ? hex.replace(/0x|[\s:]/g, '') : undefined);
      const response = await fetch(
        '/api/trace',
        post({ bridge: bridge.name, flow, ...(bytes === undefined ? {} : { packet: bytes }) }),
      );
      if (!response.ok) {
        setError(await errorOf(response));
        setShown(null);
        return;
      }
      const { text } = (await response.json()) as { text: string };
      setError('');
      setShown({ text, chapters: parseTrace(text) });
    } catch (failure) {
      setError((failure as Error).message);
    } finally {
      setBusy(false);
    }
  };
  useEffect(() => {
    if (!bridge || waiting.current === null) return;
    const { packet } = waiting.current;
    waiting.current = null;
    void run(packet);
  });

  return (
    <div class="trace">
      <form
        class="panel trace-form"
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <div class="fields">
          <label>
            Bridge
            <select value={bridge?.name} onChange={(e) => setParams({ bridge: e.currentTarget.value, port: null })}>
              {bridges.map((b) => (
                <option key={b.name}>{b.name}</option>
              ))}
            </select>
          </label>
          <label>
            Enters by port
            <select value={port} onChange={(e) => setParams({ port: e.currentTarget.value })}>
              {ports.map((i) => (
                <option key={i.uuid}>{i.name}</option>
              ))}
            </select>
          </label>
        </div>
        <div class="choice" role="tablist" aria-label="How the packet is given">
          {WAYS.map(([name, label]) => (
            <button
              key={name}
              type="button"
              role="tab"
              aria-selected={way === name}
              onClick={() => setParams({ way: name })}
            >
              {label}
            </button>
          ))}
        </div>
        {way === 'fields' && (
          <>
            <div class="chips is-choice" role="radiogroup" aria-label="Kind of packet">
              {Object.keys(KINDS).map((name) => (
                // biome-ignore lint/a11y/useSemanticElements: looks like a chip
                <button
                  key={name}
                  type="button"
                  role="radio"
                  aria-checked={kind === name}
                  class="chip"
                  onClick={() => setParams({ kind: name })}
                >
                  {name}
                </button>
              ))}
            </div>
            <div class="fields">
              {KINDS[kind]?.map(({ name, label, hint }) => (
                <label key={name}>
                  <span>
                    {label} <code>{name}</code>
                  </span>
                  <input
                    name={name}
                    value={values[name] ?? ''}
                    placeholder={hint}
                    spellcheck={false}
                    autocomplete="off"
                    onInput={(e) => setValues({ ...values, [name]: e.currentTarget.value })}
                  />
                </label>
              ))}
            </div>
          </>
        )}
        {way === 'hex' && (
          <label class="wide-field">
            The packet's bytes, hexadecimal, from the Ethernet header on
            <textarea
              name="hex"
              rows={6}
              spellcheck={false}
              value={hex}
              onInput={(e) => setHex(e.currentTarget.value)}
            />
          </label>
        )}
        {way === 'pcap' && <Capture choose={(packet) => void run(packet)} />}
        {way !== 'hex' && way !== 'pcap' && (
          <label class="wide-field">
            More, as in <code>ovs-fields(7)</code>
            <input
              name="more"
              placeholder="ct_state=+est+trk,tun_id=5"
              value={values['more'] ?? ''}
              spellcheck={false}
              onInput={(e) => setValues({ ...values, more: e.currentTarget.value })}
            />
          </label>
        )}
        <div class="form-end">
          {way !== 'pcap' && (
            <button type="submit" class="button is-main" disabled={isBusy}>
              Trace
            </button>
          )}
          <code class="command">
            ofproto/trace {bridge?.name} {flow}
          </code>
        </div>
      </form>
      <div class="panel trace-result" aria-live="polite">
        {error !== '' && (
          <p class="error" role="alert">
            {error}
          </p>
        )}
        {shown === null && error === '' && (
          <div class="empty">
            <p>Nothing is sent. The switch says what it would do with the packet, table by table.</p>
          </div>
        )}
        {shown !== null && (
          <>
            <div class="tools">
              <Verdict chapters={shown.chapters} />
              <button
                type="button"
                class="button"
                onClick={() => {
                  keepPath({ title: flow, steps: pathOf(shown.chapters) });
                  go('flows', { bridge: bridge?.name, path: '1' });
                }}
              >
                Show in the flow tables
              </button>
              <button type="button" class="button" aria-pressed={isText} onClick={() => setText(!isText)}>
                {isText ? 'As a picture' : 'As text'}
              </button>
            </div>
            {isText ? <pre class="text">{shown.text}</pre> : <TracePicture chapters={shown.chapters} />}
          </>
        )}
      </div>
    </div>
  );
}

function Verdict({ chapters }: { readonly chapters: readonly TraceChapter[] }): JSX.Element {
  const all = chapters.map((c) => c.actions ?? '');
  const isDropped = all.every((actions) => actions === 'drop');
  return (
    <span class={`verdict ${isDropped ? 'is-dropped' : 'is-forwarded'}`}>
      {isDropped ? 'dropped' : all.at(-1) === 'drop' ? 'dropped in the end' : 'forwarded'}
    </span>
  );
}

interface Captured {
  readonly hex: string;
  readonly text: string;
}

function Capture({ choose }: { readonly choose: (hex: string) => void }): JSX.Element {
  const [packets, setPackets] = useState<readonly Captured[]>([]);
  const [error, setError] = useState('');
  const [active, setActive] = useState(-1);
  const read = async (file: File | undefined): Promise<void> => {
    if (!file) return;
    const result = readPcap(new Uint8Array(await file.arrayBuffer()));
    if (!result.ok) {
      setPackets([]);
      return setError(result.error);
    }
    setError('');
    setActive(-1);
    setPackets(
      result.packets.map(({ packet }) => {
        const hex = Array.from(packet, (b) => b.toString(16).padStart(2, '0')).join('');
        return { hex, text: summary(packet) };
      }),
    );
  };
  return (
    <>
      <label class="wide-field">
        A capture (pcap)
        <input
          type="file"
          name="pcap"
          accept=".pcap,.cap,application/vnd.tcpdump.pcap"
          onChange={(e) => void read(e.currentTarget.files?.[0])}
        />
      </label>
      {error !== '' && <p class="error">{error}</p>}
      {packets.length > 0 && (
        <div class="captured">
          <VirtualList
            label="packets"
            count={packets.length}
            rowHeight={32}
            active={active}
            onActive={setActive}
            onOpen={(i) => choose(packets[i].hex)}
            row={(i) => (
              <>
                <span class="num dim">{i + 1}</span>
                <span class="grow">{packets[i].text}</span>
                <span class="num dim">{packets[i].hex.length / 2} B</span>
              </>
            )}
          />
        </div>
      )}
    </>
  );
}
