import { Agent, request } from 'node:https';
import { isIP } from 'node:net';

export type Answer = {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  text: string;
};

export type Ask = {
  method: string;
  path: string;
  headers?: Readonly<Record<string, string>>;
  body?: string | Buffer;
};

/** One API over TLS, by connections that stay open. */
export class ApiProbe {
  readonly #url: URL;
  readonly #agent: Agent;
  /** Requests so far. */
  count = 0;

  constructor(url: string, ca: string) {
    this.#url = new URL(url);
    this.#agent = new Agent({ keepAlive: true, maxSockets: 4, ca });
  }

  /** @param isStream true ends the exchange once the headers are there. */
  async ask({ method, path, headers = {}, body }: Ask, isStream = false): Promise<Answer> {
    this.count += 1;
    const host = this.#url.hostname.replace(/^\[|\]$/g, '');
    return await new Promise((resolve, reject) => {
      const sent = request(
        {
          agent: this.#agent,
          host,
          // Not that of the Host header, which may be another on purpose.
          servername: isIP(host) === 0 ? host : '',
          port: this.#url.port,
          method,
          path,
          headers: {
            ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
            ...headers,
          },
        },
        (response) => {
          const answer = { status: response.statusCode ?? 0, headers: response.headers };
          if (isStream && answer.status === 200) {
            resolve({ ...answer, text: '' });
            response.destroy();
            return;
          }
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({ ...answer, text: Buffer.concat(chunks).toString('utf8') }),
          );
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
