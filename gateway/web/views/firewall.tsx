import { useState } from 'preact/hooks';
import { type Answer, call, Problem } from '../lib/api.ts';
import { bytes, count, duration } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { mayChange } from '../lib/session.ts';
import { Confirm, Dialog, DialogButtons } from '../ui/dialog.tsx';
import {
  Badge,
  Button,
  Card,
  Choices,
  Empty,
  Loaded,
  Note,
  ProblemNote,
  type State,
  say,
  Text,
  Title,
  useAction,
} from '../ui/parts.tsx';

type Firewall = Answer<'get', '/firewall'>;
type Forward = Answer<'get', '/firewall/forwards'>['forwards'][number];

const states: Record<Firewall['state'], readonly [State, string, string]> = {
  active: ['ok', 'In force', 'What nobody asked for from inside stays outside.'],
  pending: [
    'warning',
    'Rules on trial',
    'The last good rules return unless the new ones are confirmed.',
  ],
  closed: ['failed', 'Shut', 'The rules did not load, so only SSH and the VPN are open.'],
  none: ['failed', 'None', 'No rules are loaded: the device is open.'],
};

export function FirewallView() {
  const firewall = useResource('firewall', () => call('get', '/firewall'), {
    every: 15,
    area: 'firewall',
  });
  const forwards = useResource('forwards', () => call('get', '/firewall/forwards'), {
    area: 'firewall',
  });
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Forward | undefined>(undefined);
  const reload = async () => {
    await Promise.all([firewall.reload(), forwards.reload()]);
  };
  return (
    <>
      <Title
        actions={
          mayChange.value && (
            <Button kind="primary" icon="add" onClick={() => setAdding(true)}>
              Add port forward
            </Button>
          )
        }
      >
        Firewall
      </Title>
      <Loaded of={firewall}>{(data) => <InForce of={data} />}</Loaded>
      <Card title="Port forwards" flush>
        <Loaded of={forwards}>
          {({ forwards: all }) =>
            all.length === 0 ? (
              <Empty icon="firewall">
                <p>None. Nothing from the internet reaches a device at home.</p>
              </Empty>
            ) : (
              <ul class="rows">
                {all.map((one) => (
                  <li key={one.id}>
                    <div class="row">
                      <div class="main">
                        <span class="name">{one.name ?? `${one.protocol} ${one.port}`}</span>
                        <div class="detail mono">
                          {one.protocol} {one.port} → {one.to}:{one.to_port}
                        </div>
                        <div class="detail">
                          {one.from === null ? 'From anywhere' : `Only from ${one.from}`}
                          {one.zone !== null && `, into ${one.zone}`}
                        </div>
                      </div>
                      {one.origin === 'image' ? (
                        <Badge state="info" icon="lock">
                          From the image
                        </Badge>
                      ) : (
                        mayChange.value && (
                          <Button
                            kind="danger"
                            square
                            icon="trash"
                            onClick={() => setRemoving(one)}
                          >
                            {`Remove ${one.name ?? `${one.protocol} ${one.port}`}`}
                          </Button>
                        )
                      )}
                    </div>
                  </li>
                ))}
              </ul>
            )
          }
        </Loaded>
      </Card>
      {firewall.data.value && <Details of={firewall.data.value} />}
      {adding && <AddForward onClose={() => setAdding(false)} onDone={reload} />}
      {removing && (
        <Confirm
          title="Remove this port forward?"
          action="Remove"
          danger
          onClose={() => setRemoving(undefined)}
          run={async () => {
            await call('delete', '/firewall/forwards/{id}', { params: { id: removing.id } });
            say('The port forward is removed');
            await reload();
          }}
        >
          <p>
            New connections to {removing.protocol} port {removing.port} no longer pass; those that
            are open stay.
          </p>
        </Confirm>
      )}
    </>
  );
}

function InForce({ of }: { of: Firewall }) {
  const [state, title, words] = states[of.state];
  const dropped = Object.values(of.counters).reduce((sum, { packets }) => sum + packets, 0);
  return (
    <>
      {of.pending && (
        <Note state="warning">
          <strong>New rules are on trial for another {duration(of.pending.seconds_left)}</strong>
          <span>
            If you can read this, you are not cut off. Keep them with{' '}
            <code>sudo pi-gateway firewall confirm</code>, or wait: then the last good ones return.
          </span>
        </Note>
      )}
      <Card title={<Badge state={state}>{title}</Badge>}>
        <p>
          {words} {count(dropped)} packets were dropped since it was loaded.
        </p>
      </Card>
    </>
  );
}

function Details({ of }: { of: Firewall }) {
  const counters = Object.entries(of.counters).toSorted(([, a], [, b]) => b.packets - a.packets);
  const names = of.zones.map(({ name }) => name);
  return (
    <>
      <Card title="Who may open a connection to whom" flush>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys */}
        <section class="scroll" tabIndex={0} aria-label="Table of zones">
          <table class="matrix">
            <thead>
              <tr>
                <th scope="col">From ↓ to →</th>
                {names.map((name) => (
                  <th scope="col" key={name}>
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {names.map((from) => (
                <tr key={from}>
                  <th scope="row">{from}</th>
                  {names.map((to) => {
                    const cell = of.table.find((one) => one.from === from && one.to === to);
                    return (
                      <td
                        key={to}
                        title={cell ? [cell.because, ...cell.exceptions].join('; ') : ''}
                      >
                        {cell ? (
                          <Badge
                            state={cell.passes ? 'ok' : 'unknown'}
                            icon={cell.passes ? 'ok' : 'close'}
                          >
                            {cell.passes ? 'yes' : cell.exceptions.length > 0 ? 'some' : 'no'}
                          </Badge>
                        ) : (
                          '–'
                        )}
                      </td>
                    );
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      </Card>
      <div class="grid two">
        <Card title="Dropped packets" flush>
          {counters.length === 0 ? (
            <Empty icon="ok">
              <p>None yet.</p>
            </Empty>
          ) : (
            <table>
              <thead>
                <tr>
                  <th scope="col">Reason</th>
                  <th scope="col" class="number">
                    Packets
                  </th>
                  <th scope="col" class="number">
                    Size
                  </th>
                </tr>
              </thead>
              <tbody>
                {counters.map(([reason, { packets, bytes: size }]) => (
                  <tr key={reason}>
                    <th scope="row">{reason.replaceAll('_', ' ')}</th>
                    <td class="number">{count(packets)}</td>
                    <td class="number nowrap">{bytes(size)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Card>
        <Card title="Shut out for wrong log-ins" flush>
          {of.blocked.length === 0 ? (
            <Empty icon="ok">
              <p>Nobody.</p>
            </Empty>
          ) : (
            <ul class="rows">
              {of.blocked.map(({ address, seconds_left }) => (
                <li key={address} class="row">
                  <span class="main mono">{address}</span>
                  <span class="small muted">for {duration(seconds_left)}</span>
                </li>
              ))}
            </ul>
          )}
        </Card>
      </div>
      <Card title="Zones" flush>
        <ul class="rows">
          {of.zones.map((zone) => (
            <li key={zone.name}>
              <div class="row">
                <div class="main">
                  <span class="name">{zone.name}</span>{' '}
                  <span class="detail mono">
                    {zone.interfaces.join(', ') || 'every other interface'}
                  </span>
                  <div class="detail mono">{zone.networks.join(', ')}</div>
                  <div class="detail">
                    {zone.gateway.length > 0
                      ? `The gateway answers with ${zone.gateway.join(', ')}`
                      : 'The gateway does not answer'}
                  </div>
                </div>
              </div>
            </li>
          ))}
        </ul>
      </Card>
    </>
  );
}

function AddForward({ onClose, onDone }: { onClose: () => void; onDone: () => Promise<void> }) {
  const [protocol, setProtocol] = useState<'tcp' | 'udp'>('tcp');
  const [port, setPort] = useState('');
  const [to, setTo] = useState('');
  const [toPort, setToPort] = useState('');
  const [from, setFrom] = useState('');
  const [name, setName] = useState('');
  const work = useAction();
  const number = (text: string) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > 65_535)
      throw new Problem(`'${text}' is no port`, { fix: 'Take a number from 1 to 65535, e.g. 443' });
    return value;
  };
  const add = () =>
    work.run(async () => {
      await call('post', '/firewall/forwards', {
        body: {
          protocol,
          port: number(port),
          to: to.trim(),
          ...(toPort === '' ? {} : { to_port: number(toPort) }),
          ...(from.trim() === '' ? {} : { from: from.trim() }),
          ...(name.trim() === '' ? {} : { name: name.trim() }),
        },
      });
      say('The port forward is in force');
      await onDone();
      onClose();
    });
  return (
    <Dialog title="Add a port forward" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <Note state="warning">
          It opens a device at home to the internet. For your own use, the VPN is safer.
        </Note>
        <Text
          label="Name"
          hint="What it is for, e.g. web server"
          value={name}
          onChange={setName}
          maxLength={40}
          autofocus
        />
        <Choices
          legend="Protocol"
          value={protocol}
          onChange={setProtocol}
          options={[
            { key: 'tcp', title: 'TCP' },
            { key: 'udp', title: 'UDP' },
          ]}
        />
        <Text
          label="Port outside"
          hint="Of the gateway's address in the internet"
          value={port}
          onChange={setPort}
          required
          inputMode="numeric"
        />
        <Text
          label="To this address"
          hint="Of the device at home, e.g. 192.168.40.10"
          value={to}
          onChange={setTo}
          required
          spellcheck={false}
        />
        <Text
          label="Its port"
          hint="Empty: the same"
          value={toPort}
          onChange={setToPort}
          inputMode="numeric"
        />
        <Text
          label="Only from"
          hint="A network, e.g. 203.0.113.0/24; empty: anywhere"
          value={from}
          onChange={setFrom}
          spellcheck={false}
        />
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Open it" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}
