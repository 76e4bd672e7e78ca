import { useEffect, useRef, useState } from 'preact/hooks';
import { type Answer, call, Problem } from '../lib/api.ts';
import { useResource } from '../lib/resource.ts';
import { go, link, route } from '../lib/router.ts';
import { merged } from '../lib/words.ts';
import { Button, Card, Empty, Loading, ProblemNote, Search, Select, Title } from '../ui/parts.tsx';

type Entry = Answer<'get', '/logs'>['entries'][number];
type Priority = Entry['priority'];

const priorities: readonly (readonly [Priority, string])[] = [
  ['debug', 'Everything'],
  ['info', 'Information and up'],
  ['notice', 'Notices and up'],
  ['warning', 'Warnings and up'],
  ['err', 'Errors only'],
];

const severe: Partial<Record<Priority, string>> = {
  emerg: 'failed',
  alert: 'failed',
  crit: 'failed',
  err: 'failed',
  warning: 'warning',
};

export function LogsView() {
  const { query } = route.value;
  const unit = query.get('unit') ?? '';
  const priority = (query.get('priority') ?? 'info') as Priority;
  const wanted = query.get('text') ?? '';
  const follow = query.get('follow') !== 'no';
  const set = (change: Record<string, string>) => {
    const next = new URLSearchParams(query);
    for (const [key, value] of Object.entries(change))
      if (value === '') next.delete(key);
      else next.set(key, value);
    go(`${link('logs')}${next.size > 0 ? `?${next}` : ''}`, true);
  };
  const services = useResource('services', () => call('get', '/services'));
  const units =
    services.data.value?.services.map(({ unit: one, title }) => [one, title] as const) ?? [];
  return (
    <>
      <Title
        actions={
          <Button
            icon={follow ? 'down' : 'pause'}
            aria-pressed={follow}
            onClick={() => set({ follow: follow ? 'no' : '' })}
          >
            Follow
          </Button>
        }
      >
        Logs
      </Title>
      <div class="grid three">
        <Select
          label="Service"
          value={unit}
          options={[
            ['', 'All of them'],
            ...units,
            ...(unit !== '' && !units.some(([one]) => one === unit)
              ? ([[unit, unit]] as const)
              : []),
          ]}
          onChange={(value) => set({ unit: value })}
        />
        <Select
          label="How urgent"
          value={priority}
          options={priorities}
          onChange={(value) => set({ priority: value })}
        />
        <div class="field">
          <span class="small muted" aria-hidden="true">
            {' '}
          </span>
          <Search
            label="Find in messages"
            value={wanted}
            onChange={(value) => set({ text: value })}
          />
        </div>
      </div>
      <Lines
        key={`${unit} ${priority} ${wanted}`}
        unit={unit}
        priority={priority}
        text={wanted}
        follow={follow}
      />
    </>
  );
}

function Lines({
  unit,
  priority,
  text,
  follow,
}: {
  unit: string;
  priority: Priority;
  text: string;
  follow: boolean;
}) {
  const [entries, setEntries] = useState<readonly Entry[] | undefined>(undefined);
  const [older, setOlder] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | undefined>(undefined);
  const box = useRef<HTMLUListElement>(null);
  const atEnd = useRef(true);
  const query = { priority, ...(unit === '' ? {} : { unit }), ...(text === '' ? {} : { text }) };
  const last = entries?.at(-1)?.time;

  const ask = async () => {
    try {
      const answer = await call('get', '/logs', {
        query: { ...query, ...(last === undefined ? { limit: 200 } : { since: last, limit: 500 }) },
      });
      setProblem(undefined);
      setEntries((old) => merged(old ?? [], answer.entries));
      if (last === undefined) setOlder(answer.next);
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(String(error)));
    }
  };
  useEffect(() => {
    // A moment after the last key, not at each.
    const timer = setTimeout(
      () => {
        if (document.visibilityState === 'visible' && (entries === undefined || follow)) void ask();
      },
      entries === undefined ? 200 : 3000,
    );
    return () => clearTimeout(timer);
  });
  useEffect(() => {
    if (atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [entries]);

  if (!entries)
    return <Card flush>{problem ? <ProblemNote problem={problem} /> : <Loading />}</Card>;
  return (
    <>
      <ProblemNote problem={problem} />
      <Card flush>
        {older !== null && (
          <div class="row">
            <Button
              icon="up"
              onClick={async () => {
                const answer = await call('get', '/logs', {
                  query: { ...query, cursor: older, limit: 200 },
                });
                atEnd.current = false;
                setOlder(answer.next);
                setEntries([...answer.entries.toReversed(), ...entries]);
              }}
            >
              Older
            </Button>
          </div>
        )}
        {entries.length === 0 ? (
          <Empty icon="log">
            <p>Nothing like that was written.</p>
          </Empty>
        ) : (
          <ul
            class="log"
            ref={box}
            // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
            tabIndex={0}
            aria-label="Log, the newest last"
            onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
              atEnd.current = scrollTop + clientHeight > scrollHeight - 40;
            }}
          >
            {entries.map((entry) => (
              <li key={entry.cursor} class={severe[entry.priority] ?? ''}>
                <time class="muted nowrap" dateTime={entry.time}>
                  {new Date(entry.time).toLocaleString('en-GB', {
                    day: '2-digit',
                    month: 'short',
                    hour: '2-digit',
                    minute: '2-digit',
                    second: '2-digit',
                  })}
                </time>
                <span class="muted clip">{entry.program ?? entry.unit ?? ''}</span>
                {severe[entry.priority] && <span class="hidden">{entry.priority}: </span>}
                <span class="text">{entry.message}</span>
              </li>
            ))}
          </ul>
        )}
      </Card>
    </>
  );
}
