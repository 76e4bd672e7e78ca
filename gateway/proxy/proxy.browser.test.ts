import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { chromiumArguments } from '../../builder/testing/chromium.ts';
import { ProxyDevice } from './testing.ts';

/** Chromium as its owner sets it up: the downloaded root among the authorities of its user, and no other exception. */

let proxy: ProxyDevice;
let home: string;
const browsers: Browser[] = [];

beforeAll(async () => {
  proxy = await ProxyDevice.make();
  const to = await proxy.serve((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<title>Photos</title>');
  });
  await proxy.settings(`proxy: { services: { photos: { to: '${to}' } } }\n`);
  await proxy.reconcile();
  home = await mkdtemp(join(tmpdir(), 'pi-gateway-home-'));
});
afterAll(async () => {
  for (const browser of browsers) await browser.close();
  await proxy.remove();
  await rm(home, { recursive: true, force: true });
});

async function open(): Promise<string> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [...chromiumArguments, '--host-resolver-rules=MAP photos.home.arpa 127.0.0.1'],
    env: { ...process.env, HOME: home },
  });
  browsers.push(browser);
  const page = await browser.newPage();
  await page.goto(`https://photos.home.arpa:${proxy.tls}/`);
  return await page.title();
}

test('opens a service by name without a warning once it trusts the root, and not before', async () => {
  await expect(open()).rejects.toThrow(/ERR_CERT_AUTHORITY_INVALID/);
  const root = join(home, 'root.crt');
  await run('curl', ['-sf', '-o', root, `http://127.0.0.1:${proxy.plain}/pki/root.crt`]);
  const store = `sql:${home}/.pki/nssdb`;
  await run('mkdir', ['-p', `${home}/.pki/nssdb`]);
  await run('certutil', ['-N', '-d', store, '--empty-password']);
  await run('certutil', ['-A', '-d', store, '-n', 'gateway', '-t', 'C,,', '-i', root]);
  expect(await open()).toBe('Photos');
});
