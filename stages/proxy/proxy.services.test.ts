import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lab } from '../../builder/lab/harness.ts';
import type { LabHost } from '../../builder/lab/namespace.ts';
import { openDoor } from '../gateway/lab-api.ts';

/** Services by name, as other hosts of the networks see them. */

const device = lab();
const { ssh, sshResult, lan, wan, guest, facts } = device;
const gatewayAddress = facts.zones.lan.v4.split('/')[0] ?? '';

let folder: string;
/** The root, as the lan's host has downloaded it. */
let root: string;
let name: string;

/** On the device: what is behind the proxy. */
const service = `require('http').createServer((request, response) => {
  if (request.url === '/long') {
    response.write('begun ');
    return void setTimeout(() => response.end('ended'), 60000);
  }
  response.end(JSON.stringify(request.headers));
}).listen(3000, '127.0.0.1')`;

beforeAll(async () => {
  await (await openDoor(device)).close();
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-proxy-'));
  root = join(folder, 'root.pem');
  name = `${(await ssh('hostname')).trim()}.home.arpa`;
  await ssh('sudo tee /run/test-echo.js > /dev/null', 60, Buffer.from(service));
  await ssh('sudo systemd-run --quiet --unit=test-echo node /run/test-echo.js', 240);
  // The first certificates of a device come after its boot.
  for (const until = Date.now() + 240_000; ; ) {
    const { exitCode } = await lan.run(
      'curl',
      ['-sf', '-o', root, `http://${gatewayAddress}/pki/root.pem`],
      { okCodes: [7, 22, 28, 52, 56] },
    );
    if (exitCode === 0) break;
    if (Date.now() > until) throw new Error('The proxy does not answer');
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
});
afterAll(async () => {
  await sshResult('sudo systemctl stop test-echo');
  await rm(folder, { recursive: true, force: true });
});

/** The gateway's own answer, asked over the network. */
async function resolved(host: LabHost, server: string, wanted: string): Promise<string[]> {
  const program = `const { Resolver } = require('dns').promises; const r = new Resolver({ timeout: 5000, tries: 2 });
r.setServers(['${server}']); r.resolve4('${wanted}').then((a) => console.log(a.join(' ')), (e) => console.log(e.code))`;
  const { stdout } = await host.run(process.execPath, ['-e', program]);
  return stdout.trim().split(' ');
}

const failures = [7, 28, 35, 52, 55, 56, 60];

async function curl(host: LabHost, url: string, ...more: string[]) {
  const { hostname, port, protocol } = new URL(url);
  const number = port || (protocol === 'https:' ? '443' : '80');
  return await host.run(
    'curl',
    [
      ...['-sS', '--max-time', '90', '--cacert', root, '--capath', '/nonexistent'],
      ...['--resolve', `${hostname}:${number}:${gatewayAddress}`, ...more, url],
    ],
    { okCodes: failures },
  );
}

const status = async (url: string, ...more: string[]) =>
  (await curl(lan, url, '-o', '/dev/null', '-w', '%{http_code}', ...more)).stdout;

test('the root comes from the gateway, with the fingerprint that its command prints', async () => {
  const told = JSON.parse(await ssh('sudo pi-gateway certificate trust --json', 240));
  const { stdout } = await lan.run('openssl', [
    ...['x509', '-in', root, '-noout', '-fingerprint', '-sha256'],
  ]);
  expect(stdout.trim().split('=')[1]).toBe(told.fingerprint);
  expect(told.url).toBe(`http://${name}/trust`);
  const page = await lan.run('curl', ['-sL', `http://${gatewayAddress}/`]);
  expect(page.stdout).toContain(told.fingerprint);
});

test('the dashboard is found by its name, without a port', async () => {
  expect(await resolved(lan, gatewayAddress, name)).toContain(gatewayAddress);
  const { stdout } = await curl(lan, `https://${name}/`);
  expect(stdout).toContain('<title>Pi Gateway');
  expect(await status(`https://${name}/api/v1/claim`)).toBe('200');
});

test('a service is added by one command, has a name and a certificate, and answers by them', async () => {
  const said = await ssh('sudo pi-gateway proxy add echo http://127.0.0.1:3000', 400);
  expect(said).toContain('https://echo.home.arpa/');
  expect(await resolved(lan, gatewayAddress, 'echo.home.arpa')).toContain(gatewayAddress);
  const { stdout } = await curl(lan, 'https://echo.home.arpa/', '-H', 'X-Forwarded-For: 1.2.3.4');
  expect(JSON.parse(stdout)['x-forwarded-for']).toMatch(/^192\.168\.10\.\d+$/);
  // Whoever does not trust the root.
  const stranger = await lan.run(
    'curl',
    [...['-s', '--resolve', `echo.home.arpa:443:${gatewayAddress}`], 'https://echo.home.arpa/'],
    { okCodes: failures },
  );
  expect(stranger.exitCode).toBe(60);
  const list = JSON.parse(await ssh('sudo pi-gateway certificate list --json', 240));
  expect(list.certificates).toContainEqual(
    expect.objectContaining({ name: 'proxy-echo', names: ['echo.home.arpa'], state: 'good' }),
  );
});

test('nothing of it is there from wan and guest', async () => {
  const wanAddress = (
    await ssh("ip -4 -o address show dev eth0 scope global | awk '{print $4}' | cut -d/ -f1")
  ).split('\n')[0];
  const guestAddress = facts.zones.guest.v4.split('/')[0];
  for (const port of [80, 443])
    for (const [host, address] of [
      [wan, wanAddress],
      [guest, guestAddress],
      [guest, gatewayAddress],
    ] as const) {
      const { exitCode } = await host.run(
        'curl',
        ['-s', '--max-time', '4', '--connect-timeout', '4', `http://${address}:${port}/`],
        { okCodes: failures },
      );
      expect([7, 28], `${host.namespace} ${address}:${port}`).toContain(exitCode);
    }
});

test('a service for the VPN alone is refused to the lan', async () => {
  await ssh('sudo pi-gateway proxy add private http://127.0.0.1:3000 --zone vpn', 400);
  expect(await status('https://private.home.arpa/')).toBe('403');
  await ssh('sudo pi-gateway proxy remove private', 400);
});

test('a service for clients with certificates lets in those alone, and not those that were revoked', async () => {
  await ssh('sudo pi-gateway proxy add vault http://127.0.0.1:3000 --mtls', 400);
  expect((await curl(lan, 'https://vault.home.arpa/', '--tls-max', '1.2')).exitCode).not.toBe(0);
  const made = JSON.parse(
    await ssh('sudo pi-gateway certificate client phone /tmp/phone.p12 --json', 60),
  );
  const p12 = join(folder, 'phone.p12');
  await writeFile(p12, Buffer.from(await ssh('sudo base64 /tmp/phone.p12'), 'base64'));
  expect(await ssh('sudo stat -c %a /tmp/phone.p12')).toBe('600\n');
  const flags = ['--cert-type', 'P12', '--cert', `${p12}:${made.password}`];
  const { stdout } = await curl(lan, 'https://vault.home.arpa/', ...flags);
  expect(JSON.parse(stdout)['x-client-name']).toBe('phone');
  const { serial } = made.certificate;
  await ssh(`sudo pi-gateway certificate revoke ${serial} --reason keyCompromise`, 300);
  const after = await curl(lan, 'https://vault.home.arpa/', '--tls-max', '1.2', ...flags);
  expect(after.exitCode).not.toBe(0);
  expect(after.stderr).toMatch(/revoked/);
  // The password is nowhere on the device.
  const found = await sshResult(
    `sudo grep -rlF -- '${made.password}' /var/log /etc/pi-gateway /var/lib/pi-gateway /run/pi-gateway; sudo journalctl -b --no-pager | grep -cF -- '${made.password}'`,
  );
  expect(found.stdout.trim()).toBe('0');
});

test('a renewal drops no connection: a long request ends as it should', async () => {
  const before = JSON.parse(await ssh('sudo pi-gateway proxy list --json', 240)).sites;
  const long = curl(lan, 'https://echo.home.arpa/long');
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await ssh('sudo pi-gateway certificate renew proxy-echo', 300);
  await ssh('sudo systemctl reload pi-gateway-proxy.service', 240);
  expect(await status('https://echo.home.arpa/')).toBe('200');
  expect((await long).stdout).toBe('begun ended');
  expect(before.map((one: { name: string }) => one.name)).toEqual(['dashboard', 'echo', 'vault']);
});

test('a wrong service is refused with what to do, and all goes on', async () => {
  const refused = await sshResult('sudo pi-gateway proxy add bad http://nas.local:80/path');
  expect(refused.exitCode).not.toBe(0);
  expect(refused.stderr).toMatch(/an address \(no host name\) and a port/);
  const twice = await sshResult('sudo pi-gateway proxy add echo http://127.0.0.1:3000');
  expect(twice.stderr).toMatch(/There is a service echo already/);
  expect(await status('https://echo.home.arpa/')).toBe('200');
});

test('the services of it run in sandboxes', async () => {
  for (const unit of [
    'pi-gateway-proxy.service',
    'pi-gateway-certificates.service',
    'pi-gateway-acme.service',
  ]) {
    const scored = await ssh(`sudo systemd-analyze security --no-pager ${unit}`, 240);
    const score = Number(/exposure level for \S+: ([\d.]+)/.exec(scored)?.[1]);
    expect(score, unit).toBeLessThanOrEqual(2.0);
  }
  expect(await ssh('ps -o user:20= -C haproxy | sort -u')).toBe('pi-gateway-proxy\n');
  const keys = await sshResult(
    'sudo -u pi-gateway-proxy cat /etc/pi-gateway/ca/issuing.pem /etc/pi-gateway/ca/root.key',
  );
  expect(keys.stderr).toMatch(/Permission denied/);
  expect(keys.stdout).toBe('');
});

test('certificates are renewed by the timer’s service when the time comes', async () => {
  const of = async () =>
    JSON.parse(await ssh('sudo pi-gateway certificate list --json', 240)).certificates.find(
      (one: { name: string }) => one.name === 'proxy-echo',
    );
  const before = await of();
  await ssh('sudo systemctl stop chrony; sudo date -s "+61 days" > /dev/null');
  try {
    await ssh('sudo systemctl restart pi-gateway-certificates.service', 400);
    const after = await of();
    expect(after.serial).not.toBe(before.serial);
    expect(Date.parse(after.not_after) - Date.parse(before.not_after)).toBeGreaterThan(
      60 * 86_400_000,
    );
  } finally {
    await ssh('sudo date -s "-61 days" > /dev/null; sudo systemctl start chrony');
    await ssh('sudo systemctl restart pi-gateway-certificates.service', 400);
  }
  expect(await status('https://echo.home.arpa/')).toBe('200');
});
