import { X509Certificate } from 'node:crypto';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { ca, caPath } from '../../firstboot/steps/ca.ts';
import { built, TestDevice } from '../../firstboot/testing.ts';
import { renewCertificate, serverPem } from './certificate.ts';
import { namesOf } from './names.ts';
import { runTls } from './run.ts';

const day = 86_400_000;
const now = built * 1000 + 100 * day;
const addresses = ['127.0.0.1', '::1', '10.66.0.1', 'fd66:6761:7465::1'];
const names = namesOf('attic', addresses);

let device: TestDevice;

beforeAll(async () => {
  device = await TestDevice.make();
  await ca.apply(device.system);
});
afterAll(() => device.remove());
beforeEach(async () => {
  device.calls.length = 0;
  device.said.length = 0;
});

const renew = (given = names, at = now) => renewCertificate(device.system, given, at);
const certificate = async () => new X509Certificate(await device.read(serverPem));

describe('the names', () => {
  test("are those that the device's CA may vouch for", () => {
    expect(namesOf('attic', ['10.66.0.1', '203.0.113.7', '2001:db8::1', '::1'])).toEqual({
      dns: ['attic.local', 'attic.home.arpa', 'attic.internal', 'localhost'],
      addresses: ['10.66.0.1', '::1'],
    });
  });

  test("have the owner's own, but for what is somebody else's", () => {
    const { dns, addresses } = namesOf(
      'attic',
      [],
      [
        'gw.home.arpa',
        'bank.example',
        'notlocal',
        'evil-home.arpa.example',
        '172.31.255.255',
        '172.32.0.1',
        'attic.local',
      ],
    );
    expect(dns.slice(4)).toEqual(['gw.home.arpa']);
    expect(addresses).toEqual(['172.31.255.255']);
  });
});

describe('the certificate', () => {
  test('holds for each name and address with a client that trusts the root alone', async () => {
    expect(await renew()).toBe('there was none');
    const pem = await device.read(serverPem);
    await writeFile(join(device.root, 'leaf.pem'), pem);
    const verify = (kind: 'verify_hostname' | 'verify_ip', value: string) =>
      run(
        'openssl',
        [
          ...['verify', '-x509_strict', '-purpose', 'sslserver', '-attime', `${now / 1000}`],
          ...[
            '-CAfile',
            join(device.root, caPath),
            `-${kind}`,
            value,
            join(device.root, 'leaf.pem'),
          ],
        ],
        { okCodes: [2] },
      ).then((result) => result.exitCode);
    for (const name of names.dns) expect(await verify('verify_hostname', name), name).toBe(0);
    for (const one of names.addresses) expect(await verify('verify_ip', one), one).toBe(0);
    expect(await verify('verify_hostname', 'bank.example')).toBe(2);
    expect(await verify('verify_ip', '10.66.0.2')).toBe(2);
  });

  test('is P-256, for servers, for less than 200 days, and only root can read its key', async () => {
    await renew();
    const one = await certificate();
    expect(one.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(one.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(one.ca).toBe(false);
    const [from, to] = [Date.parse(one.validFrom), Date.parse(one.validTo)];
    expect(to - from).toBeLessThanOrEqual(199 * day);
    expect(from).toBe(now - day);
    expect((await stat(join(device.root, serverPem))).mode & 0o777).toBe(0o600);
    expect(await readdir(join(device.root, 'etc/pi-gateway/tls'))).toEqual(['server.pem']);
  });

  test('stays while it will do, and is renewed before its end', async () => {
    await renew();
    const before = await certificate();
    expect(await renew(names, now + 167 * day)).toBeUndefined();
    expect((await certificate()).serialNumber).toBe(before.serialNumber);
    expect(await renew(names, now + 169 * day)).toMatch(/nearly over/);
    expect((await certificate()).serialNumber).not.toBe(before.serialNumber);
    // The clock was wrong, and is right now.
    expect(await renew()).toMatch(/clock has gone back/);
  });

  test.each([
    ['the name has changed', namesOf('cellar', addresses)],
    ['an address has gone', namesOf('attic', addresses.slice(1))],
    ['an address has come', namesOf('attic', [...addresses, '192.168.1.1'])],
  ])('is renewed when %s', async (_, changed) => {
    await renew();
    expect(await renew(changed)).toMatch(/names or addresses/);
    expect(await renew(changed)).toBeUndefined();
  });

  test('is made anew where it is damaged, no pair, or of another CA', async () => {
    await device.put(serverPem, 'x');
    expect(await renew()).toMatch(/could not be read/);
    const first = await device.read(serverPem);
    await device.put(serverPem, '');
    await renew();
    const second = await device.read(serverPem);
    const key = (pem: string) => pem.slice(0, pem.indexOf('-----BEGIN CERTIFICATE'));
    await device.put(serverPem, key(first) + second.slice(key(second).length));
    expect(await renew()).toMatch(/no pair/);
    const other = await TestDevice.make();
    await ca.apply(other.system);
    await renewCertificate(other.system, names, now);
    await device.put(serverPem, await other.read(serverPem));
    await other.remove();
    expect(await renew()).toMatch(/another one/);
    expect(await renew()).toBeUndefined();
  });

  test('of a clock that was never set begins with the root', async () => {
    await device.put(serverPem, '');
    await renew(names, 0);
    const root = new X509Certificate(await device.read(caPath));
    expect((await certificate()).validFrom).toBe(root.validFrom);
  });
});

describe('the service', () => {
  beforeAll(async () => {
    await device.put(
      'usr/share/pi-gateway/daemon.json',
      JSON.stringify({ port: 8443, addresses, dashboard: true }),
    );
    await device.put('etc/hostname', 'attic\n');
  });

  const systemctl = () => device.calls.filter((call) => call.startsWith('systemctl'));

  test('lets the daemon have what is new, and does nothing when nothing is due', async () => {
    await rm(join(device.root, serverPem), { force: true });
    await runTls(device.system);
    expect(systemctl()).toEqual(['systemctl --no-block start pi-gatewayd.service']);
    await runTls(device.system);
    expect(systemctl()).toHaveLength(1);
    await device.put('etc/pi-gateway/gateway.yaml', 'api: { names: [vault.home.arpa] }\n');
    await runTls(device.system);
    expect(systemctl().at(-1)).toBe('systemctl --no-block try-restart pi-gatewayd.service');
    expect((await certificate()).subjectAltName).toContain('DNS:vault.home.arpa');
    expect(device.said).toHaveLength(2);
  });

  test('says what is missing before first boot', async () => {
    const other = await TestDevice.make();
    await other.put(
      'usr/share/pi-gateway/daemon.json',
      JSON.stringify({ port: 8443, addresses, dashboard: true }),
    );
    await expect(runTls(other.system)).rejects.toThrow(/no CA yet/);
    await other.remove();
  });
});
