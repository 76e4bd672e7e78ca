import { type Answer, call } from '../lib/api.ts';
import { duration, plural } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { link } from '../lib/router.ts';
import { mayChange } from '../lib/session.ts';
import {
  Badge,
  Button,
  Card,
  Empty,
  Loaded,
  Note,
  ProblemNote,
  type State,
  say,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';

type Alerts = Answer<'get', '/alerts'>;
type Told = Alerts['active'][number];
type Channel = Alerts['channels'][number];

const severities: Record<Told['severity'], readonly [State, string]> = {
  critical: ['failed', 'Critical'],
  warning: ['warning', 'Warning'],
  info: ['info', 'For information'],
};

const outcomes = {
  waiting: 'waits',
  held: 'held until quiet hours end',
  delivered: 'arrived',
  failed: 'failed',
  dropped: 'left out',
} as const;

export function AlertsView() {
  const alerts = useResource('alerts', () => call('get', '/alerts'), { every: 30, area: 'alerts' });
  return (
    <>
      <Title>Alerts</Title>
      <Loaded of={alerts}>
        {(all) => (
          <>
            {all.quiet && (
              <Note>It is quiet hours: what is not critical is told when they end.</Note>
            )}
            <Card title={all.active.length === 0 ? 'Active' : `${all.active.length} active`} flush>
              {all.active.length === 0 ? (
                <Empty icon="ok">
                  <p>Nothing is wrong.</p>
                </Empty>
              ) : (
                <List of={all.active} />
              )}
            </Card>
            {all.suppressed.length > 0 && (
              <Card title="Held back" flush>
                <ul class="rows">
                  {all.suppressed.map((one) => (
                    <li key={one.id}>
                      <div class="row">
                        <div class="main">
                          <span class="name">{one.text}</span>
                          <div class="detail">
                            {one.suppressed_by === null
                              ? 'It may be over at once'
                              : `Follows from ${one.suppressed_by}`}{' '}
                            · <When at={one.fired_at} />
                          </div>
                        </div>
                      </div>
                    </li>
                  ))}
                </ul>
              </Card>
            )}
            <Card title="Channels" flush>
              {all.channels.length === 0 ? (
                <Empty icon="bell">
                  <p>
                    Nobody is told. Set up e-mail, ntfy, Slack or a webhook under{' '}
                    <code>alerts.channels</code> in the <a href={link('config')}>configuration</a>.
                  </p>
                </Empty>
              ) : (
                <ul class="rows">
                  {all.channels.map((one) => (
                    <li key={one.name}>
                      <ChannelRow of={one} />
                    </li>
                  ))}
                </ul>
              )}
              <Heartbeat of={all.heartbeat} />
            </Card>
            <Card title="Over" flush>
              {all.recent.length === 0 ? (
                <Empty icon="bell">
                  <p>No alert so far.</p>
                </Empty>
              ) : (
                <List of={all.recent} />
              )}
            </Card>
          </>
        )}
      </Loaded>
    </>
  );
}

function List({ of }: { of: readonly Told[] }) {
  return (
    <ul class="rows">
      {of.map((one) => {
        const [state, words] = severities[one.severity];
        const over = one.resolved_at !== null;
        return (
          <li key={one.id}>
            <div class="row">
              <div class="main">
                <span class="name">{one.text}</span>
                <div class="detail">
                  {one.source} · began <When at={one.fired_at} />
                  {one.resolved_at !== null &&
                    `, lasted ${duration((Date.parse(one.resolved_at) - Date.parse(one.fired_at)) / 1000)}`}
                  {one.flapping && ' · comes and goes'}
                </div>
                {one.deliveries.length > 0 && (
                  <div class="detail">
                    {[
                      ...new Set(
                        one.deliveries.map(
                          ({ channel, outcome }) => `${channel}: ${outcomes[outcome]}`,
                        ),
                      ),
                    ].join(', ')}
                  </div>
                )}
              </div>
              <Badge state={over ? 'ok' : state}>{over ? 'Over' : words}</Badge>
            </div>
          </li>
        );
      })}
    </ul>
  );
}

const channelStates: Record<Channel['state'], readonly [State, string]> = {
  ok: ['ok', 'Works'],
  failing: ['warning', 'Failing, tried again'],
  broken: ['failed', 'Broken'],
};

function ChannelRow({ of }: { of: Channel }) {
  const work = useAction();
  const [state, words] = channelStates[of.state];
  return (
    <div class="row">
      <div class="main">
        <span class="name">{of.name}</span> <span class="detail">{of.type}</span>
        <div class="detail">
          Last arrived: <When at={of.delivered_at} />
          {of.waiting > 0 && ` · ${plural(of.waiting, 'message')} waiting`}
          {of.next_attempt_at !== null && (
            <>
              {' '}
              · next try <When at={of.next_attempt_at} />
            </>
          )}
        </div>
        {of.problem !== null && <div class="detail">{of.problem}</div>}
        <ProblemNote problem={work.problem} />
      </div>
      <Badge state={state}>{words}</Badge>
      {mayChange.value && (
        <Button
          busy={work.busy}
          onClick={() =>
            work.run(async () => {
              const { delivered, answer } = await call('post', '/alerts/test', {
                body: { channel: of.name },
              });
              say(
                `${of.name}: ${delivered ? 'the test arrived' : 'the test did not arrive'}. ${answer}`,
              );
            })
          }
        >
          Send a test
        </Button>
      )}
    </div>
  );
}

function Heartbeat({ of }: { of: Alerts['heartbeat'] }) {
  if (of === null) return null;
  return (
    <div class="row">
      <div class="main">
        <span class="name">Heartbeat</span>
        <div class="detail">
          Last sent: <When at={of.sent_at} />
          {of.problem !== null && ` · ${of.problem}`}
        </div>
      </div>
      <Badge state={of.state === 'ok' ? 'ok' : of.state === 'failing' ? 'warning' : 'unknown'}>
        {of.state === 'ok' ? 'Works' : of.state === 'failing' ? 'Failing' : 'Not known'}
      </Badge>
    </div>
  );
}
