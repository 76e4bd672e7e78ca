import { request } from 'node:http';
import type { System } from '../../firstboot/system.ts';
import { type AnswerOf, type Client, localClient } from '../api/client.ts';
import { GatewayError } from '../errors.ts';
import { needApp } from './ask.ts';
import { needTemplate } from './catalog.ts';
import { needFacts } from './facts.ts';
import { applyOptions } from './options.ts';
import { secretOf } from './template.ts';

/**
 * The gateway's own metrics, written to an app's InfluxDB: the gateway goes to the container, so the container needs
 * no way to the gateway.
 */

type Series = AnswerOf<'metricsCurrent'>['series'];

/** Milliseconds until an answer. */
const patience = 20_000;

/** InfluxDB's line protocol: docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol, "Special characters". */
export function lineProtocol(series: Series, time: string): string {
  const seconds = Math.floor(Date.parse(time) / 1000);
  return series
    .flatMap(({ name, value }) => {
      if (value === null || !Number.isFinite(value)) return [];
      const [, measurement = name, label] = /^([^{]+)\{(.*)\}$/s.exec(name) ?? [];
      const tag = label === undefined || label === '' ? '' : `,label=${escaped(label, /[,= \\]/g)}`;
      return [`${escaped(measurement, /[, \\]/g)}${tag} value=${value} ${seconds}\n`];
    })
    .join('');
}

/** A line break would begin another line, and no escape is for it. */
const escaped = (text: string, special: RegExp): string =>
  text.replaceAll(/[\r\n]/g, ' ').replaceAll(special, (one) => `\\${one}`);

/** @param credential the token of a secret. @throws GatewayError with what the server says. */
export async function pushMetrics(
  system: System,
  app: string,
  credential: (name: string) => Promise<string>,
  client: Client = localClient(),
): Promise<number> {
  const wanted = await needApp(system, app);
  const from = applyOptions(await needTemplate(system, wanted.template), wanted.options);
  const { metrics } = from;
  const port = from.parts
    .flatMap((part) => part.ports)
    .find(({ name }) => name === metrics?.port)?.published;
  if (!metrics || port === undefined)
    throw new GatewayError(`${app} takes no metrics`, 'grafana does', 'refused');
  const { series, time } = await client.call('metricsCurrent');
  const { address4 } = await needFacts(system);
  const query = new URLSearchParams({
    org: metrics.organization,
    bucket: metrics.bucket,
    precision: 's',
  });
  const token = (await credential(secretOf(app, metrics.secret))).trim();
  const { status, text } = await post(
    `http://${address4}:${port}/api/v2/write?${query}`,
    token,
    lineProtocol(series, time),
  );
  if (status !== 204)
    throw new GatewayError(
      `InfluxDB of ${app} answered ${status}: ${text.slice(0, 200).replaceAll(token, '…')}`,
      `Is it well? sudo pi-gateway container status ${app}`,
    );
  return series.length;
}

/** Not by fetch(): that needs WebAssembly, which programs on the device are not let have. */
function post(url: string, token: string, body: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method: 'POST',
        timeout: patience,
        headers: {
          authorization: `Token ${token}`,
          'content-type': 'text/plain; charset=utf-8',
          'content-length': String(Buffer.byteLength(body)),
        },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
      },
    );
    sent.on('timeout', () => sent.destroy(new Error('InfluxDB does not answer')));
    sent.on('error', reject);
    sent.end(body);
  });
}
