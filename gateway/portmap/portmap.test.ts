import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { deviceSystem } from '../../firstboot/system.ts';
import { routerConditions } from './conditions.ts';
import { readDescription } from './description.ts';
import { guideOf } from './guide.ts';
import {
  type MapRequest,
  natPmpMapRequest,
  pcpMapRequest,
  readNatPmp,
  readNatPmpAddress,
  readPcp,
} from './packets.ts';
import { reachedBy } from './reached.ts';
import { ownUrl, readSearchAnswer } from './upnp.ts';
import { statusFile } from './view.ts';

const request: MapRequest = {
  nonce: Buffer.from('000102030405060708090a0b', 'hex'),
  client: '192.168.1.20',
  internalPort: 51_820,
  externalPort: 443,
  lifetime: 7200,
};

test('a PCP request is as RFC 6887 draws it (7.1, 11.1), and asks for that port or none (13.2)', () => {
  expect(pcpMapRequest(request, true).toString('hex')).toBe(
    [
      '0201000000001c20', // version, MAP, lifetime
      '00000000000000000000ffffc0a80114', // the client
      '000102030405060708090a0b', // nonce
      '11000000', // UDP
      'ca6c01bb', // internal, external port
      '00000000000000000000ffff00000000',
      '02000000', // PREFER_FAILURE
    ].join(''),
  );
  const six = pcpMapRequest({ ...request, client: '2001:db8::14', lifetime: 0 }, true);
  expect(six.length).toBe(60);
  expect(six.subarray(8, 24).toString('hex')).toBe('20010db8000000000000000000000014');
  expect(six.subarray(44).every((one) => one === 0)).toBe(true);
});

test('a NAT-PMP request is as RFC 6886 draws it (3.3), and one that ends a mapping has no port (3.4)', () => {
  expect(natPmpMapRequest(request).toString('hex')).toBe('00010000ca6c01bb00001c20');
  expect(natPmpMapRequest({ ...request, lifetime: 0 }).toString('hex')).toBe(
    '00010000ca6c000000000000',
  );
});

const pcpAnswer = (change: (message: Buffer) => void = () => undefined) => {
  const message = pcpMapRequest(request, false);
  message[1] = 0x81;
  message.fill(0, 8, 24);
  Buffer.from('00000000000000000000ffff05050505', 'hex').copy(message, 44);
  change(message);
  return message;
};

test('an answer of PCP counts only with the nonce, protocol and port of the question', () => {
  expect(readPcp(pcpAnswer(), request)).toEqual({
    externalAddress: '5.5.5.5',
    externalPort: 443,
    lifetime: 7200,
  });
  for (const at of [24, 35, 36, 40]) {
    const forged = pcpAnswer((message) => {
      message[at] = (message[at] ?? 0) ^ 1;
    });
    expect(readPcp(forged, request), `byte ${at}`).toBeUndefined();
  }
  expect(
    readPcp(
      pcpAnswer((message) => message.writeUInt8(11, 3)),
      request,
    ),
  ).toEqual({
    refused: expect.stringContaining('CANNOT_PROVIDE_EXTERNAL'),
    code: 11,
  });
});

test('whatever comes, a reader of answers ends, and takes no mapping of another port', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => {
      const message = Buffer.from(bytes);
      readNatPmpAddress(message);
      readSearchAnswer(message);
      readPcp(message, request);
      const mapped = readNatPmp(message, request);
      if (mapped && 'externalPort' in mapped)
        expect(message.readUInt16BE(8)).toBe(request.internalPort);
    }),
    { numRuns: 2000 },
  );
});

test('whatever the description of a router is, reading it takes no longer than its length', () => {
  for (const piece of [
    '<service>',
    '<serviceType',
    '<controlURL>',
    '&amp;',
    '<service></service>',
  ]) {
    const begun = performance.now();
    readDescription(piece.repeat(Math.floor(65_536 / piece.length)));
    expect(performance.now() - begun, piece).toBeLessThan(1000);
  }
});

test('an address that the router names is its own, or none', () => {
  expect(ownUrl('192.168.1.1', '/ctl', 'http://192.168.1.1:5000/root.xml').href).toBe(
    'http://192.168.1.1:5000/ctl',
  );
  for (const text of [
    'http://192.168.1.2/',
    'http://192.168.1.1.evil.example/',
    'http://192.168.1.1@10.0.0.1/',
    '//10.0.0.1/ctl',
    'https://192.168.1.1/',
    'gopher://192.168.1.1/',
    'http://[::ffff:192.168.1.1]/',
    'http://',
  ])
    expect(() => ownUrl('192.168.1.1', text, 'http://192.168.1.1/'), text).toThrow();
});

const peer = (endpoint: string | undefined, handshake: number) => ({
  interface: 'wg0',
  publicKey: 'x',
  endpoint,
  allowedIps: [],
  handshake,
  received: 0,
  sent: 0,
});

test('who came in from the internet is proof; who is at home, was never heard of, or came by the router’s own address is none', () => {
  expect(reachedBy([peer('192.168.1.7:4000', 1000), peer('203.0.113.7:4000', 0)], [])).toBeNull();
  expect(reachedBy([peer('203.0.113.24:4000', 1000)], ['203.0.113.24'])).toBeNull();
  expect(reachedBy([peer('203.0.113.7:4000', 1000), peer('[2001:db8::7]:4000', 2000)], [])).toEqual(
    { at: '1970-01-01T00:33:20.000Z', from: '2001:db8::7' },
  );
});

const facts = {
  device: 'eth0',
  mac: 'd8:3a:dd:00:00:01',
  own4: '192.168.1.20',
  own6: '2001:db8::20',
  router4: '192.168.1.1',
  router6: 'fe80::1%eth0',
  forwards: [
    { name: 'wireguard', protocol: 'udp' as const, external_port: 443, internal_port: 51_820 },
  ],
  direct: false,
  line: { state: 'ok' as const, found: '' },
};

test('the guide says each step with the ports and addresses of the device', () => {
  const text = guideOf(facts).steps.join('\n');
  for (const one of [
    'http://192.168.1.1/',
    'd8:3a:dd:00:00:01',
    'UDP, port 443 from outside to 192.168.1.20, port 51820',
    'let UDP 443 through to 2001:db8::20',
  ])
    expect(text).toContain(one);
});

test('it begins with what must be mended first, and ends early where nothing is to be done', () => {
  const line = {
    state: 'failed' as const,
    found: 'The line shares its address',
    fix: 'Ask for one.',
  };
  expect(guideOf({ ...facts, line }).steps.join('\n')).toContain('The line shares its address');
  expect(guideOf({ ...facts, forwards: [] }).steps).toHaveLength(1);
  expect(guideOf({ ...facts, direct: true, own6: null }).steps[0]).toContain('nothing to forward');
});

test('the owner is told when the router refuses what it is asked for, and when it is well again', async () => {
  const root = await mkdtemp(join(tmpdir(), 'pi-gateway-router-'));
  const system = { ...deviceSystem(() => undefined), root };
  const say = async (state: string) => {
    await mkdir(join(root, statusFile, '..'), { recursive: true });
    const status = { checked_at: '2026-11-02T08:00:00Z', state, summary: 'No', families: [] };
    await writeFile(join(root, statusFile), JSON.stringify(status));
    return (await routerConditions(system)).map(({ active, text }) => ({ active, text }));
  };
  expect(await routerConditions(system)).toEqual([]);
  expect(await say('off')).toEqual([]);
  expect(await say('refused')).toEqual([
    { active: true, text: 'No. See: sudo pi-gateway router status' },
  ]);
  expect(await say('mapped')).toMatchObject([{ active: false }]);
  await rm(root, { recursive: true });
});
