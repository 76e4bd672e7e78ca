import { type Answer, call } from '../lib/api.ts';
import { useResource } from '../lib/resource.ts';
import { link } from '../lib/router.ts';
import { mayChange } from '../lib/session.ts';
import {
  Badge,
  Button,
  Card,
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

type Router = Answer<'get', '/router'>;
type Status = NonNullable<Router['status']>;

const states: Record<Status['state'], readonly [State, string]> = {
  mapped: ['ok', 'Open in the router'],
  direct: ['ok', 'No router before it'],
  refused: ['failed', 'Not open in the router'],
  offline: ['warning', 'No uplink'],
  off: ['unknown', 'Not asked'],
  error: ['failed', 'Failed'],
};

const lineStates: Record<Router['line']['state'], State> = {
  ok: 'ok',
  warning: 'warning',
  failed: 'failed',
  skipped: 'unknown',
};

export function RouterView() {
  const router = useResource('router', () => call('get', '/router'), {
    every: 30,
    area: 'router',
  });
  const work = useAction();
  const data = router.data.value;
  return (
    <>
      <Title
        actions={
          mayChange.value &&
          data &&
          data.mapping !== 'off' && (
            <Button
              icon="update"
              busy={work.busy || data.running}
              onClick={() =>
                work.run(async () => {
                  await call('post', '/router/renew');
                  say('The router was asked');
                  await router.reload();
                })
              }
            >
              Ask now
            </Button>
          )
        }
      >
        Router
      </Title>
      <ProblemNote problem={work.problem} />
      <Loaded of={router}>{(all) => <Found of={all} />}</Loaded>
    </>
  );
}

function Found({ of }: { of: Router }) {
  const { line, reached, status, mapping, guide } = of;
  return (
    <>
      <Card title="The way in">
        <Note state={lineStates[line.state]}>
          <strong>{line.found}</strong>
          {line.why !== null && <p>{line.why}</p>}
          {line.fix !== null && <p>{line.fix}</p>}
        </Note>
        <p>
          {reached === null ? (
            'No VPN client has come in from the internet since the VPN was started.'
          ) : (
            <>
              It works: a VPN client came in from <span class="mono">{reached.from}</span>{' '}
              <When at={reached.at} />.
            </>
          )}
        </p>
      </Card>
      <Card
        title="Asked of the router"
        actions={
          status !== null && (
            <Badge state={states[status.state][0]}>{states[status.state][1]}</Badge>
          )
        }
      >
        {mapping === 'off' ? (
          <p>
            Nothing. It asks for the VPN's port when <code>router.mapping</code> is{' '}
            <code>auto</code> in the <a href={link('config')}>configuration</a>.
          </p>
        ) : (
          <p>{status?.summary ?? 'It has not been asked yet.'}</p>
        )}
        <Facts
          of={(status?.families ?? []).map(
            (one) =>
              [
                `IPv${one.family}`,
                <span key={one.family}>
                  <span class="mono">
                    {one.own} ← {one.router ?? 'no router'}
                    {one.ports.map(({ external, internal }) => ` ${external} → ${internal}`)}
                  </span>
                  {one.notes.map((note) => (
                    <span class="small muted row-note" key={note}>
                      {note}
                    </span>
                  ))}
                </span>,
              ] as const,
          )}
        />
      </Card>
      <Card title="By hand">
        <ol>
          {guide.steps.map((step) => (
            <li key={step}>{step}</li>
          ))}
        </ol>
      </Card>
    </>
  );
}
