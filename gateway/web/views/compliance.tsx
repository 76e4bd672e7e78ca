import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { useResource } from '../lib/resource.ts';
import { mayChange } from '../lib/session.ts';
import {
  Badge,
  Button,
  Card,
  Empty,
  Loaded,
  Meter,
  Note,
  ProblemNote,
  Search,
  Segments,
  type State,
  say,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';

type Report = NonNullable<Answer<'get', '/compliance'>['report']>;
type Control = Report['controls'][number];

const states: Record<Control['state'], readonly [State, string]> = {
  pass: ['ok', 'Met'],
  fail: ['failed', 'Not met'],
  tailored: ['info', 'Tailored'],
  'not-applicable': ['unknown', 'Not applicable'],
};

const filters = { all: 'All', fail: 'Not met', tailored: 'Tailored', pass: 'Met' } as const;
type Filter = keyof typeof filters;

export function ComplianceView() {
  const compliance = useResource('compliance', () => call('get', '/compliance'), {
    area: 'compliance',
  });
  const work = useAction();
  return (
    <>
      <Title
        actions={
          mayChange.value && (
            <Button
              icon="update"
              busy={work.busy}
              onClick={() =>
                work.run(async () => {
                  compliance.data.value = await call('get', '/compliance', {
                    query: { refresh: 'true' },
                  });
                  say('The gateway is judged anew');
                })
              }
            >
              Judge now
            </Button>
          )
        }
      >
        Compliance
      </Title>
      <ProblemNote problem={work.problem} />
      <Loaded of={compliance}>
        {({ report }) =>
          report === null ? (
            <Card flush>
              <Empty icon="compliance">
                <p>Not judged since the last start.</p>
              </Empty>
            </Card>
          ) : (
            <Judged of={report} />
          )
        }
      </Loaded>
    </>
  );
}

function Judged({ of }: { of: Report }) {
  const [filter, setFilter] = useState<Filter>(of.score.failed > 0 ? 'fail' : 'all');
  const [wanted, setWanted] = useState('');
  const shown = of.controls.filter(
    ({ state, id, title }) =>
      (filter === 'all' || state === filter) &&
      `${id} ${title}`.toLowerCase().includes(wanted.toLowerCase()),
  );
  return (
    <>
      <Card
        title={of.benchmark}
        actions={
          <span class="small muted">
            Judged <When at={of.checked_at} />
          </span>
        }
      >
        <p>
          <b>{of.score.percent.toFixed(1)} %</b> met: {of.score.passed} met, {of.score.failed} not
          met, {of.score.tailored} tailored with a reason, {of.score.not_applicable} not applicable.
        </p>
        <Meter
          share={of.score.percent / 100}
          label="Controls met"
          state={of.score.failed > 0 ? 'warning' : 'ok'}
        />
      </Card>
      <div class="buttons">
        <Search value={wanted} onChange={setWanted} label="Find a control" />
        <Segments
          label="Which controls"
          value={filter}
          options={Object.entries(filters).map(([key, text]) => [key as Filter, text] as const)}
          onChange={setFilter}
        />
      </div>
      <Card flush>
        {shown.length === 0 ? (
          <Empty icon="ok">
            <p>None.</p>
          </Empty>
        ) : (
          <ul class="rows">
            {shown.map((one) => (
              <li key={one.id} class="control">
                <details>
                  <summary class="row">
                    <span class="main">
                      <span class="name">{one.title}</span>
                      <span class="detail row-note">
                        {one.id}, level {one.level}
                      </span>
                    </span>
                    <Badge state={states[one.state][0]}>{states[one.state][1]}</Badge>
                  </summary>
                  <div class="body">
                    {one.mend !== null && (
                      <Note state="warning">
                        <strong>What to do</strong>
                        <span>{one.mend}</span>
                      </Note>
                    )}
                    {one.tailoring && (
                      <Note>
                        <strong>{one.tailoring.reason}</strong>
                        {one.tailoring.instead !== null && (
                          <span>Instead: {one.tailoring.instead}</span>
                        )}
                      </Note>
                    )}
                    <p class="small muted">What was read:</p>
                    <pre class="diff mono">{one.evidence}</pre>
                  </div>
                </details>
              </li>
            ))}
          </ul>
        )}
      </Card>
    </>
  );
}
