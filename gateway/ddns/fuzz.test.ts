import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { canonical, type Family, families, specialKind } from './address.ts';
import { parsePage } from './discover/discover.ts';
import { parseTxt } from './discover/dns.ts';
import { parseStun, stunRequest } from './discover/stun.ts';
import { decide, type Method, type Vote } from './discover/votes.ts';
import type { HttpRequest, HttpResponse } from './http.ts';
import { type Outcome, stands } from './outcome.ts';
import { providers } from './providers/all.ts';
import { parseCloudflare, parseRecords, parseZone } from './providers/cloudflare.ts';
import { parseDuckdns } from './providers/duckdns.ts';
import { parseDyndns2 } from './providers/dyndns2.ts';
import { freednsV1Request, parseFreedns, parseFreednsList } from './providers/freedns.ts';
import { parseNamecheap } from './providers/namecheap.ts';
import { noipAnswers } from './providers/noip.ts';
import { commonAnswers, plain, type Sent } from './providers/provider.ts';
import { parseNsupdate } from './providers/rfc2136.ts';
import { quote, redact } from './redact.ts';
import { parseDdnsSettings } from './service.ts';
import { ddnsSettings, type SettingsOf, secretsOf, withoutDefaults } from './settings.ts';
import { freshState, parseState, type State } from './state.ts';
import { stunResponse } from './testing.ts';

const cases = 10_000;
const check = <T>(property: fc.IProperty<T>) => fc.assert(property, { numRuns: cases });
const checkAsync = <T>(property: fc.IAsyncProperty<T>) => fc.assert(property, { numRuns: cases });

const now = new Date('2026-01-02T03:04:05Z');
const sentAddress: Record<Family, string> = { 4: '1.2.3.4', 6: '2606:4700::1111' };
const sent = fc
  .constantFrom(...families)
  .map((family): Sent => ({ family, address: sentAddress[family] }));

/** Everything that a provider is known to say, with the addresses of either family, or others, in it. */
const sayings = [...Object.values(providers).flatMap((one) => one.answers), ...commonAnswers].map(
  ({ says }) => says,
);
const address = fc.constantFrom('1.2.3.4', '2606:4700::1111', '2606:4700:0::1111', '6.6.6.6', '');
const filled = (texts: readonly string[]) =>
  fc.tuple(fc.constantFrom(...texts), address, address).map(([text, own, other]) =>
    text
      .replaceAll(/ADDRESS[46]?/g, own)
      .replaceAll('OTHER', other)
      .replaceAll('NAME', 'a.example.org'),
  );
const documented = filled(sayings);
const fragment = fc.oneof(
  documented,
  address,
  fc.string({ maxLength: 30, unit: 'binary' }),
  fc.constantFrom('\n', '\r\n', ' ', 'OK', 'KO', 'good ', 'nochg ', '<html>', '<!DOCTYPE html>'),
  fc.constantFrom(
    'UPDATED',
    'NOCHANGE',
    '<IP>',
    '</IP>',
    '<ErrCount>0</ErrCount>',
    '<Err1>x</Err1>',
  ),
);

/** Nonsense, what is documented, and the latter cut, pasted and put together anew. */
const bodyOf = (texts: fc.Arbitrary<string>) =>
  fc.oneof(
    fc.string({ unit: 'binary' }),
    texts,
    fc.array(fragment, { maxLength: 5 }).map((parts) => parts.join('')),
    fc
      .tuple(texts, fc.nat(400), fc.nat(40), fragment)
      .map(([text, at, cut, more]) => text.slice(0, at) + more + text.slice(at + cut)),
    fc
      .tuple(texts, fc.double({ min: 0, max: 1, noNaN: true }), fragment)
      .map(([text, where, more]) => {
        const at = Math.round(where * text.length);
        return text.slice(0, at) + more + text.slice(at);
      }),
  );
const body = bodyOf(documented);
const status = fc.oneof(
  { weight: 4, arbitrary: fc.constant(200) },
  { weight: 1, arbitrary: fc.constantFrom(0, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503) },
);
const headers = fc.oneof(
  fc.constant({}),
  fc.oneof(fc.string(), fc.integer().map(String)).map((text) => ({ 'retry-after': text })),
);

const page = /<(!doctype|html|head|body)\b/i;
const kinds = ['updated', 'unchanged', 'stopped', 'refused', 'retry'];

/** What holds for every outcome, whoever gave it. */
function sound(outcome: Outcome): void {
  expect(kinds).toContain(outcome.kind);
  if ('reason' in outcome) expect(outcome.reason).not.toBe('');
  if ('fix' in outcome) expect(outcome.fix).not.toBe('');
  const after = outcome.kind === 'retry' ? (outcome.after ?? 1) : 1;
  expect(after >= 0 && after <= 86_400).toBe(true);
}

/** No outcome of these is a success by what the protocol does not say, whatever else the body holds. */
function successOnlyBy(
  type: keyof typeof providers,
  parse: (response: HttpResponse, sent: Sent) => Outcome,
  says: (body: string, sent: Sent) => boolean,
): { successes: number } {
  const seen = { successes: 0 };
  const own = providers[type].answers.filter(({ outcome }) => stands(outcome));
  const texts = fc.oneof(documented, filled(own.map(({ says }) => says)));
  const response: fc.Arbitrary<HttpResponse> = fc.record({ status, headers, body: bodyOf(texts) });
  check(
    fc.property(response, sent, (given, one) => {
      const outcome = parse(given, one);
      sound(outcome);
      if (!stands(outcome)) return;
      seen.successes += 1;
      expect(given.status).toBe(200);
      expect(given.body).not.toMatch(page);
      expect(says(given.body, one)).toBe(true);
    }),
  );
  return seen;
}

const is = (text: string | undefined, one: Sent) =>
  text !== undefined && canonical(text) === one.address;
const linesOf = (text: string) =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');

describe('no body makes a parser fail, or is a success but by the word for it with the address that was sent:', () => {
  test('DuckDNS', () => {
    const seen = successOnlyBy(
      'duckdns',
      (given, one) => parseDuckdns(given, one, now),
      (text, one) => {
        const [ok, ...rest] = linesOf(text);
        return ok === 'OK' && (rest.length === 0 || rest.some((line) => is(line, one)));
      },
    );
    expect(seen.successes).toBeGreaterThan(0);
  });

  const eachLine = (text: string, one: Sent, bare: boolean) =>
    linesOf(text).length === 1 &&
    linesOf(text).every((line) => {
      const [word = '', own, ...more] = line.split(' ');
      return (
        ['good', 'nochg'].includes(word) &&
        more.length === 0 &&
        (own === undefined ? bare : is(own, one))
      );
    });

  test('No-IP', () => {
    const seen = successOnlyBy(
      'noip',
      (given, one) => parseDyndns2(noipAnswers, given, one, 1, now),
      (text, one) => eachLine(text, one, false),
    );
    expect(seen.successes).toBeGreaterThan(0);
  });

  test('dyndns2', () => {
    const seen = successOnlyBy(
      'dyndns2',
      (given, one) => parseDyndns2(providers.dyndns2.answers, given, one, 1, now),
      (text, one) => eachLine(text, one, true),
    );
    expect(seen.successes).toBeGreaterThan(0);
  });

  test('FreeDNS', () => {
    const seen = successOnlyBy(
      'freedns',
      (given, one) => parseFreedns(given, one, now),
      (text, one) =>
        /^(Updated|No IP change detected|ERROR: Address .* has not changed)/i.test(plain(text)) &&
        text.split(/[\s,]+/).some((word) => is(word, one)),
    );
    expect(seen.successes).toBeGreaterThan(0);
  });

  test('Namecheap', () => {
    const seen = successOnlyBy(
      'namecheap',
      (given, one) => parseNamecheap(given, one, now),
      (text, one) => {
        const counts = [...text.matchAll(/<ErrCount>([^<]*)</gi)].map(([, count]) => count?.trim());
        const named = [...text.matchAll(/<IP>([^<]*)</gi)].map(([, ip]) => ip?.trim());
        return (
          counts.length === 1 &&
          counts[0] === '0' &&
          named.length === 1 &&
          is(named[0], one) &&
          !/<Err\d/i.test(text)
        );
      },
    );
    expect(seen.successes).toBeGreaterThan(0);
  });

  test('nsupdate', () => {
    check(
      fc.property(fc.constantFrom(0, 1, 2, 127), body, (code, text) => {
        const outcome = parseNsupdate(code, text);
        sound(outcome);
        if (stands(outcome)) expect(code).toBe(0);
        if (stands(outcome)) expect(text).not.toMatch(/update failed|TSIG error/);
      }),
    );
  });
});

describe("FreeDNS's list", () => {
  const settings = ddnsSettings.parse({
    providers: [{ type: 'freedns', hostnames: ['a.mooo.com'], username: 'u', password: 'pass' }],
  }).providers[0] as SettingsOf<'freedns'>;
  const field = fc.oneof(
    address,
    fc.string(),
    fc.webUrl(),
    fc.constantFrom('http://127.0.0.1:1/x?T'),
  );
  const list = fc
    .array(
      fc.array(field, { maxLength: 4 }).map((fields) => fields.join('|')),
      { maxLength: 4 },
    )
    .map((lines) => lines.join('\n'));

  test('of whatever form leads to no other host than the one that we trust', () => {
    check(
      fc.property(fc.oneof(list, body), status, sent, (text, code, one) => {
        const found = parseFreednsList({ status: code, headers: {}, body: text }, now);
        if (!Array.isArray(found)) {
          expect(stands(found)).toBe(false);
          return;
        }
        expect(code).toBe(200);
        for (const record of found)
          expect(freednsV1Request(settings, record, one).url).toMatch(
            /^https:\/\/freedns\.afraid\.org\/.*address=/,
          );
      }),
    );
  });
});

describe('Cloudflare', () => {
  const settings = ddnsSettings.parse({
    providers: [
      {
        type: 'cloudflare',
        zone: 'example.org',
        hostnames: ['a.example.org'],
        token: 'tokentoken',
      },
    ],
  }).providers[0] as SettingsOf<'cloudflare'>;
  const id = fc.constantFrom<unknown>('z1', '../..', 'a/b', '', 7, null, 'x?y=1', 'r'.repeat(65));
  const record = fc.record(
    {
      id,
      name: fc.constantFrom<unknown>('a.example.org', 'A.example.org', 'example.org', 1),
      type: fc.constantFrom<unknown>('A', 'AAAA', 'TXT', null),
      content: fc.oneof<fc.Arbitrary<unknown>[]>(address, fc.string(), fc.constant({})),
    },
    { requiredKeys: [] },
  );
  const result = fc.oneof(
    fc.constant([{ id: 'z1', name: 'example.org' }]),
    record,
    fc.array(fc.oneof(record, fc.jsonValue({ maxDepth: 1 })), { maxLength: 3 }),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const envelope = fc
    .record(
      {
        success: fc.constantFrom<unknown>(true, true, true, false, 'true', 1),
        errors: fc.constantFrom<unknown>(
          [],
          null,
          [null],
          [{ code: 81058 }],
          [{ message: 'x' }],
          'x',
        ),
        result,
      },
      { requiredKeys: ['success'] },
    )
    .map((data) => JSON.stringify(data));
  const answer = fc.record({ status, headers: fc.constant({}), body: fc.oneof(envelope, body) });

  test('gives a result only by HTTP 200 and success: true, and ids only that a path can hold', () => {
    check(
      fc.property(answer, (given) => {
        const parsed = parseCloudflare(given, now);
        if ('outcome' in parsed) {
          sound(parsed.outcome);
          expect(parsed.outcome.kind).not.toBe('updated');
          return;
        }
        expect(given.status).toBe(200);
        expect(JSON.parse(given.body)).toMatchObject({ success: true });
        const ids = [
          parseZone(parsed.result, 'example.org') ?? 'none',
          ...(parseRecords(parsed.result, 'a.example.org', 'A') ?? []).map((one) => one.id),
        ];
        for (const one of ids) expect(one).toMatch(/^[\w-]{1,64}$/);
      }),
    );
  });

  test('has updated only what it says has the address, and is asked nothing outside its API', async () => {
    let updated = 0;
    const good = (data: unknown) =>
      fc.constant({
        status: 200,
        headers: {},
        body: JSON.stringify({ success: true, result: data }),
      });
    const own = (content: string) =>
      fc.constantFrom('A', 'AAAA').chain((type) => {
        const one = { id: 'r1', name: 'a.example.org', type, content };
        return good(content === '9.9.9.9' ? [one] : one);
      });
    const answers = fc.tuple(
      fc.oneof(good([{ id: 'z1', name: 'example.org' }]), answer),
      fc.oneof(own('9.9.9.9'), good([]), answer),
      fc.oneof(...Object.values(sentAddress).map(own), answer),
      answer,
      answer,
    );
    await checkAsync(
      fc.asyncProperty(answers, sent, async (given, one) => {
        const asked: HttpRequest[] = [];
        let last = '';
        const outcome = await providers.cloudflare.update(settings, one, {
          exchange: async (request) => {
            const next = given[asked.length] ?? { status: 500, headers: {}, body: '' };
            asked.push(request);
            last = next.body;
            return next;
          },
          run: async () => ({ code: 127, output: '' }),
          timeout: 1000,
          now,
          memory: {},
        });
        sound(outcome);
        for (const { url } of asked)
          expect(url).toMatch(
            /^https:\/\/api\.cloudflare\.com\/client\/v4\/zones(\/[\w-]{1,64}\/dns_records(\/[\w-]{1,64})?)?(\?[^/]*)?$/,
          );
        if (outcome.kind !== 'updated') return;
        updated += 1;
        expect(asked.at(-1)?.method).toMatch(/PATCH|POST/);
        expect(
          canonical((JSON.parse(last) as { result: { content: string } }).result.content),
        ).toBe(one.address);
      }),
    );
    expect(updated).toBeGreaterThan(0);
  });
});

describe('STUN', () => {
  const transaction = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((id) => Buffer.from(id));
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );

  test('gives back whatever address a server puts in', () => {
    check(
      fc.property(transaction, bytes, (id, own) => {
        const text =
          own.length === 4
            ? [...own].join('.')
            : (Buffer.from(own).toString('hex').match(/..../g) ?? []).join(':');
        expect(parseStun(stunResponse(stunRequest(id), [...own]), id)).toBe(canonical(text));
      }),
    );
  });

  test('of random bytes, or of an answer with some changed, is an address or nothing', () => {
    check(
      fc.property(fc.uint8Array({ maxLength: 80 }), transaction, (message, id) => {
        expect(parseStun(Buffer.from(message), id)).toBeUndefined();
      }),
    );
    const change = fc.tuple(fc.nat(43), fc.nat(255));
    check(
      fc.property(
        transaction,
        bytes,
        fc.array(change, { maxLength: 4 }),
        fc.nat(4),
        (id, own, changes, cut) => {
          const message = stunResponse(stunRequest(id), [...own]);
          for (const [at, byte] of changes) message[at % message.length] = byte;
          const whole = message.subarray(0, message.length - cut);
          const found = parseStun(whole, id);
          if (found === undefined) return;
          expect(cut).toBe(0);
          expect(isIP(found)).not.toBe(0);
          expect(whole.subarray(4, 20)).toEqual(stunRequest(id).subarray(4, 20));
        },
      ),
    );
  });
});

describe('an address', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 45 }),
    fc.string({ maxLength: 40, unit: fc.constantFrom(...'0123456789abcdefF:.%/ \n') }),
    fc.ipV4(),
    fc.ipV6(),
    address,
  );

  test('is one that the system knows, in one spelling, or none', () => {
    check(
      fc.property(text, (given) => {
        const found = canonical(given);
        if (found === undefined) {
          expect(isIP(given) === 0 || given.includes('%')).toBe(true);
          return;
        }
        expect(isIP(found)).toBe(isIP(given));
        expect(canonical(found)).toBe(found);
        expect(specialKind(found)).toBe(specialKind(given));
      }),
    );
  });

  test('of a page is all that the page says, and never HTML', () => {
    check(
      fc.property(fc.oneof(text, body), status, (given, code) => {
        let found: string | undefined;
        try {
          found = parsePage({ status: code, body: given });
        } catch (error) {
          expect((error as Error).message).toBe(`no address (HTTP ${code})`);
          return;
        }
        expect(code).toBe(200);
        expect(found).toBe(given.trim());
        expect(found).toMatch(/^[0-9a-fA-F.:]+$/);
      }),
    );
  });

  test('of TXT records is one record as a whole', () => {
    check(
      fc.property(
        fc.array(fc.array(fc.oneof(text, body), { maxLength: 2 }), { maxLength: 3 }),
        (records) => {
          const found = parseTxt(records);
          if (found === undefined) return;
          expect(records.map((parts) => parts.join(''))).toContain(found);
          expect(found).toMatch(/^[0-9a-fA-F.:]+$/);
        },
      ),
    );
  });

  test('wins only by a quorum of operators, and is public', () => {
    const vote: fc.Arbitrary<Vote> = fc.record({
      method: fc.constantFrom<Method>('interface', 'stun', 'dns', 'https'),
      operator: fc.constantFrom('a', 'b', 'c', 'd'),
      addresses: fc.array(fc.oneof(text, address), { maxLength: 2 }),
    });
    let won = 0;
    check(
      fc.property(
        fc.array(vote, { maxLength: 8 }),
        fc.constantFrom(...families),
        fc.integer({ min: 1, max: 3 }),
        (votes, family, quorum) => {
          const verdict = decide(family, votes, quorum);
          for (const note of verdict.notes) expect(note).not.toMatch(/[\n\r]/);
          const own = verdict.address;
          if (own === undefined) return;
          won += 1;
          const operators = votes
            .filter((one) => one.addresses.some((given) => canonical(given) === own))
            .map((one) => one.operator);
          expect(new Set(operators).size).toBeGreaterThanOrEqual(quorum);
          expect(isIP(own)).toBe(family);
          expect(specialKind(own)).toBeUndefined();
        },
      ),
    );
    expect(won).toBeGreaterThan(0);
  });
});

describe('the state', () => {
  const time = fc.nat(8.64e12);
  const reason = fc.string({ maxLength: 50 });
  const stop = fc.record({ reason, fix: reason });
  const record = fc.record(
    {
      address: fc.constantFrom('1.2.3.4', '2606:4700::1'),
      sentAt: time,
      failures: fc.nat(1_000_000),
      failingSince: time,
      problem: reason,
      fix: reason,
      nextAt: time,
      stopped: stop,
      goneSince: time,
    },
    { requiredKeys: ['failures', 'nextAt'], noNullPrototype: true },
  );
  const key = fc.stringMatching(/^[a-z0-9-]{1,30}$/);
  const state = fc.record(
    {
      version: fc.constant(1),
      providers: fc.dictionary(
        key,
        fc.record(
          {
            records: fc.record(
              { 4: record, 6: record },
              { requiredKeys: [], noNullPrototype: true },
            ),
            stopped: stop,
            memory: fc.dictionary(key, fc.string({ maxLength: 30 }), { noNullPrototype: true }),
          },
          { requiredKeys: ['records', 'memory'], noNullPrototype: true },
        ),
        { maxKeys: 2, noNullPrototype: true },
      ),
      active: key,
      unregisteredSince: time,
      quietUntil: time,
    },
    { requiredKeys: ['version', 'providers'], noNullPrototype: true },
  );

  test('is read as it was written', () => {
    check(
      fc.property(state, (given) => {
        const written = JSON.parse(JSON.stringify(given)) as State;
        expect(parseState(JSON.stringify(given))).toEqual(written);
      }),
    );
  });

  test('that is damaged is none, or one that can be written and read again', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json({ maxDepth: 3 }),
      fc
        .tuple(state, fc.nat(600), fc.nat(20), fc.string({ maxLength: 10 }))
        .map(([given, at, cut, more]) => {
          const whole = JSON.stringify(given);
          return whole.slice(0, at) + more + whole.slice(at + cut);
        }),
    );
    check(
      fc.property(text, (given) => {
        const found = parseState(given);
        if (found) expect(parseState(JSON.stringify(found))).toEqual(found);
      }),
    );
    expect(parseState(JSON.stringify(freshState()))).toEqual(freshState());
  });
});

describe('the settings', () => {
  const hosts = fc.constantFrom(['attic.example.org'], ['example.org', 'a.b.example.org']);
  const secret = fc.stringMatching(/^[\x21-\x7e]{4,40}$/);
  const login = fc.stringMatching(/^[a-zA-Z0-9@._-]{1,20}$/);
  const zone = fc.constant('example.org');
  const server = fc.constantFrom('https://ddns.example.org', 'https://ddns.example.org:8443/path');
  const provider = fc.oneof(
    fc.record({
      type: fc.constant('duckdns'),
      hostnames: fc.constantFrom(['a.duckdns.org'], ['a.duckdns.org', 'b-2.duckdns.org']),
      token: secret,
    }),
    fc.record({ type: fc.constant('noip'), hostnames: hosts, username: login, password: secret }),
    fc.record({ type: fc.constant('cloudflare'), zone, hostnames: hosts, token: secret }),
    fc.record({ type: fc.constant('namecheap'), zone, hostnames: hosts, password: secret }),
    fc.record({
      type: fc.constant('freedns'),
      hostnames: fc.constant(['a.mooo.com']),
      token4: secret,
    }),
    fc.record({
      type: fc.constant('dyndns2'),
      server,
      hostnames: hosts,
      username: login,
      password: secret,
    }),
    fc.record({
      type: fc.constant('rfc2136'),
      server: fc.constantFrom('ns1.example.org', '9.9.9.9'),
      zone,
      hostnames: hosts,
      key: fc.record({
        name: login.map((text) => `k${text.replaceAll('@', '')}`),
        secret: fc.constant('c2VjcmV0'),
      }),
    }),
  );
  const settings = fc.record(
    {
      providers: fc.array(provider, { minLength: 1, maxLength: 2 }),
      address: fc.record(
        { quorum: fc.integer({ min: 1, max: 5 }), interface: fc.boolean(), stun: fc.constant([]) },
        { requiredKeys: [], noNullPrototype: true },
      ),
      timings: fc.record(
        { refresh_days: fc.integer({ min: 1, max: 365 }) },
        { requiredKeys: [], noNullPrototype: true },
      ),
    },
    { requiredKeys: ['providers'], noNullPrototype: true },
  );

  test('that are right are what the service reads of the file that first boot writes', () => {
    check(
      fc.property(settings, (given) => {
        const parsed = ddnsSettings.parse(given);
        expect(parseDdnsSettings(stringify(withoutDefaults(parsed)))).toEqual(parsed);
      }),
    );
  });

  const nonsense = fc.constantFrom<unknown>(
    null,
    -1,
    1e9,
    {},
    '',
    'x\ny',
    'http://plain.example.org/',
    'https://u:p@ddns.example.org/',
    '-----BEGIN PRIVATE KEY-----',
    [[]],
    [null],
    ['not a name'],
    { unknown: 1 },
  );

  test('with nonsense in the place of any value, or a key that nobody knows, are refused', () => {
    check(
      fc.property(settings, fc.nat(), nonsense, fc.boolean(), (given, at, bad, add) => {
        const copy = structuredClone(given) as object;
        const places: [Record<string, unknown>, string][] = [];
        const objects: Record<string, unknown>[] = [];
        const walk = (value: unknown): void => {
          if (typeof value !== 'object' || value === null) return;
          if (!Array.isArray(value)) objects.push(value as Record<string, unknown>);
          for (const [key, inner] of Object.entries(value)) {
            places.push([value as Record<string, unknown>, key]);
            walk(inner);
          }
        };
        walk(copy);
        if (add) {
          const object = objects[at % objects.length];
          if (object) object.surplus = bad;
        } else {
          const [object, key] = places[at % places.length] ?? [];
          if (!object || key === undefined) return;
          // {} is right for a section whose keys all have defaults; a token may look like anything.
          const free = ['address', 'timings', 'token', 'token4', 'password'].includes(key);
          if (free && typeof bad !== 'number' && bad !== null) return;
          object[key] = bad;
        }
        expect(ddnsSettings.safeParse(copy).success).toBe(false);
      }),
    );
  });

  test('of random values or text are refused without a crash, and no secret is in the message', () => {
    check(
      fc.property(fc.anything({ maxDepth: 3 }), (given) => {
        expect(ddnsSettings.safeParse(given).success).toBe(false);
      }),
    );
    check(
      fc.property(
        settings,
        fc.nat(300),
        fc.nat(10),
        fc.string({ maxLength: 8, unit: 'binary' }),
        (given, at, cut, more) => {
          // JSON is YAML, too, and quicker.
          const whole = JSON.stringify(given, null, 1);
          const text = whole.slice(0, at) + more + whole.slice(at + cut);
          try {
            const parsed = parseDdnsSettings(text);
            expect(ddnsSettings.parse(parsed)).toEqual(parsed);
          } catch (error) {
            const { message } = error as Error;
            expect(message).toMatch(/^ddns settings: /);
            for (const hidden of secretsOf(given).filter((one) => one.length > 12))
              expect(message).not.toContain(hidden);
          }
        },
      ),
    );
  });
});

test('no secret is left in a text, in whatever encoding, and a quoted one is a line', () => {
  const secret = fc.stringMatching(/^[\x21-\x7e]{8,30}$/).filter((text) => !/^[*?]+$/.test(text));
  check(
    fc.property(secret, secret, fc.array(fragment, { maxLength: 3 }), (one, other, parts) => {
      const forms = (text: string) => [
        text,
        encodeURIComponent(text),
        new URLSearchParams({ x: text }).toString().slice(2),
        Buffer.from(text).toString('base64'),
      ];
      const all = [...forms(one), ...forms(other)];
      const text = quote(redact(all.join(` ${parts.join(' ')} `), [one, other]));
      for (const form of all) expect(text).not.toContain(form);
      expect(text).toMatch(/^[\x20-\x7e…]{0,120}$/);
    }),
  );
});
