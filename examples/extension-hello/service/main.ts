import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { answer, type State } from './greetings.ts';

/**
 * The service of the extension: HTTP over a socket that systemd opens (LISTEN_FDS, sd_listen_fds(3)). By hand:
 * LISTEN=/tmp/hello.sock STATE_DIRECTORY=/tmp/hello node service/main.ts
 */
const { LISTEN, LISTEN_FDS, STATE_DIRECTORY = '.', CONFIGURATION_DIRECTORY } = process.env;
const stateFile = join(STATE_DIRECTORY, 'greetings.json');

/** Milliseconds without a question until it ends; the next one starts it again. */
const patience = 300_000;
/** Bytes of a body. */
const most = 4096;

async function readJson<T>(path: string, otherwise: T): Promise<T> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch {
    return otherwise;
  }
}

/** Never half of it, whatever ends the program. */
async function save(next: State): Promise<void> {
  await mkdir(STATE_DIRECTORY, { recursive: true });
  await writeFile(`${stateFile}.new`, JSON.stringify(next));
  await rename(`${stateFile}.new`, stateFile);
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > most) return undefined;
  }
  try {
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  } catch {
    return undefined;
  }
}

const { greeting } = CONFIGURATION_DIRECTORY
  ? await readJson(join(CONFIGURATION_DIRECTORY, 'settings.json'), { greeting: 'Hello' })
  : { greeting: 'Hello' };
let state = await readJson<State>(stateFile, { greetings: [] });

const idle = setTimeout(() => process.exit(0), patience);
const server = createServer(async (request, response) => {
  idle.refresh();
  const asked = {
    method: request.method ?? '',
    path: (request.url ?? '').replace(/\?.*$/, ''),
    body: await bodyOf(request),
    now: Date.now(),
    greeting,
  };
  const { status, body, state: next } = answer(state, asked);
  if (next) {
    state = next;
    await save(next);
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
});
// The first that systemd passes on is number 3.
server.listen(LISTEN_FDS ? { fd: 3 } : { path: LISTEN ?? './hello.sock' });
