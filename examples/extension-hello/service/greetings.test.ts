import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { answer, type State } from './greetings.ts';

const nobody: State = { greetings: [] };
const now = Date.parse('2026-03-01T12:00:00Z');

function ask(state: State, method: string, path: string, body?: unknown) {
  return answer(state, { method, path, body, now, greeting: 'Good morning' });
}

test('it greets as gateway.yaml says, and counts', () => {
  const { status, body, state } = ask(nobody, 'POST', '/x/hello/greetings', { who: 'Ann' });
  assert.equal(status, 200);
  assert.deepEqual(body, { text: 'Good morning, Ann!', count: 1 });
  assert.deepEqual(state, { greetings: [{ who: 'Ann', at: now }] });
});

test('who is nobody is refused, with what to do', () => {
  const { status, body, state } = ask(nobody, 'POST', '/x/hello/greetings', {});
  assert.equal(status, 400);
  assert.deepEqual(Object.keys(body as object), ['detail', 'fix']);
  assert.equal(state, undefined);
});

test('the card shows the last first', () => {
  const greetings = ['Ann', 'Ben'].map((who, index) => ({ who, at: now + index * 1000 }));
  const { body } = ask({ greetings }, 'GET', '/card');
  const { table } = body as { table: { rows: string[][] } };
  assert.deepEqual(
    table.rows.map(([, who]) => who),
    ['Ben', 'Ann'],
  );
});

test('whom it forgets is counted no more', () => {
  const state = { greetings: [{ who: 'Ann B', at: now }] };
  assert.equal(ask(state, 'DELETE', '/x/hello/greetings/Ann%20B').status, 200);
  assert.equal(ask(state, 'DELETE', '/x/hello/greetings/Ben').status, 404);
});
