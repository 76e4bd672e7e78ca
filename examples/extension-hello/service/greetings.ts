/** What the service knows: whom it has greeted, and when (milliseconds since 1970). */
export type State = { greetings: { who: string; at: number }[] };

export type Asked = { method: string; path: string; body: unknown; now: number; greeting: string };
export type Answer = { status: number; body: unknown; state?: State };

const prefix = '/x/hello/greetings';

/** Answers a question of the gateway; `state` is there if it changes. */
export function answer(state: State, asked: Asked): Answer {
  const { method, path } = asked;
  if (method === 'GET' && path === '/health')
    return done({
      state: 'ok',
      text: `It has greeted ${state.greetings.length} times`,
      metrics: { greetings: state.greetings.length },
    });
  if (method === 'GET' && path === '/card') return done(card(state));
  if (method === 'GET' && path === prefix) return done(list(state));
  if (method === 'POST' && path === prefix) return greet(state, asked);
  if (method === 'DELETE' && path.startsWith(`${prefix}/`))
    return forget(state, decodeURIComponent(path.slice(prefix.length + 1)));
  return refused(404, 'There is no such thing', 'See extension.yaml');
}

const done = (body: unknown, state?: State): Answer => ({
  status: 200,
  body,
  ...(state ? { state } : {}),
});

const refused = (status: number, detail: string, fix: string): Answer => ({
  status,
  body: { detail, fix },
});

function greet(state: State, { body, greeting, now }: Asked): Answer {
  const { who } = (body ?? {}) as { who?: unknown };
  if (typeof who !== 'string' || who.trim() === '' || who.length > 40)
    return refused(400, 'who must be a name of at most 40 characters', 'Send {"who": "Ann"}');
  const greetings = [...state.greetings, { who: who.trim(), at: now }].slice(-200);
  return done({ text: `${greeting}, ${who.trim()}!`, count: greetings.length }, { greetings });
}

function forget(state: State, who: string): Answer {
  const greetings = state.greetings.filter((one) => one.who !== who);
  if (greetings.length === state.greetings.length)
    return refused(404, `${who} was never greeted`, 'See the list');
  return done({ text: `${who} is forgotten.`, count: greetings.length }, { greetings });
}

function list({ greetings }: State): unknown {
  const lines = greetings.map(({ who, at }) => `${new Date(at).toISOString()}  ${who}`);
  return {
    text: lines.length > 0 ? lines.join('\n') : 'Nobody was greeted yet.',
    count: greetings.length,
    greetings,
  };
}

/** The dashboard draws it: docs/extensions.md, “The card”. */
function card({ greetings }: State): unknown {
  const last = greetings.at(-1);
  return {
    state: 'ok',
    text: last ? `${last.who} was greeted last.` : 'Nobody was greeted yet.',
    values: [
      { label: 'Greetings', value: greetings.length },
      { label: 'People', value: new Set(greetings.map(({ who }) => who)).size },
    ],
    table: {
      columns: ['When', 'Who'],
      rows: greetings
        .slice(-5)
        .reverse()
        .map(({ who, at }) => [new Date(at).toISOString().slice(0, 19).replace('T', ' '), who]),
    },
    ...(greetings.length > 1
      ? {
          chart: {
            title: 'Greetings so far',
            unit: '1',
            lines: [{ name: 'greetings', points: greetings.map(({ at }, i) => [at, i + 1]) }],
          },
        }
      : {}),
    actions: [
      {
        label: 'Greet',
        route: `post ${prefix}`,
        fields: [{ name: 'who', label: 'Name' }],
      },
    ],
  };
}
