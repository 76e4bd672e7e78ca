import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { holdToDocument, type Report } from '../../gateway/api/conformance/conformance.ts';
import type { Account } from './lab-api.ts';

/**
 * Holds a device to its OpenAPI document, as a process of a host of the lab: task as JSON on standard input,
 * what came of it on standard output.
 */
export type Task = {
  url: string;
  ca: string;
  admin: Account;
  viewer: Account;
  /** Source address of the logins: that of the other requests makes so many mistakes that it has to wait. */
  from: string;
  requests: number;
  /** Milliseconds for all. */
  budget: number;
  seed: number;
  spare: readonly string[];
};

export type Outcome = Report & {
  /** Times that the document was gone through, each with another seed. */
  rounds: number;
  /** Requests besides, that began sessions and looked whether they hold. */
  logins: number;
  seconds: number;
};

type Role = 'admin' | 'viewer';
type Session = { headers: Record<string, string>; uses: number; held: boolean };

class Sessions {
  readonly #task: Task;
  readonly #known = new Map<Role, Session>();
  count = 0;

  constructor(task: Task) {
    this.#task = task;
  }

  /** The last one, if it holds: looked at now and then, and each time once it was found to have ended. */
  async of(role: Role): Promise<Record<string, string>> {
    const known = this.#known.get(role);
    if (known) {
      known.uses += 1;
      if (known.held && known.uses % 8 !== 0) return known.headers;
      if ((await this.#role(known.headers)) === role) {
        known.held = true;
        return known.headers;
      }
    }
    const headers = await this.#begin(this.#task[role]);
    this.#known.set(role, { headers, uses: 0, held: known === undefined });
    return headers;
  }

  async #role(headers: Record<string, string>): Promise<string | undefined> {
    const { body } = await this.ask('GET', '/api/v1/session', headers);
    return (JSON.parse(body) as { account: { role: string } | null }).account?.role;
  }

  async #begin(account: Account): Promise<Record<string, string>> {
    const answer = await this.ask('POST', '/api/v1/session', {}, account);
    if (answer.status !== 200 || answer.cookie === undefined)
      throw new Error(`No session for ${account.name}: ${answer.status} ${answer.body}`);
    return { cookie: answer.cookie, 'x-csrf-token': JSON.parse(answer.body).csrf };
  }

  async ask(
    method: string,
    path: string,
    headers: Record<string, string>,
    given?: unknown,
  ): Promise<{ status: number; cookie: string | undefined; body: string }> {
    this.count += 1;
    const { url, ca, from } = this.#task;
    const { hostname, port } = new URL(url);
    return await new Promise((resolve, reject) => {
      const sent = request(
        {
          ...{ host: hostname, port, ca, servername: '', localAddress: from, method, path },
          headers: {
            ...headers,
            ...(given === undefined ? {} : { 'content-type': 'application/json' }),
          },
        },
        (answer) => {
          const cookie = answer.headers['set-cookie']?.[0]?.split(';')[0];
          text(answer).then(
            (body) => resolve({ status: answer.statusCode ?? 0, cookie, body }),
            reject,
          );
        },
      );
      sent.on('error', reject);
      sent.end(given === undefined ? undefined : JSON.stringify(given));
    });
  }
}

/** Tokens with some scopes each, made by the admin's session. */
function tokensBy(sessions: Sessions): (scopes: readonly string[]) => Promise<string> {
  const tokens = new Map<string, string>();
  return async (scopes) => {
    const key = scopes.join(' ');
    const owned = tokens.get(key);
    if (owned !== undefined) return owned;
    const answer = await sessions.ask('POST', '/api/v1/tokens', await sessions.of('admin'), {
      name: `conformance-${tokens.size}`,
      role: 'admin',
      scopes,
    });
    if (answer.status !== 201) throw new Error(`No token: ${answer.status} ${answer.body}`);
    const { token } = JSON.parse(answer.body) as { token: string };
    tokens.set(key, token);
    return token;
  };
}

async function main(): Promise<Outcome> {
  const task = JSON.parse(readFileSync(0, 'utf8')) as Task;
  const begun = performance.now();
  const sessions = new Sessions(task);
  const token = tokensBy(sessions);
  let sum: Outcome | undefined;
  for (let round = 0; ; round++) {
    const left = task.budget - (performance.now() - begun);
    const missing = task.requests - (sum?.requests ?? 0);
    // The refusals of a round, before its inputs, are some hundred requests.
    if (sum && (missing <= 0 || left < 60_000)) break;
    const report = await holdToDocument({
      url: task.url,
      ca: task.ca,
      session: (role) => sessions.of(role),
      token,
      requests: Math.max(missing, 500),
      seed: task.seed + round,
      spare: task.spare,
      // There are fewer operations than that: all of them end in time, however slow they are.
      patience: Math.max(500, left / 60),
    });
    sum = added(sum, report);
  }
  return { ...sum, logins: sessions.count, seconds: (performance.now() - begun) / 1000 };
}

function added(sum: Outcome | undefined, report: Report): Outcome {
  if (!sum) return { ...report, rounds: 1, logins: 0, seconds: 0 };
  const statuses = { ...sum.statuses };
  for (const [status, count] of Object.entries(report.statuses))
    statuses[status] = (statuses[status] ?? 0) + count;
  const spent = { ...sum.spent };
  for (const [id, { requests, ms }] of Object.entries(report.spent)) {
    const before = spent[id] ?? { requests: 0, ms: 0 };
    spent[id] = { requests: before.requests + requests, ms: before.ms + ms };
  }
  return {
    ...sum,
    requests: sum.requests + report.requests,
    statuses,
    spent,
    fitting: sum.fitting + report.fitting,
    unfit: sum.unfit + report.unfit,
    neverDone: sum.neverDone.filter((id) => report.neverDone.includes(id)),
    failures: [...new Set([...sum.failures, ...report.failures])],
    rounds: sum.rounds + 1,
  };
}

process.stdout.write(`${JSON.stringify(await main())}\n`);
