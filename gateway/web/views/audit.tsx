import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { useResource } from '../lib/resource.ts';
import { details } from '../lib/words.ts';
import {
  Badge,
  Button,
  Card,
  Empty,
  Loaded,
  Search,
  type State,
  Title,
  When,
} from '../ui/parts.tsx';

type Entry = Answer<'get', '/audit'>['entries'][number];

const outcomes: Record<Entry['outcome'], readonly [State, string]> = {
  done: ['ok', 'Done'],
  refused: ['warning', 'Refused'],
  conflict: ['warning', 'In conflict'],
  missing: ['warning', 'Not found'],
  failed: ['failed', 'Failed'],
};

const ways = {
  cli: 'on the command line',
  api: 'over the API',
  device: 'by the device itself',
} as const;

export function AuditView() {
  const [limit, setLimit] = useState(100);
  const [wanted, setWanted] = useState('');
  const audit = useResource(`audit:${limit}`, () => call('get', '/audit', { query: { limit } }), {
    every: 30,
  });
  return (
    <>
      <Title>Audit log</Title>
      <Search value={wanted} onChange={setWanted} label="Find by name, action or address" />
      <Loaded of={audit}>
        {({ entries }) => {
          const shown = entries.filter((one) =>
            `${one.name} ${one.action} ${one.address ?? ''} ${JSON.stringify(one.details)}`
              .toLowerCase()
              .includes(wanted.toLowerCase()),
          );
          return (
            <Card flush>
              {shown.length === 0 ? (
                <Empty icon="audit">
                  <p>Nothing like that was changed.</p>
                </Empty>
              ) : (
                <ul class="rows">
                  {shown.map((one, index) => (
                    <li key={index}>
                      <div class="row">
                        <div class="main">
                          <span class="name">{one.action}</span>
                          <div class="detail">
                            {one.name} {ways[one.via]}
                            {one.address !== null && ` from ${one.address}`} ·{' '}
                            <When at={one.time} />
                          </div>
                          {details(one.details) !== '' && (
                            <div class="detail mono">{details(one.details)}</div>
                          )}
                        </div>
                        <Badge state={outcomes[one.outcome][0]}>{outcomes[one.outcome][1]}</Badge>
                      </div>
                    </li>
                  ))}
                </ul>
              )}
              {entries.length >= limit && limit < 500 && (
                <div class="row">
                  <Button icon="down" onClick={() => setLimit(500)}>
                    Older
                  </Button>
                </div>
              )}
            </Card>
          );
        }}
      </Loaded>
    </>
  );
}
