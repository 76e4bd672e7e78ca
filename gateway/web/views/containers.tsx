import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { useResource } from '../lib/resource.ts';
import { mayChange } from '../lib/session.ts';
import { Confirm, Dialog, DialogButtons } from '../ui/dialog.tsx';
import {
  Badge,
  Button,
  Card,
  Check,
  Checks,
  Empty,
  Facts,
  Loaded,
  Note,
  ProblemNote,
  type State,
  say,
  Title,
  useAction,
} from '../ui/parts.tsx';

type Containers = Answer<'get', '/containers'>;
type App = Containers['apps'][number];
type Template = Answer<'get', '/containers/catalog'>['templates'][number];
type Password = Answer<'post', '/containers/{app}/password'>;
type Zone = App['options']['zones'][string][number];

const states: Record<App['state'], State> = {
  well: 'ok',
  working: 'info',
  starting: 'info',
  unwell: 'failed',
  'not installed': 'unknown',
};
const outcomes: Partial<Record<NonNullable<App['job']>['state'], readonly [State, string]>> = {
  undone: ['warning', 'Taken back: it did not become well'],
  failed: ['failed', 'Failed'],
};
const zones: readonly { key: Zone; title: string }[] = (
  ['lan', 'vpn', 'guest', 'dmz', 'wan'] as const
).map((key) => ({ key, title: key }));

export function ContainersView() {
  const all = useResource('containers', () => call('get', '/containers'), {
    every: 10,
    area: 'containers',
  });
  const [installing, setInstalling] = useState(false);
  const apps = all.data.value?.apps ?? [];
  return (
    <>
      <Title
        actions={
          mayChange.value && (
            <Button kind="primary" icon="add" onClick={() => setInstalling(true)}>
              Install an app
            </Button>
          )
        }
      >
        Apps in containers
      </Title>
      <Loaded of={all}>
        {(data) =>
          !data.available ? (
            <Note>
              This image was built without containers: <code>stages.containers</code> of{' '}
              <code>gateway.yaml</code> puts them in.
            </Note>
          ) : data.apps.length === 0 ? (
            <Card flush>
              <Empty icon="services">
                <p>No apps yet. Each runs without root, within limits, for whom you open it to.</p>
              </Empty>
            </Card>
          ) : (
            data.apps.map((one) => <AppCard key={one.app} of={one} reload={all.reload} />)
          )
        }
      </Loaded>
      {installing && (
        <Install
          taken={apps.map(({ app }) => app)}
          onClose={() => setInstalling(false)}
          onDone={all.reload}
        />
      )}
    </>
  );
}

function AppCard({ of: one, reload }: { of: App; reload: () => Promise<unknown> }) {
  const work = useAction();
  const [open, setOpen] = useState<'remove' | 'zones' | undefined>(undefined);
  const [told, setTold] = useState<Password | undefined>(undefined);
  const params = { app: one.app };
  const busy = work.busy || one.state === 'working';
  const ask = (path: 'update' | 'rollback' | 'restart') =>
    work.run(async () => {
      await call('post', `/containers/{app}/${path}`, { params });
      await reload();
    });
  const outcome = one.job && outcomes[one.job.state];
  return (
    <Card title={one.title} actions={<Badge state={states[one.state]}>{one.state}</Badge>}>
      <ProblemNote problem={work.problem} />
      {outcome && (
        <Note state={outcome[0]}>
          <strong>{outcome[1]}</strong>
          <span>{one.job?.message}</span>
        </Note>
      )}
      {one.password_untold && one.installed && mayChange.value && !told && (
        <Note>
          <span>Its first password is still to be told, once.</span>
          <span class="buttons">
            <Button
              icon="key"
              busy={work.busy}
              onClick={() =>
                work.run(async () => {
                  setTold(await call('post', '/containers/{app}/password', { params }));
                })
              }
            >
              Show it
            </Button>
          </span>
        </Note>
      )}
      {told && (
        <Note state="ok">
          <span>To log in for the first time; it is not told again:</span>
          <Facts
            of={[
              ...(told.user === null
                ? []
                : [['User', <code key="user">{told.user}</code>] as const]),
              ['Password', <code key="password">{told.password}</code>],
            ]}
          />
        </Note>
      )}
      <Facts
        of={[
          ...one.addresses.map(
            ({ name, url, text }) =>
              [
                name,
                <span key={name}>
                  {url !== null && (
                    <a class="mono" href={url} target="_blank" rel="noreferrer">
                      {url}
                    </a>
                  )}
                  <span class="small muted row-note">{text}</span>
                </span>,
              ] as const,
          ),
          ...one.parts.map(
            (part) =>
              [
                part.name,
                <span key={part.name}>
                  {part.state}
                  {part.health !== 'none' && `, ${part.health}`}
                  <span class="small muted row-note mono">
                    {part.image?.reference} {part.image?.digest.slice(7, 19)}
                  </span>
                </span>,
              ] as const,
          ),
        ]}
      />
      {one.notes.map((note) => (
        <p class="small muted" key={note}>
          {note}
        </p>
      ))}
      {mayChange.value && (
        <div class="buttons">
          {one.installed && (
            <>
              <Button icon="update" busy={busy} onClick={() => ask('update')}>
                Update
              </Button>
              <Button icon="rotate" busy={busy} onClick={() => ask('restart')}>
                Restart
              </Button>
              {one.may_roll_back && (
                <Button icon="back" busy={busy} onClick={() => ask('rollback')}>
                  Back to the image before
                </Button>
              )}
              <Button icon="firewall" disabled={busy} onClick={() => setOpen('zones')}>
                Who reaches it
              </Button>
            </>
          )}
          <Button kind="danger" icon="trash" disabled={busy} onClick={() => setOpen('remove')}>
            Remove
          </Button>
        </div>
      )}
      {open === 'zones' && <Zones of={one} onClose={() => setOpen(undefined)} onDone={reload} />}
      {open === 'remove' && <Remove of={one} onClose={() => setOpen(undefined)} onDone={reload} />}
    </Card>
  );
}

type DialogOf = { of: App; onClose: () => void; onDone: () => Promise<unknown> };

function Remove({ of: one, onClose, onDone }: DialogOf) {
  const [volumes, setVolumes] = useState(false);
  return (
    <Confirm
      title={`Remove ${one.title}?`}
      action="Remove"
      danger
      onClose={onClose}
      run={async () => {
        const query = { volumes: volumes ? ('true' as const) : ('false' as const) };
        await call('delete', '/containers/{app}', { params: { app: one.app }, query });
        say(`${one.title} is being removed`);
        await onDone();
      }}
    >
      <p>
        It stops and nobody reaches it any more. What is in its volumes stays unless you say so.
      </p>
      <Check
        label={`Its data too: ${one.volumes.join(', ') || 'it has none'}`}
        checked={volumes}
        onChange={setVolumes}
      />
    </Confirm>
  );
}

function Zones({ of: one, onClose, onDone }: DialogOf) {
  const work = useAction();
  const catalog = useResource('containers-catalog', () => call('get', '/containers/catalog'));
  const ports = catalog.data.value?.templates.find(({ id }) => id === one.template)?.ports ?? [];
  const [given, setGiven] = useState(one.options.zones);
  return (
    <Dialog title={`Who reaches ${one.title}`} onClose={onClose}>
      {ports.map((port) => (
        <Checks
          key={port.name}
          legend={`${port.name} (${port.protocol} ${one.options.ports[port.name] ?? port.port})`}
          values={given[port.name] ?? (port.zones as Zone[])}
          options={zones}
          onChange={(values) => setGiven({ ...given, [port.name]: values })}
        />
      ))}
      <ProblemNote problem={work.problem} />
      <DialogButtons
        action="Apply"
        busy={work.busy}
        onClose={onClose}
        onAction={async () => {
          const done = await work.run(async () => {
            await call('patch', '/containers/{app}', {
              params: { app: one.app },
              body: { options: { zones: given } },
            });
            await onDone();
          });
          if (done) onClose();
        }}
      />
    </Dialog>
  );
}

function Install({
  taken,
  onClose,
  onDone,
}: {
  taken: readonly string[];
  onClose: () => void;
  onDone: () => Promise<unknown>;
}) {
  const catalog = useResource('containers-catalog', () => call('get', '/containers/catalog'));
  const work = useAction();
  const install = async (one: Template) => {
    const done = await work.run(async () => {
      await call('post', '/containers', { body: { app: one.id, template: one.id } });
      say(`${one.title} is being installed`);
      await onDone();
    });
    if (done) onClose();
  };
  return (
    <Dialog title="Install an app" onClose={onClose} wide>
      <ProblemNote problem={work.problem} />
      <Loaded of={catalog}>
        {({ templates }) => (
          <ul class="rows">
            {templates.map((one) => (
              <li key={one.id}>
                <div class="row">
                  <div class="main">
                    <span class="name">{one.title}</span>
                    <div class="detail">{one.summary}</div>
                    <div class="detail">
                      Up to {one.parts.reduce((sum, part) => sum + part.memory_mib, 0)} MiB of
                      memory;{' '}
                      {one.ports
                        .map(({ name, zones: who }) => `${name} for ${who.join(', ') || 'nobody'}`)
                        .join('; ')}
                    </div>
                    <div class="detail mono">{one.parts.map(({ image }) => image).join(' ')}</div>
                  </div>
                  {taken.includes(one.id) ? (
                    <Badge state="info">There already</Badge>
                  ) : (
                    <Button icon="download" busy={work.busy} onClick={() => install(one)}>
                      {`Install ${one.title}`}
                    </Button>
                  )}
                </div>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Dialog>
  );
}
