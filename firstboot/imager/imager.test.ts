import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readSettings, type Settings, settingsSchema } from '../settings.ts';
import { OwnerError } from '../step.ts';
import type { System } from '../system.ts';
import { fromCloudInit } from './cloud-init.ts';
import { imagerCustomisation, imagerFiles, withImager } from './customisation.ts';
import { fromFirstrun, shellWords } from './firstrun.ts';
import { fromPreseed } from './preseed.ts';
import {
  cloudInit,
  commandLine,
  firstrun,
  hash,
  helper,
  key,
  keyOf,
  preseed,
  psk,
  quoted,
  rpi,
  secondKey,
  wanted,
} from './samples.ts';
import { parseToml } from './toml.ts';

let root = '';
let system: System;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-imager-'));
  await mkdir(join(root, 'boot/firmware'), { recursive: true });
  system = { root, boot: '/boot/firmware', run: async () => '', say: () => undefined };
});
afterEach(() => rm(root, { recursive: true, force: true }));
const put = async (files: Record<string, string>) => {
  for (const [name, text] of Object.entries(files))
    await writeFile(join(root, 'boot/firmware', name), text);
};

describe('each format that Imager writes', () => {
  test.each<[string, Record<string, string>]>([
    ['cloudinit', cloudInit],
    ['cloudinit-rpi', { ...cloudInit, 'user-data': `${cloudInit['user-data']}${rpi}` }],
    ['systemd', firstrun],
    ['rpi-preseed', preseed],
  ])('%s', async (_, files) => {
    await put(files);
    const { settings, files: there } = await imagerCustomisation(system);
    expect(settings).toEqual(wanted);
    expect(await readSettings(system)).toEqual(wanted);
    expect(there.sort()).toEqual(
      Object.keys(files)
        .filter((name) => name !== 'cmdline.txt')
        .sort(),
    );
    for (const name of there) expect(imagerFiles).toContain(name);
  });

  test('none: nothing is there, and nothing is asked for', async () => {
    await put({ 'cmdline.txt': `${commandLine}\n` });
    expect(await imagerCustomisation(system)).toEqual({ settings: {}, notes: [], files: [] });
  });

  test('an image of Raspberry Pi OS without customisation has files of comments alone', async () => {
    await put({
      'user-data': '#cloud-config\n# hostname: raspberrypi\n',
      'network-config': '# network:\n',
      'meta-data': 'dsmode: local\ninstance_id: rpios-image\n',
    });
    expect((await imagerCustomisation(system)).settings).toEqual({});
  });

  test('Imager 1 wrote names without quotes and users in a list', async () => {
    await put({
      'user-data': `#cloud-config
hostname: 2024
manage_etc_hosts: true
users:
- name: kim
  groups: users,adm,dialout,sudo
  shell: /bin/bash
  lock_passwd: true
  ssh_authorized_keys:
    - ${key}
  sudo: ALL=(ALL) NOPASSWD:ALL
timezone: Europe/Berlin
runcmd:
- localectl set-x11-keymap "de" pc105
`,
      'network-config': `version: 2
wifis:
  wlan0:
    dhcp4: true
    access-points:
      "Café":
        password: "${psk}"
    regulatory-domain: de
`,
    });
    const { settings, notes } = await imagerCustomisation(system);
    expect(settings).toMatchObject({ hostname: '2024', admin: { name: 'kim' } });
    expect(settings.network?.wifi).toEqual({ country: 'DE', ssid: 'Café', password: psk });
    expect(notes.join('\n')).toContain('commands (runcmd) are not used: they are not run');
  });

  test('Imager 1 wrote names into the script without a variable', async () => {
    const script = `#!/bin/bash\n\nset +e\n\n   ${helper} set_hostname attic\n   /usr/lib/userconf-pi/userconf 'kim' '${hash}'\nexit 0\n`;
    await put({ 'firstrun.sh': script });
    expect((await imagerCustomisation(system)).settings).toEqual({
      hostname: 'attic',
      admin: { name: 'kim', password_hash: hash },
    });
  });

  test.each<[string, Record<string, string>]>([
    [
      'cloudinit',
      {
        'network-config': cloudInit['network-config'].replace(
          `password: "${psk}"`,
          'auth:\n            key-management: none',
        ),
      },
    ],
    ['systemd', { 'firstrun.sh': firstrun['firstrun.sh'].replace(`'${psk}'`, "''") }],
    [
      'rpi-preseed',
      {
        'rpi-preseed.toml': preseed['rpi-preseed.toml'].replace(
          /password = "0.*\npassword_encrypted = true\n/,
          '',
        ),
      },
    ],
  ])('an open Wi-Fi network by %s', async (_, files) => {
    await put(files);
    expect((await imagerCustomisation(system)).settings.network?.wifi).toEqual({
      country: 'DE',
      ssid: 'Café',
      hidden: true,
    });
  });

  test('the country alone, as the kernel is told it', async () => {
    await put({ 'cmdline.txt': `${commandLine} cfg80211.ieee80211_regdom=gb\n` });
    expect((await imagerCustomisation(system)).settings).toEqual({
      network: { wifi: { country: 'GB' } },
    });
  });

  test("what a key's comment says is no command", async () => {
    const trap = `${key} \n   ${helper} set_hostname evil`;
    await put({ 'firstrun.sh': `cat > x <<'EOF'\n${trap}\nEOF\nexit 0\n` });
    expect((await imagerCustomisation(system)).settings).toEqual({});
  });
});

describe('what is not applied is said, and no secret with it', () => {
  test.each<[string, Record<string, string>, string]>([
    [
      'passwords over SSH',
      { 'user-data': '#cloud-config\nssh_pwauth: true\n' },
      'passwords never open SSH here',
    ],
    ['software', cloudInit, 'packages is not used: software is part of the image'],
    ['interfaces', { 'user-data': `#cloud-config\n${rpi}` }, 'USB gadget) are not used'],
    [
      'sudo without password',
      { 'user-data': '#cloud-config\nuser:\n  name: kim\n  sudo: ALL=(ALL) NOPASSWD:ALL\n' },
      "sudo's rules are not used",
    ],
    [
      'Raspberry Pi Connect',
      {
        'user-data':
          "#cloud-config\nruncmd:\n  - [ sh, -c, \"printf '%s\\n' 's3cret-token' > '/home/kim/.config/com.raspberrypi.connect/auth.key'\" ]\n",
      },
      'Connect is not used: remote access is by WireGuard here',
    ],
    [
      'other commands',
      { 'user-data': '#cloud-config\nruncmd:\n  - curl s3cret-token\n' },
      '(runcmd) are not used: they are not run',
    ],
    [
      'other modules',
      { 'user-data': '#cloud-config\nwrite_files: [{path: /etc/x, content: s3cret-token}]\n' },
      'write_files is not used',
    ],
    ['the script', firstrun, 'commands of firstrun.sh are not used'],
    [
      'SSH by password in the script',
      { 'firstrun.sh': `   ${helper} enable_ssh\nexit 0\n` },
      'passwords never open SSH here',
    ],
    [
      'a token in TOML',
      {
        'rpi-preseed.toml':
          'config_version = "1.0"\n[connect]\nenabled = true\nmode = "token"\ntoken = "s3cret-token"\n',
      },
      'Connect is not used',
    ],
    [
      'commands in TOML',
      { 'rpi-preseed.toml': 'config_version = "1.1"\n[runcmd]\nlate = ["s3cret-token"]\n' },
      '[runcmd] is not used',
    ],
    [
      'an unknown time zone',
      { 'user-data': '#cloud-config\ntimezone: Mars/Base\n' },
      'the time zone is not used: it must be',
    ],
    [
      'Wi-Fi without a country',
      { 'network-config': cloudInit['network-config'].replace(/.*regulatory.*\n/, '') },
      'the Wi-Fi is not used: without a country',
    ],
    [
      'an older format',
      { 'wpa_supplicant.conf': 'psk="s3cret-token"\n' },
      'wpa_supplicant.conf is not used',
    ],
  ])('%s', async (_, files, message) => {
    await put(files);
    const notes = (await imagerCustomisation(system)).notes.join('\n');
    expect(notes).toContain(message);
    for (const secret of ['s3cret', psk, hash]) expect(notes).not.toContain(secret);
  });
});

describe('a damaged file is refused, with its name and no secret', () => {
  const toml = preseed['rpi-preseed.toml'];
  const userData = (text: string) => ({ 'user-data': `#cloud-config\n${text}` });
  const script = (text: string) => ({ 'firstrun.sh': `${text}\nexit 0\n` });
  test.each<[string, Record<string, string>, RegExp]>([
    [
      'cut short within a line',
      { 'user-data': cloudInit['user-data'].slice(0, cloudInit['user-data'].indexOf(hash) + 9) },
      /^user-data:\d+:\d+: lacks a closing quote/,
    ],
    ['no cloud-config', { 'user-data': 'hostname: attic\n' }, /^user-data:1:1: does not start/],
    ['a script', { 'user-data': '#!/bin/sh\nreboot\n' }, /^user-data/],
    ['a list', { 'network-config': '- s3cret\n' }, /^network-config/],
    ['binary', userData('\0'), /user-data is binary/],
    ['a bad host name', userData('hostname: "a b"\n'), /user-data: the host name must/],
    [
      'a password in clear',
      userData('user:\n  name: kim\n  passwd: s3cret\n'),
      /password must be the hash/,
    ],
    ['half a key', userData(`ssh_authorized_keys: ["${key.slice(0, 50)}"]\n`), /an SSH key is cut/],
    ['root', userData('user:\n  name: root\n'), /user name is an account of the system/],
    [
      'an SSID that is no text',
      { 'network-config': cloudInit['network-config'].replace('\\xc3\\xa9', '\\xe9') },
      /not in UTF-8/,
    ],
    [
      'a script cut short',
      { 'firstrun.sh': firstrun['firstrun.sh'].slice(0, 900) },
      /^firstrun.sh: does not end with `exit 0`/,
    ],
    ['an open quote', script(`${helper} set_timezone 'Europe`), /^firstrun.sh:1:1: is not as/],
    ['a substitution', script(`${helper} set_hostname $(s3cret)`), /^firstrun.sh:1:1: is not as/],
    [
      'TOML cut short',
      { 'rpi-preseed.toml': toml.slice(0, toml.indexOf(']\n\n[wlan]')) },
      /^rpi-preseed.toml:\d+:1: has a value/,
    ],
    [
      'a version to come',
      { 'rpi-preseed.toml': toml.replace('"1.0"', '"2.0"') },
      /config_version must be 1.0/,
    ],
    [
      'TOML with a password in clear',
      {
        'rpi-preseed.toml': toml.replace(
          /password = "\$.*\npassword_encrypted = true/,
          'password = "s3cret"',
        ),
      },
      /\[user\] password: must be the hash/,
    ],
    [
      'TOML with a number for a name',
      { 'rpi-preseed.toml': toml.replace('"attic"', '5') },
      /\[system\] hostname: must be text/,
    ],
    ['two of them', { ...firstrun, ...preseed }, /firstrun.sh and rpi-preseed.toml are both/],
  ])('%s', async (_, files, message) => {
    await put(files);
    const error = await imagerCustomisation(system).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OwnerError);
    const { message: text, fix } = error as OwnerError;
    expect(text).toMatch(message);
    for (const secret of ['s3cret', psk, hash]) expect(`${text}${fix}`).not.toContain(secret);
  });
});

describe("the owner's own file and Imager's together", () => {
  const imager: Partial<Settings> = wanted;

  test('the own file wins key by key, and the keys of both let in', () => {
    const own: Settings = {
      hostname: 'cellar',
      admin: { ssh_authorized_keys: [keyOf(3, 'own'), key] },
      network: { dns: ['9.9.9.9'] },
      wireguard: { first_client: false },
    };
    expect(withImager(own, imager)).toEqual({
      ...wanted,
      hostname: 'cellar',
      admin: { ...wanted.admin, ssh_authorized_keys: [keyOf(3, 'own'), key, secondKey] },
      network: { dns: ['9.9.9.9'], wifi: wanted.network.wifi },
      wireguard: { first_client: false },
    });
  });

  test("an own open network does not get Imager's password", () => {
    const own: Settings = { network: { wifi: { country: 'FR', ssid: 'Camping' } } };
    expect(withImager(own, imager).network).toEqual(own.network);
  });

  test("an own country goes with Imager's network", () => {
    const own: Settings = { network: { wifi: { country: 'FR' } } };
    expect(withImager(own, imager).network?.wifi).toEqual({
      ...wanted.network.wifi,
      country: 'FR',
    });
  });

  test('one without the other stays what it is', () => {
    expect(withImager({}, {})).toEqual({});
    expect(withImager({}, imager)).toEqual(wanted);
    expect(withImager(wanted, {})).toEqual(wanted);
  });

  test('authorized_keys comes on top', async () => {
    await put({
      ...preseed,
      authorized_keys: `${keyOf(4, 'file')}\n`,
      'gateway-device.yaml': 'hostname: own\n',
    });
    const settings = await readSettings(system);
    expect(settings.hostname).toBe('own');
    expect(settings.admin?.ssh_authorized_keys).toEqual([key, secondKey, keyOf(4, 'file')]);
  });
});

test('words of the shell are told apart as the shell does', () => {
  expect(shellWords(`a 'b c'"d"\\ e  '' ${quoted("it's")}`)).toEqual(['a', 'b cd e', '', "it's"]);
  expect(shellWords('x "$Y z" $Y', new Map([['Y', 'y']]))).toEqual(['x', 'y z', 'y']);
  for (const other of [
    "'open",
    '"open',
    'a; b',
    '$(a)',
    '`a`',
    '"$(a)"',
    '$UNKNOWN',
    'a > b',
    'a\\',
  ])
    expect(shellWords(other), other).toBeUndefined();
});

test('TOML is read as far as the format uses it', () => {
  const text = `a = "q\\"\\\\\\u00e9" # c\nb = 'l\\'\nc = [ "x", # c\n 'y',\n]\nd = false\ne = 7\n`;
  expect(Object.fromEntries(parseToml(text, 'x').get('') ?? [])).toEqual({
    a: 'q"\\é',
    b: 'l\\',
    c: ['x', 'y'],
    d: false,
    e: 7,
  });
  for (const other of [
    'a',
    'a = ',
    'a = "x',
    'a = "x" y',
    'a = ["x"',
    'a = [1]',
    'a.b = 1',
    '[[a]]',
    'a = "\\q"',
    'a = {b = 1}',
    'a = 1\na = 2',
    '[s]\n[s]',
    'a = "\\ud800"',
    'a = ["x"] y',
  ])
    expect(() => parseToml(other, 'x'), other).toThrow(OwnerError);
});

describe('fuzz: damaged files of each format are refused in words, or read as settings', () => {
  /** Edits of a good file: cut out here, put in there. */
  const damagedCopies = (good: string) => {
    const extra = ["'", '"', '\n', '\\', '[', ']', '\0', '\\xff', '$(', '*a', '&a '];
    const piece = fc.oneof(
      fc.constantFrom(...good.split(/(?<=[\n: '"=[\]])/), ...extra),
      fc.string({ unit: 'binary', maxLength: 6 }),
    );
    const edit = fc.tuple(fc.nat(good.length), fc.nat(20), piece);
    return fc.array(edit, { minLength: 1, maxLength: 5 }).map((edits) => {
      let text = good;
      for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
      return text;
    });
  };

  test.each<[string, string, (text: string) => unknown]>([
    ['user-data', cloudInit['user-data'] + rpi, (text) => fromCloudInit({ userData: text })],
    [
      'network-config',
      cloudInit['network-config'],
      (text) => fromCloudInit({ networkConfig: text }),
    ],
    ['firstrun.sh', firstrun['firstrun.sh'], fromFirstrun],
    ['rpi-preseed.toml', preseed['rpi-preseed.toml'], fromPreseed],
  ])('10,000 of %s', (_, good, read) => {
    const texts = fc.oneof(
      { weight: 4, arbitrary: damagedCopies(good) },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 120 }) },
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          read(text);
        } catch (error) {
          if (!(error instanceof OwnerError)) throw error;
        }
      }),
      { numRuns: 10_000 },
    );
  });

  test('what is taken from the boot partition is valid settings', async () => {
    const all = { ...cloudInit, ...firstrun, ...preseed };
    const names = ['user-data', 'network-config', 'firstrun.sh', 'rpi-preseed.toml'] as const;
    const file = fc.oneof(
      ...names.map((name) => damagedCopies(all[name]).map((text) => ({ name, text }))),
    );
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(file, async ({ name, text }) => {
        await put({ [name]: text });
        try {
          const { settings } = await imagerCustomisation(system);
          expect(settingsSchema.parse(settings)).toEqual(settings);
          taken += 1;
        } catch (error) {
          if (!(error instanceof OwnerError)) throw error;
        } finally {
          await rm(join(root, 'boot/firmware', name));
        }
      }),
      { numRuns: 2000 },
    );
    expect(taken).toBeGreaterThan(100);
  });
});
