import { afterAll, beforeAll, expect, test } from 'vitest';
import { readManifest } from '../../builder/extension/manifest.ts';
import { unitFiles } from '../../builder/extension/sandbox.ts';
import { lab } from '../../builder/lab/harness.ts';
import type { RelayClient } from '../../builder/lab/relay.ts';
import { project } from '../../builder/testing/build.ts';
import { manifestFolder, manifestSchema } from '../../gateway/extensions/manifest.ts';
import { type Door, logIn, makeAccount, openDoor } from './lab-api.ts';

/** examples/extension-hello in the image of environments/services.yaml, and a broken one beside it. */

const device = lab();
const { ssh, sshResult } = device;
const unit = 'pi-gateway-x-hello';

let door: Door;
let client: RelayClient;
let admin: Record<string, string>;
let viewer: Record<string, string>;

async function enter(): Promise<void> {
  door = await openDoor(device);
  client = door.client();
  admin = await logIn(client, await makeAccount(device, 'ext-admin', 'admin'));
  viewer = await logIn(client, await makeAccount(device, 'ext-viewer', 'viewer'));
}
beforeAll(enter);
afterAll(async () => {
  client?.close();
  await door?.close();
});

async function ask(method: string, path: string, headers = admin, body?: unknown) {
  const answer = await client.ask({
    method,
    path: `/api/v1${path}`,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  return { status: answer.status, json: JSON.parse(answer.text || 'null') };
}

test('it costs nothing until it is asked: systemd holds its socket', async () => {
  expect(await ssh(`systemctl is-active ${unit}.socket`)).toBe('active\n');
  expect((await sshResult(`systemctl is-active ${unit}.service`)).stdout).toBe('inactive\n');
  expect(await ssh('stat -c "%U %G %a" /run/pi-gateway-x/hello.sock')).toBe(
    'root pi-gatewayd 660\n',
  );
});

test('its routes, card and command answer, as roles allow', async () => {
  const list = await ask('GET', '/x/hello/greetings', viewer);
  expect(list).toMatchObject({ status: 200, json: { count: 0 } });
  expect((await ask('POST', '/x/hello/greetings', viewer, { who: 'Eve' })).status).toBe(403);
  expect((await ask('POST', '/x/hello/greetings', admin, { who: 'Ann' })).json).toEqual({
    text: 'Hello, Ann!',
    count: 1,
  });
  expect(await ssh('sudo pi-gateway x hello greet Ben', 60)).toBe('Hello, Ben!\n');
  const card = await ask('GET', '/extensions/hello/card', viewer);
  expect(card).toMatchObject({ status: 200, json: { text: 'Ben was greeted last.' } });
  const services = await ask('GET', '/services', viewer);
  expect(services.json.services).toContainEqual(
    expect.objectContaining({ id: 'x-hello', health: 'ok' }),
  );
  expect(await ssh('sudo pi-gateway extension show hello', 60)).toMatch(/network +none/);
});

test('its service is its own user’s, in a sandbox that scores at most 2.0', async () => {
  expect(await ssh(`sudo stat -c %U /proc/$(systemctl show --value -p MainPID ${unit})`)).toBe(
    `${unit}\n`,
  );
  const scored = await ssh(`sudo systemd-analyze security --no-pager ${unit}.service`, 60);
  expect(Number(/exposure level for \S+: ([\d.]+)/.exec(scored)?.[1])).toBeLessThanOrEqual(2.0);
  expect(await ssh('sudo stat -c "%U %a" /var/lib/pi-gateway-x/hello')).toBe(`${unit} 700\n`);
  const pid = (await ssh(`systemctl show --value -p MainPID ${unit}`)).trim();
  // In its own namespaces, as root sees them: no network but loopback, no secret of the gateway.
  const inside = (command: string) =>
    sshResult(`sudo nsenter -t ${pid} -m -n setpriv --reuid=${unit} --clear-groups ${command}`);
  expect(await ssh(`sudo nsenter -t ${pid} -n ip -brief link`)).toMatch(/^lo\s.*\n$/);
  for (const path of [
    '/etc/pi-gateway',
    '/run/pi-gateway/helper.sock',
    '/boot/firmware',
    '/var/log',
  ])
    expect((await inside(`ls ${path}`)).exitCode, path).not.toBe(0);
  expect((await inside('touch /usr/x /etc/pi-gateway-x/hello/x')).exitCode).not.toBe(0);
  expect(
    await ssh(`sudo cat /proc/${pid}/status | grep -E "^(CapEff|NoNewPrivs|Seccomp):"`),
  ).toMatch(/^CapEff:\s+0+\nNoNewPrivs:\s+1\nSeccomp:\s+2\n$/);
});

test('switched off it is asked nothing, and on again it has its data', async () => {
  expect(await ssh('sudo pi-gateway extension disable hello', 90)).toContain('is switched off');
  expect(await ask('GET', '/x/hello/greetings')).toMatchObject({
    status: 409,
    json: { detail: 'The extension hello is switched off' },
  });
  expect((await sshResult('test -e /run/pi-gateway-x/hello.sock')).exitCode).toBe(1);
  expect(await ssh('sudo pi-gateway extension enable hello', 90)).toContain('is switched on');
  expect((await ask('GET', '/x/hello/greetings')).json).toMatchObject({ count: 2 });
});

test('what belongs to it is in backups: its declaration is one that they read', async () => {
  expect(JSON.parse(await ssh('cat /usr/share/pi-gateway/backup.d/x-hello.json'))).toMatchObject({
    paths: ['/var/lib/pi-gateway-x/hello'],
  });
});

test('a broken one, a greedy one and one of another version stop neither the boot nor the gateway', async () => {
  const read = await readManifest(`${project}/examples/extension-hello`);
  const broken = manifestSchema.parse({
    apiVersion: 1,
    name: 'broken',
    version: '1.0.0',
    title: 'Broken',
    summary: 'Ends at once, always',
    service: { command: ['/bin/false'], start: 'boot' },
    routes: [{ method: 'get', path: '/x/broken/x', role: 'viewer', summary: 'Nothing' }],
  });
  const greedy = manifestSchema.parse({
    ...broken,
    name: 'greedy',
    title: 'Greedy',
    service: {
      command: [
        '/usr/bin/node',
        '--jitless',
        '-e',
        'const all=[];for(;;)all.push(Buffer.alloc(1e6,1))',
      ],
      start: 'boot',
    },
    routes: [],
  });
  const files: Record<string, string> = {};
  for (const manifest of [broken, greedy]) {
    files[`${manifestFolder}/${manifest.name}.json`] = JSON.stringify({ manifest });
    files[`/usr/lib/sysusers.d/pi-gateway-x-${manifest.name}.conf`] =
      `u pi-gateway-x-${manifest.name} -\n`;
    for (const [name, text] of Object.entries(unitFiles(manifest)))
      files[`/usr/lib/systemd/system/${name}`] = text;
  }
  files[`${manifestFolder}/late.json`] = JSON.stringify({
    manifest: { ...read?.manifest, name: 'late', apiVersion: 2 },
  });
  for (const [path, text] of Object.entries(files))
    await ssh(`sudo tee ${path} > /dev/null`, 60, Buffer.from(text));
  await ssh(
    'sudo systemd-sysusers && sudo systemctl daemon-reload && sudo systemctl enable pi-gateway-x-{broken,greedy}.{socket,service}',
    120,
  );
  client.close();
  await door.close();
  await ssh('sync', 120);
  await device.powerCycle();
  await enter();
  const { json } = await ask('GET', '/extensions', viewer);
  const states = new Map(
    (json.extensions as { name: string; state: string; detail: string }[]).map((one) => [
      one.name,
      one,
    ]),
  );
  expect(states.get('hello')?.state).toBe('waits');
  expect(states.get('late')).toMatchObject({
    state: 'refused',
    detail: expect.stringContaining('version 2 of the extension API'),
  });
  // It is tried five times within a minute or so.
  await expect
    .poll(async () => (await ask('GET', '/extensions', viewer)).json.extensions, {
      timeout: 240_000,
      interval: 5000,
    })
    .toContainEqual(
      expect.objectContaining({
        name: 'broken',
        state: 'failed',
        detail: expect.stringContaining('has failed'),
      }),
    );
  expect(await ask('GET', '/x/broken/x')).toMatchObject({ status: 502 });
  expect((await ask('GET', '/x/hello/greetings')).json).toMatchObject({ count: 2 });
  expect(await ssh('systemctl show --value -p NRestarts pi-gatewayd.service')).toBe('0\n');
  expect(await ssh('systemctl is-active multi-user.target nftables pi-gatewayd wg-quick@wg0')).toBe(
    'active\n'.repeat(4),
  );
});
