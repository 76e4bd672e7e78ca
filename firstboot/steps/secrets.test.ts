import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Decrypter, Encrypter } from 'age-encryption';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import type { Step } from '../step.ts';
import { built, TestDevice } from '../testing.ts';
import { ageIdentity } from './age-identity.ts';
import { backupPassword } from './backup-password.ts';
import { ca } from './ca.ts';
import { claim, claimCode, isClaimCode, newCode } from './claim.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());

const secrets: [Step, string, string][] = [
  [claim, 'var/lib/pi-gateway/claim/code', 'var/lib/pi-gateway/claim/hash'],
  [ca, 'etc/pi-gateway/ca/root.key', 'etc/pi-gateway/ca/root.crt'],
  [ageIdentity, 'etc/pi-gateway/age/identity.txt', 'etc/pi-gateway/age/recipient.txt'],
  [backupPassword, 'etc/pi-gateway/backup/password', 'etc/pi-gateway/backup/password'],
];

describe.each(secrets)('$name', (step, secret, derived) => {
  test('is made once, kept, and no one but root reads it', async () => {
    expect(await step.check(device.system)).toBe(false);
    await step.apply(device.system);
    expect(await step.check(device.system)).toBe(true);
    const first = await device.read(secret);
    await step.apply(device.system);
    if (secret !== derived) expect(await device.read(secret)).toBe(first);
    expect((await stat(join(device.root, secret))).mode & 0o777).toBe(0o600);
    expect((await stat(join(device.root, secret, '..'))).mode & 0o777).toBe(0o700);
  });

  test.each([0, 10])('cut to %i bytes is none, and made anew', async (size) => {
    await step.apply(device.system);
    await truncate(join(device.root, secret), size);
    expect(await step.check(device.system)).toBe(false);
    await step.apply(device.system);
    expect(await step.check(device.system)).toBe(true);
  });

  test.runIf(secret !== derived)(
    'keeps the secret when only what is made of it is lost',
    async () => {
      await step.apply(device.system);
      const first = await device.read(secret);
      await truncate(join(device.root, derived), 0);
      expect(await step.check(device.system)).toBe(false);
      await step.apply(device.system);
      expect(await step.check(device.system)).toBe(true);
      expect(await device.read(secret)).toBe(first);
    },
  );

  test('differs between two devices', async () => {
    const other = await TestDevice.make();
    await step.apply(device.system);
    await step.apply(other.system);
    expect(await other.read(secret)).not.toBe(await device.read(secret));
    await other.remove();
  });
});

describe('the claim code', () => {
  test('has 80 bits, in letters that cannot be mistaken', () => {
    expect(newCode(new Uint8Array(10))).toBe('0000-0000-0000-0000');
    expect(newCode(new Uint8Array(10).fill(255))).toBe('ZZZZ-ZZZZ-ZZZZ-ZZZZ');
    expect(newCode(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9))).toBe('000G-40R4-0M30-E209');
  });

  test('is known by its hash, however it is typed, and nothing else is', async () => {
    await claim.apply(device.system);
    const hash = await device.read('var/lib/pi-gateway/claim/hash');
    const code = (await claimCode(device.system)) ?? '';
    expect(await isClaimCode(code, hash)).toBe(true);
    expect(
      await isClaimCode(code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o'), hash),
    ).toBe(true);
    const other = code.startsWith('A') ? `B${code.slice(1)}` : `A${code.slice(1)}`;
    expect(await isClaimCode(other, hash)).toBe(false);
    expect(await isClaimCode(code, '')).toBe(false);
    expect(hash).not.toContain(code);
  });

  test('that was used stays used', async () => {
    await claim.apply(device.system);
    await run('rm', [join(device.root, 'var/lib/pi-gateway/claim/code')]);
    expect(await claim.check(device.system)).toBe(true);
    expect(await claimCode(device.system)).toBeUndefined();
  });
});

describe('the internal CA', () => {
  const crt = () => device.read('etc/pi-gateway/ca/root.crt');

  test('is valid for ten years since the image was made, whatever the clock says', async () => {
    await ca.apply(device.system);
    const root = new X509Certificate(await crt());
    expect(Date.parse(root.validFrom)).toBe(built * 1000);
    expect(new Date(root.validTo).getUTCFullYear()).toBe(2036);
  });

  test('of another key is none', async () => {
    await ca.apply(device.system);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await writeFile(
      join(device.root, 'etc/pi-gateway/ca/root.key'),
      privateKey.export({ type: 'pkcs8', format: 'pem' }),
    );
    expect(await ca.check(device.system)).toBe(false);
  });

  test.each([
    ['DNS:gateway.home.arpa', 'OK'],
    ['DNS:printer.local,IP:192.168.1.4,IP:fd66::1', 'OK'],
    ['DNS:example.org', 'permitted subtree violation'],
    ['IP:8.8.8.8', 'permitted subtree violation'],
    ['DNS:gateway.home.arpa,IP:2001:db8::1', 'permitted subtree violation'],
  ])('vouches for home networks alone: %s', async (names, verdict) => {
    await ca.apply(device.system);
    const inside = (path: string) => join(device.root, path);
    const root = [
      '-CA',
      inside('etc/pi-gateway/ca/root.crt'),
      '-CAkey',
      inside('etc/pi-gateway/ca/root.key'),
    ];
    await run('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-subj',
        '/O=x',
      ],
      ...['-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=critical,CA:FALSE'],
      ...[...root, '-keyout', inside('leaf.key'), '-out', inside('leaf.crt')],
    ]);
    const { stdout, stderr } = await run(
      'openssl',
      ['verify', '-CAfile', inside('etc/pi-gateway/ca/root.crt'), inside('leaf.crt')],
      { okCodes: [2] },
    );
    expect(stdout + stderr).toContain(verdict);
  });
});

test('what is encrypted to the age recipient, the identity opens', async () => {
  await ageIdentity.apply(device.system);
  const encrypter = new Encrypter();
  encrypter.addRecipient((await device.read('etc/pi-gateway/age/recipient.txt')).trim());
  const sealed = await encrypter.encrypt('secret');
  const decrypter = new Decrypter();
  decrypter.addIdentity((await device.read('etc/pi-gateway/age/identity.txt')).trim());
  expect(await decrypter.decrypt(sealed, 'text')).toBe('secret');
});
