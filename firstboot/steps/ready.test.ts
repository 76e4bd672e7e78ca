import { readlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { TestDevice } from '../testing.ts';
import { ddns } from './ddns.ts';
import { entropy, time } from './ready.ts';
import { keyboard, locale, timeZone } from './region.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());
const owner = (text: string) => device.put('boot/firmware/gateway-device.yaml', text);

test('a clock before the build of the image is refused, with what to do', async () => {
  expect(await time.check(device.system)).toBe(true);
  const later = Date.now() / 1000 + 1000;
  await utimes(join(device.root, 'usr/lib/clock-epoch'), later, later);
  expect(await time.check(device.system)).toBe(false);
  await expect(time.apply(device.system)).rejects.toThrow('before this image was made');
});

test('no key is made while the kernel has too little that is unpredictable', async () => {
  const bits = 'proc/sys/kernel/random/entropy_avail';
  expect(await entropy.check(device.system)).toBe(true);
  for (const few of ['255\n', '', 'x']) {
    await device.put(bits, few);
    expect(await entropy.check(device.system)).toBe(false);
  }
  const asked: string[] = [];
  await entropy.apply({
    ...device.system,
    run: async (command, args) => {
      asked.push([command, ...args].join(' '));
      await device.put(bits, '256\n');
      return '';
    },
  });
  expect(asked).toEqual(['head --bytes=1 /dev/random']);
  expect(await entropy.check(device.system)).toBe(true);
});

describe('the region', () => {
  test('without settings is left as the image has it', async () => {
    for (const step of [timeZone, locale, keyboard])
      expect(await step.check(device.system)).toBe(true);
  });

  test('has a time zone that is there', async () => {
    await owner('timezone: Europe/Berlin\n');
    expect(await timeZone.check(device.system)).toBe(false);
    await timeZone.apply(device.system);
    expect(await timeZone.check(device.system)).toBe(true);
    expect(await readlink(join(device.root, 'etc/localtime'))).toBe(
      '/usr/share/zoneinfo/Europe/Berlin',
    );
    await owner('timezone: Europe/Paris\n');
    await expect(timeZone.apply(device.system)).rejects.toThrow('no time zone Europe/Paris');
  });

  test('has a locale for systemd and for logins', async () => {
    await owner('locale: C.UTF-8\n');
    expect(await locale.check(device.system)).toBe(false);
    await locale.apply(device.system);
    expect(await locale.check(device.system)).toBe(true);
    for (const path of ['etc/locale.conf', 'etc/default/locale'])
      expect(await device.read(path)).toBe('LANG=C.UTF-8\n');
  });

  test('of a locale that the image cannot make says what to do', async () => {
    await owner('locale: en_GB.UTF-8\n');
    await expect(locale.apply(device.system)).rejects.toMatchObject({
      message: 'locale: this image cannot make en_GB.UTF-8',
      fix: expect.stringContaining('stages.system.locale: en_GB.UTF-8'),
    });
  });

  test('has a keyboard, whose service is told', async () => {
    await owner('keyboard: { layout: de, variant: nodeadkeys }\n');
    expect(await keyboard.check(device.system)).toBe(false);
    await keyboard.apply(device.system);
    expect(await keyboard.check(device.system)).toBe(true);
    expect(await device.read('etc/default/keyboard')).toContain('XKBVARIANT="nodeadkeys"\n');
    expect(device.calls).toContain('systemctl --no-block restart keyboard-setup.service');
  });
});

test('DDNS settings are handed over whole, to root alone, and the service started', async () => {
  const settings = {
    providers: [{ type: 'duckdns', hostnames: ['a.duckdns.org'], token: 'x:"#y' }],
    address: { families: [4] },
    timings: {},
  };
  await owner(stringify({ ddns: settings }));
  expect(await ddns.check(device.system)).toBe(false);
  await ddns.apply(device.system);
  expect(await ddns.check(device.system)).toBe(true);
  expect(await device.read('etc/pi-gateway/ddns.yaml')).toBe(stringify(settings));
  expect(device.calls).toEqual(['systemctl --no-block start pi-gateway-ddns.service']);
});
