import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../qemu/free-port.ts';

/** Answers a request itself and says true, or leaves it to the real registry. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => boolean;

export type TestRegistry = {
  /** `127.0.0.1:PORT` of the front, which passes everything on unless told otherwise. */
  host: string;
  /** Every request so far: `PUT /v2/…`. */
  requests: string[];
  /** From now on; undefined makes it honest again. */
  behave(behaviour: Behaviour | undefined): void;
  close(): Promise<void>;
};

/** Name and password that a registry with `auth` wants. */
export const visitor = { user: 'builder', password: 'open sesame' };
const visitorLine = `${visitor.user}:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n`;

/** Debian's docker-registry on loopback, behind a front that can be told to misbehave. */
export async function startRegistry(o: { auth?: boolean } = {}): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'registry-'));
  const port = await freePort();
  await writeFile(join(folder, 'htpasswd'), visitorLine);
  await writeFile(
    join(folder, 'config.yml'),
    JSON.stringify({
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, 'data') } },
      http: { addr: `127.0.0.1:${port}`, relativeurls: true },
      ...(o.auth
        ? { auth: { htpasswd: { realm: 'layers', path: join(folder, 'htpasswd') } } }
        : {}),
    }),
  );
  const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
    stdio: 'ignore',
  });
  await answers(port, child);
  const requests: string[] = [];
  let behaviour: Behaviour | undefined;
  const front = createServer((incoming, outgoing) => {
    requests.push(`${incoming.method} ${incoming.url}`);
    if (behaviour?.(incoming, outgoing)) return;
    const { method, url, headers } = incoming;
    const onward = request(
      { host: '127.0.0.1', port, path: url, method, headers: { ...headers } },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      },
    );
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((ready) => front.listen(0, '127.0.0.1', ready));
  return {
    host: `127.0.0.1:${(front.address() as AddressInfo).port}`,
    requests,
    behave: (next) => {
      behaviour = next;
    },
    close: async () => {
      front.closeAllConnections();
      await new Promise((closed) => front.close(closed));
      const ended = new Promise((gone) => child.once('exit', gone));
      child.kill();
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) throw new Error('docker-registry ended at once');
    const found = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined);
    if (found) return;
    await sleep(100);
  }
  throw new Error('docker-registry does not answer');
}
