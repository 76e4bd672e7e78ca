import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

const gateway = device();

/** Runs a module on the device, as a user; what it prints. */
async function script(user: string, text: string): Promise<string> {
  const encoded = Buffer.from(text).toString('base64');
  const decode = `import('data:text/javascript;base64,${encoded}')`;
  return (await gateway.ssh(`sudo -u ${user} node -e "${decode}"`)).trim();
}

/** What a question gets over a unix socket, until its other end closes. */
const asking = (socket: string, text: string) => `
  import { connect } from 'node:net';
  const socket = connect('${socket}', () => socket.write(${JSON.stringify(text)}));
  socket.on('data', (data) => process.stdout.write(data));
  socket.on('error', (error) => console.log(error.code));
  setTimeout(() => process.exit(), 5000).unref();`;

/** Status and body of the API as root's commands ask it. */
const locally = (path: string) =>
  script(
    'root',
    `import { get } from 'node:http';
    get({ socketPath: '/run/pi-gatewayd/api.sock', path: '${path}' }, (answer) => {
      process.stdout.write(answer.statusCode + ' ');
      answer.pipe(process.stdout);
    });`,
  );

test('the daemon runs as a user of its own; with the exporter it takes at most 100 MB', async () => {
  const facts = await gateway.ssh('systemctl show -p ActiveState -p NRestarts pi-gatewayd');
  expect(facts).toContain('ActiveState=active');
  expect(facts).toContain('NRestarts=0');
  const resident = async (unit: string) =>
    Number(await gateway.ssh(`ps -o rss= -p $(systemctl show -P MainPID ${unit})`)) / 1024;
  expect(await gateway.ssh('ps -o user= -p $(systemctl show -P MainPID pi-gatewayd)')).toMatch(
    /^pi-gate/,
  );
  const daemon = await resident('pi-gatewayd');
  const exporter = await resident('prometheus-node-exporter');
  expect(daemon).toBeGreaterThan(10);
  expect(exporter).toBeGreaterThan(1);
  expect(daemon + exporter).toBeLessThanOrEqual(100);
});

test("answers on loopback and the VPN with a certificate of the device's own root, and nowhere else", async () => {
  const answers = await script(
    'root',
    `import { readFileSync } from 'node:fs';
    import { get } from 'node:https';
    import { X509Certificate } from 'node:crypto';
    const ca = readFileSync('/etc/pi-gateway/ca/root.crt');
    for (const host of ['127.0.0.1', '::1', '10.66.0.1'])
      await new Promise((done) =>
        get({
          host, port: 8443, path: '/api/v1/openapi.json', ca,
          // As OpenSSL judges it; node's own check does not know ::1 in its long form.
          checkServerIdentity: (_, { raw }) =>
            new X509Certificate(raw).checkIP(host) ? undefined : new Error('another address'),
        }, (answer) => {
          console.log(host, answer.statusCode);
          answer.resume().on('end', done);
        }).on('error', (error) => { console.log(host, error.message); done(); }));`,
  );
  expect(answers.split('\n')).toEqual(['127.0.0.1 200', '::1 200', '10.66.0.1 200']);
  const listening = await gateway.ssh("ss -Hltn 'sport = :8443' | awk '{ print $4 }' | sort");
  expect(listening.trim().split('\n').toSorted()).toEqual(
    ['10.66.0.1:8443', '127.0.0.1:8443', '[::1]:8443', '[fd66:6761:7465::1]:8443'].toSorted(),
  );
});

test('root is an admin at its own socket, and nobody else gets to it', async () => {
  expect(await locally('/api/v1/status')).toMatch(/^200 \{/);
  const others = asking('/run/pi-gatewayd/api.sock', 'GET / HTTP/1.1\r\n\r\n');
  expect(await script('nobody', others)).toBe('EACCES');
  for (const socket of ['helper', 'state'])
    expect(await script('nobody', asking(`/run/pi-gateway/${socket}.sock`, 'wireguard\n'))).toBe(
      'EACCES',
    );
});

test("the kernel's state has no keys that are secret", async () => {
  const state = await script('pi-gatewayd', asking('/run/pi-gateway/state.sock', 'wireguard\n'));
  expect(state).toMatch(/^wg0\t-\t\S+\t51820\toff$/m);
  expect(state).toMatch(/^ok$/m);
  expect(state).not.toContain((await gateway.ssh('sudo cat /etc/wireguard/server.key')).trim());
  expect(await script('pi-gatewayd', asking('/run/pi-gateway/state.sock', 'counters\n'))).toMatch(
    /"counter".*\nok$/s,
  );
  expect(await gateway.ssh('systemctl --failed --no-legend')).toBe('');
});

test('the helper starts when something is asked of it, and ends when nothing is', async () => {
  expect(await locally('/api/v1/audit')).toMatch(/^200 /);
  const active = () => gateway.sshResult('systemctl is-active pi-gateway-helper.service');
  expect((await active()).stdout.trim()).toBe('active');
  await expect
    .poll(async () => (await active()).stdout.trim(), { timeout: 120_000, interval: 5_000 })
    .toBe('inactive');
  expect(await locally('/api/v1/audit')).toMatch(/^200 /);
});

test('a restart refuses nobody, and a killed daemon comes back', async () => {
  const restarting = gateway.ssh('sudo systemctl restart pi-gatewayd');
  expect(await locally('/api/v1/status')).toMatch(/^200 /);
  await restarting;
  await gateway.ssh('sudo systemctl kill --signal=KILL pi-gatewayd');
  expect(await locally('/api/v1/status')).toMatch(/^200 /);
});
