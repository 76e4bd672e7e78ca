import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { armor, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { decodeText } from './owner-file.ts';
import { parseSettings, readSettings, settingsFiles, settingsSchema } from './settings.ts';
import { OwnerError } from './step.ts';
import type { System } from './system.ts';

const key = `ssh-ed25519 ${Buffer.concat([
  Buffer.from([0, 0, 0, 11]),
  Buffer.from('ssh-ed25519'),
  Buffer.from([0, 0, 0, 32]),
  Buffer.alloc(32, 7),
]).toString('base64')} owner@laptop`;
const hash = `$6$saltsalt$${'a'.repeat(86)}`;
/** Everything there is, as an owner might write it. */
const full = `hostname: attic
admin:
  name: kim
  ssh_authorized_keys:
    - ${key}
  password_hash: ${hash}
locale: en_GB.UTF-8
timezone: Asia/Kolkata
keyboard:
  layout: de,us
  variant: nodeadkeys,
network:
  addresses: [192.168.1.10/24, fd10::10/64]
  gateways: [192.168.1.1, fe80::1]
  dns: [9.9.9.9, 2620:fe::fe]
  wifi:
    country: DE
    ssid: Café am Eck
    password: correct horse battery
    hidden: true
wireguard:
  endpoint: gateway.example.org
  first_client: phone
ddns:
  providers:
    - {type: duckdns, hostnames: [attic.duckdns.org], token: some-token}
`;

function refusal(action: () => unknown): OwnerError {
  try {
    action();
  } catch (error) {
    if (error instanceof OwnerError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

test('a file with every key is taken, with Windows line ends and a byte order mark too', () => {
  const settings = parseSettings(full);
  expect(settings.network?.wifi?.ssid).toBe('Café am Eck');
  expect(settings.keyboard).toEqual({ layout: 'de,us', variant: 'nodeadkeys,' });
  expect(parseSettings(`\uFEFF${full.replaceAll('\n', '\r\n')}`)).toEqual(settings);
});

test.each(['', '\n', '# only a comment\n', '---\n', '{}\n', '\uFEFF'])(
  'an empty file (%j) asks for nothing',
  (text) => expect(parseSettings(text)).toEqual({}),
);

describe('the example on the boot partition', () => {
  const file = '../overlays/firstboot/boot/firmware/gateway-device.yaml.example';
  const example = readFileSync(join(import.meta.dirname, file), 'utf8').replace(
    /- ssh-ed25519 AAAA.*/,
    `- ${key}`,
  );
  /** Every commented line that is a setting, as its owner would take it in. */
  const whole = example.replaceAll(/^( *)# ((?: *)(?:(?:- )?[a-z_]+:(?: .*)?|# .*))$/gm, '$1$2');

  test('needs only a key to be right', () => {
    expect(parseSettings(example)).toEqual({ admin: { ssh_authorized_keys: [key] } });
  });

  test('shows every key in the order of the schema, and is right with all of them in use', () => {
    const settings = parseSettings(whole);
    const keysOf = (schema: unknown): unknown => {
      const inner = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
      return inner instanceof z.ZodObject
        ? Object.entries(inner.shape).map(([name, field]) => [name, keysOf(field)])
        : undefined;
    };
    const keysIn = (value: unknown): unknown =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.entries(value).map(([name, field]) => [name, keysIn(field)])
        : undefined;
    // The keys of `ddns` differ with the provider, those of `restore` with the target: docs/ddns.md, docs/backups.md.
    const { ddns, restore, ...shape } = settingsSchema.shape;
    expect(settings.ddns?.providers).toHaveLength(1);
    expect(settings.restore?.target.type).toBe('disk');
    expect(keysIn({ ...settings, ddns: undefined, restore: undefined })).toEqual([
      ...(keysOf(z.strictObject(shape)) as unknown[]),
      ['ddns', undefined],
      ['restore', undefined],
    ]);
  });
});

describe('values that are right', () => {
  test.each([
    `admin: {password_hash: "${execFileSync('openssl', ['passwd', '-6', 'x'], { encoding: 'utf8' }).trim()}"}`,
    `admin: {password_hash: "${execFileSync('openssl', ['passwd', '-5', 'x'], { encoding: 'utf8' }).trim()}"}`,
    `admin: {password_hash: $y$j9T$AbcDefGhiJkl/.$${'a'.repeat(43)}}`,
    `admin: {password_hash: $gy$j9T$AbcDefGhiJkl/.$${'a'.repeat(43)}}`,
    `admin: {password_hash: $2b$12$${'a'.repeat(53)}}`,
    `admin: {password_hash: $6$rounds=656000$salt$${'a'.repeat(86)}}`,
    'wireguard: {first_client: false}',
    'wireguard: {endpoint: 203.0.113.7}',
    'wireguard: {endpoint: "2001:db8::1"}',
    'network: {wifi: {country: GB}}',
    `network: {wifi: {country: GB, ssid: x, password: ${'0aF'.repeat(21)}b}}`,
    'network: {wifi: {country: GB, ssid: open}}',
    'timezone: Europe/Kyiv',
    'timezone: UTC',
  ])('%s', (text) => expect(() => parseSettings(text)).not.toThrow());
});

describe('what is wrong is refused with its place and what to write', () => {
  test.each<[string, string, RegExp]>([
    ['invalid YAML', 'admin: [\n', /:2:1: .*a bracket above is not closed/],
    ['an unclosed quote', 'hostname: "attic\n', /: lacks a closing quote/],
    ['a tab', 'admin:\n\tname: kim\n', /:2:1: is indented with a tab/],
    ['an unknown key', 'locale: C.UTF-8\nhostnam: x\n', /:2:1: hostnam: .*mean 'hostname'/],
    ['an unknown key inside', 'admin:\n  nme: kim\n', /:2:3: admin.nme: .*mean 'name'/],
    ['a key with - for _', 'admin:\n  password-hash: x\n', /mean 'password_hash'/],
    ['a wrong type', 'admin: yes\n', /:1:8: admin: must have its settings below it/],
    ['a number for text', 'hostname: 1234\n', /:1:11: hostname: must be text; put it in quotes/],
    ['text for a list', 'admin: {ssh_authorized_keys: x}\n', /must be a list/],
    [
      'text for a truth value',
      'network: {wifi: {country: DE, ssid: x, hidden: y}}',
      /true or false/,
    ],
    ['a key without value', 'hostname:\n', /:1:1: hostname: is empty: write a value or remove/],
    ['a section without value', 'admin:\nlocale: C.UTF-8\n', /:1:1: admin: is empty/],
    ['an empty entry', 'admin:\n  ssh_authorized_keys:\n    -\n', /keys.0: is empty/],
    ['a list for settings', '- hostname: x\n', /:1:1: must be settings like/],
    ['a word for settings', 'attic\n', /must be settings like/],
    ['a duplicate key', 'hostname: a\nhostname: b\n', /:2:1: is there twice/],
    ['a duplicate key in ddns', 'ddns: {a: 1, a: 2}\n', /is there twice/],
    [
      'an alias',
      'hostname: &a attic\nlocale: *a\n',
      /:1:14: has an anchor[\s\S]*:2:9: is an alias/,
    ],
    ['a tag', 'hostname: !!str attic\n', /has a tag/],
    ['a tag of its own', 'hostname: !secret attic\n', /has a tag/],
    ['a merge key', 'ddns: {"<<": {a: 1}}\n', /merge key/],
    ['a directive', '%YAML 1.1\n---\nhostname: a\n', /starts with a % line/],
    ['two documents', 'hostname: a\n---\nhostname: b\n', /second document/],
    ['binary', 'hostname: a\0b\n', /is binary/],
    ['a file too large', `# ${'x'.repeat(70_000)}\n`, /larger than 64 KiB/],
    ['depth without end', '['.repeat(30_000), /is nested too deep/],
    ['a bad host name', 'hostname: "a b"\n', /:1:11: hostname: must be a host name/],
    ['localhost', 'hostname: localhost\n', /every machine/],
    ['root as admin', 'admin: {name: root}\n', /account of the system/],
    [
      'a private key',
      'admin:\n  ssh_authorized_keys:\n    - "-----BEGIN OPENSSH PRIVATE KEY-----"\n',
      /:3:7: .*is a PRIVATE key/,
    ],
    [
      'a private key as a block',
      'admin:\n  ssh_authorized_keys:\n    - |\n      -----BEGIN OPENSSH PRIVATE KEY-----\n      b3BlbnNzaC1r\n',
      /PRIVATE key/,
    ],
    [
      'half a public key',
      `admin: {ssh_authorized_keys: ["${key.slice(0, 40)}"]}`,
      /cut short|must be a public/,
    ],
    ['two keys in one entry', `admin: {ssh_authorized_keys: ["${key}\\n${key}"]}`, /one line/],
    ['no key in the list', 'admin: {ssh_authorized_keys: []}\n', /at least one/],
    [
      'a password in clear',
      'admin: {password_hash: hunter2-secret}\n',
      /never the password itself; .*openssl passwd -6.*mkpasswd/,
    ],
    [
      'a password of 13 letters',
      'admin: {password_hash: hunter2secret}\n',
      /DES hash.*or a password in clear.*openssl/,
    ],
    [
      'an MD5 hash',
      `admin: {password_hash: ${execFileSync('openssl', ['passwd', '-1', 'x'], { encoding: 'utf8' }).trim()}}`,
      /weak hash/,
    ],
    ['a DES hash', 'admin: {password_hash: rEK1ecacw.7.c}\n', /DES hash/],
    ['a hash cut short', 'admin: {password_hash: $6$salt$abc}\n', /damaged hash/],
    ['a locked password', 'admin: {password_hash: "*"}\n', /locks the password/],
    ['a locale without UTF-8', 'locale: en_GB\n', /UTF-8 locale/],
    ['a time zone that is none', 'timezone: europe/berlin\n', /Europe\/Berlin/],
    ['a keyboard by its country name', 'keyboard: {layout: Deutsch}\n', /XKB name/],
    ['a keyboard without layout', 'keyboard: {variant: dvorak}\n', /keyboard.layout: is missing/],
    [
      'a network for an address',
      'network: {addresses: [192.168.1.0/24]}\n',
      /is the network itself/,
    ],
    ['an address without prefix', 'network: {addresses: [192.168.1.5]}\n', /with its prefix/],
    ['a loopback address', 'network: {addresses: [127.0.0.5/8]}\n', /loopback/],
    [
      'a gateway elsewhere',
      'network: {addresses: [10.0.0.2/24], gateways: [10.0.1.1]}\n',
      /:1:48: network.gateways.0: lies in none/,
    ],
    [
      'oneself as gateway',
      'network: {addresses: [10.0.0.2/24], gateways: [10.0.0.2]}\n',
      /own address/,
    ],
    ['a gateway with DHCP', 'network: {gateways: [10.0.1.1]}\n', /needs `addresses:`/],
    ['a name server by name', 'network: {dns: [dns.example.org]}\n', /IPv4 or IPv6 address/],
    ['a Wi-Fi country in words', 'network: {wifi: {country: Germany}}\n', /two capital letters/],
    ['a Wi-Fi country that is none', 'network: {wifi: {country: XX}}\n', /two capital letters/],
    ['the UK', 'network: {wifi: {country: UK}}\n', /may be GB/],
    [
      'a network without country',
      'network: {wifi: {ssid: x}}\n',
      /network.wifi.country: is missing/,
    ],
    ['an SSID of 33 bytes', `network: {wifi: {country: DE, ssid: ${'ä'.repeat(16)}x}}\n`, /has 33/],
    [
      'an SSID with a line end',
      'network: {wifi: {country: DE, ssid: "a\\nb"}}\n',
      /control characters/,
    ],
    ['a short passphrase', 'network: {wifi: {country: DE, ssid: x, password: short}}\n', /8 to 63/],
    [
      'a passphrase of digits',
      'network: {wifi: {country: DE, ssid: x, password: 12345678}}\n',
      /put it in quotes/,
    ],
    [
      'a password without network',
      'network: {wifi: {country: DE, password: long-enough}}\n',
      /:1:41: network.wifi.password: needs `ssid:`/,
    ],
    ['an endpoint with port', 'wireguard: {endpoint: "gw.example.org:51820"}\n', /without a port/],
    ['an endpoint that is a URL', 'wireguard: {endpoint: "https://gw.example.org"}\n', /host name/],
    ['an address with a number too large', 'wireguard: {endpoint: 1.2.3.300}\n', /host name/],
    ['`no` for false', 'wireguard: {first_client: no}\n', /false, in full/],
    [
      'a client with a path in its name',
      'wireguard: {first_client: ../../etc}\n',
      /name of a client/,
    ],
    ['true for a name', 'wireguard: {first_client: true}\n', /must be a name, or false/],
    ['a key that is a prototype', '__proto__: {a: 1}\n', /is no setting/],
    [
      'a secret in place of a key',
      'hunter2 secret: x\n',
      /:1:1: is no setting; there are hostname/,
    ],
  ])('%s', (_, text, message) => {
    const error = refusal(() => parseSettings(text));
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/^gateway-device\.yaml:\d+:\d+: /);
    expect(error.fix).not.toBe('');
    for (const secret of ['hunter2', 'b3BlbnNz', '12345678', 'long-enough', 'BEGIN'])
      expect(error.message).not.toContain(secret);
  });

  test('all at once, in the order of the file', () => {
    const error = refusal(() =>
      parseSettings('hostname: A\nadmin: {nam: x}\ntimezone: Mars\n', 'dev.yaml'),
    );
    expect(error.message.split('\n').map((line) => line.split(': ')[0])).toEqual([
      'dev.yaml:1:11',
      'dev.yaml:2:9',
      'dev.yaml:3:11',
    ]);
  });

  test('but not a thousand', () => {
    const text = Array.from(
      { length: 1000 },
      (_, i) =>
        `k${'x'.repeat(i % 20)}${'abc'[i % 3]}${'y'.repeat(i % 7)}z${'q'.repeat(i % 11)}: 1`,
    );
    const error = refusal(() => parseSettings([...new Set(text)].join('\n')));
    expect(error.message.split('\n').length).toBe(11);
  });
});

describe('on the boot partition', () => {
  let root = '';
  let system: System;
  const path = () => join(root, 'boot/firmware/gateway-device.yaml');
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'pi-gateway-settings-'));
    await mkdir(join(root, 'boot/firmware'), { recursive: true });
    system = { root, boot: '/boot/firmware', run: async () => '', say: () => undefined };
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test('no file asks for nothing', async () => {
    expect(await readSettings(system)).toEqual({});
  });

  test.each<[string, string | Uint8Array, RegExp]>([
    ['a photo', new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0, 1, 2]), /is binary/],
    ['UTF-16', Buffer.from('\uFEFFhostname: attic\n', 'utf16le'), /is in UTF-16/],
    ['Latin-1', Buffer.from('# Büro\nhostname: a\n', 'latin1'), /is not in UTF-8/],
  ])('%s is refused', async (_, content, message) => {
    await writeFile(path(), content);
    await expect(readSettings(system)).rejects.toThrow(message);
    await expect(readSettings(system)).rejects.toThrow(OwnerError);
  });

  test('a file of 1 GB is refused by its size, and not read', async () => {
    await writeFile(path(), '');
    await truncate(path(), 1024 ** 3);
    const before = process.memoryUsage().rss;
    await expect(readSettings(system)).rejects.toThrow(/has 1048576 KiB; settings have at most 64/);
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 ** 2);
  });

  test('a folder, a link and a pipe in its place are refused, and a link is not followed', async () => {
    await mkdir(path());
    await expect(readSettings(system)).rejects.toThrow('gateway-device.yaml is a folder');
    await rm(path(), { recursive: true });
    await writeFile(join(root, 'elsewhere'), 'hostname: attic\n');
    await symlink(join(root, 'elsewhere'), path());
    await expect(readSettings(system)).rejects.toThrow('gateway-device.yaml is a symbolic link');
    await rm(path());
    execFileSync('mkfifo', [path()]);
    await expect(readSettings(system)).rejects.toThrow('gateway-device.yaml is no regular file');
  });

  test('mending the file is all it takes', async () => {
    await writeFile(path(), 'hostnam: attic\n');
    await expect(readSettings(system)).rejects.toThrow(OwnerError);
    await writeFile(path(), 'hostname: attic\n');
    expect(await readSettings(system)).toEqual({ hostname: 'attic' });
  });

  test('keys of authorized_keys are joined to those of the settings', async () => {
    await writeFile(path(), `admin: {ssh_authorized_keys: ["${key}"]}\n`);
    await writeFile(join(root, 'boot/firmware/authorized_keys'), `\uFEFF${key}\r\n${key}2\r\n`);
    expect((await readSettings(system)).admin?.ssh_authorized_keys).toEqual([key, `${key}2`]);
  });
});

describe('encrypted with age', () => {
  let root = '';
  let system: System;
  let identity = '';
  let recipient = '';
  const put = async (content: string | Uint8Array, name = 'gateway-device.yaml.age') =>
    await writeFile(join(root, 'boot/firmware', name), content);
  const sealed = async (text: string, to = recipient) => {
    const encrypter = new Encrypter();
    encrypter.addRecipient(to);
    return await encrypter.encrypt(text);
  };
  const withIdentity = async (text: string) =>
    await writeFile(join(root, 'etc/pi-gateway/settings-identity.txt'), text);
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'pi-gateway-settings-'));
    for (const folder of ['boot/firmware', 'etc/pi-gateway'])
      await mkdir(join(root, folder), { recursive: true });
    system = { root, boot: '/boot/firmware', run: async () => '', say: () => undefined };
    identity = await generateX25519Identity();
    recipient = await identityToRecipient(identity);
    await withIdentity(`# created: today\n# public key: ${recipient}\n${identity}\n`);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test('settings are read as if they were in clear, from a binary file and an armored one', async () => {
    const file = await sealed(full);
    await put(file);
    expect(await readSettings(system)).toEqual(parseSettings(full));
    await put(armor.encode(file).replaceAll('\n', '\r\n'));
    expect(await readSettings(system)).toEqual(parseSettings(full));
  });

  test('a mistake in it is told with its place', async () => {
    await put(await sealed('hostname: A\n'));
    await expect(readSettings(system)).rejects.toThrow('gateway-device.yaml.age:1:11: hostname: ');
  });

  test.each<[string, () => Promise<unknown>, RegExp]>([
    ['no identity', () => rm(join(root, 'etc/pi-gateway/settings-identity.txt')), /no identity/],
    ['no line in the identity file', () => withIdentity('# none\n'), /another recipient/],
    ['nonsense for an identity', () => withIdentity('AGE-SECRET-KEY-1NO\n'), /no age identity/],
    [
      'another identity',
      async () => withIdentity(await generateX25519Identity()),
      /another recipient/,
    ],
    ['settings in clear', () => put('hostname: attic\n'), /is not an age file/],
    ['an empty file', () => put(''), /is not an age file/],
    ['a file cut short', async () => put((await sealed(full)).slice(0, 300)), /is damaged/],
    [
      'a damaged armor',
      async () => put(armor.encode(await sealed(full)).slice(0, 200)),
      /is damaged/,
    ],
    ['both files', () => put('hostname: attic\n', 'gateway-device.yaml'), /not clear which counts/],
    ['a photo inside', async () => put(await sealed('\0\0')), /binary/],
  ])('%s is told', async (_, change, message) => {
    await put(await sealed('hostname: attic\n'));
    await change();
    await expect(readSettings(system)).rejects.toThrow(message);
    await expect(readSettings(system)).rejects.toThrow(OwnerError);
  });

  test('all files that may hold a secret are listed for the wipe', () => {
    expect(settingsFiles).toContain('gateway-device.yaml');
    expect(settingsFiles).toContain('gateway-device.yaml.age');
  });

  test('settings under the name that Notepad gives are not overlooked', async () => {
    await rm(join(root, 'boot/firmware/gateway-device.yaml.age'), { force: true });
    await put('hostname: attic\n', 'gateway-device.yaml.txt');
    await expect(readSettings(system)).rejects.toThrow('gateway-device.yaml.txt is not read');
  });
});

describe('fuzz', () => {
  /** Refused in the owner's words, or taken and found right again. Anything else is a crash. */
  function holds(text: string): void {
    try {
      const settings = parseSettings(text);
      expect(settingsSchema.parse(settings)).toEqual(settings);
    } catch (error) {
      if (!(error instanceof OwnerError)) throw error;
      expect(error.message).toMatch(/^gateway-device\.yaml:\d+:\d+: ./);
    }
  }
  const piece = fc.oneof(
    fc.constantFrom(
      ...full.split(/(?<=[\n: ])/),
      '&a ',
      '*a',
      '!!map ',
      '<<: ',
      '---\n',
      '? ',
      '{',
      '[',
      '"',
      '\t',
      '\uFEFF',
      '\0',
      '\ud800',
    ),
    fc.string({ unit: 'grapheme', maxLength: 8 }),
  );

  test('10,000 arbitrary texts', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
    );
    fc.assert(fc.property(text, holds), { numRuns: 10_000 });
  });

  test('10,000 damaged copies of a good file', () => {
    const edit = fc.tuple(fc.nat(full.length), fc.nat(12), piece);
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let text = full;
        for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        holds(text);
      }),
      { numRuns: 10_000 },
    );
  });

  test('10,000 arbitrary byte strings become text or are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          holds(decodeText(bytes, 'gateway-device.yaml'));
        } catch (error) {
          if (!(error instanceof OwnerError)) throw error;
        }
      }),
      { numRuns: 10_000 },
    );
  });

  test('no refusal repeats a password, hash or token, wherever it stands', () => {
    const secret = 'Zx9-Qw7.Pl5';
    const spots = [
      'hostname: ',
      'admin: ',
      'admin:\n  name: ',
      'admin:\n  password_hash: ',
      'network:\n  dns: ',
      'network:\n  wifi:\n    country: DE\n    password: ',
      'ddns: *',
      'ddns: !',
      'ddns: &',
      'keyboard: [',
      'a: "\\',
      '',
      '- ',
      '%',
      '"',
      ': ',
      'ddns: {',
      'timezone: ',
      'wireguard: {endpoint: ',
    ];
    const around = fc.constantFrom('', ' ', '"', "'", '\n', ': x', '\t', '}', ']', '\\', ' #');
    fc.assert(
      fc.property(fc.constantFrom(...spots), around, around, (spot, before, after) => {
        try {
          parseSettings(`${spot}${before}${secret}${after}\n`);
        } catch (error) {
          if (!(error instanceof OwnerError)) throw error;
          expect(`${error.message}${error.fix}`).not.toContain(secret);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
