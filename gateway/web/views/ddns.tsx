import { type Answer, call } from '../lib/api.ts';
import { plural } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { link } from '../lib/router.ts';
import { mayChange } from '../lib/session.ts';
import {
  Badge,
  Button,
  Card,
  Empty,
  Facts,
  Loaded,
  Note,
  ProblemNote,
  type State,
  say,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';
import { ddnsState } from './overview.tsx';

type Ddns = Answer<'get', '/ddns'>;
type Status = NonNullable<Ddns['status']>;
type Provider = Status['providers'][number];

const providerStates: Record<Provider['state'], readonly [State, string]> = {
  active: ['ok', 'Active'],
  failing: ['warning', 'Failing, tried again'],
  down: ['failed', 'Down'],
  stopped: ['failed', 'Stopped'],
  standby: ['unknown', 'Stands by'],
};

export function DdnsView() {
  const ddns = useResource('ddns', () => call('get', '/ddns'), { every: 30, area: 'ddns' });
  const work = useAction();
  const update = (again: boolean) =>
    work.run(async () => {
      await call('post', '/ddns/update', { body: { again } });
      say('Looked for a new address');
      await ddns.reload();
    });
  const data = ddns.data.value;
  return (
    <>
      <Title
        actions={
          mayChange.value &&
          data?.configured && (
            <Button icon="update" busy={work.busy || data.running} onClick={() => update(false)}>
              Look now
            </Button>
          )
        }
      >
        Dynamic DNS
      </Title>
      <ProblemNote problem={work.problem} />
      <Loaded of={ddns}>
        {({ configured, status }) =>
          !configured ? (
            <Card flush>
              <Empty icon="globe">
                <p>
                  Not set up: the gateway has no name in the internet. Providers are set in{' '}
                  <code>gateway-device.yaml</code> on the boot partition, key <code>ddns</code>.
                </p>
              </Empty>
            </Card>
          ) : status === null ? (
            <Note>It has not looked yet since the device was started.</Note>
          ) : (
            <Found of={status} onAgain={() => update(true)} />
          )
        }
      </Loaded>
    </>
  );
}

function Found({ of, onAgain }: { of: Status; onAgain: () => void }) {
  return (
    <>
      <Card
        title={<Badge state={ddnsState(of.state)}>{of.state}</Badge>}
        actions={
          <span class="small muted">
            Looked <When at={of.checked_at} />
          </span>
        }
      >
        <p>{of.summary}</p>
        <Facts
          of={[
            ...(of.active
              ? [
                  [
                    'Name',
                    <span class="mono" key="names">
                      {of.active.hostnames.join(', ')}
                    </span>,
                  ] as const,
                ]
              : []),
            ...of.addresses.map(
              ({ family, address, notes }) =>
                [
                  `IPv${family}`,
                  <span key={family}>
                    <span class="mono">{address ?? 'none'}</span>
                    {notes.map((note) => (
                      <span class="small muted row-note" key={note}>
                        {note}
                      </span>
                    ))}
                  </span>,
                ] as const,
            ),
          ]}
        />
      </Card>
      {of.providers.map((provider) => {
        const [state, words] = providerStates[provider.state];
        return (
          <Card
            key={provider.provider}
            title={provider.provider}
            actions={<Badge state={state}>{words}</Badge>}
          >
            <p class="mono small">{provider.hostnames.join(', ')}</p>
            {provider.stopped && (
              <Note state="failed">
                <strong>{provider.stopped.reason}</strong>
                <span>{provider.stopped.fix}</span>
                {mayChange.value && (
                  <span class="buttons">
                    <Button icon="update" onClick={onAgain}>
                      It is mended: ask again
                    </Button>
                  </span>
                )}
              </Note>
            )}
            <Facts
              of={provider.records.map(
                (record) =>
                  [
                    record.type === 'A' ? 'IPv4 (A)' : 'IPv6 (AAAA)',
                    <span key={record.type}>
                      <span class="mono">{record.address ?? 'none confirmed'}</span>
                      <span class="small muted row-note">
                        {record.since !== null && (
                          <>
                            since <When at={record.since} />{' '}
                          </>
                        )}
                        {record.failures > 0 &&
                          `${plural(record.failures, 'try', 'tries')} failed `}
                        {record.next_attempt !== null && (
                          <>
                            next <When at={record.next_attempt} />
                          </>
                        )}
                      </span>
                      {record.notes.map((note) => (
                        <span class="small muted row-note" key={note}>
                          {note}
                        </span>
                      ))}
                    </span>,
                  ] as const,
              )}
            />
          </Card>
        );
      })}
      {!of.registered && (
        <p class="muted small">
          VPN clients look for the gateway by this name: see <a href={link('vpn')}>VPN</a>.
        </p>
      )}
    </>
  );
}
