import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { useResource } from '../lib/resource.ts';
import { link } from '../lib/router.ts';
import { mayChange } from '../lib/session.ts';
import { Dialog, DialogButtons } from '../ui/dialog.tsx';
import {
  Badge,
  Button,
  Card,
  Facts,
  Loaded,
  Note,
  ProblemNote,
  Text,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';

type Tuning = Answer<'get', '/tuning'>;
type Status = NonNullable<Tuning['status']>;
type Measurement = NonNullable<Tuning['measurement']>;

const isBusy = (tuning: Tuning | undefined) => (tuning?.running ?? null) !== null;

export function TuningView() {
  const tuning = useResource('tuning', () => call('get', '/tuning'), {
    every: (last) => (isBusy(last) ? 3 : 60),
    area: 'tuning',
  });
  const data = tuning.data.value;
  const [asking, setAsking] = useState(false);
  const work = useAction();
  return (
    <>
      <Title
        actions={
          mayChange.value && (
            <span class="buttons">
              <Button
                icon="search"
                busy={work.busy || data?.running === 'mtu'}
                onClick={() =>
                  work.run(async () => {
                    await call('post', '/tuning/mtu', { body: {} });
                    await tuning.reload();
                  })
                }
              >
                Look for the MTU
              </Button>
              <Button
                icon="chart"
                busy={data?.running === 'measure'}
                onClick={() => setAsking(true)}
              >
                Measure
              </Button>
            </span>
          )
        }
      >
        Network tuning
      </Title>
      <ProblemNote problem={work.problem} />
      <Loaded of={tuning}>{(all) => <Found of={all} />}</Loaded>
      {asking && (
        <Measure
          onClose={() => {
            setAsking(false);
            void tuning.reload();
          }}
        />
      )}
    </>
  );
}

function Measure({ onClose }: { onClose: () => void }) {
  const [server, setServer] = useState('');
  const work = useAction();
  return (
    <Dialog title="Measure latency under load" onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const isDone = await work.run(() =>
            call('post', '/tuning/measure', { body: { server } }),
          );
          if (isDone) onClose();
        }}
      >
        <Note state="warning">
          The line is full for about a minute, half of it without shaping: calls will stutter.
        </Note>
        <Text
          label="Server"
          hint="Where iperf3 --server runs, on a machine of yours beyond the uplink"
          value={server}
          onChange={setServer}
          required
          autofocus
        />
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Measure" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}

function Found({ of: { status, mtu, measurement, running } }: { of: Tuning }) {
  return (
    <>
      {running !== null && (
        <Note>{running === 'mtu' ? 'Looking for the MTU …' : 'Measuring: the line is full …'}</Note>
      )}
      <Card title="Uplinks">
        {status === null ? (
          <p>It has not run since the device was started.</p>
        ) : (
          <Uplinks of={status} />
        )}
      </Card>
      {measurement !== null && <Measured of={measurement} />}
      {mtu !== null && (
        <Card
          title="MTU of the VPN"
          actions={
            <span class="small muted">
              <When at={mtu.checked_at} />
            </span>
          }
        >
          <Facts
            of={[
              ['Now', mtu.current ?? 'unknown'],
              ['What fits all', mtu.suggestion ?? 'unknown: nobody answers'],
              ...mtu.paths.map(
                (one) => [`To ${one.address}`, one.mtu ?? 'nobody answers'] as const,
              ),
            ]}
          />
          {mtu.suggestion !== null && mtu.current !== null && mtu.suggestion < mtu.current && (
            <Note state="warning">
              Set <code>tuning.vpn_mtu</code> and <code>vpn.mtu</code> to {mtu.suggestion} in the{' '}
              <a href={link('config')}>configuration</a>.
            </Note>
          )}
        </Card>
      )}
      {status !== null && (
        <Card title="Kernel">
          <Facts
            of={status.sysctls.map(
              (one) =>
                [
                  one.key,
                  <span class="mono" key={one.key}>
                    {one.value} <span class="muted">before {one.before}</span>
                  </span>,
                ] as const,
            )}
          />
          <p class="small muted">{status.spread.why}.</p>
          {status.notes.map((note) => (
            <Note state="warning" key={note}>
              {note}
            </Note>
          ))}
        </Card>
      )}
    </>
  );
}

function Uplinks({ of: { uplinks } }: { of: Status }) {
  if (uplinks.length === 0)
    return (
      <p>
        None is shaped. Give 90 % of what the line does in <code>tuning.uplinks</code> of the{' '}
        <a href={link('config')}>configuration</a>, and calls and games stay quick while others
        load.
      </p>
    );
  return (
    <Facts
      of={uplinks.map(
        (one) =>
          [
            one.interface,
            <span key={one.interface}>
              <Badge state={one.shaper === null ? 'failed' : 'ok'}>
                {one.shaper ?? 'Not shaped'}
              </Badge>{' '}
              up {one.upload ?? '–'}, down {one.download ?? '–'} Mbit/s
            </span>,
          ] as const,
      )}
    />
  );
}

function Measured({ of: { idle_ms, before, after, ratio, measured_at } }: { of: Measurement }) {
  const row = (one: Measurement['before']) =>
    `${one.upload_ms} ms beside uploads (${one.upload_mbit} Mbit/s), ${one.download_ms} ms beside downloads (${one.download_mbit} Mbit/s)`;
  return (
    <Card
      title="Latency under load"
      actions={
        <span class="small muted">
          <When at={measured_at} />
        </span>
      }
    >
      <Facts
        of={[
          ['Idle', `${idle_ms} ms`],
          ['Without shaping', row(before)],
          ...(after === null ? [] : [['With shaping', row(after)] as const]),
          ...(ratio === null
            ? []
            : [['Left of what load adds', `${Math.round(ratio * 100)} %`] as const]),
        ]}
      />
    </Card>
  );
}
