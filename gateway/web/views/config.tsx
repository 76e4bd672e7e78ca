import { useEffect, useRef, useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { duration, plural } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { diffLines } from '../lib/words.ts';
import { Confirm, Dialog, DialogButtons } from '../ui/dialog.tsx';
import {
  Badge,
  Button,
  Card,
  Check,
  Empty,
  Loaded,
  Note,
  ProblemNote,
  say,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';

type Shown = Answer<'get', '/config'>;
type Difference = Answer<'post', '/config/diff'>;
type Applied = Answer<'put', '/config'>;
type Version = Answer<'get', '/config/history'>['versions'][number];

/** Seconds to see that one is not locked out: as the firewall's. */
const trial = 90;

export function ConfigView() {
  const config = useResource('config', () => call('get', '/config'), { area: 'config' });
  const history = useResource('config-history', () => call('get', '/config/history'), {
    area: 'config',
  });
  const reload = async () => {
    await Promise.all([config.reload(), history.reload()]);
  };
  return (
    <>
      <Title>Configuration</Title>
      <Loaded of={config}>
        {(data) => (
          <>
            {data.pending && <Pending of={data.pending} reload={reload} />}
            <Editor of={data} reload={reload} />
          </>
        )}
      </Loaded>
      <Card title="History" flush>
        <Loaded of={history}>{({ versions }) => <History of={versions} reload={reload} />}</Loaded>
      </Card>
    </>
  );
}

function Pending({
  of,
  reload,
}: {
  of: NonNullable<Shown['pending']>;
  reload: () => Promise<void>;
}) {
  const [left, setLeft] = useState(of.seconds_left);
  const work = useAction();
  useEffect(() => {
    const end = Date.now() + of.seconds_left * 1000;
    const timer = setInterval(() => {
      setLeft(Math.max(0, Math.round((end - Date.now()) / 1000)));
      if (Date.now() > end + 2000) void reload();
    }, 1000);
    return () => clearInterval(timer);
  }, [of, reload]);
  const act = (what: 'confirm' | 'rollback') =>
    work.run(async () => {
      if (what === 'confirm') await call('post', '/config/confirm');
      else await call('post', '/config/rollback', { body: {} });
      say(what === 'confirm' ? 'The new settings stay' : 'The old settings are back');
      await reload();
    });
  return (
    <Note state="warning">
      <strong>These settings are on trial for {duration(left)}</strong>
      <span>Is all well? Keep them. Otherwise those of before return by themselves.</span>
      <ProblemNote problem={work.problem} />
      <span class="buttons">
        <Button kind="primary" busy={work.busy} onClick={() => act('confirm')}>
          Keep them
        </Button>
        <Button busy={work.busy} onClick={() => act('rollback')}>
          Go back now
        </Button>
      </span>
    </Note>
  );
}

function Editor({ of, reload }: { of: Shown; reload: () => Promise<void> }) {
  const [text, setText] = useState(of.text);
  // What was loaded: settings that somebody else changes meanwhile do not take away what is being typed.
  const [from, setFrom] = useState(of);
  const [difference, setDifference] = useState<Difference | undefined>(undefined);
  const area = useRef<HTMLTextAreaElement>(null);
  const lines = useRef<HTMLPreElement>(null);
  const work = useAction();
  const dirty = text !== from.text;
  const changedElsewhere = from.digest !== of.digest;
  const load = () => {
    setFrom(of);
    setText(of.text);
  };
  useEffect(() => {
    if (changedElsewhere && !dirty) load();
  });
  const [problems, setProblems] = useState(of.problems);

  // Checked by the gateway a moment after the last key, so that a mistake is seen where it is made.
  useEffect(() => {
    if (!dirty) return setProblems(of.problems);
    const timer = setTimeout(async () => {
      const answer = await call('post', '/config/diff', { body: { text } }).catch(() => undefined);
      if (answer) setProblems(answer.problems);
    }, 700);
    return () => clearTimeout(timer);
  }, [text, dirty, of.problems]);

  const review = () =>
    work.run(async () => {
      const answer = await call('post', '/config/diff', { body: { text } });
      setProblems(answer.problems);
      if (answer.valid) setDifference(answer);
    });
  const wrong = new Set(problems.map(({ line }) => line));
  const jump = (line: number, column: number) => {
    const element = area.current;
    if (!element) return;
    const start =
      text
        .split('\n')
        .slice(0, line - 1)
        .join('\n').length +
      (line > 1 ? 1 : 0) +
      Math.max(0, column - 1);
    element.focus();
    element.setSelectionRange(start, start);
  };
  return (
    <Card
      title="gateway.yaml"
      actions={
        <span class="small muted">
          {of.version === 0 ? 'as the image made it' : `version ${of.version}`}
        </span>
      }
    >
      <p class="small muted" id="config-hint">
        What is not set is as the image has it. Secrets are shown as <code>(secret unchanged)</code>
        ; leave that, and they stay.
      </p>
      <div class="editor">
        <pre ref={lines} aria-hidden="true">
          {text.split('\n').map((_, index) => (
            <span key={index}>
              {wrong.has(index + 1) ? <b>● {index + 1}</b> : index + 1}
              {'\n'}
            </span>
          ))}
        </pre>
        <textarea
          ref={area}
          value={text}
          aria-label="Settings in YAML"
          aria-describedby="config-hint config-problems"
          aria-invalid={problems.length > 0 ? 'true' : undefined}
          spellcheck={false}
          autocapitalize="none"
          autocomplete="off"
          wrap="off"
          onInput={({ currentTarget }) => setText(currentTarget.value)}
          onScroll={({ currentTarget }) => {
            if (lines.current) lines.current.scrollTop = currentTarget.scrollTop;
          }}
        />
      </div>
      <div id="config-problems" role="status">
        {problems.length > 0 && (
          <Note state="failed">
            <strong>{plural(problems.length, 'mistake')}</strong>
            <ul>
              {problems.map(({ line, column, key, message }) => (
                <li key={`${line}:${column}:${message}`}>
                  <button type="button" class="link" onClick={() => jump(line, column)}>
                    Line {line}
                  </button>
                  : {key !== '' && <code>{key} </code>}
                  {message}
                </li>
              ))}
            </ul>
          </Note>
        )}
      </div>
      <div role="status">
        {changedElsewhere && dirty && (
          <Note state="warning">
            <strong>Somebody else has changed the settings meanwhile.</strong>
            <span>Copy what you need of yours, then discard it to see theirs.</span>
          </Note>
        )}
      </div>
      <ProblemNote problem={work.problem} />
      <div class="buttons">
        <Button kind="primary" busy={work.busy} disabled={!dirty} onClick={review}>
          Review changes
        </Button>
        <Button disabled={!dirty} onClick={load}>
          Discard
        </Button>
      </div>
      {difference && (
        <Review
          of={difference}
          text={text}
          base={from.digest}
          onClose={() => setDifference(undefined)}
          onDone={async () => {
            setDifference(undefined);
            // Then what is in force is loaded, in which a new secret is hidden.
            setFrom({ ...from, text });
            await reload();
          }}
        />
      )}
    </Card>
  );
}

function Diff({ text }: { text: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
    <section class="diff" tabIndex={0} aria-label="Difference">
      {diffLines(text).map((line, index) => (
        <span key={index} class={line.kind}>
          {line.text}
        </span>
      ))}
    </section>
  );
}

type ReviewProps = {
  of: Difference;
  text: string;
  base: string;
  onClose: () => void;
  onDone: () => Promise<void>;
};

function Review({ of, text, base, onClose, onDone }: ReviewProps) {
  const [careful, setCareful] = useState(of.confirm_advised);
  const [result, setResult] = useState<Applied | undefined>(undefined);
  const work = useAction();
  const apply = () =>
    work.run(async () => {
      const answer = await call('put', '/config', {
        body: { text, base, ...(careful ? { confirm_seconds: trial } : {}) },
      });
      const unwell = answer.checks.filter(({ ok }) => !ok);
      if (unwell.length > 0) return setResult(answer);
      say(
        answer.state === 'pending'
          ? 'In force, on trial: keep them if all is well'
          : answer.state === 'unchanged'
            ? 'Nothing to change'
            : 'The settings are in force',
      );
      await onDone();
    });
  return (
    <Dialog title="Apply these changes?" onClose={onClose} wide>
      {of.changes.length === 0 ? (
        <p>No setting changes; only comments or layout do.</p>
      ) : (
        <p>
          {plural(of.changes.length, 'setting')} in {of.areas.join(', ')}.
        </p>
      )}
      <Diff text={of.text} />
      <Check
        label={`Return to the old ones unless I keep them within ${trial} s`}
        {...(of.confirm_advised ? { hint: 'Advised: this may lock you out' } : {})}
        checked={careful}
        onChange={setCareful}
      />
      {result && (
        <Note state="warning">
          <strong>Not all is well after it</strong>
          <ul>
            {result.checks
              .filter(({ ok }) => !ok)
              .map(({ id, detail }) => (
                <li key={id}>
                  {id}: {detail}
                </li>
              ))}
          </ul>
        </Note>
      )}
      <ProblemNote problem={work.problem} />
      <DialogButtons action="Apply" busy={work.busy} onClose={onClose} onAction={apply} />
    </Dialog>
  );
}

function History({ of, reload }: { of: readonly Version[]; reload: () => Promise<void> }) {
  const [back, setBack] = useState<Version | undefined>(undefined);
  if (of.length === 0)
    return (
      <Empty icon="audit">
        <p>The settings have not been changed yet.</p>
      </Empty>
    );
  return (
    <>
      <ul class="rows">
        {of.map((one) => (
          <li key={one.version}>
            <div class="row">
              <div class="main">
                <span class="name">Version {one.version}</span>
                <div class="detail">
                  <When at={one.at} /> by {one.by}
                </div>
                <div class="detail mono clip">{one.changes.map(({ key }) => key).join(', ')}</div>
              </div>
              {one.current ? (
                <Badge state="ok">In force</Badge>
              ) : (
                <Button icon="audit" onClick={() => setBack(one)}>
                  {`Return to ${one.version}`}
                </Button>
              )}
            </div>
          </li>
        ))}
      </ul>
      {back && (
        <Confirm
          title={`Return to version ${back.version}?`}
          action="Return"
          onClose={() => setBack(undefined)}
          run={async () => {
            await call('post', '/config/rollback', { body: { version: back.version } });
            say(`Version ${back.version} is in force again`);
            await reload();
          }}
        >
          <p>
            The settings of <When at={back.at} />, by {back.by}, are in force again. The present
            ones stay in the history.
          </p>
        </Confirm>
      )}
    </>
  );
}
