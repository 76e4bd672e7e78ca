import { X509Certificate } from 'node:crypto';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { caPath } from '../../firstboot/steps/ca.ts';
import type { TestDevice } from '../../firstboot/testing.ts';
import { crlsIn, ensureIssuing } from './authority.ts';
import {
  currentServers,
  issueClient,
  issueServer,
  namesIn,
  newPassword,
  renewDue,
  revoke,
  signRequest,
  type Wanted,
} from './issue.ts';
import { certificateConditions, statusFile, writeStatus } from './status.ts';
import { allIssued, crlPem, issuingPem, keyFileOf, pairIn } from './store.ts';
import { certificateDevice, inDays, now } from './testing.ts';
import { readTrust, trustPage } from './trust.ts';

let device: TestDevice;
const nas: Wanted = {
  name: 'nas',
  purpose: 'owner',
  dns: ['nas.home.arpa'],
  addresses: ['192.168.10.5'],
};

beforeAll(async () => {
  device = await certificateDevice();
});
afterAll(() => device.remove());

/** What openssl says of a certificate to who trusts the root alone. */
async function verify(
  pem: string,
  { at = now, chain = '', more = [] as string[], crl = '' } = {},
): Promise<string> {
  const file = async (name: string, text: string) => {
    const path = join(device.root, name);
    await writeFile(path, text);
    return path;
  };
  const { stdout, stderr } = await run(
    'openssl',
    [
      ...['verify', '-x509_strict', '-attime', String(Math.floor(at / 1000))],
      ...['-CAfile', join(device.root, caPath)],
      ...(chain === '' ? [] : ['-untrusted', await file('chain.pem', chain)]),
      ...(crl === '' ? [] : ['-crl_check_all', '-CRLfile', await file('crl.pem', crl)]),
      ...more,
      await file('leaf.pem', pem),
    ],
    { okCodes: [2] },
  );
  return `${stdout}${stderr}`;
}

const issuing = async () => pairIn(await device.read(issuingPem))?.certificate ?? '';

describe('the intermediate', () => {
  test('is made of the root, may make no other authority, and keeps to its names', async () => {
    const made = await ensureIssuing(device.system, now, 'http://attic.home.arpa/pki/root.crl');
    const text = (await run('openssl', ['x509', '-noout', '-text'], { input: made.certificate }))
      .stdout;
    expect(text).toMatch(/CA:TRUE, pathlen:0/);
    expect(text).toMatch(/Name Constraints: critical\s+Permitted:\s+DNS:home\.arpa/);
    expect(text).toContain('URI:http://attic.home.arpa/pki/root.crl');
    expect(await verify(made.certificate)).toMatch(/OK/);
    expect((await stat(join(device.root, issuingPem))).mode & 0o777).toBe(0o600);
  });

  test('stays until its last year, and then comes anew with the same key', async () => {
    const before = await ensureIssuing(device.system, now, undefined);
    expect(await ensureIssuing(device.system, inDays(1400), undefined)).toEqual(before);
    const after = await ensureIssuing(device.system, inDays(1500), undefined);
    expect(after.key).toBe(before.key);
    expect(after.certificate).not.toBe(before.certificate);
  });
});

describe('a certificate of a server', () => {
  test('holds for its names and no other, with a client that trusts the root alone', async () => {
    const one = await issueServer(device.system, nas, now);
    const chain = await issuing();
    const server = ['-purpose', 'sslserver'];
    for (const [kind, value] of [
      ['-verify_hostname', 'nas.home.arpa'],
      ['-verify_ip', '192.168.10.5'],
    ])
      expect(await verify(one.pem, { chain, more: [...server, kind ?? '', value ?? ''] })).toMatch(
        /OK/,
      );
    expect(await verify(one.pem, { chain, more: ['-verify_hostname', 'bank.example'] })).toMatch(
      /hostname mismatch/i,
    );
    expect(await verify(one.pem, { chain, more: ['-purpose', 'sslclient'] })).toMatch(
      /unsuitable certificate purpose|unsupported certificate purpose/,
    );
    expect(await verify(one.pem)).toMatch(/unable to get local issuer/);
  });

  test('has its key in a file of root alone, and nothing of it is left elsewhere', async () => {
    await issueServer(device.system, nas, now);
    const path = join(device.root, keyFileOf('nas'));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const pair = pairIn(await device.read(keyFileOf('nas')));
    expect(pair?.chain).toBe(await issuing());
    expect(await readdir(join(device.root, 'run/pi-gateway/pki'))).toEqual([]);
    for (const call of device.calls) expect(call).not.toMatch(/PRIVATE KEY/);
  });

  test('is refused for names that the CA may not vouch for, with what to do instead', () => {
    expect(namesIn(['nas.home.arpa', '192.168.10.5', 'NAS.internal'])).toEqual({
      dns: ['nas.home.arpa', 'nas.internal'],
      addresses: ['192.168.10.5'],
    });
    expect(() => namesIn(['bank.example'])).toThrow(/may not vouch for 'bank\.example'/);
    expect(() => namesIn(['203.0.113.7'])).toThrow(/may not vouch for 203/);
    expect(() => namesIn(['a b.home.arpa'])).toThrow(/may not vouch/);
    expect(() => namesIn(['x\n[evil].home.arpa'])).toThrow(/may not vouch/);
  });

  test('is renewed by itself 30 days before its end, and not earlier', async () => {
    await issueServer(device.system, nas, now);
    const first = currentServers(await allIssued(device.system)).get('nas');
    expect(await renewDue(device.system, [], inDays(59))).toEqual([]);
    expect(await renewDue(device.system, [], inDays(61))).toEqual([
      'A new certificate of nas: its time is nearly over',
    ]);
    const second = currentServers(await allIssued(device.system)).get('nas');
    expect(second?.serial).not.toBe(first?.serial);
    expect(Date.parse(second?.not_after ?? '')).toBe(inDays(61 + 90));
    const pair = pairIn(await device.read(keyFileOf('nas')));
    expect(new X509Certificate(pair?.certificate ?? '').serialNumber).toBe(second?.serial);
    // A clock that was wrong, and is right again.
    expect(await renewDue(device.system, [], now)).toEqual([
      'A new certificate of nas: the clock has gone back',
    ]);
    expect(await renewDue(device.system, [], now)).toEqual([]);
  });

  test('is made anew when its key is not there, as after a power cut between the two', async () => {
    await issueServer(device.system, nas, now);
    await device.put(keyFileOf('nas'), '');
    expect(await renewDue(device.system, [], now)).toEqual([
      'A new certificate of nas: its key was not there',
    ]);
    expect(await renewDue(device.system, [], now)).toEqual([]);
  });
});

describe('the proxy', () => {
  const site: Wanted = {
    name: 'proxy-grafana',
    purpose: 'proxy',
    dns: ['grafana.home.arpa'],
    addresses: [],
  };

  test('gets what it wants, anew when its names change, and loses the key of what it has no more', async () => {
    expect(await renewDue(device.system, [site], now)).toEqual([
      'A new certificate of proxy-grafana: there was none',
    ]);
    expect(await renewDue(device.system, [site], now)).toEqual([]);
    expect(
      await renewDue(device.system, [{ ...site, dns: ['grafana.home.arpa', 'g.internal'] }], now),
    ).toEqual(['A new certificate of proxy-grafana: its names have changed']);
    await renewDue(device.system, [], now);
    await expect(stat(join(device.root, keyFileOf('proxy-grafana')))).rejects.toThrow(/ENOENT/);
  });
});

describe('a request', () => {
  test('gets a certificate of its own key with the names that were granted, whatever it asks for', async () => {
    const key = join(device.root, 'switch.key');
    await run('openssl', [
      ...['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', key],
    ]);
    const { stdout: request } = await run('openssl', [
      ...['req', '-new', '-key', key, '-subj', '/CN=bank.example'],
      ...['-addext', 'subjectAltName=DNS:bank.example', '-addext', 'basicConstraints=CA:TRUE'],
    ]);
    const wanted = { ...nas, name: 'switch', dns: ['switch.home.arpa'], addresses: [] };
    const { pem } = await signRequest(device.system, { ...wanted, request, days: 90 }, now);
    const one = new X509Certificate(pem);
    expect(one.subjectAltName).toBe('DNS:switch.home.arpa');
    expect(one.subject).not.toContain('bank');
    expect(one.ca).toBe(false);
    const { stdout } = await run('openssl', ['pkey', '-in', key, '-pubout']);
    expect(one.publicKey.export({ type: 'spki', format: 'pem' })).toBe(stdout);
    expect(await verify(pem, { chain: await issuing() })).toMatch(/OK/);
  });

  test('that is none is refused, and nothing is issued', async () => {
    const before = (await allIssued(device.system)).length;
    await expect(
      signRequest(device.system, { ...nas, request: 'nonsense', days: 90 }, now),
    ).rejects.toThrow(/does not take the request/);
    expect(await allIssued(device.system)).toHaveLength(before);
  });
});

describe('a client', () => {
  test.each([false, true])(
    'gets key and certificate under its password, for systems that are old: %s',
    async (old) => {
      const name = old ? 'old-phone' : 'phone';
      const password = newPassword();
      expect(password).toMatch(/^([a-z2-9]{4}-){3}[a-z2-9]{4}$/);
      const { issued, p12 } = await issueClient(
        device.system,
        { name, days: 365, password, old },
        now,
      );
      const file = join(device.root, 'x.p12');
      await writeFile(file, p12);
      const open = (word: string) =>
        run('openssl', ['pkcs12', '-in', file, '-noenc', '-passin', 'stdin'], {
          input: `${word}\n`,
          okCodes: [1],
        });
      expect((await open('wrong')).exitCode).toBe(1);
      const opened = (await open(password)).stdout;
      const certificates = opened.match(/-----BEGIN CERTIFICATE[\s\S]*?END CERTIFICATE-----\n/g);
      expect(certificates).toHaveLength(3);
      const leaf = new X509Certificate(certificates?.[0] ?? '');
      expect(leaf.serialNumber).toBe(issued.serial);
      expect(leaf.subject).toBe(`O=Pi Gateway\nCN=${name}`);
      expect(opened).toMatch(/BEGIN PRIVATE KEY/);
      const chain = await issuing();
      expect(await verify(issued.pem, { chain, more: ['-purpose', 'sslclient'] })).toMatch(/OK/);
      expect(await verify(issued.pem, { chain, more: ['-purpose', 'sslserver'] })).not.toMatch(
        /OK$/m,
      );
      for (const call of device.calls) expect(call).not.toContain(password);
    },
  );

  test('has one certificate at a time', async () => {
    const asked = { name: 'phone', days: 365, password: 'x'.repeat(12), old: false };
    await expect(issueClient(device.system, asked, now)).rejects.toThrow(/is a client phone/);
  });
});

describe('what is revoked', () => {
  test('is refused by who looks into the list, and the rest is not', async () => {
    const { issued } = await issueClient(
      device.system,
      { name: 'lost', days: 365, password: 'x'.repeat(12), old: false },
      now,
    );
    const { issued: other } = await issueClient(
      device.system,
      { name: 'kept', days: 365, password: 'x'.repeat(12), old: false },
      now,
    );
    await revoke(device.system, issued.serial, 'keyCompromise', now);
    const crl = await device.read(crlPem);
    const chain = await issuing();
    expect(await verify(issued.pem, { chain, crl })).toMatch(/certificate revoked/);
    expect(await verify(other.pem, { chain, crl })).toMatch(/OK/);
    const text = (await run('openssl', ['crl', '-noout', '-text'], { input: crlsIn(crl).issuing }))
      .stdout;
    expect(text).toContain(issued.serial);
    expect(text).toContain('Key Compromise');
    await expect(revoke(device.system, issued.serial, 'unspecified', now)).rejects.toThrow(
      /was revoked/,
    );
    await expect(revoke(device.system, 'AB', 'unspecified', now)).rejects.toThrow(/no certificate/);
  });

  test('is in lists that are made anew each day and good for 30', async () => {
    const at = async () =>
      (
        await run('openssl', ['crl', '-noout', '-nextupdate'], {
          input: crlsIn(await device.read(crlPem)).issuing,
        })
      ).stdout;
    await renewDue(device.system, [], now);
    const first = await at();
    await renewDue(device.system, [], now + 3_600_000);
    expect(await at()).toBe(first);
    await renewDue(device.system, [], inDays(2));
    expect(await at()).not.toBe(first);
    expect(Date.parse((await at()).replace('nextUpdate=', ''))).toBe(inDays(32));
  });
});

describe('who wants to trust it', () => {
  test('gets the root with its fingerprint as openssl tells it, and a profile that holds it', async () => {
    const trust = await readTrust(device.system);
    const { stdout } = await run('openssl', [
      ...['x509', '-noout', '-fingerprint', '-sha256', '-in', join(device.root, caPath)],
    ]);
    expect(stdout.trim().split('=')[1]).toBe(trust.fingerprint);
    const data = /<data>\s*([\s\S]*?)\s*<\/data>/.exec(trust.mobileconfig)?.[1] ?? '';
    expect(new X509Certificate(Buffer.from(data, 'base64')).fingerprint256).toBe(trust.fingerprint);
    const page = await trustPage(device.system);
    expect(page).toContain(trust.fingerprint);
    for (const system of ['Android', 'iPhone', 'Windows', 'macOS', 'Firefox', 'Linux'])
      expect(page).toContain(system);
    // The proxy answers it in one piece.
    expect(Buffer.byteLength(page)).toBeLessThan(16_384);
  });
});

describe('the owner hears of it', () => {
  const active = async (days: number) => {
    await writeStatus(device.system, inDays(days));
    return certificateConditions(device.system, inDays(days)).filter((one) => one.active);
  };

  test('when a certificate is about to end that should have been renewed, and of a client', async () => {
    await issueServer(device.system, nas, now);
    expect(await active(0)).toEqual([]);
    expect(await active(74)).toEqual([]);
    expect((await active(77)).map(({ source, severity }) => [source, severity])).toEqual([
      ['certificates:renewal', 'warning'],
      ['certificates:expiry', 'warning'],
    ]);
    const [late] = await active(88);
    expect(late).toMatchObject({ severity: 'critical', text: expect.stringContaining('nas') });
    await renewDue(device.system, [], inDays(88));
    expect((await active(88)).map(({ source }) => source)).toEqual(['certificates:expiry']);
    expect(await device.read(statusFile)).not.toMatch(/PRIVATE|BEGIN/);
  });
});
