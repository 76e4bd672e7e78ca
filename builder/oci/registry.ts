import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import fetch, { type Response } from 'node-fetch';
import * as z from 'zod';
import { BuildError, messageOf } from '../errors.ts';
import type { Credentials } from './credentials.ts';
import { type Descriptor, maxDocumentBytes, mediaType } from './media.ts';
import { type Limits, Pace, usualLimits } from './pace.ts';
import type { Remote } from './remote.ts';
import { RemoteError } from './remote-error.ts';

export type RegistryOptions = {
  name: string;
  /** `HOST[:PORT]`. */
  host: string;
  repository: string;
  plainHttp: boolean;
  credentials: () => Promise<Credentials | undefined>;
  limits?: Limits;
};

type Request = {
  method?: 'GET' | 'HEAD' | 'POST' | 'PUT';
  headers?: Record<string, string>;
  /** Made anew for each try. */
  body?: () => AsyncIterable<Uint8Array>;
  /** Statuses that are answers; all others are errors. */
  ok: readonly number[];
};

/** A repository of a registry (OCI distribution spec 1.1). */
export class Registry implements Remote {
  readonly name: string;
  readonly #o: RegistryOptions;
  readonly #base: URL;
  readonly #limits: Limits;
  /** What the registry wanted to see last. */
  #authorization: string | undefined;

  constructor(options: RegistryOptions) {
    this.name = options.name;
    this.#o = options;
    this.#limits = options.limits ?? usualLimits;
    const scheme = options.plainHttp ? 'http' : 'https';
    this.#base = new URL(`${scheme}://${options.host}/v2/${options.repository}/`);
  }

  async hasTag(tag: string): Promise<boolean> {
    return await this.#exists(`manifests/${tag}`);
  }

  async readManifest(tag: string): Promise<Buffer | undefined> {
    const { response, pace } = await this.#request(this.#url(`manifests/${tag}`), {
      headers: { Accept: mediaType.manifest },
      ok: [200, 404],
    });
    if (response.status === 200) return await this.#document(response, pace);
    pace.end();
    drop(response);
    return undefined;
  }

  async readBlob(blob: Descriptor): Promise<AsyncIterable<Uint8Array>> {
    const { response, pace } = await this.#request(this.#url(`blobs/${blob.digest}`), {
      ok: [200],
    });
    return this.#body(response, pace);
  }

  /** Monolithic upload in two steps (§4.3.1): POST gives a place, PUT fills it. */
  async writeBlob(blob: Descriptor, file: string): Promise<void> {
    if (await this.#exists(`blobs/${blob.digest}`)) return;
    const begun = await this.#request(this.#url('blobs/uploads/'), {
      method: 'POST',
      headers: { 'Content-Length': '0' },
      ok: [202],
    });
    begun.pace.end();
    drop(begun.response);
    const location = begun.response.headers.get('location');
    if (!location) throw this.#error('The registry gives no place for the upload');
    const place = new URL(location, this.#base);
    place.searchParams.set('digest', blob.digest);
    const { response, pace } = await this.#request(place, {
      method: 'PUT',
      headers: {
        'Content-Type': 'application/octet-stream',
        'Content-Length': String(blob.size),
      },
      body: () => createReadStream(file),
      ok: [201],
    });
    pace.end();
    drop(response);
  }

  async writeManifest(tag: string, bytes: Buffer): Promise<void> {
    const { response, pace } = await this.#request(this.#url(`manifests/${tag}`), {
      method: 'PUT',
      headers: { 'Content-Type': mediaType.manifest, 'Content-Length': String(bytes.length) },
      body: () => Readable.from([bytes]),
      ok: [201],
    });
    pace.end();
    drop(response);
  }

  async #exists(path: string): Promise<boolean> {
    const { response, pace } = await this.#request(this.#url(path), {
      method: 'HEAD',
      headers: { Accept: `${mediaType.manifest}, */*` },
      ok: [200, 404],
    });
    pace.end();
    return response.status === 200;
  }

  #url(path: string): URL {
    return new URL(path, this.#base);
  }

  /** One request, and once more with what the registry asks for if it wants to know who asks. */
  async #request(url: URL, request: Request): Promise<{ response: Response; pace: Pace }> {
    const first = await this.#send(url, request);
    if (first.response.status !== 401) return this.#checked(first, request);
    first.pace.end();
    const challenge = first.response.headers.get('www-authenticate') ?? '';
    drop(first.response);
    this.#authorization = await this.#authorize(challenge);
    return this.#checked(await this.#send(url, request), request);
  }

  #checked(
    sent: { response: Response; pace: Pace },
    request: Request,
  ): { response: Response; pace: Pace } {
    const { response, pace } = sent;
    if (request.ok.includes(response.status)) return sent;
    pace.end();
    drop(response);
    const status = `HTTP ${response.status} ${response.statusText}`.trim();
    if (response.status === 401 || response.status === 403)
      throw this.#error(`The registry does not let us in: ${status}`);
    const action =
      request.method === 'PUT' || request.method === 'POST' ? 'takes no more' : 'fails';
    throw this.#error(`The registry ${action}: ${status}`);
  }

  async #send(url: URL, request: Request): Promise<{ response: Response; pace: Pace }> {
    const pace = new Pace(this.#limits);
    // An upload's place, or where a blob is stored, may be another host: it must not learn the password.
    const own = url.origin === this.#base.origin;
    const headers = {
      'Accept-Encoding': 'identity',
      ...request.headers,
      ...(own && this.#authorization ? { Authorization: this.#authorization } : {}),
    };
    const { body } = request;
    try {
      const response = await fetch(url, {
        method: request.method ?? 'GET',
        headers,
        signal: pace.signal,
        compress: false,
        ...(body ? { body: Readable.from(watched(pace, body()), { objectMode: false }) } : {}),
      });
      return { response, pace };
    } catch (cause) {
      pace.end();
      throw this.#networkError(cause, pace);
    }
  }

  /** Answers a challenge (RFC 9110 §11; the distribution project's token specification). */
  async #authorize(challenge: string): Promise<string> {
    const credentials = await this.#o.credentials().catch((cause: unknown) => {
      throw this.#error(messageOf(cause), cause);
    });
    const { scheme, parameters } = parseChallenge(challenge);
    if (scheme === 'basic' && credentials?.kind === 'password') return basic(credentials);
    if (scheme === 'basic')
      throw this.#error('The registry wants a name and password, and there are none for it');
    if (scheme !== 'bearer' || !parameters.realm)
      throw this.#error('The registry wants a kind of login that is not known here');
    return `Bearer ${await this.#token(parameters, credentials)}`;
  }

  async #token(
    parameters: Record<string, string>,
    credentials: Credentials | undefined,
  ): Promise<string> {
    const realm = new URL(parameters.realm ?? '', this.#base);
    if (realm.protocol !== this.#base.protocol && realm.protocol !== 'https:')
      throw this.#error(`The registry wants the password sent to ${realm.origin}, unencrypted`);
    const query = {
      ...(parameters.service ? { service: parameters.service } : {}),
      scope: parameters.scope ?? `repository:${this.#o.repository}:pull`,
    };
    const pace = new Pace(this.#limits);
    try {
      const response =
        credentials?.kind === 'token'
          ? await fetch(realm, {
              method: 'POST',
              redirect: 'error',
              signal: pace.signal,
              body: new URLSearchParams({
                ...query,
                grant_type: 'refresh_token',
                client_id: 'pi-gateway-image',
                refresh_token: credentials.token,
              }),
            })
          : await fetch(`${realm.href}${realm.search ? '&' : '?'}${new URLSearchParams(query)}`, {
              redirect: 'error',
              signal: pace.signal,
              headers: credentials ? { Authorization: basic(credentials) } : {},
            });
      if (response.status !== 200) {
        drop(response);
        throw this.#error(`The registry does not let us in: HTTP ${response.status}`);
      }
      const answer = tokenSchema.safeParse(
        JSON.parse(String(await this.#document(response, pace))),
      );
      const token = answer.data?.token ?? answer.data?.access_token;
      if (!token) throw this.#error('The registry gives no token');
      return token;
    } catch (cause) {
      if (cause instanceof BuildError) throw cause;
      throw this.#networkError(cause, pace);
    } finally {
      pace.end();
    }
  }

  async #document(response: Response, pace: Pace): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of this.#body(response, pace)) {
      size += part.length;
      if (size > maxDocumentBytes) throw this.#error('The registry sends a document over 4 MiB');
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  async *#body(response: Response, pace: Pace): AsyncGenerator<Uint8Array> {
    try {
      yield* pace.watch((response.body ?? []) as AsyncIterable<Uint8Array>);
    } catch (cause) {
      throw this.#networkError(cause, pace);
    } finally {
      pace.end();
      drop(response);
    }
  }

  #networkError(cause: unknown, pace: Pace): BuildError {
    return this.#error(`The registry cannot be used: ${pace.expired ?? messageOf(cause)}`, cause);
  }

  #error(what: string, cause?: unknown): BuildError {
    return new RemoteError(what, this.name, cause);
  }
}

const tokenSchema = z.object({ token: z.string().optional(), access_token: z.string().optional() });

/** Once all is sent, the server has its time to answer. */
async function* watched(pace: Pace, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pace.watch(bytes);
  pace.waits();
}

function basic({ user, password }: Extract<Credentials, { kind: 'password' }>): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** A body that nobody reads would keep its connection. */
function drop(response: Response): void {
  const body = response.body as Readable | null;
  body?.on('error', () => undefined);
  body?.destroy();
}

/** `Bearer realm="…",service="…",scope="…"`. */
function parseChallenge(text: string): { scheme: string; parameters: Record<string, string> } {
  const [, scheme = '', rest = ''] = /^\s*([\w-]+)\s*(.*)$/.exec(text) ?? [];
  const pairs = [...rest.matchAll(/(\w+)="([^"]*)"/g)].map(
    ([, key = '', value = '']) => [key.toLowerCase(), value] as const,
  );
  return { scheme: scheme.toLowerCase(), parameters: Object.fromEntries(pairs) };
}
