import { useState } from 'preact/hooks';
import { call, Problem } from '../lib/api.ts';
import { type Expiry, expiries, expiryAt, listed, slug } from '../lib/clients.ts';
import { dateTime } from '../lib/format.ts';
import { Dialog, DialogButtons } from '../ui/dialog.tsx';
import {
  Button,
  Check,
  Checks,
  Choices,
  ProblemNote,
  Select,
  Text,
  useAction,
} from '../ui/parts.tsx';
import type { Client, Vpn } from './vpn.tsx';
import { Handover } from './vpn-handover.tsx';

export type Zone = NonNullable<Client['zones']>[number];

export const zoneWords: Record<Zone, { title: string; detail: string }> = {
  wan: { title: 'Internet', detail: 'Through the gateway' },
  lan: { title: 'Home network', detail: 'lan' },
  guest: { title: 'Guest network', detail: 'guest' },
  dmz: { title: 'Servers', detail: 'dmz' },
  vpn: { title: 'Other clients', detail: 'vpn' },
  containers: { title: 'Containers', detail: 'Services on the gateway' },
  gateway: { title: 'The gateway', detail: 'DNS, dashboard, SSH' },
};

type Props = { server: Vpn | undefined; onClose: () => void; onChange: () => Promise<void> };

export function AddClient({ server, onClose, onChange }: Props) {
  const [made, setMade] = useState<Client | undefined>(undefined);
  if (made)
    return (
      <Handover
        client={made}
        title={`${made.name} is added`}
        onClose={() => {
          onClose();
          void onChange();
        }}
      />
    );
  return (
    <Form
      server={server}
      onClose={onClose}
      onMade={(client) => {
        setMade(client);
        void onChange();
      }}
    />
  );
}

function Form({
  server,
  onClose,
  onMade,
}: {
  server: Vpn | undefined;
  onClose: () => void;
  onMade: (client: Client) => void;
}) {
  const [name, setName] = useState('');
  const [note, setNote] = useState('');
  const [tunnel, setTunnel] = useState(server?.defaults.tunnel ?? 'full');
  const [limited, setLimited] = useState((server?.defaults.zones ?? null) !== null);
  const possible = server?.zones ?? [];
  const [zones, setZones] = useState<Zone[]>(server?.defaults.zones ?? [...possible]);
  const [expiry, setExpiry] = useState<Expiry>('never');
  const [date, setDate] = useState('');
  const [dns, setDns] = useState('');
  const [further, setFurther] = useState(false);
  const work = useAction();
  const plain = slug(name);
  const add = () =>
    work.run(async () => {
      if (plain === '')
        throw new Problem('The client needs a name', { fix: 'Use letters and digits, e.g. phone' });
      const expires = expiryAt(expiry, date, Date.now());
      const servers = listed(dns);
      onMade(
        await call('post', '/vpn/clients', {
          body: {
            name: plain,
            tunnel,
            zones: limited ? zones : null,
            ...(note.trim() === '' ? {} : { note: note.trim() }),
            ...(expires === null ? {} : { expires_at: expires }),
            ...(servers.length === 0 ? {} : { dns: servers }),
          },
        }),
      );
    });
  return (
    <Dialog title="Add a VPN client" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <Text
          label="Name"
          hint={
            plain !== '' && plain !== name ? (
              <>
                It will be called <b>{plain}</b>
              </>
            ) : (
              'Which device it is, e.g. anns-phone'
            )
          }
          value={name}
          onChange={setName}
          required
          autofocus
          maxLength={60}
          spellcheck={false}
        />
        <Choices
          legend="What goes through the VPN"
          value={tunnel}
          onChange={setTunnel}
          options={[
            { key: 'full', title: 'Everything', detail: 'Safe in foreign Wi-Fi' },
            { key: 'split', title: 'Only home', detail: 'The rest goes direct' },
          ]}
        />
        <Check
          label="Limit what it may reach"
          hint={
            limited
              ? 'The firewall enforces it, whatever the device is told'
              : 'Now: all that VPN clients may'
          }
          checked={limited}
          onChange={setLimited}
        />
        {limited && <Zones possible={possible} zones={zones} onChange={setZones} />}
        <ExpiryField expiry={expiry} date={date} onExpiry={setExpiry} onDate={setDate} />
        {further ? (
          <>
            <Text
              label="Note"
              hint="Whose it is, or what for"
              value={note}
              onChange={setNote}
              maxLength={200}
            />
            <Text
              label="DNS servers"
              hint={`Without any: ${server?.dns.join(', ') ?? 'the gateway'}`}
              value={dns}
              onChange={setDns}
              spellcheck={false}
            />
          </>
        ) : (
          <div>
            <Button
              kind="bare"
              icon="config"
              aria-expanded={false}
              onClick={() => setFurther(true)}
            >
              Note and DNS
            </Button>
          </div>
        )}
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Add client" icon="add" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}

export function Zones({
  possible,
  zones,
  onChange,
}: {
  possible: readonly Zone[];
  zones: readonly Zone[];
  onChange: (zones: Zone[]) => void;
}) {
  return (
    <Checks
      legend="It may reach"
      values={zones}
      onChange={onChange}
      options={possible.map((key) => ({ key, ...zoneWords[key] }))}
      {...(zones.length === 0
        ? { hint: 'Nothing is chosen: it connects, but reaches nothing' }
        : {})}
    />
  );
}

export function ExpiryField(o: {
  expiry: Expiry;
  date: string;
  onExpiry: (expiry: Expiry) => void;
  onDate: (date: string) => void;
}) {
  const at = expiryAt(o.expiry, o.date, Date.now());
  return (
    <>
      <Select
        label="Its access ends"
        value={o.expiry}
        onChange={o.onExpiry}
        options={Object.entries(expiries).map(([key, text]) => [key as Expiry, text] as const)}
        {...(at === null ? {} : { hint: `It is cut off on ${dateTime(Date.parse(at))}` })}
      />
      {o.expiry === 'date' && (
        <Text
          label="Last day"
          type="date"
          value={o.date}
          onChange={o.onDate}
          required
          min={new Date().toISOString().slice(0, 10)}
        />
      )}
    </>
  );
}
