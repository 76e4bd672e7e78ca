import { useState } from 'preact/hooks';
import { type Answer, call, text } from '../lib/api.ts';
import { bytes, plural } from '../lib/format.ts';
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
import { download } from './vpn-handover.tsx';

type Backups = Answer<'get', '/backup'>;
type Target = Backups['targets'][number];
type Task = Backups['running'][number];

const tasks: Record<Task, string> = {
  backup: 'A backup is being made',
  check: 'A repository is being checked',
  test: 'A restore is being tried',
};

const isBusy = (backups: Backups | undefined) => (backups?.running.length ?? 0) > 0;

export function BackupView() {
  const backups = useResource('backup', () => call('get', '/backup'), {
    every: (last) => (isBusy(last) ? 3 : 30),
  });
  const data = backups.data.value;
  const [sheet, setSheet] = useState(false);
  const work = useAction();
  const run = (what: Task, target?: string) =>
    work.run(async () => {
      await call('post', '/backup/run', { body: { what, ...(target ? { target } : {}) } });
      await backups.reload();
    });
  const hasTargets = (data?.targets.length ?? 0) > 0;
  return (
    <>
      <Title
        actions={
          mayChange.value &&
          hasTargets && (
            <>
              <Button icon="key" onClick={() => setSheet(true)}>
                Recovery sheet
              </Button>
              <Button
                kind="primary"
                icon="download"
                busy={work.busy || data?.running.includes('backup') === true}
                onClick={() => run('backup')}
              >
                Back up now
              </Button>
            </>
          )
        }
      >
        Backups
      </Title>
      <ProblemNote problem={work.problem} />
      <Loaded of={backups}>
        {(all) => (
          <>
            {all.running.map((task) => (
              <Note key={task}>
                <strong>{tasks[task]}</strong>
                <span>It goes on if you close this page.</span>
              </Note>
            ))}
            {all.restore && (
              <Note state={all.restore.ok ? 'ok' : 'failed'}>
                <strong>{all.restore.message}</strong>
                <span>
                  <When at={all.restore.at} />
                </span>
              </Note>
            )}
            {all.targets.length === 0 ? (
              <Card flush>
                <Empty icon="download">
                  <p>
                    Nothing is backed up yet. Targets (a disk, SFTP, a share, S3, B2) are set in the
                    configuration, key <code>backup.targets</code>.
                  </p>
                </Empty>
              </Card>
            ) : (
              all.targets.map((one) => (
                <TargetCard key={one.name} of={one} busy={isBusy(data) || work.busy} run={run} />
              ))
            )}
          </>
        )}
      </Loaded>
      {sheet && (
        <Confirm
          title="Take the recovery sheet?"
          action="Download"
          onClose={() => setSheet(false)}
          run={async () => {
            download('gateway-device.yaml', await text('post', '/backup/recovery-sheet', {}));
            say('Keep it where the gateway is not');
          }}
        >
          <p>
            It makes a fresh card this gateway again, and whoever has it can read every backup. Keep
            it in a password manager or on paper. That it was taken is in the audit log.
          </p>
        </Confirm>
      )}
    </>
  );
}

function stateOf({ late, last_success, last_attempt }: Target): readonly [State, string] {
  if (last_attempt?.state === 'failed') return ['failed', 'Failed'];
  if (late) return ['failed', 'Late'];
  if (last_attempt?.state === 'partial') return ['warning', 'Not all'];
  if (last_attempt?.state === 'away') return ['warning', 'Away'];
  return last_success ? ['ok', 'Backed up'] : ['unknown', 'Not yet'];
}

function TargetCard({
  of,
  busy,
  run,
}: {
  of: Target;
  busy: boolean;
  run: (what: Task, target: string) => void;
}) {
  const [state, words] = stateOf(of);
  const { last_success: last, last_attempt: attempt } = of;
  return (
    <Card title={of.name} actions={<Badge state={state}>{words}</Badge>}>
      <p class="mono small">{of.location}</p>
      {attempt && attempt.state !== 'ok' && (
        <Note state={attempt.state === 'failed' ? 'failed' : 'warning'}>
          <strong>{attempt.message}</strong>
          <span>{attempt.fix}</span>
        </Note>
      )}
      <Facts
        of={[
          [
            'Last backup',
            last ? (
              <span key="last">
                <When at={last.at} />
                <span class="small muted row-note">
                  {plural(last.files, 'file')}, {bytes(last.bytes)}, {bytes(last.added)} new
                </span>
              </span>
            ) : (
              'None yet'
            ),
          ],
          ['Next', <When at={of.next_at} key="next" />],
          ['Repository', of.size_bytes === null ? 'not measured yet' : bytes(of.size_bytes)],
          ['Check', <Outcome of={of.check} key="check" />],
          ['Restore test', <Outcome of={of.test} key="test" />],
        ]}
      />
      {mayChange.value && (
        <div class="buttons">
          <Button icon="download" disabled={busy} onClick={() => run('backup', of.name)}>
            Back up
          </Button>
          <Button icon="search" disabled={busy} onClick={() => run('check', of.name)}>
            Check
          </Button>
          <Button icon="rotate" disabled={busy} onClick={() => run('test', of.name)}>
            Try a restore
          </Button>
        </div>
      )}
      {of.snapshots.length > 0 && (
        <details>
          <summary>{plural(of.snapshots.length, 'snapshot')}</summary>
          <ul class="small">
            {of.snapshots.map(({ id, at, host }) => (
              <li key={id}>
                <span class="mono">{id}</span> <When at={at} /> {host}
              </li>
            ))}
          </ul>
        </details>
      )}
    </Card>
  );
}

function Outcome({ of }: { of: Target['check'] | Target['test'] }) {
  if (!of) return <>not yet</>;
  return (
    <span>
      <Badge state={of.ok ? 'ok' : 'failed'}>{of.ok ? 'Whole' : 'Failed'}</Badge>{' '}
      <span class="small muted">
        <When at={of.at} />
      </span>
      {!of.ok && (
        <span class="small row-note">
          {of.message} {of.fix}
        </span>
      )}
    </span>
  );
}
