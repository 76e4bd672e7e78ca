import { useState } from 'preact/hooks';
import { type Answer, call, callRoute } from '../lib/api.ts';
import { quantity } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { mayChange } from '../lib/session.ts';
import { Chart } from '../ui/chart.tsx';
import { Confirm, Dialog, DialogButtons } from '../ui/dialog.tsx';
import { Icon } from '../ui/icon.tsx';
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
  Text,
  Title,
  useAction,
} from '../ui/parts.tsx';

type Extension = Answer<'get', '/extensions'>['extensions'][number];
type Shown = Answer<'get', '/extensions/{name}/card'>;
type Action = NonNullable<Shown['actions']>[number];
type Scalar = string | number | boolean | null;

export const useExtensions = () =>
  useResource('extensions', () => call('get', '/extensions'), { every: 60, area: 'extensions' });

const states: Record<Extension['state'], readonly [State, string]> = {
  waits: ['ok', 'Ready'],
  runs: ['ok', 'Runs'],
  files: ['ok', 'Files only'],
  off: ['unknown', 'Off'],
  failed: ['failed', 'Failed'],
  refused: ['failed', 'Not for this gateway'],
};

const cardStates: Record<State, string> = {
  ok: 'OK',
  warning: 'Warning',
  failed: 'Failed',
  unknown: 'Not known',
  info: 'Note',
};

export function ExtensionsView() {
  const all = useExtensions();
  return (
    <>
      <Title>Extensions</Title>
      <Loaded of={all}>
        {({ extensions }) =>
          extensions.length === 0 ? (
            <Card flush>
              <Empty icon="add">
                <p>
                  None in this image. What others have made for this gateway is named in{' '}
                  <code>extensions</code> of <code>gateway.yaml</code>.
                </p>
              </Empty>
            </Card>
          ) : (
            extensions.map((one) => <One key={one.name} of={one} onChange={all.reload} />)
          )
        }
      </Loaded>
    </>
  );
}

function One({ of, onChange }: { of: Extension; onChange: () => Promise<void> }) {
  const [turning, setTurning] = useState(false);
  const work = useAction();
  const [state, words] = states[of.state];
  const isOn = of.state !== 'off';
  const turn = async (to: 'enable' | 'disable') => {
    await call('post', `/extensions/{name}/${to}`, { params: { name: of.name } });
    say(`${of.title} is switched ${to === 'enable' ? 'on' : 'off'}`);
    await onChange();
  };
  return (
    <Card title={of.title} actions={<Badge state={state}>{words}</Badge>}>
      <p class="muted small">
        {of.summary}
        {of.version !== null && ` · version ${of.version}`}
      </p>
      {(of.state === 'failed' || of.state === 'refused') && <Note state="failed">{of.detail}</Note>}
      {of.card && (of.state === 'waits' || of.state === 'runs') && (
        <ShownCard name={of.name} every={of.card.every} onDone={onChange} />
      )}
      <ProblemNote problem={work.problem} />
      <Permissions of={of} />
      {mayChange.value && of.state !== 'refused' && of.state !== 'files' && (
        <div class="buttons">
          <Button
            icon={isOn ? 'pause' : 'play'}
            busy={work.busy}
            onClick={() => (isOn ? setTurning(true) : work.run(() => turn('enable')))}
          >
            {isOn ? 'Switch off' : 'Switch on'}
          </Button>
        </div>
      )}
      {turning && (
        <Confirm
          title={`Switch ${of.title} off?`}
          action="Switch off"
          onClose={() => setTurning(false)}
          run={() => turn('disable')}
        >
          <p>
            It stops, also after a restart of the gateway. It stays installed, and keeps its data.
          </p>
        </Confirm>
      )}
    </Card>
  );
}

function Permissions({ of }: { of: Extension }) {
  if (of.permissions.length === 0) return null;
  return (
    <details>
      <summary class="small">
        What it may
        {of.permissions.some(({ reaches }) => reaches) && ', some of it beyond itself'}
      </summary>
      <Facts
        of={of.permissions.map(
          ({ what, may, reaches }) =>
            [
              what,
              <span key={what}>
                {reaches && <Icon name="warning" />} {may}
              </span>,
            ] as const,
        )}
      />
    </details>
  );
}

/** What the extension has to show: its data, drawn here. */
function ShownCard({
  name,
  every,
  onDone,
}: {
  name: string;
  every: number;
  onDone: () => Promise<void>;
}) {
  const card = useResource(
    `extension:${name}`,
    () => call('get', '/extensions/{name}/card', { params: { name } }),
    { every, area: 'extensions' },
  );
  return (
    <Loaded of={card}>
      {(data) => (
        <>
          {data.text !== undefined && (
            <p>
              {data.state && data.state !== 'ok' && (
                <Badge state={data.state}>{cardStates[data.state]}</Badge>
              )}{' '}
              {data.text}
            </p>
          )}
          {data.values && data.values.length > 0 && (
            <Facts
              of={data.values.map(
                ({ label, value, unit, state }) =>
                  [
                    label,
                    state ? (
                      <Badge key={label} state={state}>
                        {inWords(value, unit)}
                      </Badge>
                    ) : (
                      inWords(value, unit)
                    ),
                  ] as const,
              )}
            />
          )}
          {data.table && <Table of={data.table} name={name} />}
          {data.chart && <Lines of={data.chart} />}
          {mayChange.value && data.actions && (
            <div class="buttons">
              {data.actions.map((action) => (
                <Do
                  key={action.label}
                  action={action}
                  onDone={async () => {
                    await card.reload();
                    await onDone();
                  }}
                />
              ))}
            </div>
          )}
        </>
      )}
    </Loaded>
  );
}

function inWords(value: Scalar, unit = ''): string {
  if (typeof value === 'number') return quantity(value, unit);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return value ?? '–';
}

function Table({ of, name }: { of: NonNullable<Shown['table']>; name: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
    <section class="scroll" tabIndex={0} aria-label={`Table of ${name}`}>
      <table>
        <thead>
          <tr>
            {of.columns.map((column) => (
              <th scope="col" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {of.rows.map((row, index) => (
            <tr key={`${index} ${row.join()}`}>
              {row.map((cell, column) => (
                <td key={of.columns[column]}>{inWords(cell)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Lines({ of }: { of: NonNullable<Shown['chart']> }) {
  const times = of.lines.flatMap(({ points }) => points.map(([time]) => time));
  if (times.length === 0) return null;
  return (
    <Chart
      title={of.title}
      unit={of.unit}
      from={Math.min(...times)}
      to={Math.max(...times)}
      lines={of.lines.map(({ name, points }) => ({
        name,
        times: points.map(([time]) => time),
        values: points.map(([, value]) => value),
      }))}
    />
  );
}

function Do({ action, onDone }: { action: Action; onDone: () => Promise<void> }) {
  const [asking, setAsking] = useState(false);
  const [given, setGiven] = useState<Record<string, string>>({});
  const work = useAction();
  const { label, fields = [], confirm } = action;
  const run = () =>
    work.run(async () => {
      const answer = await callRoute(action.route, { ...action.body, ...given });
      const text = (answer as { text?: unknown } | null)?.text;
      say(typeof text === 'string' ? text.slice(0, 200) : `${label}: done`);
      setAsking(false);
      setGiven({});
      await onDone();
    });
  const needsDialog = fields.length > 0 || confirm !== undefined;
  return (
    <>
      <Button busy={work.busy} onClick={() => (needsDialog ? setAsking(true) : run())}>
        {label}
      </Button>
      {!asking && <ProblemNote problem={work.problem} />}
      {asking && (
        <Dialog title={label} onClose={() => setAsking(false)}>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void run();
            }}
          >
            {confirm !== undefined && <p>{confirm}</p>}
            {fields.map(({ name, label: title }, index) => (
              <Text
                key={name}
                label={title}
                value={given[name] ?? ''}
                onChange={(value) => setGiven({ ...given, [name]: value })}
                maxLength={200}
                autofocus={index === 0}
              />
            ))}
            <ProblemNote problem={work.problem} />
            <DialogButtons action={label} busy={work.busy} onClose={() => setAsking(false)} />
          </form>
        </Dialog>
      )}
    </>
  );
}
