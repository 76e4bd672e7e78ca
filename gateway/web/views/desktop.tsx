import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { useResource } from '../lib/resource.ts';
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
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';

type Desktop = Answer<'get', '/desktop'>;
type Access = Answer<'post', '/desktop/start'>;

const states: Record<Desktop['state'], readonly [State, string]> = {
  stopped: ['unknown', 'Stopped'],
  starting: ['info', 'Starts'],
  running: ['ok', 'Running'],
  failed: ['failed', 'Failed'],
};

export function DesktopView() {
  const desktop = useResource('desktop', () => call('get', '/desktop'), {
    every: 15,
    area: 'desktop',
  });
  /** Kept by this page alone, and gone with it. */
  const [access, setAccess] = useState<Access | undefined>(undefined);
  const work = useAction();
  const runs = desktop.data.value?.state === 'running';
  const start = () =>
    work.run(async () => {
      setAccess(await call('post', '/desktop/start'));
      await desktop.reload();
    });
  const stop = () =>
    work.run(async () => {
      await call('post', '/desktop/stop');
      setAccess(undefined);
      await desktop.reload();
    });
  return (
    <>
      <Title
        actions={
          mayChange.value && (
            <span class="buttons">
              {runs && (
                <Button icon="power" busy={work.busy} onClick={stop}>
                  Stop
                </Button>
              )}
              <Button icon="play" kind="primary" busy={work.busy} onClick={start}>
                {runs ? 'Start anew' : 'Start'}
              </Button>
            </span>
          )
        }
      >
        Remote desktop
      </Title>
      <ProblemNote problem={work.problem} />
      <Loaded of={desktop}>
        {(view) => (
          <Card
            title="State"
            actions={<Badge state={states[view.state][0]}>{states[view.state][1]}</Badge>}
          >
            <p>
              For VPN clients alone, with a VNC viewer that speaks TLS (VeNCrypt), e.g. TigerVNC or
              Remmina. It ends {view.idle_minutes} min after the last viewer has gone, and all that
              is open on it with it.
            </p>
            <Facts
              of={[
                [
                  'Address',
                  <span class="mono" key="address">{`${view.address}:${view.port}`}</span>,
                ],
                ...(view.since === null
                  ? []
                  : [['Since', <When at={view.since} key="since" />] as const]),
              ]}
            />
          </Card>
        )}
      </Loaded>
      {access && runs && (
        <Card title="To log in">
          <Note state="warning">
            The password is shown this once. It is void when the desktop ends or is started anew.
          </Note>
          <Facts
            of={[
              [
                'User',
                <span class="mono" key="user">
                  {access.user}
                </span>,
              ],
              [
                'Password',
                <span class="mono" key="password">
                  {access.password}
                </span>,
              ],
              [
                'Certificate (SHA-256)',
                <span class="mono small" key="print">
                  {access.fingerprint}
                </span>,
              ],
            ]}
          />
        </Card>
      )}
    </>
  );
}
