import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LabBrowser, openBrowser } from '../../builder/lab/browser.ts';
import { recordFigure } from '../../builder/lab/figures.ts';
import { lab } from '../../builder/lab/harness.ts';
import { outside } from '../../builder/lab/lab.ts';
import type { Running } from '../../builder/lab/namespace.ts';
import { speakTls } from '../../builder/lab/relay.ts';
import { listen, send } from '../../builder/lab/traffic.ts';
import { openTunnel, type Tunnel } from '../../builder/lab/wireguard-peer.ts';
import { type Door, makeAccount, openDoor } from './lab-api.ts';

/** The owner at the dashboard of the running device, from the lan, and a real WireGuard client far away. */

const device = lab();
const { facts, peer, ssh, sshResult, wan, lan } = device;
const owner = { name: 'ada', password: 'four lab words of no use' };
const client = 'lab-phone';
const gatewayIn = '10.66.0.1';
const echoPort = 7010;

let door: Door;
let chromium: LabBrowser;
let page: Page;
/** The downloaded file. */
let file = '';
let tunnel: Tunnel;
let echo: Running;
let beat: Running;
/** What the policy of content refused, and what a script threw. */
const problems: string[] = [];

const picture = async (name: string) => {
  await page.screenshot({ path: resolve(`output/lab/dashboard-${name}.png`) });
};
const to = async (view: string) => {
  await page.evaluate(`location.hash = '#/${view}'`);
};
const key = (name: string) => new RegExp(`^${name} = (.+)$`, 'm').exec(file)?.[1] ?? '';

beforeAll(async () => {
  await mkdir(resolve('output/lab'), { recursive: true });
  await sshResult(`sudo pi-gateway vpn revoke ${client}`);
  door = await openDoor(device);
  const tls = await speakTls(door.relay, door.way, door.ca);
  const certificate = tls.getPeerX509Certificate();
  tls.destroy();
  const spki = certificate?.publicKey.export({ type: 'spki', format: 'der' }) ?? '';
  chromium = await openBrowser(lan, createHash('sha256').update(spki).digest('base64'));
  const context = await chromium.browser.newContext({
    viewport: { width: 1280, height: 800 },
    reducedMotion: 'reduce',
  });
  page = await context.newPage();
  // Emulation makes a second of what takes a Pi some tens of milliseconds.
  page.setDefaultTimeout(90_000);
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text()))
      problems.push(message.text());
  });
});

afterAll(async () => {
  await beat?.stop();
  await tunnel?.close();
  await echo?.stop();
  await chromium?.close();
  await door?.close();
  await sshResult(`sudo pi-gateway vpn revoke ${client}`);
});

test("the device's certificate is for its lan address, by its own authority, and by no other", async () => {
  const tls = await speakTls(door.relay, door.way, door.ca);
  expect(tls.authorized).toBe(true);
  expect(tls.getPeerX509Certificate()?.checkIP(door.way.host)).toBe(door.way.host);
  tls.destroy();
  const other = await readFile('/etc/ssl/certs/ca-certificates.crt', 'utf8');
  await expect(speakTls(door.relay, door.way, other)).rejects.toThrow(/certificate/);
});

test('the owner claims the gateway with the code of first boot (or, if it has an owner, logs in)', async () => {
  await page.goto(`https://${door.way.host}:${door.way.port}/`);
  const claim = page.getByLabel('Claim code');
  await claim
    .or(page.getByRole('heading', { name: 'Log in' }))
    .first()
    .waitFor();
  if (await claim.isVisible()) {
    const code = (await ssh('sudo cat /var/lib/pi-gateway/claim/code')).trim();
    await picture('claim');
    await claim.fill(code);
    await page.getByLabel("Your account's name").fill(owner.name);
    await page.getByLabel('Password').fill(owner.password);
    await page.getByRole('button', { name: 'Make it mine' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    // The code is good once.
    expect((await sshResult('sudo test -e /var/lib/pi-gateway/claim/code')).exitCode).toBe(1);
    await page.getByRole('button', { name: 'Log out' }).first().click();
  } else {
    owner.password = (await makeAccount(device, owner.name, 'admin')).password;
  }
  await page.getByLabel('Name').fill(owner.name);
  await page.getByLabel('Password').fill(owner.password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.getByText('Live', { exact: true }).first().waitFor();
  await picture('overview');
});

test('adds a VPN client, whose QR code holds the very text of the file that is downloaded', async () => {
  await to('vpn');
  await page.getByRole('button', { name: 'Add client' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill('Lab Phone');
  await dialog.getByText(client).waitFor();
  const begun = performance.now();
  await dialog.getByRole('button', { name: 'Add client' }).click();
  await dialog.getByRole('img', { name: /QR code/ }).waitFor();
  // Not page.waitForFunction(): it evaluates text in the page, which the policy of content forbids.
  await expect
    .poll(() => page.evaluate<number>("document.querySelector('img.qr').naturalWidth"), {
      timeout: 30_000,
    })
    .toBeGreaterThan(0);
  await recordFigure('dashboard add', {
    unit: 'ms',
    'from the click to the QR code': Math.round(performance.now() - begun),
  });
  const svg = await page.evaluate<string>(
    "fetch(document.querySelector('img.qr').src).then((answer) => answer.text())",
  );
  await page.setViewportSize({ width: 390, height: 844 });
  await picture('qr-phone');
  await page.setViewportSize({ width: 1280, height: 800 });
  await picture('qr');
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    dialog.getByRole('button', { name: 'Download file' }).click(),
  ]);
  expect(download.suggestedFilename()).toBe(`${client}.conf`);
  file = await readFile(await download.path(), 'utf8');
  expect(key('PrivateKey')).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  expect(
    await ssh('qrencode --type=svg --margin=2', 60, Buffer.from(file)),
    'the QR code of the file',
  ).toBe(svg);
  await dialog.getByText('The gateway has forgotten the private key').waitFor();
  await dialog.getByRole('button', { name: 'Done' }).click();
  expect((await sshResult(`sudo test -e /etc/wireguard/clients/${client}.conf`)).exitCode).toBe(1);
  await page.getByRole('link', { name: new RegExp(client) }).waitFor();
});

test("a WireGuard client with that file (its Endpoint replaced by the device's wan address) gets through", async () => {
  echo = await listen(wan, echoPort, [outside.server4]);
  tunnel = await openTunnel({
    host: peer,
    folder: facts.keyDirectory,
    link: 'wgdash',
    keys: {
      privateKey: key('PrivateKey'),
      presharedKey: key('PresharedKey'),
      publicKey: '',
    },
    addresses: key('Address').split(', '),
    gateway: {
      publicKey: key('PublicKey'),
      address: outside.gateway4,
      port: Number(key('Endpoint').split(':').at(-1)),
    },
    via: '198.51.100.1',
    mtu: Number(key('MTU')),
  });
  await peer.run('ping', ['-c', '3', '-W', '15', gatewayIn]);
  expect(
    await send(peer, { protocol: 'tcp', to: outside.server4, port: echoPort, wait: 20 }),
  ).toEqual({ kind: 'answer', seenAs: outside.gateway4 });
});

/** Sends a datagram each so many milliseconds, and says when each answer came (Unix time in ms). */
const beating = `
import dgram from 'node:dgram';
const [, to, port, every] = process.argv;
const socket = dgram.createSocket('udp4');
socket.on('error', () => undefined);
socket.on('message', () => console.log('answer ' + Date.now()));
const sent = Buffer.alloc(1000, '?');
setInterval(() => socket.send(sent, Number(port), to, () => undefined), Number(every));
`;
const every = 50;
const answers = () => [...beat.text().matchAll(/^answer (\d+)$/gm)].map(([, time]) => Number(time));

test('its traffic moves in the page, each second', async () => {
  beat = peer.start(process.execPath, [
    ...['--input-type=module', '--eval', beating, '--'],
    ...[outside.server4, String(echoPort), String(every)],
  ]);
  await beat.said('answer', 30);
  await page.getByRole('link', { name: new RegExp(client) }).click();
  await page.getByRole('heading', { name: client }).waitFor();
  await page.getByText('Connected', { exact: true }).first().waitFor();
  const fact = (name: string) =>
    page
      .locator('dl.facts > div')
      .filter({ has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }) })
      .locator('dd');
  await expect
    .poll(() => fact('Seen at').textContent(), { timeout: 30_000 })
    .toContain(`${outside.peer4}:`);
  // A rate comes of two counts of the kernel by the stream of events: nothing that is asked for again.
  for (const name of ['Received', 'Sent'])
    await expect
      .poll(() => fact(name).textContent(), { timeout: 30_000 })
      .toMatch(/, now [\d.,]+ \S+$/);
  const seen = new Set<string | null>();
  const begun = Date.now();
  while (Date.now() - begun < 10_000) {
    seen.add(await fact('Received').textContent());
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await recordFigure('dashboard live', { 'different values in 10 s': seen.size });
  expect(seen.size).toBeGreaterThanOrEqual(4);
  await picture('live');
  await page.setViewportSize({ width: 390, height: 844 });
  await picture('live-phone');
  await page.setViewportSize({ width: 1280, height: 800 });
});

test('revoked in the page, it is cut off within 2 s of the click, and does not come back', async () => {
  await page.getByRole('button', { name: 'Revoke' }).click();
  const confirm = page.getByRole('dialog').getByRole('button', { name: 'Revoke' });
  await confirm.waitFor();
  // It goes through up to the click.
  await expect
    .poll(() => Date.now() - (answers().at(-1) ?? 0), { timeout: 20_000 })
    .toBeLessThan(500);
  const begun = Date.now();
  const before = answers().length;
  await confirm.click();
  await page.getByText(`${client} is revoked and cut off`).waitFor();
  const shown = Date.now() - begun;
  await picture('revoked');
  // WireGuard tries a new handshake every 5 s.
  await new Promise((resolve) => setTimeout(resolve, 13_000));
  const after = answers().slice(before);
  const last = (after.at(-1) ?? begun) - begun;
  await recordFigure('dashboard revoke', {
    unit: 'ms',
    'last answer after the click': last,
    'the page says so': shown,
    'a datagram each': every,
  });
  expect(before).toBeGreaterThan(20);
  expect(last).toBeLessThanOrEqual(2000);
  expect(await ssh('sudo wg show wg0 dump')).not.toContain(key('Address').split(', ')[0]);
  expect(await page.getByRole('link', { name: new RegExp(client) }).count()).toBe(0);
  await writeFile(resolve('output/lab/dashboard-beats.txt'), beat.text());
});

test('nothing was refused by the policy of content, and no script failed', () => {
  expect(problems).toEqual([]);
});
