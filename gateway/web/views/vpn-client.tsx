import { useEffect, useState } from 'preact/hooks';
import { call } from '../lib/api.ts';
import { type Expiry, expiryAt, listed, slug } from '../lib/clients.ts';
import { bitRate, bytes, dateTime } from '../lib/format.ts';
import { peerOf } from '../lib/live.ts';
import { type Span, spans } from '../lib/plots.ts';
import { useResource } from '../lib/resource.ts';
import { go, link } from '../lib/router.ts';
import { mayChange } from '../lib/session.ts';
import { Chart } from '../ui/chart.tsx';
import { Confirm, Dialog, DialogButtons } from '../ui/dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import {
  Badge,
  Button,
  Card,
  Check,
  Choices,
  Facts,
  Loaded,
  Note,
  ProblemNote,
  Segments,
  say,
  Text,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';
import { LiveChart } from './charts.tsx';
import {
  type Client,
  stateWords,
  useClients,
  useLive,
  useVpn,
  useWatchedPeers,
  type Vpn,
} from './vpn.tsx';
import { ExpiryField, type Zone, Zones, zoneWords } from './vpn-add.tsx';
import { Handover } from './vpn-handover.tsx';

export function ClientView({ name }: { name: string }) {
  useWatchedPeers();
  const client = useResource(
    `vpn-client:${name}`,
    () => call('get', '/vpn/clients/{name}', { params: { name } }),
    { every: 30, area: 'vpn' },
  );
  return (
    <>
      <p>
        <a href={link('vpn')} class="button bare">
          <Icon name="back" />
          All clients
        </a>
      </p>
      <Title>{name}</Title>
      <Loaded of={client}>{(data) => <Details of={data} reload={client.reload} />}</Loaded>
    </>
  );
}

type Open = 'edit' | 'revoke' | 'rotate' | 'handover' | 'disable' | undefined;

function Details({ of, reload }: { of: Client; reload: () => Promise<void> }) {
  const live = useLive(of);
  const vpn = useVpn().data.value;
  const list = useClients();
  const [open, setOpen] = useState<Open>(undefined);
  const [span, setSpan] = useState<Span | 'live'>('live');
  const work = useAction();
  const close = () => setOpen(undefined);
  const params = { name: of.name };
  const words = stateWords(of, live);
  return (
    <>
      <Card
        title={
          <Badge
            state={live.online ? 'ok' : of.state === 'active' ? 'unknown' : 'warning'}
            icon="vpn"
          >
            {words}
          </Badge>
        }
      >
        <Facts
          of={[
            ['Last handshake', <When key="handshake" at={live.handshake} />],
            [
              'Seen at',
              <span class="mono" key="endpoint">
                {live.endpoint ?? 'nowhere yet'}
              </span>,
            ],
            ['Received', `${bytes(live.received)}${rate(live.receivedRate)}`],
            ['Sent', `${bytes(live.sent)}${rate(live.sentRate)}`],
            [
              'Addresses',
              <span class="mono" key="addresses">
                {of.addresses.join(', ')}
              </span>,
            ],
            ['Goes through the VPN', of.tunnel === 'full' ? 'Everything' : 'Only what is for home'],
            ['May reach', reach(of.zones)],
            ['DNS', of.dns?.join(', ') ?? 'The gateway’s choice'],
            ['Access ends', of.expires_at === null ? 'Never' : dateTime(Date.parse(of.expires_at))],
            ['Added', of.created_at === null ? 'not known' : dateTime(Date.parse(of.created_at))],
          ]}
        />
        {of.note !== '' && <p>{of.note}</p>}
        <p class="small muted">
          Public key <code>{of.public_key}</code>
          {of.preshared_key && ', with a preshared key'}
        </p>
      </Card>
      {of.rotation && (
        <Note>
          <strong>New keys wait for their first handshake.</strong>
          <span>
            The old ones work until then
            {of.rotation.deadline_at !== null &&
              `, at the latest until ${dateTime(Date.parse(of.rotation.deadline_at))}`}
            .
          </span>
          {mayChange.value && (
            <span class="buttons">
              {of.rotation.config_held && (
                <Button icon="phone" onClick={() => setOpen('handover')}>
                  Show the QR code
                </Button>
              )}
              <Button
                busy={work.busy}
                onClick={() =>
                  work.run(async () => {
                    await call('delete', '/vpn/clients/{name}/rotate', { params });
                    say('The old keys stay');
                    await reload();
                  })
                }
              >
                Keep the old keys
              </Button>
            </span>
          )}
        </Note>
      )}
      {of.config_held && !of.rotation && mayChange.value && (
        <Note state="warning">
          <strong>Its private key is still on the gateway.</strong>
          <span>Scan the QR code or download the file; the gateway then forgets the key.</span>
          <span class="buttons">
            <Button icon="phone" onClick={() => setOpen('handover')}>
              Show the QR code
            </Button>
          </span>
        </Note>
      )}
      <ProblemNote problem={work.problem} />
      {mayChange.value && (
        <div class="buttons">
          <Button icon="edit" onClick={() => setOpen('edit')}>
            Change
          </Button>
          {of.enabled ? (
            <Button icon="pause" onClick={() => setOpen('disable')}>
              Disable
            </Button>
          ) : (
            <Button
              icon="play"
              busy={work.busy}
              onClick={() =>
                work.run(async () => {
                  await call('patch', '/vpn/clients/{name}', { params, body: { enabled: true } });
                  say(`${of.name} is enabled`);
                  await reload();
                })
              }
            >
              Enable
            </Button>
          )}
          <Button icon="rotate" onClick={() => setOpen('rotate')}>
            Rotate keys
          </Button>
          <Button kind="danger" icon="trash" onClick={() => setOpen('revoke')}>
            Revoke
          </Button>
        </div>
      )}
      <Card
        title="Traffic"
        actions={
          <Segments
            label="Span of time"
            value={span}
            options={[
              ['live', 'Live'] as const,
              ...Object.entries(spans).map(([key, { title }]) => [key as Span, title] as const),
            ]}
            onChange={setSpan}
          />
        }
      >
        {span === 'live' ? (
          <Seconds of={of} />
        ) : (
          <LiveChart
            key={span}
            span={span}
            set={{
              title: 'Received and sent',
              plot: { title: '', kinds: [] },
              series: [
                { name: `vpn.received{${of.name}}`, title: 'From the client' },
                { name: `vpn.sent{${of.name}}`, title: 'To the client' },
              ],
            }}
          />
        )}
      </Card>
      {open === 'edit' && (
        <Edit
          of={of}
          server={vpn}
          onClose={close}
          onDone={(name) => {
            close();
            if (name === of.name) void reload();
            else go(link('vpn', name), true);
          }}
        />
      )}
      {open === 'handover' && (
        <Handover
          client={of}
          title={`Configuration of ${of.name}`}
          onClose={() => {
            close();
            void reload();
          }}
        />
      )}
      {open === 'disable' && (
        <Confirm
          title={`Disable ${of.name}?`}
          action="Disable"
          onClose={close}
          run={async () => {
            await call('patch', '/vpn/clients/{name}', { params, body: { enabled: false } });
            say(`${of.name} is disabled`);
            await reload();
          }}
        >
          <p>
            It is cut off at once, and can be enabled again with the same keys. Other clients notice
            nothing.
          </p>
        </Confirm>
      )}
      {open === 'rotate' && (
        <Confirm
          title={`New keys for ${of.name}?`}
          action="Make new keys"
          onClose={close}
          run={async () => {
            await call('post', '/vpn/clients/{name}/rotate', { params, body: {} });
            await reload();
            setTimeout(() => setOpen('handover'));
          }}
        >
          <p>
            You get a new QR code and file. The old keys work until the new ones are first used, so
            nobody is cut off before.
          </p>
        </Confirm>
      )}
      {open === 'revoke' && (
        <Confirm
          title={`Revoke ${of.name}?`}
          action="Revoke"
          danger
          onClose={close}
          run={async () => {
            await call('delete', '/vpn/clients/{name}', { params });
            if (list.data.value)
              list.data.value = {
                clients: list.data.value.clients.filter(({ name }) => name !== of.name),
              };
            say(`${of.name} is revoked and cut off`);
            go(link('vpn'), true);
          }}
        >
          <p>
            It is cut off at once and for good: its keys are removed. Other clients notice nothing.
          </p>
          <p class="muted">Only for a while? Disable it instead.</p>
        </Confirm>
      )}
    </>
  );
}

/** Milliseconds of traffic that the live chart shows. */
const shown = 120_000;

/** Traffic each second, as the kernel counts it, from when the page was opened. */
function Seconds({ of }: { of: Client }) {
  const [points, setPoints] = useState<readonly { time: number; received: number; sent: number }[]>(
    [],
  );
  const { public_key } = of;
  useEffect(() => {
    const peer = peerOf(public_key);
    const timer = setInterval(() => {
      const time = Date.now();
      const { received_rate = 0, sent_rate = 0 } = peer.peek() ?? {};
      setPoints((old) => [
        ...old.filter((one) => one.time > time - shown - 2000),
        { time, received: received_rate, sent: sent_rate },
      ]);
    }, 1000);
    return () => clearInterval(timer);
  }, [public_key]);
  const to = points.at(-1)?.time ?? Date.now();
  const times = points.map(({ time }) => time);
  return (
    <Chart
      title="Received and sent, each second"
      unit="By/s"
      from={to - shown}
      to={to}
      atLeast={1000}
      lines={[
        { name: 'From the client', times, values: points.map(({ received }) => received) },
        { name: 'To the client', times, values: points.map(({ sent }) => sent) },
      ]}
    />
  );
}

const rate = (value: number) => (value > 0 ? `, now ${bitRate(value)}` : '');

function reach(zones: Client['zones']): string {
  if (zones === null) return 'All that VPN clients may';
  return zones.length === 0 ? 'Nothing' : zones.map((zone) => zoneWords[zone].title).join(', ');
}

function Edit({
  of,
  server,
  onClose,
  onDone,
}: {
  of: Client;
  server: Vpn | undefined;
  onClose: () => void;
  onDone: (name: string) => void;
}) {
  const [name, setName] = useState(of.name);
  const [note, setNote] = useState(of.note);
  const [tunnel, setTunnel] = useState(of.tunnel);
  const [limited, setLimited] = useState(of.zones !== null);
  const possible: readonly Zone[] = server?.zones ?? of.zones ?? [];
  const [zones, setZones] = useState<Zone[]>(of.zones ?? [...possible]);
  const [dns, setDns] = useState(of.dns?.join(', ') ?? '');
  const [expiry, setExpiry] = useState<Expiry>(of.expires_at === null ? 'never' : 'date');
  const [date, setDate] = useState(of.expires_at?.slice(0, 10) ?? '');
  const work = useAction();
  const save = () =>
    work.run(async () => {
      const next = slug(name);
      const servers = listed(dns);
      const sameEnd = expiry === 'date' && date === of.expires_at?.slice(0, 10);
      await call('patch', '/vpn/clients/{name}', {
        params: { name: of.name },
        body: {
          ...(next === of.name ? {} : { name: next }),
          note: note.trim(),
          tunnel,
          zones: limited ? zones : null,
          dns: servers.length === 0 ? null : servers,
          ...(sameEnd ? {} : { expires_at: expiryAt(expiry, date, Date.now()) }),
        },
      });
      say(`${next} is changed`);
      onDone(next);
    });
  return (
    <Dialog title={`Change ${of.name}`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Text
          label="Name"
          value={name}
          onChange={setName}
          required
          maxLength={60}
          spellcheck={false}
          autofocus
        />
        <Text label="Note" value={note} onChange={setNote} maxLength={200} />
        <Check
          label="Limit what it may reach"
          hint="In force at once; the device needs nothing new"
          checked={limited}
          onChange={setLimited}
        />
        {limited && <Zones possible={possible} zones={zones} onChange={setZones} />}
        <ExpiryField expiry={expiry} date={date} onExpiry={setExpiry} onDate={setDate} />
        <Choices
          legend="What goes through the VPN"
          value={tunnel}
          onChange={setTunnel}
          options={[
            { key: 'full', title: 'Everything' },
            { key: 'split', title: 'Only home' },
          ]}
        />
        <Text
          label="DNS servers"
          hint="Without any: the gateway's choice"
          value={dns}
          onChange={setDns}
          spellcheck={false}
        />
        {(tunnel !== of.tunnel || dns !== (of.dns?.join(', ') ?? '')) && (
          <Note>
            The device learns of this only with a new configuration: rotate its keys afterwards.
          </Note>
        )}
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Save" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}
