import { request } from 'node:https';
import { reasonOf, trusted } from '../../ddns/http.ts';
import { GatewayError } from '../../errors.ts';

/** Milliseconds without a byte. */
const patience = 30_000;

/**
 * Fetches a file whole. Redirects are not followed: who may hand out runtimes is in the settings.
 * @param limit bytes that it may have.
 * @throws GatewayError if it cannot be had.
 */
export function fetchBytes(url: string, ca: string | undefined, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) =>
      reject(
        new GatewayError(
          `${new URL(url).host} does not hand out ${url.slice(url.lastIndexOf('/') + 1)}: ${why}`,
          'Nothing was changed. Try again later; the address is updates.runtime.url of the settings',
        ),
      );
    const asked = request(
      url,
      { ca: trusted(ca), timeout: patience, headers: { 'user-agent': 'pi-gateway' } },
      (answer) => {
        if (answer.statusCode !== 200) {
          answer.resume();
          return fail(`it answers ${answer.statusCode}`);
        }
        const parts: Buffer[] = [];
        let size = 0;
        answer.on('data', (part: Buffer) => {
          parts.push(part);
          size += part.length;
          if (size > limit) {
            fail(`it is longer than ${limit} bytes`);
            answer.destroy();
          }
        });
        answer.on('error', (error) => fail(reasonOf(error)));
        answer.on('end', () => resolve(Buffer.concat(parts)));
      },
    );
    asked.setTimeout(patience, () => {
      fail(`no answer within ${patience / 1000} s`);
      asked.destroy();
    });
    asked.on('error', (error) => fail(reasonOf(error)));
    asked.end();
  });
}
