import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromiumArguments } from '../../builder/testing/chromium.ts';
import { fromBase32, hotp } from '../api/accounts/totp.ts';
import { claimCode, startGateway, type TestGateway } from './testing.ts';

/** The bundle as it ships, from the real API server, in Debian's Chromium. */

const password = 'correct horse battery';
const phone = { width: 360, height: 740 };
const desk = { width: 1280, height: 800 };

let browser: Browser;
beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      ...chromiumArguments,
      // The service worker's script, too, has a certificate of the test's own.
      '--ignore-certificate-errors',
    ],
  });
});
afterAll(() => browser?.close());

type Look = {
  viewport?: typeof phone;
  colorScheme?: 'light' | 'dark';
  deviceScaleFactor?: number;
};
const problems: string[] = [];

async function open(gateway: TestGateway, look: Look = {}, from?: BrowserContext): Promise<Page> {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    viewport: phone,
    reducedMotion: 'reduce',
    ...look,
  });
  if (from) await context.addCookies(await from.cookies());
  const page = await context.newPage();
  // What the policy of content refused, or a script threw, is a failure wherever it happens.
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text()))
      problems.push(message.text());
  });
  await page.goto(gateway.url);
  return page;
}

async function claimed(gateway: TestGateway, look: Look = {}): Promise<Page> {
  const page = await open(gateway, look);
  await page.getByLabel('Claim code').fill(claimCode);
  await page.getByLabel("Your account's name").fill('ada');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Make it mine' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  return page;
}

const to = async (page: Page, view: string) => {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, `#/${view}`);
};

describe('the owner at a phone', () => {
  let gateway: TestGateway;
  let page: Page;
  beforeAll(async () => {
    gateway = await startGateway({ clients: 8, every: 1000 });
  });
  afterAll(() => gateway?.stop());

  test('claims the gateway, after a wrong code was told with what to do', async () => {
    page = await open(gateway);
    await page.getByLabel('Claim code').fill('WRONG');
    await page.getByLabel("Your account's name").fill('ada');
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Make it mine' }).click();
    await page.getByRole('alert').getByText('It is in gateway-status.txt').waitFor();
    await page.getByLabel('Claim code').fill(claimCode);
    await page.getByRole('button', { name: 'Make it mine' }).click();
    await page.getByRole('heading', { name: 'All that matters works' }).waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
  });

  test('logs out, and in again', async () => {
    await page.getByRole('button', { name: /^More/ }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Name').fill('ada');
    await page.getByLabel('Password').fill('wrong password');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('alert').getByText(/./).first().waitFor();
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
  });

  test('adds a VPN client, sees its QR code, downloads its file once, and revokes it', async () => {
    await page.getByRole('link', { name: 'VPN', exact: true }).click();
    await page.getByRole('button', { name: 'Add client' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name', { exact: true }).fill('Zoë’s Tablet');
    await dialog.getByText('zoe-s-tablet').waitFor();
    await dialog.getByLabel('Limit what it may reach').check();
    await dialog.getByLabel('Home network').uncheck();
    await dialog.getByLabel('Its access ends').selectOption('week');
    await dialog.getByRole('button', { name: 'Add client' }).click();
    const qr = dialog.getByRole('img', { name: /QR code/ });
    await qr.waitFor();
    await page.waitForFunction(
      () => (document.querySelector('img.qr') as HTMLImageElement).naturalWidth > 0,
    );
    const made = gateway.world.client('zoe-s-tablet');
    expect(made.zones?.toSorted()).toEqual(['gateway', 'guest', 'vpn', 'wan']);
    expect(Date.parse(made.expires_at ?? '') - Date.now()).toBeGreaterThan(6.9 * 86_400_000);

    const [file] = await Promise.all([
      page.waitForEvent('download'),
      dialog.getByRole('button', { name: 'Download file' }).click(),
    ]);
    expect(file.suggestedFilename()).toBe('zoe-s-tablet.conf');
    expect(await readFile(await file.path(), 'utf8')).toContain('PrivateKey');
    await dialog.getByText('The gateway has forgotten the private key').waitFor();
    expect(await qr.count()).toBe(0);
    await dialog.getByRole('button', { name: 'Done' }).click();

    await page.getByRole('link', { name: /zoe-s-tablet/ }).click();
    await page.getByRole('heading', { name: 'zoe-s-tablet' }).waitFor();
    await page.getByRole('button', { name: 'Revoke' }).click();
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('zoe-s-tablet is revoked and cut off').waitFor();
    expect(gateway.world.clients.has('zoe-s-tablet')).toBe(false);
    expect(await page.getByRole('link', { name: /zoe-s-tablet/ }).count()).toBe(0);
  });

  test('disables a client and changes what it may reach', async () => {
    await to(page, 'vpn/anns-laptop');
    await page.getByRole('button', { name: 'Disable' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
    await page.getByRole('button', { name: 'Enable' }).click();
    await page.getByRole('button', { name: 'Change' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name', { exact: true }).fill('anns-computer');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('heading', { name: 'anns-computer' }).waitFor();
    expect(gateway.world.client('anns-computer').enabled).toBe(true);
  });

  test('sees traffic move', async () => {
    await to(page, 'vpn/anns-phone');
    const received = page.locator('dd').filter({ hasText: 'now' }).first();
    await received.waitFor();
    const before = await received.textContent();
    await expect.poll(() => received.textContent(), { timeout: 10_000 }).not.toBe(before);
  });

  test('restarts a service once it is confirmed', async () => {
    await page.getByRole('link', { name: 'Services' }).click();
    await page.getByRole('button', { name: 'Restart Name server' }).click();
    expect(gateway.world.restarted).toEqual([]);
    await page.getByRole('dialog').getByText('Needed by').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
    await page.getByText('Name server: restarted, now active').waitFor();
    expect(gateway.world.restarted).toEqual(['dns']);
  });

  test('sees a mistake in the settings by its line, then the difference, and applies it', async () => {
    await to(page, 'config');
    const area = page.getByLabel('Settings in YAML');
    const text = await area.inputValue();
    await area.fill(text.replace('limit: 75', 'limti: 80'));
    await page.getByRole('button', { name: 'Line 4' }).click();
    expect(
      await area.evaluate((element: HTMLTextAreaElement) => element.selectionStart),
    ).toBeGreaterThan(60);
    await area.fill(text.replace('limit: 75', 'limit: 80'));
    await page.getByRole('button', { name: 'Review changes' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('-    temperature: { limit: 75, for: 300 }').waitFor();
    await dialog.getByText('+    temperature: { limit: 80, for: 300 }').waitFor();
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await page.getByText('The settings are in force').waitFor();
    expect(gateway.world.config).toContain('limit: 80');
    await expect.poll(() => area.inputValue()).toContain('limit: 80');

    // Somebody else's change takes away nothing of what is being typed.
    await area.fill(text.replace('limit: 75', 'limit: 70'));
    gateway.world.config = text.replace('limit: 75', 'limit: 65');
    await page.getByText('Somebody else has changed the settings').waitFor();
    expect(await area.inputValue()).toContain('limit: 70');
    await page.getByRole('button', { name: 'Discard' }).click();
    expect(await area.inputValue()).toContain('limit: 65');
  });

  test('adds a client with the keyboard alone; the focus returns to where it was', async () => {
    await to(page, 'vpn');
    await page.getByRole('button', { name: 'Add client' }).waitFor();
    await page.evaluate(() => (document.activeElement as HTMLElement).blur());
    const focused = () =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLElement;
        return element.getAttribute('aria-label') ?? element.textContent?.trim() ?? '';
      });
    const tabTo = async (name: RegExp) => {
      for (let presses = 0; presses < 40; presses++) {
        if (name.test(await focused())) return;
        await page.keyboard.press('Tab');
      }
      throw new Error(`Tab does not lead to ${name}`);
    };
    await tabTo(/^Add client$/);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.type('By Keyboard');
    await page.keyboard.press('Enter');
    await page.getByRole('img', { name: /QR code/ }).waitFor();
    await tabTo(/^Done$/);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(gateway.world.clients.has('by-keyboard')).toBe(true);
    expect(await focused()).toBe('Add client');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(await focused()).toBe('Add client');
  });

  test('turns the second factor on, and logs in with a code of it', async () => {
    await to(page, 'account');
    await page.getByRole('button', { name: 'Set up' }).click();
    const dialog = page.getByRole('dialog');
    const text = (await dialog.locator('code').textContent()) ?? '';
    const secret = fromBase32(text.replaceAll(' ', ''));
    const code = () => hotp(secret, Math.floor(Date.now() / 30_000));
    await dialog.getByLabel('Code').fill('000000');
    await dialog.getByRole('button', { name: 'Turn it on' }).click();
    await dialog.getByRole('alert').getByText(/./).first().waitFor();
    await dialog.getByLabel('Code').fill(code());
    await dialog.getByRole('button', { name: 'Turn it on' }).click();
    await dialog.getByText('Keep these recovery codes').waitFor();
    const [recovery = ''] = await dialog.locator('li').allTextContents();
    await dialog.getByRole('button', { name: 'I have them' }).click();
    const other = await open(gateway);
    await other.getByLabel('Name').fill('ada');
    await other.getByLabel('Password').fill(password);
    await other.getByRole('button', { name: 'Log in' }).click();
    await other.getByLabel('Code of your authenticator app').fill(recovery);
    await other.getByRole('button', { name: 'Check the code' }).click();
    await other.getByRole('heading', { name: 'Overview' }).waitFor();
    await other.context().close();
  });

  test('is shown no changes as a viewer', async () => {
    await to(page, 'account');
    await page.getByRole('button', { name: 'Add account' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name', { exact: true }).fill('guest');
    await dialog.getByLabel('Password').fill(password);
    await dialog.getByRole('button', { name: 'Add account' }).click();
    await dialog.waitFor({ state: 'detached' });
    const other = await open(gateway, { viewport: desk });
    await other.getByLabel('Name').fill('guest');
    await other.getByLabel('Password').fill(password);
    await other.getByRole('button', { name: 'Log in' }).click();
    await other.getByRole('heading', { name: 'Overview' }).waitFor();
    expect(await other.getByRole('link', { name: 'Configuration' }).count()).toBe(0);
    for (const [view, there] of [
      ['vpn', 'anns-phone'],
      ['vpn/anns-phone', 'Last handshake'],
      ['services', 'Name server'],
      ['firewall', 'Photo server'],
      ['updates', 'openssl'],
    ] as const) {
      await to(other, view);
      await other.getByRole('main').getByText(there).first().waitFor();
      expect(
        await other
          .getByRole('button', {
            name: /Add|Restart|Reload|Remove|Install|Revoke|Change|Disable|Import/,
          })
          .count(),
        view,
      ).toBe(0);
    }
    await other.context().close();
  });

  test('says when the gateway is away, opens all the same, and goes on by itself', async () => {
    await to(page, 'overview');
    await page.evaluate(() => navigator.serviceWorker.ready);
    const kept = await page.evaluate(async () =>
      (
        await Promise.all(
          (await caches.keys()).map(async (name) => (await caches.open(name)).keys()),
        )
      )
        .flat()
        .map(({ url }) => new URL(url).pathname),
    );
    expect(kept.length).toBeGreaterThan(3);
    expect(kept.filter((path) => path.includes('/api/'))).toEqual([]);
    await gateway.pause();
    await page.getByText('No connection to the gateway').waitFor({ timeout: 30_000 });
    await page.reload();
    await page.getByText('The gateway does not answer').waitFor();
    await gateway.resume();
    // Sessions end with the process that knows them.
    await page.getByRole('heading', { name: /Overview|Log in/ }).waitFor({ timeout: 20_000 });
  });

  test('nothing was refused by the policy of content, and no script failed', () => {
    expect(problems.filter((one) => !/net::ERR_/.test(one))).toEqual([]);
  });
});

describe('everybody', () => {
  let gateway: TestGateway;
  let first: Page;
  let axe = '';
  beforeAll(async () => {
    axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
    gateway = await startGateway({ clients: 8 });
    first = await claimed(gateway);
  });
  afterAll(() => gateway?.stop());

  type Violation = {
    id: string;
    impact: string;
    nodes: { html: string; failureSummary: string }[];
  };
  const violations = async (page: Page): Promise<string[]> => {
    const found = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: { run(): Promise<{ violations: Violation[] }> };
      };
      return (await axe.run()).violations;
    });
    return found
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) =>
        nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
      );
  };
  const inject = (page: Page) => page.evaluate(`${axe};0`);

  const views = [
    'overview',
    'charts',
    'charts/network',
    'charts/disk',
    'alerts',
    'vpn',
    'vpn/anns-phone',
    'firewall',
    'ddns',
    'names',
    'router',
    'tuning',
    'desktop',
    'containers',
    'services',
    'updates',
    'config',
    'logs',
    'compliance',
    'audit',
    'account',
  ];

  test('can use the page to claim', async () => {
    const unclaimed = await startGateway({ clients: 0 });
    const page = await open(unclaimed);
    await page.getByLabel('Claim code').waitFor();
    await inject(page);
    expect(await violations(page)).toEqual([]);
    // Were axe blind, all of these tests would pass.
    await page.evaluate(() => document.querySelector('label')?.remove());
    expect(await violations(page)).toHaveLength(1);
    await unclaimed.stop();
    await page.context().close();
  });

  test.each([
    ['phone', 'light', phone],
    ['phone', 'dark', phone],
    ['desk', 'light', desk],
    ['desk', 'dark', desk],
  ] as const)('can use each view: %s, %s', async (_, colorScheme, viewport) => {
    const page = await open(gateway, { colorScheme, viewport }, first.context());
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await inject(page);
    for (const view of views) {
      await to(page, view);
      await page
        .locator('.loading')
        .waitFor({ state: 'detached' })
        .catch(() => undefined);
      await page.waitForTimeout(150);
      expect(await violations(page), view).toEqual([]);
      // Nothing is wider than the screen.
      expect(
        await page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
        view,
      ).toBeLessThanOrEqual(0);
    }
    await page.context().close();
  });

  test.each(['light', 'dark'] as const)('can use dialogs: %s', async (colorScheme) => {
    const page = await open(gateway, { colorScheme }, first.context());
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await inject(page);
    for (const [view, button] of [
      ['vpn', 'Add client'],
      ['vpn', 'Import'],
      ['vpn/anns-phone', 'Revoke'],
      ['vpn/anns-phone', 'Change'],
      ['firewall', 'Add port forward'],
      ['account', 'Add token'],
      ['account', 'Set up'],
    ] as const) {
      await to(page, view);
      await page.getByRole('button', { name: button }).first().click();
      await page.getByRole('dialog').waitFor();
      await page.waitForTimeout(150);
      expect(await violations(page), `${view}: ${button}`).toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
    await page.context().close();
  });

  test('sees all on a screen of 320 pixels', async () => {
    const page = await open(gateway, { viewport: { width: 320, height: 640 } }, first.context());
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    for (const view of views) {
      await to(page, view);
      await page.waitForTimeout(200);
      expect(
        await page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
        view,
      ).toBeLessThanOrEqual(0);
    }
    await page.context().close();
  });
});

/** Times of a page are wall-clock: a loaded machine makes them longer, so the bounds are wide. */
describe.each([200, 1000])('%i VPN clients', (clients) => {
  let gateway: TestGateway;
  let page: Page;
  beforeAll(async () => {
    gateway = await startGateway({ clients, every: 1000 });
    page = await claimed(gateway);
  });
  afterAll(() => gateway?.stop());

  test('are shown soon, and cost little while events come each second', async () => {
    const took = await page.evaluate(async () => {
      const start = performance.now();
      location.hash = '#/vpn';
      while (!document.querySelector('.client')) await new Promise(requestAnimationFrame);
      return performance.now() - start;
    });
    const session = await page.context().newCDPSession(page);
    await session.send('Performance.enable');
    const figures = async () =>
      new Map(
        (await session.send('Performance.getMetrics')).metrics.map(({ name, value }) => [
          name,
          value,
        ]),
      );
    // As a phone some years old: Lighthouse's factor for one.
    await session.send('Emulation.setCPUThrottlingRate', { rate: 4 });
    await page.waitForTimeout(1500);
    const before = await figures();
    await page.waitForTimeout(8000);
    const after = await figures();
    const perSecond = (name: string) => ((after.get(name) ?? 0) - (before.get(name) ?? 0)) / 8;
    await session.send('Emulation.setCPUThrottlingRate', { rate: 1 });
    const rows = await page.locator('.client').count();
    console.log(
      `${clients} clients: list after ${took.toFixed(0)} ms, ${rows} rows, ` +
        `script ${(perSecond('ScriptDuration') * 100).toFixed(1)} %, all tasks ${(perSecond('TaskDuration') * 100).toFixed(1)} % of a phone's processor, ` +
        `heap ${((after.get('JSHeapUsedSize') ?? 0) / 1e6).toFixed(1)} MB`,
    );
    expect(rows).toBeLessThan(60);
    expect(took).toBeLessThan(1500);
    expect(perSecond('TaskDuration')).toBeLessThan(0.6);
  });

  test('are found by name, and the last one is reached by scrolling', async () => {
    const last = `device-${String(clients).padStart(4, '0')}`;
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.getByRole('link', { name: new RegExp(last) }).waitFor();
    await page.getByLabel('Find a client').fill('device-0123');
    await expect.poll(() => page.locator('.client').count()).toBe(1);
    await page.getByRole('link', { name: /device-0123/ }).click();
    await page.getByRole('heading', { name: 'device-0123' }).waitFor();
  });
});

/** PICTURES=docs vitest run --project browser -t pictures */
test.runIf(process.env.PICTURES)('pictures of docs/dashboard.md', async () => {
  const folder = process.env.PICTURES ?? '';
  const gateway = await startGateway({ clients: 8, every: 1000 });
  const first = await claimed(gateway, { viewport: desk });
  await first.waitForTimeout(3000);
  await first.screenshot({ path: `${folder}/dashboard-overview.png` });
  const second = await open(
    gateway,
    { colorScheme: 'dark', deviceScaleFactor: 1.5 },
    first.context(),
  );
  await second.getByRole('heading', { name: 'Overview' }).waitFor();
  await to(second, 'charts/network');
  await second.locator('canvas').first().waitFor();
  await second.waitForTimeout(3000);
  await second.screenshot({ path: `${folder}/dashboard-charts.png` });
  const third = await open(gateway, { deviceScaleFactor: 1.5 }, first.context());
  await third.getByRole('heading', { name: 'Overview' }).waitFor();
  await to(third, 'vpn');
  await third.waitForTimeout(2500);
  await third.screenshot({ path: `${folder}/dashboard-vpn.png` });
  await third.getByRole('button', { name: 'Add client' }).click();
  await third.getByLabel('Name', { exact: true }).fill('ann’s tablet');
  await third.getByRole('dialog').getByRole('button', { name: 'Add client' }).click();
  await third.getByRole('img', { name: /QR code/ }).waitFor();
  await third.waitForTimeout(500);
  await third.screenshot({ path: `${folder}/dashboard-qr.png` });
  await gateway.stop();
});
