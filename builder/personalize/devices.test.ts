import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSettings } from '../../firstboot/settings.ts';
import { BuildError } from '../errors.ts';
import { makeSshKey } from '../qemu/ssh.ts';
import { deviceOf, fleetOf, readTextFile } from './devices.ts';

let key = '';
let folder = '';
beforeAll(async () => {
  const made = await makeSshKey();
  key = made.publicKey;
  await made.remove();
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-devices-'));
});
afterAll(() => rm(folder, { recursive: true }));

const csv = (text: string) => ({ name: 'devices.csv', text });
const base = (text: string) => ({ name: 'common.yaml', text });

function refusal(work: () => unknown): BuildError {
  try {
    work();
  } catch (error) {
    if (error instanceof BuildError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe("one owner's file", () => {
  test('is kept byte for byte, with comments, byte order mark and line ends', () => {
    const text = `\uFEFF# mine\r\nhostname: attic\r\nadmin:\r\n  ssh_authorized_keys:\r\n    - ${key}\r\n`;
    const device = deviceOf({ name: 'dev.yaml', text });
    expect(device).toEqual({ name: 'attic', text, where: 'dev.yaml', sshKeys: 1 });
  });

  test('without a host name goes by its own name', () => {
    expect(deviceOf({ name: 'some/attic.yaml', text: 'timezone: UTC\n' }).name).toBe('attic');
  });

  test('that the device would refuse is refused now, under its own name and with the line', () => {
    const error = refusal(() =>
      deviceOf({ name: 'my/dev.yaml', text: 'timezone: UTC\nhostname: a b\n' }),
    );
    expect(error.where).toBe('my/dev.yaml:2:11');
    expect(error.message).toMatch(/^hostname: must be a host name/);
    expect(error.code).toBe(2);
  });

  test('that is missing, a directory or no UTF-8 is told so', async () => {
    await writeFile(join(folder, 'latin1'), Buffer.from([0x66, 0xfc, 0x72]));
    for (const [name, message] of [
      ['none', 'There is no such file'],
      ['.', 'directory'],
      ['latin1', 'no UTF-8'],
    ] as const)
      await expect(readTextFile(join(folder, name), name)).rejects.toThrow(message);
  });
});

describe('a list of devices', () => {
  test('makes of each row what the common file says, with the row in place of it', () => {
    const devices = fleetOf(
      csv(
        [
          'hostname,timezone,ddns.providers.0.token,network.wifi.password,network.wifi.hidden',
          'attic,,token-a,12345678,true',
          'cellar,Europe/Berlin,token-c,,',
        ].join('\r\n'),
      ),
      base(
        `timezone: UTC\nadmin:\n  ssh_authorized_keys:\n    - ${key}\nnetwork:\n  wifi: {country: DE, ssid: home, password: common-one}\nddns:\n  providers:\n    - {type: duckdns, hostnames: [x.duckdns.org], token: none}\n`,
      ),
    );
    expect(devices.map(({ name, where, sshKeys }) => ({ name, where, sshKeys }))).toEqual([
      { name: 'attic', where: 'devices.csv:2', sshKeys: 1 },
      { name: 'cellar', where: 'devices.csv:3', sshKeys: 1 },
    ]);
    const [attic, cellar] = devices.map((device) => parseSettings(device.text));
    expect(attic).toMatchObject({
      hostname: 'attic',
      timezone: 'UTC',
      network: { wifi: { country: 'DE', password: '12345678', hidden: true } },
      ddns: { providers: [{ type: 'duckdns', hostnames: ['x.duckdns.org'], token: 'token-a' }] },
    });
    expect(cellar).toMatchObject({
      timezone: 'Europe/Berlin',
      network: { wifi: { password: 'common-one' } },
      ddns: { providers: [{ token: 'token-c' }] },
    });
  });

  test('takes the keys of an admin as lines of one cell, or one a column', () => {
    for (const text of [
      `hostname,admin.ssh_authorized_keys\na,"${key}\r\n${key} more\n"\n`,
      `admin.ssh_authorized_keys.1,admin.ssh_authorized_keys.0,hostname\n${key} more,${key},a\n`,
    ]) {
      const [device] = fleetOf(csv(text));
      expect(parseSettings(device?.text ?? '').admin?.ssh_authorized_keys).toEqual([
        key,
        `${key} more`,
      ]);
    }
  });

  test('can say that there is no first client, which is no client of the name "false"', () => {
    const [device] = fleetOf(csv('hostname,wireguard.first_client\na,false\n'));
    expect(parseSettings(device?.text ?? '').wireguard?.first_client).toBe(false);
  });

  test('is checked as a whole before anything is made: every wrong row is named', () => {
    const error = refusal(() =>
      fleetOf(
        csv('hostname,timezone\nattic,UTC\nA B,UTC\n\ncellar,Mars/Base\nattic,UTC\nx\n,UTC\n'),
      ),
    );
    expect(error.where).toBe('devices.csv:3');
    expect(error.message).toMatch(/^hostname: must be/);
    expect(error.detail?.split('\n')).toEqual([
      expect.stringMatching(/^devices\.csv:5: timezone: must be/),
      "devices.csv:6: hostname: 'attic' is also the name of line 2",
      expect.stringMatching(/^devices\.csv:7: The row has 1 fields, the header 2/),
      expect.stringMatching(/^devices\.csv:8: hostname: is missing/),
    ]);
    expect(error.fix).toContain('nothing was written');
  });

  test('names the common file where that is wrong', () => {
    const wrong = base('hostname: a\ntimezone: Mars\n');
    const error = refusal(() => fleetOf(csv('hostname\nattic\n'), wrong));
    expect(error.where).toBe('devices.csv:2 (with common.yaml)');
    const broken = refusal(() => fleetOf(csv('hostname\nattic\n'), base('hostname: [\n')));
    expect(broken.where).toMatch(/^common\.yaml:\d+:\d+$/);
  });

  test.each([
    ['hostnam', "There is no setting 'hostnam': did you mean 'hostname'?"],
    ['hostname,admin.key', "There is no setting 'admin.key'"],
    ['hostname,__proto__.x', "There is no setting '__proto__.x'"],
    ['hostname,ddns.__proto__', "There is no setting 'ddns.__proto__'"],
    ['hostname,admin', "'admin' is a group of settings: name one in it, e.g. admin.name"],
    ['hostname,hostname', "The column 'hostname' is there twice"],
    ['hostname,', 'A column has no name'],
    [
      'hostname,admin.ssh_authorized_keys,admin.ssh_authorized_keys.0',
      "The column 'admin.ssh_authorized_keys' holds 'admin.ssh_authorized_keys.0' too: keep one",
    ],
  ])('with the header %s is refused', (header, message) => {
    const cells = header.replaceAll(/[^,]+/g, 'x');
    expect(refusal(() => fleetOf(csv(`${header}\n${cells}\n`)))).toMatchObject({
      message,
      where: 'devices.csv:1',
    });
  });

  test('without devices, or with an unclosed quote, is refused', () => {
    expect(refusal(() => fleetOf(csv(''))).message).toContain('is empty');
    expect(refusal(() => fleetOf(csv('hostname\n'))).message).toContain('no devices');
    expect(refusal(() => fleetOf(csv('hostname\n"a\n'))).where).toBe('devices.csv:2');
  });

  test('never repeats a value in a complaint: it may be a secret', () => {
    const secret = 'do-not-repeat-me';
    const error = refusal(() =>
      fleetOf(
        csv(
          `hostname,ddns.providers.3.token,admin.password_hash,network.wifi.password\na,${secret},${secret},${secret}\nb b,,,${secret}\n`,
        ),
      ),
    );
    expect(JSON.stringify([error.message, error.where, error.detail, error.fix])).not.toContain(
      secret,
    );
    expect(error.message).toContain('item 3 of a list that has 0');
  });
});
