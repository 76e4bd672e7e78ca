import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ca } from '../../firstboot/steps/ca.ts';
import { deviceSystem } from '../../firstboot/system.ts';
import type { Actor } from '../helper/verb.ts';
import { checkSettings } from '../settings/apply.ts';
import { SettingsDevice } from '../settings/testing.ts';
import { acmePlanFile } from './acme/plan.ts';
import { configFile, renderProxy } from './render.ts';
import { proxySettings, targetOf } from './settings.ts';
import { sitesOf } from './sites.ts';
import { certificatesUnit } from './unit.ts';
import { proxyVerbs } from './verbs.ts';

const actor: Actor = { via: 'api', name: 'ann' };
const zones = [
  {
    name: 'lan',
    addresses: ['192.168.10.1', 'fd10::1'],
    networks: ['192.168.10.0/24', 'fd10::/64'],
  },
  { name: 'vpn', addresses: ['10.66.0.1'], networks: ['10.66.0.0/24'] },
] as const;
const programs = deviceSystem(() => undefined);

const ddns =
  'providers: [{ type: cloudflare, zone: example.org, hostnames: [a.example.org], token: secret-token }]\n';

let device: SettingsDevice;

beforeEach(async () => {
  device = await SettingsDevice.make();
  await device.put('etc/hostname', 'attic\n');
  await device.put('etc/machine-id', 'e81db6f119ae44528c4e8c299e23f174\n');
  await device.put('usr/share/pi-gateway/proxy.json', JSON.stringify({ zones, acme: true }));
  for (const name of ['openssl', 'haproxy'])
    device.programs.set(name, (args, options) => programs.run(name, args, options));
  await ca.apply(device.system);
});
afterEach(() => device.remove());

const problems = async (yaml: string) =>
  (await checkSettings(device.system, `proxy:\n${yaml}`)).problems.map(
    ({ line, key, message }) => `${line} ${key}: ${message}`,
  );

describe('mistakes in the settings are told with their place', () => {
  test.each([
    ['a path', 'http://127.0.0.1:3000/x'],
    ['a host name', 'http://nas.local:80'],
    ['no port', 'http://127.0.0.1'],
    ['another protocol', 'ftp://127.0.0.1:21'],
    ['a port that is none', 'http://127.0.0.1:70000'],
    ['a line break', 'http://127.0.0.1:80\\n  server evil 1.2.3.4:80'],
    ['a blank', 'http://127.0.0.1:80 ssl'],
  ])('of a target with %s', async (_, to) => {
    const [problem] = await problems(`  services:\n    x: { to: "${to}" }\n`);
    expect(problem).toMatch(/^3 proxy\.services\.x\.to: must be http or https, an address/);
  });

  test('of names that cannot be one', async () => {
    for (const name of ['A', '-x', 'a_b', 'x'.repeat(41)])
      expect(await problems(`  services:\n    ${name}: { to: http://127.0.0.1:1 }\n`)).not.toEqual(
        [],
      );
    expect(
      await problems("  services:\n    x: { to: http://127.0.0.1:1, names: ['x y.home.arpa'] }\n"),
    ).not.toEqual([]);
  });

  test('of two with one name, and one with the dashboard’s', async () => {
    const [problem] = await problems(
      '  services:\n    a: { to: http://127.0.0.1:1, names: [b.home.arpa] }\n    b: { to: http://127.0.0.1:2 }\n',
    );
    expect(problem).toMatch(/^4 proxy\.services\.b: b\.home\.arpa is the name of a already/);
    expect((await problems('  services:\n    attic: { to: http://127.0.0.1:1 }\n'))[0]).toMatch(
      /the name of the dashboard already/,
    );
  });

  test('of names of the internet without a public CA, and terms that nobody agreed to', async () => {
    const services = '  services:\n    p: { to: http://127.0.0.1:1, names: [p.example.org] }\n';
    expect((await problems(services))[0]).toMatch(/own CA may not vouch for: set proxy\.acme/);
    expect((await problems(`${services}  acme: {}\n`)).join('\n')).toMatch(
      /terms_agreed: must be true/,
    );
    expect((await problems(`${services}  acme: { terms_agreed: true }\n`))[0]).toMatch(
      /p\.example\.org, which no dynamic DNS provider of this device can prove/,
    );
    await device.put('etc/pi-gateway/ddns.yaml', ddns);
    expect(await problems(`${services}  acme: { terms_agreed: true }\n`)).toEqual([]);
  });

  test('of a service elsewhere whose certificate nobody would look at', async () => {
    expect(
      (await problems('  services:\n    x: { to: https://192.168.10.5:1, verify: false }\n'))[0],
    ).toMatch(/verify: may be false for a service on the gateway itself alone/);
  });

  test('of an image without the proxy, with what to build', async () => {
    await device.put('usr/share/pi-gateway/proxy.json', '');
    const { rm } = await import('node:fs/promises');
    await rm(`${device.root}/usr/share/pi-gateway/proxy.json`);
    expect((await problems('  services:\n    x: { to: http://127.0.0.1:1 }\n'))[0]).toMatch(
      /built without the proxy: put `proxy: \{\}` below `stages:`/,
    );
    await expect(
      proxyVerbs['proxy.remove'].run(device.system, { name: 'x' }, actor),
    ).rejects.toThrow(/built without/);
    expect(await proxyVerbs['proxy.list'].run(device.system, {}, actor)).toMatchObject({
      available: false,
    });
  });
});

test('addresses are taken in every way that a URL has them', () => {
  expect(targetOf('http://localhost:80')).toEqual({ tls: false, address: '127.0.0.1', port: 80 });
  expect(targetOf('https://[fd10::5]:8443/')).toEqual({
    tls: true,
    address: 'fd10::5',
    port: 8443,
  });
  expect(targetOf('http://300.1.1.1:80')).toBeUndefined();
});

describe('a service', () => {
  const add = (name: string, more = {}) =>
    proxyVerbs['proxy.add'].run(
      device.system,
      { name, to: 'http://127.0.0.1:3000', names: [], zones: ['lan', 'vpn'], mtls: false, ...more },
      actor,
    );

  test('is added to the owner’s settings, whose comments stay, and taken out again', async () => {
    await device.put('etc/pi-gateway/gateway.yaml', '# mine\nupdates: { reboot: never } # why\n');
    const added = await add('grafana', { zones: ['vpn'], mtls: true });
    expect(added).toMatchObject({
      urls: ['https://grafana.home.arpa/'],
      zones: ['vpn'],
      mtls: true,
    });
    expect(await device.settings()).toMatch(/^# mine\nupdates: \{ reboot: never \} # why\nproxy:/);
    expect(await device.read(configFile)).toContain('site_grafana');
    expect(device.calls).toContain(`systemctl restart ${certificatesUnit}`);
    await expect(add('grafana')).rejects.toThrow(/is a service grafana already/);
    await proxyVerbs['proxy.remove'].run(device.system, { name: 'grafana' }, actor);
    expect(await device.settings()).not.toContain('grafana');
    expect(await device.read(configFile)).not.toContain('site_grafana');
    await expect(
      proxyVerbs['proxy.remove'].run(device.system, { name: 'grafana' }, actor),
    ).rejects.toThrow(/no service grafana/);
  });

  test('that haproxy refuses leaves all as it was', async () => {
    await add('grafana');
    const [settings, config] = [await device.settings(), await device.read(configFile)];
    device.programs.set('haproxy', () => Promise.reject(new Error('haproxy failed: [ALERT] no')));
    await expect(add('other')).rejects.toThrow(/haproxy refuses/);
    expect(await device.settings()).toBe(settings);
    expect(await device.read(configFile)).toBe(config);
  });

  test('whose certificates cannot be made is undone', async () => {
    await add('grafana');
    const [settings, config] = [await device.settings(), await device.read(configFile)];
    device.programs.set('systemctl', (args) =>
      args[0] === 'restart' && args.includes(certificatesUnit)
        ? Promise.reject(new Error('Job for pi-gateway-certificates.service failed'))
        : undefined,
    );
    await expect(add('other')).rejects.toThrow(/certificates\.service failed/);
    expect(await device.settings()).toBe(settings);
    expect(await device.read(configFile)).toBe(config);
  });

  test('with a name of the internet lets the client of the public CA know, and nothing of the settings else', async () => {
    await device.put(
      'etc/pi-gateway/gateway.yaml',
      'proxy: { acme: { terms_agreed: true, staging: true } }\n',
    );
    await device.put('etc/pi-gateway/ddns.yaml', ddns);
    await add('photos', { names: ['photos.example.org'] });
    expect(JSON.parse((await device.read(acmePlanFile)) ?? '')).toEqual({
      directory: 'https://acme-staging-v02.api.letsencrypt.org/directory',
      email: null,
      wait: 30,
      sites: [{ name: 'photos', dns: ['photos.example.org'] }],
    });
    expect(device.calls).toContain('systemctl restart --no-block pi-gateway-acme.service');
    await proxyVerbs['proxy.remove'].run(device.system, { name: 'photos' }, actor);
    expect(await device.read(acmePlanFile)).toBeUndefined();
  });
});

test('a zone is told by the networks that its clients are in', () => {
  const settings = proxySettings.parse({
    services: {
      a: { to: 'http://127.0.0.1:1', zones: ['vpn'] },
      b: { to: 'https://192.168.10.5:2' },
      c: { to: 'https://127.0.0.1:3' },
    },
  });
  const config = renderProxy(sitesOf(settings, 'attic', 8443), {
    zones: zones.map((one) => ({
      ...one,
      addresses: [...one.addresses],
      networks: [...one.networks],
    })),
    acme: false,
  });
  const part = (name: string) => config.split(`backend site_${name}\n`)[1]?.split('\nbackend')[0];
  expect(part('a')).toContain('unless { src 127.0.0.0/8 ::1 10.66.0.0/24 }');
  expect(part('b')).toContain(
    'unless { src 127.0.0.0/8 ::1 192.168.10.0/24 fd10::/64 10.66.0.0/24 }',
  );
  expect(part('b')).toContain('ssl verify required ca-file @system-ca');
  expect(part('c')).toContain('ssl verify none');
  expect(part('dashboard')).toContain('verifyhost localhost');
});
