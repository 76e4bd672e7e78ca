import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { bytes, plural } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { link } from '../lib/router.ts';
import { mayChange } from '../lib/session.ts';
import { Confirm } from '../ui/dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import { Badge, Button, Card, Loaded, Note, Search, say, Title, When } from '../ui/parts.tsx';

type Service = Answer<'get', '/services'>['services'][number];

const words = { ok: 'Well', warning: 'Warning', failed: 'Failed', unknown: 'Not known' } as const;
const order = { failed: 0, warning: 1, unknown: 2, ok: 3 } as const;

export function ServicesView() {
  const services = useResource('services', () => call('get', '/services'), {
    every: 30,
    area: 'services',
  });
  const [wanted, setWanted] = useState('');
  const [restart, setRestart] = useState<Service | undefined>(undefined);
  return (
    <>
      <Title>Services</Title>
      <Loaded of={services}>
        {({ services: all }) => {
          const shown = all
            .filter(({ id, title, unit }) =>
              `${id} ${title} ${unit}`.toLowerCase().includes(wanted.toLowerCase()),
            )
            .toSorted((a, b) => order[a.health] - order[b.health] || (a.title < b.title ? -1 : 1));
          const bad = all.filter(
            ({ health }) => health === 'failed' || health === 'warning',
          ).length;
          return (
            <>
              <p class="muted">
                {bad === 0 ? `All ${all.length} are well.` : `${bad} of ${all.length} need a look.`}
              </p>
              <Search value={wanted} onChange={setWanted} label="Find a service" />
              <Card flush>
                <ul class="rows">
                  {shown.map((one) => (
                    <li key={one.id}>
                      <Row of={one} all={all} onRestart={() => setRestart(one)} />
                    </li>
                  ))}
                </ul>
              </Card>
            </>
          );
        }}
      </Loaded>
      {restart && (
        <Confirm
          title={`${restart.restart === 'reload' ? 'Reload' : 'Restart'} ${restart.title}?`}
          action={restart.restart === 'reload' ? 'Reload' : 'Restart'}
          onClose={() => setRestart(undefined)}
          run={async () => {
            const { did, state } = await call('post', '/services/{id}/restart', {
              params: { id: restart.id },
            });
            say(`${restart.title}: ${did === 'reload' ? 'reloaded' : 'restarted'}, now ${state}`);
            await services.reload();
          }}
        >
          <p>
            {restart.note ??
              (restart.restart === 'reload'
                ? 'It reads its settings anew; connections stay.'
                : 'It is away for a moment.')}
          </p>
          <Dependants of={restart} all={services.data.value?.services ?? []} />
        </Confirm>
      )}
    </>
  );
}

function Dependants({ of, all }: { of: Service; all: readonly Service[] }) {
  const those = all.filter(({ needs }) => needs.includes(of.id)).map(({ title }) => title);
  return those.length === 0 ? null : <Note>Needed by {those.join(', ')}.</Note>;
}

function Row({
  of,
  all,
  onRestart,
}: {
  of: Service;
  all: readonly Service[];
  onRestart: () => void;
}) {
  const needs = of.needs.map((id) => all.find((one) => one.id === id)?.title ?? id);
  const dependants = all.filter((one) => one.needs.includes(of.id)).map(({ title }) => title);
  return (
    <div class="row">
      <div class="main">
        <span class="name">{of.title}</span> <span class="detail mono">{of.unit}</span>
        <div class="detail">{of.detail}</div>
        <div class="detail">
          {of.state} <When at={of.since} never="" />
          {of.restarts > 0 && ` · restarted by itself ${plural(of.restarts, 'time')}`}
          {of.memory_bytes !== null && ` · ${bytes(of.memory_bytes)}`}
          {of.ports.length > 0 &&
            ` · ${of.ports
              .map(
                ({ port, protocol, zones }) =>
                  `${protocol} ${port} ${zones.length > 0 ? `for ${zones.join(', ')}` : 'on the gateway alone'}`,
              )
              .join('; ')}`}
        </div>
        {(needs.length > 0 || dependants.length > 0) && (
          <div class="detail">
            {needs.length > 0 && `Needs ${needs.join(', ')}. `}
            {dependants.length > 0 && `Needed by ${dependants.join(', ')}.`}
          </div>
        )}
      </div>
      <Badge state={of.health}>{words[of.health]}</Badge>
      {mayChange.value && (
        <>
          <a
            class="button bare square"
            href={`${link('logs')}?unit=${encodeURIComponent(of.unit)}`}
            title={`Logs of ${of.title}`}
          >
            <span class="hidden">Logs of {of.title}</span>
            <Icon name="log" />
          </a>
          {of.restart !== 'no' && (
            <Button square icon="update" onClick={onRestart}>
              {`${of.restart === 'reload' ? 'Reload' : 'Restart'} ${of.title}`}
            </Button>
          )}
        </>
      )}
    </div>
  );
}
