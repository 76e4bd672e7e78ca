import { resolve } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromiumArguments } from '../../builder/testing/chromium.ts';
import { claimCode, startGateway, type TestGateway } from '../web/testing.ts';
import { ActivatedService, installExtension, StandInSystemd } from './testing.ts';
import { extensionVerbs } from './verbs.ts';

/** The example extension in the dashboard: its service runs, and what it shows is drawn by the page. */

const phone = { width: 360, height: 740 };
let browser: Browser;
let gateway: TestGateway;
let service: ActivatedService;
let page: Page;
const problems: string[] = [];

beforeAll(async () => {
  const systemd = new StandInSystemd();
  systemd.units.set('pi-gateway-x-hello.socket', { state: 'active', sub: 'listening' });
  systemd.units.set('pi-gateway-x-hello.service', { state: 'inactive', sub: 'dead' });
  gateway = await startGateway({
    clients: 1,
    run: systemd.run,
    verb: (verb, args, system) =>
      verb === 'extension.switch'
        ? extensionVerbs[verb].run(system, extensionVerbs[verb].args.parse(args), {
            via: 'api',
            name: 'ada',
          })
        : undefined,
    install: async (root) => {
      await installExtension(resolve(import.meta.dirname, '../../examples/extension-hello'), root);
      service = await ActivatedService.begin(root, 'hello');
    },
  });
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [...chromiumArguments, '--ignore-certificate-errors'],
  });
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    viewport: phone,
    reducedMotion: 'reduce',
  });
  page = await context.newPage();
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text()))
      problems.push(message.text());
  });
  await page.goto(gateway.url);
  await page.getByLabel('Claim code').fill(claimCode);
  await page.getByLabel("Your account's name").fill('ada');
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Make it mine' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
});

afterAll(async () => {
  await browser?.close();
  await service?.end();
  await gateway?.stop();
});

test('its card is in the dashboard, an action of it asks and does, and the page draws what comes of it', async () => {
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('dialog').getByRole('link', { name: 'Extensions' }).click();
  const card = page.getByRole('region', { name: 'Hello' });
  await card.getByText('Nobody was greeted yet.').waitFor();
  for (const name of ['<b>Ann</b>', 'Ben']) {
    await card.getByRole('button', { name: 'Greet' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill(name);
    await dialog.getByRole('button', { name: 'Greet' }).click();
    await page.getByText(`Hello, ${name}!`).waitFor();
  }
  await card.getByText('Ben was greeted last.').waitFor();
  // Text stays text.
  expect(await card.getByRole('cell', { name: '<b>Ann</b>' }).count()).toBe(1);
  await card.getByRole('figure', { name: 'Greetings so far' }).waitFor();
  const width = await page.evaluate<number>('document.documentElement.scrollWidth');
  expect(width, 'nothing is wider than a phone').toBeLessThanOrEqual(phone.width);
});

test('what it may is told, and it can be switched off and on', async () => {
  const card = page.getByRole('region', { name: 'Hello' });
  await card.getByText('What it may').click();
  await card.getByText('/var/lib/pi-gateway-x/hello', { exact: true }).first().waitFor();
  await card.getByText('nothing: it cannot ask it').waitFor();
  await card.getByRole('button', { name: 'Switch off' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Switch off' }).click();
  await page.getByText('Hello is switched off').waitFor();
  await card.getByText('Off', { exact: true }).waitFor();
  expect(await card.getByRole('button', { name: 'Greet' }).count()).toBe(0);
  await card.getByRole('button', { name: 'Switch on' }).click();
  await card.getByText('Ben was greeted last.').waitFor();
});

test('one that ends in the middle is told there, and nothing else of the page fails', async () => {
  await service.end();
  await page.reload();
  const card = page.getByRole('region', { name: 'Hello' });
  await card.getByText('The extension hello does not answer').waitFor();
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('dialog').getByRole('link', { name: 'Services', exact: true }).click();
  await page.getByRole('heading', { name: 'Services', exact: true }).waitFor();
  // The browser itself writes of an answer of 502.
  expect(problems.filter((one) => !one.includes('502'))).toEqual([]);
});
