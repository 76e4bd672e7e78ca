import type { networkInterfaces } from 'node:os';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canonical, specialKind } from './address.ts';
import { discover, type Network } from './discover/discover.ts';
import { parseStun, stunRequest } from './discover/stun.ts';
import { decide, operatorOf, type Vote } from './discover/votes.ts';
import { type AddressSettings, ddnsSettings } from './settings.ts';
import {
  type Authority,
  dnsServer,
  lookupTo,
  makeAuthority,
  serve,
  stunResponse,
  stunServer,
} from './testing.ts';

const own = '1.2.3.4';
const own6 = '2606:4700::1111';
const bytes6 = [0x26, 0x06, 0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x11];

let authority: Authority;
const closing: (() => Promise<void>)[] = [];
beforeAll(async () => {
  authority = await makeAuthority();
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
async function running<T extends { close(): Promise<void> }>(started: Promise<T>): Promise<T> {
  const server = await started;
  closing.push(() => server.close());
  return server;
}

/** Interfaces with these addresses. */
const network = (...addresses: string[]): Network => ({
  lookup: lookupTo(['127.0.0.1', '::1']),
  interfaces: () =>
    ({
      eth0: addresses.map((address) => ({
        address,
        family: address.includes(':') ? 'IPv6' : 'IPv4',
        internal: false,
      })),
    }) as unknown as ReturnType<typeof networkInterfaces>,
});

function settings(more: Record<string, unknown>): AddressSettings {
  return ddnsSettings.parse({
    providers: [{ type: 'duckdns', hostnames: ['a.duckdns.org'], token: 'tttt' }],
    address: { families: [4], stun: [], dns: [], https: [], ca: authority.ca, ...more },
  }).address;
}

/** A page that says this text, at a name of its own operator. */
const page = async (name: string, body: string, status = 200) =>
  `${(await running(serve(authority, () => ({ status, body }), '127.0.0.1', name))).url}/`;
const stun = async (bytes: readonly number[], family: 4 | 6 = 4) =>
  (await running(stunServer(family, (request) => stunResponse(request, bytes)))).port;
const dns = async (record: Parameters<typeof dnsServer>[0], host?: string) =>
  (await running(dnsServer(record, host))).port;
const txt = (text: string) => ({
  type: 16,
  data: Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]),
});

async function found(more: Record<string, unknown>, at: Network = network('192.168.1.7')) {
  const [verdict] = await discover(settings(more), 1500, at);
  if (!verdict) throw new Error('no verdict');
  return verdict;
}

describe('the public address', () => {
  test('is what two independent services name: STUN and DNS', async () => {
    const verdict = await found({
      stun: [`one.test:${await stun([1, 2, 3, 4])}`],
      dns: [
        {
          name: 'whoami.two.test',
          type: 'TXT',
          server4: `127.0.0.1:${await dns(txt(own))}`,
        },
      ],
    });
    expect(verdict).toMatchObject({ address: own, agreed: ['one.test (stun)', 'two.test (dns)'] });
    expect(verdict.notes).toEqual([]);
  });

  test('of an A record counts as well as a TXT record', async () => {
    const port = await dns({ type: 1, data: Buffer.from([1, 2, 3, 4]) });
    const service = { name: 'myip.one.test', type: 'address', server4: `127.0.0.1:${port}` };
    expect(await found({ dns: [service], quorum: 1 })).toMatchObject({ address: own });
  });

  test('is asked of web pages only if the others do not suffice', async () => {
    const server = await running(
      serve(authority, () => ({ body: `${own}\n` }), '127.0.0.1', 'two.test'),
    );
    const https = [`${server.url}/`];
    const at = network(own);
    await found({ stun: [`one.test:${await stun([1, 2, 3, 4])}`], https }, at);
    expect(server.seen).toEqual([]);
    expect(await found({ https }, at)).toMatchObject({
      address: own,
      agreed: ['this device (interface)', 'two.test (https)'],
    });
  });

  test('of IPv6 is found by itself, over IPv6', async () => {
    const port = await stun(bytes6, 6);
    const server = await running(serve(authority, () => ({ body: own6 }), '::1', 'two.test'));
    const verdict = await found(
      { families: [6], stun: [`one.test:${port}`], https: [`${server.url}/`] },
      network(),
    );
    expect(verdict).toMatchObject({ family: 6, address: own6 });
  });

  test('of one family is found while the other is gone', async () => {
    const verdicts = await discover(
      settings({ families: [4, 6], stun: [`one.test:${await stun([1, 2, 3, 4])}`], quorum: 1 }),
      1500,
      network(),
    );
    expect(verdicts).toMatchObject([
      { family: 4, address: own, gone: false },
      { family: 6, gone: true, notes: [expect.stringMatching(/^No IPv6 address: one\.test/)] },
    ]);
  });
});

describe('a service that lies', () => {
  test('moves nothing, and the disagreement is told', async () => {
    const verdict = await found({
      stun: [`liar.test:${await stun([6, 6, 6, 6])}`, `one.test:${await stun([1, 2, 3, 4])}`],
      https: [await page('two.test', own)],
    });
    expect(verdict.address).toBe(own);
    expect(verdict.notes).toEqual([expect.stringMatching(/^Services disagree: .*6\.6\.6\.6/)]);
  });

  test('and is the only one that answers is not believed', async () => {
    const verdict = await found({ stun: [`liar.test:${await stun([6, 6, 6, 6])}`] });
    expect(verdict.address).toBeUndefined();
    expect(verdict.notes).toEqual([
      expect.stringContaining('liar.test (stun) alone names 6.6.6.6'),
    ]);
  });

  test('by several methods is still one', async () => {
    const verdict = await found({
      stun: [`stun.liar.test:${await stun([6, 6, 6, 6])}`],
      dns: [
        { name: 'me.liar.test', type: 'TXT', server4: `127.0.0.1:${await dns(txt('6.6.6.6'))}` },
      ],
    });
    expect(verdict.address).toBeUndefined();
  });

  test('two against two move nothing', () => {
    const vote = (operator: string, address: string): Vote => ({
      method: 'https',
      operator,
      addresses: [address],
    });
    const votes = [vote('a', own), vote('b', own), vote('c', '6.6.6.6'), vote('d', '6.6.6.6')];
    expect(decide(4, votes, 2).address).toBeUndefined();
    expect(decide(4, votes.slice(0, 3), 2).address).toBe(own);
  });

  test('with a certificate of nobody is not heard', async () => {
    const other = await makeAuthority();
    const server = await running(
      serve(other, () => ({ body: '6.6.6.6' }), '127.0.0.1', 'one.test'),
    );
    const verdict = await found({ https: [`${server.url}/`], quorum: 1 });
    expect(verdict).toMatchObject({ gone: false });
    expect(verdict.address).toBeUndefined();
  });
});

describe('no public address', () => {
  test.each([
    ['a captive portal', '<html>Log in, 1.2.3.4</html>', 200],
    ['an error page', own, 500],
    ['two addresses', `${own} 6.6.6.6`, 200],
    ['a private address', '192.168.1.1', 200],
    ['an address of the carrier', '100.64.3.4', 200],
    ['an address for documentation', '203.0.113.9', 200],
    ['an address of the other family', own6, 200],
  ])('is %s', async (_, body, status) => {
    expect(
      (await found({ https: [await page('one.test', body, status)], quorum: 1 })).address,
    ).toBe(undefined);
  });

  test('and why: private ones are told, and carrier NAT', async () => {
    const https = [await page('one.test', '100.64.3.4')];
    const verdict = await found({ https, quorum: 1 }, network('100.64.3.4'));
    expect(verdict.notes).toEqual([
      expect.stringMatching(/^An interface has 100\.64\.3\.4.*carrier.*nobody reaches/),
      expect.stringMatching(/names 100\.64\.3\.4, which is of a carrier's NAT.*not counted/),
    ]);
  });

  test('when DNS fails, nothing listens, or nobody answers', async () => {
    const mute = await running(stunServer(4, () => undefined));
    const verdict = await found(
      {
        stun: [`one.invalid:3478`, `two.test:1`, `three.test:${mute.port}`],
        dns: [{ name: 'x.four.test', type: 'TXT', server4: `127.0.0.1:${await dns({ code: 2 })}` }],
        https: ['https://five.invalid/', 'https://one.test:1/'],
      },
      network(),
    );
    expect(verdict.gone).toBe(true);
    for (const part of [
      'one.invalid (stun): its name cannot be resolved',
      'three.test (stun): no answer',
      'four.test (dns): no answer (ESERVFAIL)',
      'five.invalid (https): five.invalid: its name cannot be resolved',
      'one.test (https): one.test:1: the connection was refused',
    ])
      expect(verdict.notes.join()).toContain(part);
  });
});

describe('STUN', () => {
  const transaction = Buffer.from('b7e7a701bc34d686fa87dfae', 'hex');
  // RFC 5769 §2.2 and §2.3: sample responses for IPv4 and IPv6.
  const samples = [
    [
      '0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96',
      '192.0.2.1',
    ],
    [
      '010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c',
      '2001:db8:1234:5678:11:2233:4455:6677',
    ],
  ] as const;

  test.each(samples)("reads RFC 5769's sample %#", (hex, address) => {
    expect(parseStun(Buffer.from(hex, 'hex'), transaction)).toBe(address);
  });

  test('asks as RFC 8489 has it', () => {
    expect(stunRequest(transaction).toString('hex')).toBe(
      '000100002112a442b7e7a701bc34d686fa87dfae',
    );
  });

  test('an answer to another request, or one that is cut off, is none', () => {
    const whole = Buffer.from(samples[0][0], 'hex');
    expect(parseStun(whole, Buffer.alloc(12))).toBeUndefined();
    for (let length = 0; length < whole.length; length += 1)
      expect(parseStun(whole.subarray(0, length), transaction)).toBeUndefined();
  });
});

test.each([
  ['10.0.0.1', 'private (RFC 1918)'],
  ['172.31.255.255', 'private (RFC 1918)'],
  ['172.32.0.1', undefined],
  ['100.64.0.1', "of a carrier's NAT (RFC 6598)"],
  ['100.127.255.255', "of a carrier's NAT (RFC 6598)"],
  ['100.128.0.1', undefined],
  ['169.254.1.1', 'link-local'],
  ['198.51.100.7', 'for documentation'],
  ['0.0.0.0', 'reserved'],
  ['255.255.255.255', 'reserved'],
  ['fd00::1', 'private (RFC 4193)'],
  ['fe80::1', 'link-local'],
  ['2001:db8::1', 'for documentation'],
  ['2002:102:304::1', 'of a tunnel (6to4, Teredo)'],
  ['::ffff:1.2.3.4', 'reserved'],
  ['::', 'reserved'],
  ['4000::1', 'reserved'],
  ['2606:4700::1', undefined],
  ['01.2.3.4', 'no address'],
  ['nonsense', 'no address'],
])('%s is %s', (address, kind) => {
  expect(specialKind(address)).toBe(kind);
});

test('an address has one spelling', () => {
  expect(canonical('2606:4700:0:0:0:0:0:1111')).toBe(own6);
  expect(canonical('2606:4700::AB')).toBe('2606:4700::ab');
  for (const bad of ['fe80::1%eth0', '1.2.3', '', '1.2.3.4/32', ' 1.2.3.4'])
    expect(canonical(bad)).toBeUndefined();
});

test('operators are told apart by their domain', () => {
  expect(operatorOf('stun.l.google.com')).toBe('google.com');
  expect(operatorOf('[2606::1]')).toBe('2606::1');
  expect(operatorOf('127.0.0.1')).toBe('127.0.0.1');
});
