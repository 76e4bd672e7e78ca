import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { plural } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { mayChange } from '../lib/session.ts';
import { Confirm } from '../ui/dialog.tsx';
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

type Updates = Answer<'get', '/updates'>;
type Last = NonNullable<Updates['last']>;

const outcomes: Record<Last['state'], readonly [State, string]> = {
  ok: ['ok', 'Installed, and the gateway is well'],
  nothing: ['ok', 'There was nothing to install'],
  failed: ['failed', 'Not installed'],
  undone: ['warning', 'Taken back: the gateway was unwell after it'],
  unwell: ['failed', 'Installed, and the gateway is unwell since'],
};

const automatic = { off: 'Off', security: 'Security updates', all: 'All updates' } as const;
const running = {
  refresh: 'The lists of packages are being fetched',
  security: 'Security updates are being installed',
  all: 'All updates are being installed',
  automatic: 'Automatic updates are being installed',
} as const;

const isBusy = (updates: Updates | undefined) => (updates?.running ?? null) !== null;

export function UpdatesView() {
  const updates = useResource('updates', () => call('get', '/updates'), {
    every: (last) => (isBusy(last) ? 3 : 30),
    area: 'updates',
  });
  const data = updates.data.value;
  const busy = isBusy(data);
  const [open, setOpen] = useState<'security' | 'all' | 'reboot' | undefined>(undefined);
  const work = useAction();
  const security = data?.packages.filter((one) => one.security).length ?? 0;
  return (
    <>
      <Title
        actions={
          mayChange.value && (
            <Button
              icon="update"
              busy={work.busy || data?.running === 'refresh'}
              onClick={() =>
                work.run(async () => {
                  await call('post', '/updates/refresh');
                  await updates.reload();
                })
              }
            >
              Look for updates
            </Button>
          )
        }
      >
        Updates
      </Title>
      <ProblemNote problem={work.problem} />
      <Loaded of={updates}>
        {(all) => (
          <>
            {all.running && (
              <Note>
                <strong>{running[all.running]}</strong>
                <span>It goes on if you close this page.</span>
              </Note>
            )}
            {all.reboot_required && (
              <Note state="warning">
                <strong>A restart is due</strong>
                <span>
                  {all.reboot_packages.length > 0
                    ? `Because of ${all.reboot_packages.join(', ')}. `
                    : ''}
                  {all.reboot === 'never'
                    ? 'It does not restart by itself.'
                    : `It restarts by itself at ${all.reboot}.`}
                </span>
                {mayChange.value && (
                  <span class="buttons">
                    <Button icon="power" onClick={() => setOpen('reboot')}>
                      Restart now
                    </Button>
                  </span>
                )}
              </Note>
            )}
            <Card
              title={
                all.packages.length === 0
                  ? 'All is up to date'
                  : `${plural(all.packages.length, 'update')} to install`
              }
              actions={
                <span class="small muted">
                  Looked <When at={all.refreshed_at} />
                </span>
              }
              flush
            >
              {all.packages.length === 0 ? (
                <Empty icon="ok">
                  <p>Nothing waits.</p>
                </Empty>
              ) : (
                <>
                  {mayChange.value && (
                    <div class="row buttons">
                      {security > 0 && (
                        <Button kind="primary" disabled={busy} onClick={() => setOpen('security')}>
                          {`Install ${plural(security, 'security update')}`}
                        </Button>
                      )}
                      <Button disabled={busy} onClick={() => setOpen('all')}>
                        Install all
                      </Button>
                    </div>
                  )}
                  <ul class="rows">
                    {all.packages.map((one) => (
                      <li key={one.name}>
                        <div class="row">
                          <div class="main">
                            <span class="name">{one.name}</span>
                            <div class="detail mono">
                              {one.installed ?? 'new'} → {one.available}
                            </div>
                          </div>
                          {one.security && (
                            <Badge state="warning" icon="vpn">
                              Security
                            </Badge>
                          )}
                        </div>
                      </li>
                    ))}
                  </ul>
                </>
              )}
            </Card>
            <Card title="By itself">
              <Facts
                of={[
                  ['Installs', automatic[all.automatic]],
                  ['Restarts', all.reboot === 'never' ? 'Never' : `At ${all.reboot}, if it must`],
                ]}
              />
            </Card>
            {all.last && <LastRun of={all.last} />}
            {mayChange.value && !all.reboot_required && (
              <div class="buttons">
                <Button icon="power" onClick={() => setOpen('reboot')}>
                  Restart the gateway
                </Button>
              </div>
            )}
          </>
        )}
      </Loaded>
      {(open === 'security' || open === 'all') && (
        <Confirm
          title={open === 'all' ? 'Install all updates?' : 'Install security updates?'}
          action="Install"
          onClose={() => setOpen(undefined)}
          run={async () => {
            await call('post', '/updates/apply', { body: { what: open } });
            say('Updates are being installed');
            await updates.reload();
          }}
        >
          <p>
            Services may be away for moments. If the gateway is unwell afterwards, the packages of
            before return by themselves.
          </p>
        </Confirm>
      )}
      {open === 'reboot' && (
        <Confirm
          title="Restart the gateway?"
          action="Restart"
          danger
          onClose={() => setOpen(undefined)}
          run={async () => {
            const { seconds } = await call('post', '/reboot');
            say(`The gateway restarts in ${seconds} s`);
          }}
        >
          <p>
            The internet and the VPN are away for about a minute. This page stays, and connects
            again by itself.
          </p>
        </Confirm>
      )}
    </>
  );
}

function LastRun({ of }: { of: Last }) {
  const [state, words] = outcomes[of.state];
  return (
    <Card
      title="The last time"
      actions={
        <span class="small muted">
          <When at={of.finished_at} />
        </span>
      }
    >
      <div class="badges">
        <Badge state={state}>{words}</Badge>
      </div>
      {of.detail !== '' && <p>{of.detail}</p>}
      {of.checks.map(({ id, detail }) => (
        <Note state="warning" key={id}>
          <strong>{id}</strong>
          <span>{detail}</span>
        </Note>
      ))}
      {of.packages.length > 0 && (
        <details>
          <summary>{plural(of.packages.length, 'package')}</summary>
          <ul class="small mono">
            {of.packages.map(({ name, before, after }) => (
              <li key={name}>
                {name} {before ?? 'new'} → {after ?? 'removed'}
              </li>
            ))}
          </ul>
        </details>
      )}
      {of.kept.length > 0 && (
        <p class="small muted">Could not be brought back: {of.kept.join(', ')}</p>
      )}
    </Card>
  );
}
