import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { bitRate, bytes, count, plural } from '../lib/format.ts';
import { peerOf, watchPeers } from '../lib/live.ts';
import { useResource } from '../lib/resource.ts';
import { link, route } from '../lib/router.ts';
import { mayChange } from '../lib/session.ts';
import { Icon } from '../ui/icon.tsx';
import {
  Badge,
  Button,
  Card,
  Empty,
  Facts,
  Loaded,
  Note,
  Search,
  Segments,
  Title,
  When,
} from '../ui/parts.tsx';
import { AddClient } from './vpn-add.tsx';
import { ClientView } from './vpn-client.tsx';
import { ImportClients } from './vpn-import.tsx';
import { ServerKey } from './vpn-server-key.tsx';

export type Client = Answer<'get', '/vpn/clients'>['clients'][number];
export type Vpn = Answer<'get', '/vpn'>;

export const useClients = () =>
  useResource('vpn-clients', () => call('get', '/vpn/clients'), { every: 30, area: 'vpn' });
export const useVpn = () => useResource('vpn', () => call('get', '/vpn'), { area: 'vpn' });

/** A handshake is made every 2 minutes while there is traffic (WireGuard's REKEY_AFTER_TIME), so 3 is silence. */
const silence = 180_000;

export type LiveClient = {
  online: boolean;
  handshake: string | null;
  endpoint: string | null;
  received: number;
  sent: number;
  /** Bytes a second. */
  receivedRate: number;
  sentRate: number;
};

/** What is known of a client now: by the stream of events, else as the list had it. */
export function useLive(client: Client): LiveClient {
  const peer = peerOf(client.public_key).value;
  const { live } = client;
  const handshake = peer ? peer.handshake : (live?.last_handshake_at ?? null);
  return {
    online:
      client.state === 'active' &&
      handshake !== null &&
      Date.now() - Date.parse(handshake) < silence,
    handshake,
    endpoint: peer ? peer.endpoint : (live?.endpoint ?? null),
    received: peer?.received_bytes ?? live?.received_bytes ?? 0,
    sent: peer?.sent_bytes ?? live?.sent_bytes ?? 0,
    receivedRate: peer?.received_rate ?? 0,
    sentRate: peer?.sent_rate ?? 0,
  };
}

/** Kernel's counters each second while a view of the VPN is open. */
export function useWatchedPeers(): void {
  useEffect(() => {
    watchPeers(true);
    return () => watchPeers(false);
  }, []);
}

export function VpnView() {
  const [name] = route.value.rest;
  return name === undefined ? <Clients /> : <ClientView key={name} name={name} />;
}

const filters = { all: 'All', online: 'Connected', active: 'Active', off: 'Off' } as const;
type Filter = keyof typeof filters;

function fits(client: Client, filter: Filter, wanted: string): boolean {
  if (filter === 'online' && !client.live?.online) return false;
  if (filter === 'active' && client.state !== 'active') return false;
  if (filter === 'off' && client.state === 'active') return false;
  return (
    wanted === '' ||
    `${client.name} ${client.note} ${client.addresses.join(' ')} ${client.live?.endpoint ?? ''}`
      .toLowerCase()
      .includes(wanted)
  );
}

function Clients() {
  useWatchedPeers();
  const clients = useClients();
  const vpn = useVpn();
  const [wanted, setWanted] = useState('');
  const [filter, setFilter] = useState<Filter>('all');
  const [open, setOpen] = useState<'add' | 'import' | undefined>(undefined);
  const server = vpn.data.value;
  return (
    <>
      <Title
        actions={
          mayChange.value && (
            <div class="buttons">
              <Button icon="down" onClick={() => setOpen('import')}>
                Import
              </Button>
              <Button kind="primary" icon="add" onClick={() => setOpen('add')}>
                Add client
              </Button>
            </div>
          )
        }
      >
        VPN
      </Title>
      {server && <Server of={server} reload={vpn.reload} />}
      <Loaded of={clients}>
        {({ clients: all }) => {
          const shown = all.filter((client) => fits(client, filter, wanted.trim().toLowerCase()));
          if (all.length === 0)
            return (
              <Card flush>
                <Empty icon="phone">
                  <p>No clients yet. Add your phone: it takes a minute, and a QR code.</p>
                </Empty>
              </Card>
            );
          return (
            <>
              <div class="buttons">
                <Search value={wanted} onChange={setWanted} label="Find a client" />
                <Segments
                  label="Which clients"
                  value={filter}
                  options={Object.entries(filters).map(
                    ([key, text]) => [key as Filter, text] as const,
                  )}
                  onChange={setFilter}
                />
              </div>
              <p class="small muted" role="status">
                {shown.length === all.length
                  ? plural(all.length, 'client')
                  : `${count(shown.length)} of ${plural(all.length, 'client')}`}
              </p>
              <Card flush>
                {shown.length === 0 ? (
                  <Empty icon="search">
                    <p>No client is like that.</p>
                  </Empty>
                ) : (
                  <ClientList clients={shown} />
                )}
              </Card>
            </>
          );
        }}
      </Loaded>
      {open === 'add' && (
        <AddClient server={server} onClose={() => setOpen(undefined)} onChange={clients.reload} />
      )}
      {open === 'import' && (
        <ImportClients onClose={() => setOpen(undefined)} onChange={clients.reload} />
      )}
    </>
  );
}

function Server({ of, reload }: { of: Vpn; reload: () => Promise<void> | void }) {
  return (
    <>
      {!of.endpoint_known && (
        <Note state="warning">
          <strong>Clients cannot find this gateway from outside.</strong>
          <span>
            It has no name that the internet knows. Set up <a href={link('ddns')}>dynamic DNS</a>,
            or set <code>vpn.endpoint</code> in the <a href={link('config')}>configuration</a>.
          </span>
        </Note>
      )}
      <details class="card">
        <summary>
          <Badge state={of.clients.online > 0 ? 'ok' : 'unknown'} icon="vpn">
            {`${of.clients.online} of ${of.clients.total} connected`}
          </Badge>
          <span class="mono muted clip">{`${of.endpoint}:${of.port}`}</span>
          <Icon name="forward" />
        </summary>
        <div class="body">
          <Facts
            of={[
              [
                'Clients look for',
                <span class="mono" key="at">{`${of.endpoint}:${of.port}`}</span>,
              ],
              [
                'IPv4',
                <span class="mono" key="4">
                  {of.network4}
                </span>,
              ],
              [
                'IPv6',
                <span class="mono" key="6">
                  {of.network6}
                </span>,
              ],
              [
                'DNS of clients',
                <span class="mono" key="dns">
                  {of.dns.join(', ')}
                </span>,
              ],
              ['Free addresses', count(of.free)],
              ['MTU', count(of.mtu)],
            ]}
          />
          <ServerKey of={of} reload={reload} />
        </div>
      </details>
    </>
  );
}

/** Rows of one height, of which only those in sight are made: a thousand clients cost as much as twenty. */
function ClientList({ clients }: { clients: readonly Client[] }) {
  const list = useRef<HTMLUListElement>(null);
  const [range, setRange] = useState({ from: 0, to: 30, height: 76 });
  useEffect(() => {
    let frame = 0;
    const look = () => {
      frame = 0;
      const element = list.current;
      if (!element) return;
      const height = matchMedia('(min-width: 720px)').matches ? 60 : 76;
      const over = -element.getBoundingClientRect().top;
      // Ten more on each side, so that quick scrolling and the tab key find rows.
      const from = Math.max(0, Math.floor(over / height) - 10);
      const to = Math.min(clients.length, Math.ceil((over + innerHeight) / height) + 10);
      setRange((old) =>
        old.from === from && old.to === to && old.height === height ? old : { from, to, height },
      );
    };
    const soon = () => {
      if (frame === 0) frame = requestAnimationFrame(look);
    };
    look();
    addEventListener('scroll', soon, { passive: true });
    addEventListener('resize', soon);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener('scroll', soon);
      removeEventListener('resize', soon);
    };
  }, [clients.length]);
  const rows = useMemo(() => clients.slice(range.from, range.to), [clients, range]);
  return (
    <ul
      class="clients"
      ref={list}
      aria-label="Clients"
      style={{ height: `${clients.length * range.height}px` }}
    >
      {rows.map((client, index) => (
        <li
          class="client"
          key={client.name}
          aria-setsize={clients.length}
          aria-posinset={range.from + index + 1}
          style={{ transform: `translateY(${(range.from + index) * range.height}px)` }}
        >
          <Row of={client} />
        </li>
      ))}
    </ul>
  );
}

export function stateWords(client: Client, live: LiveClient): string {
  if (client.state === 'disabled') return 'Disabled';
  if (client.state === 'expired') return 'Expired';
  return live.online ? 'Connected' : live.handshake === null ? 'Never connected' : 'Away';
}

function Row({ of }: { of: Client }) {
  const live = useLive(of);
  const words = stateWords(of, live);
  return (
    <a href={link('vpn', of.name)}>
      <span
        class={`dot ${live.online ? 'ok' : of.state === 'active' ? '' : 'warning'}`}
        aria-hidden="true"
      />
      <span class="clip">
        <span class="name">{of.name}</span>
        {of.rotation && (
          <>
            {' '}
            <Icon name="rotate" />
            <span class="hidden">new keys wait</span>
          </>
        )}
        <span class="small muted clip row-note">
          {words}
          {of.state === 'active' && live.handshake !== null && !live.online && (
            <>
              {' '}
              · <When at={live.handshake} />
            </>
          )}
          {of.note !== '' && ` · ${of.note}`}
        </span>
      </span>
      <span class="more clip">
        <span class="mono">{of.addresses[0]}</span>
        <span class="clip row-note">{live.endpoint ?? 'no address yet'}</span>
      </span>
      <span class="figures muted">
        <span>
          <span class="hidden">received </span>↓ {bytes(live.received)}
          <span class="hidden">, sent </span> ↑ {bytes(live.sent)}
        </span>
        <span class="row-note">
          {live.receivedRate + live.sentRate > 0
            ? `${bitRate(live.receivedRate)} · ${bitRate(live.sentRate)}`
            : ' '}
        </span>
      </span>
    </a>
  );
}
