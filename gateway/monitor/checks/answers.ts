import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIP } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { reasonOf, trusted } from '../../ddns/http.ts';
import type { Sample } from '../catalogue.ts';
import type { CheckSettings } from '../settings.ts';
import { type Finding, failed, ok, warning } from './check.ts';

/** Checks that ask a server: whether it takes connections, answers HTTP, and how long its certificate lasts. */

type Of<T extends CheckSettings['type']> = Extract<CheckSettings, { type: T }>;

/** As much of an answer is looked at; the rest is not read. */
const longestBody = 65_536;

/** A proof of life, or why there is none. */
export type Attempt = { alive: true; seconds: number } | { alive: false; reason: string };

/** Opens a TCP connection and closes it. */
export async function tryTcp(host: string, port: number, timeout: number): Promise<Attempt> {
  const started = performance.now();
  return await new Promise<Attempt>((resolve) => {
    const socket = connect({ host, port, autoSelectFamily: true });
    const done = (attempt: Attempt) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(attempt);
    };
    const timer = setTimeout(
      () => done({ alive: false, reason: `no answer within ${timeout / 1000} s` }),
      timeout,
    );
    socket.on('connect', () => done({ alive: true, seconds: since(started) }));
    socket.on('error', (error) => done({ alive: false, reason: reasonOf(error) }));
  });
}

export async function lookTcp(check: Of<'tcp'>): Promise<Finding> {
  const attempt = await tryTcp(check.host, check.port, check.timeout * 1000);
  const place = `${bracketed(check.host)}:${check.port}`;
  return attempt.alive
    ? ok(`${place} takes connections`, [timeOf(`tcp:${check.name}`, attempt.seconds)])
    : failed(`${place}: ${attempt.reason}`);
}

export async function lookTls(check: Of<'tls'>, now: number): Promise<Finding> {
  const started = performance.now();
  const place = `${bracketed(check.host)}:${check.port}`;
  return await new Promise<Finding>((resolve) => {
    const socket = tlsConnect({
      host: check.host,
      port: check.port,
      ...(isIP(check.host) ? {} : { servername: check.host }),
      ca: trusted(undefined),
      rejectUnauthorized: check.verify,
    });
    const done = (finding: Finding) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(finding);
    };
    const timer = setTimeout(
      () => done(failed(`${place}: no answer within ${check.timeout} s`)),
      check.timeout * 1000,
    );
    socket.on('secureConnect', () => {
      const id = `tls:${check.name}`;
      const time = timeOf(id, since(started));
      const found = certificate(socket, id, check.warn_days, now);
      done({ ...found, samples: [...(found.samples ?? []), time] });
    });
    socket.on('error', (error) => done(failed(`${place}: ${reasonOf(error)}`)));
  });
}

/** How long the server's certificate lasts. */
function certificate(socket: TLSSocket, id: string, warnDays: number, now: number): Finding {
  const end = Date.parse(socket.getPeerCertificate().valid_to ?? '') / 1000;
  if (Number.isNaN(end)) return failed('It shows no certificate');
  const left = end - now;
  const samples: Sample[] = [{ measure: 'certificate.left', label: id, value: left }];
  const day = new Date(end * 1000).toISOString().slice(0, 10);
  const days = Math.floor(left / 86_400);
  if (left <= 0) return failed(`Its certificate has ended on ${day}`, samples);
  return left < warnDays * 86_400
    ? warning(`Its certificate ends on ${day}, in ${days} ${days === 1 ? 'day' : 'days'}`, samples)
    : ok(`Its certificate lasts until ${day}`, samples);
}

export async function lookHttp(check: Of<'http'>, now: number): Promise<Finding> {
  const id = `http:${check.name}`;
  const started = performance.now();
  const { host } = new URL(check.url);
  return await new Promise<Finding>((resolve) => {
    const signal = AbortSignal.timeout(check.timeout * 1000);
    const options = {
      agent: false,
      signal,
      autoSelectFamily: true,
      headers: { accept: '*/*', 'user-agent': 'pi-gateway-check' },
      ...(check.url.startsWith('https:')
        ? { ca: trusted(undefined), rejectUnauthorized: check.verify }
        : {}),
    };
    const answered = (response: IncomingMessage) => {
      const { socket } = response;
      const cert =
        'getPeerCertificate' in socket
          ? certificate(socket as TLSSocket, id, check.warn_days, now)
          : undefined;
      readBody(response, (body) => {
        const samples = [timeOf(id, since(started)), ...(cert?.samples ?? [])];
        sent.destroy();
        resolve({ ...judge(check, response.statusCode ?? 0, body, cert), samples });
      });
    };
    const sent = check.url.startsWith('https:')
      ? httpsRequest(check.url, options, answered)
      : httpRequest(check.url, options, answered);
    sent.on('error', (error) =>
      resolve(
        failed(
          `${host}: ${signal.aborted ? `no answer within ${check.timeout} s` : reasonOf(error)}`,
        ),
      ),
    );
    sent.end();
  });
}

function readBody(response: IncomingMessage, done: (body: string) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  const end = () => done(Buffer.concat(chunks).toString('utf8'));
  response.on('data', (chunk: Buffer) => {
    if (length >= longestBody) return;
    chunks.push(chunk);
    length += chunk.length;
    if (length >= longestBody) end();
  });
  response.on('end', end);
}

function judge(
  check: Of<'http'>,
  status: number,
  body: string,
  cert: Finding | undefined,
): Finding {
  const { host } = new URL(check.url);
  const well = check.status ? check.status.includes(status) : status >= 200 && status < 400;
  if (!well) return failed(`${host} answers with ${status}`);
  if (check.contains !== undefined && !body.includes(check.contains))
    return failed(`${host} answers with ${status}, but without the text that it should have`);
  return cert && cert.health !== 'ok' ? cert : ok(`${host} answers with ${status}`);
}

export const since = (started: number): number => (performance.now() - started) / 1000;

const bracketed = (host: string) => (host.includes(':') ? `[${host}]` : host);

const timeOf = (label: string, value: number): Sample => ({ measure: 'check.time', label, value });
