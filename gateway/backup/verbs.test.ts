import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseSettings } from '../../firstboot/settings.ts';
import { sshPublicLine } from './ssh-key.ts';
import { TestGateway } from './testing.ts';
import { backupVerbs } from './verbs.ts';

let gateway: TestGateway;
const actor = { via: 'cli', name: 'ada' } as const;
const hostKey = sshPublicLine('B'.repeat(43), 'nas');
const s3 = {
  type: 's3',
  name: 'cloud',
  endpoint: 'https://s3.example.org',
  bucket: 'attic',
  access_key_id: 'A',
  secret_access_key: 'cloud-secret',
};
const targets = [
  {
    type: 'sftp',
    name: 'nas',
    host: 'nas.home.arpa',
    user: 'attic',
    path: 'backups/attic',
    host_key: hostKey,
  },
  s3,
  { type: 'disk', label: 'BACKUP' },
];

beforeEach(async () => {
  gateway = await TestGateway.make();
  await gateway.put('usr/lib/systemd/system/pi-gateway-backup@.service', '');
  await gateway.put('etc/passwd', 'ada:x:1000:1000::/home/ada:/bin/bash\n');
  await gateway.put('home/ada/.ssh/authorized_keys', `${hostKey}\n`);
  await gateway.put('etc/pi-gateway/gateway.yaml', stringify({ backup: { targets } }));
});
afterEach(() => gateway.remove());

test('the recovery sheet is a gateway-device.yaml that brings the gateway back, from each target', async () => {
  const { text } = await backupVerbs['backup.sheet'].run(gateway.system, {}, actor);
  const password = (await gateway.read('etc/pi-gateway/backup/password')).trim();
  const parsed = parseSettings(text);
  expect(parsed).toMatchObject({ hostname: 'attic', admin: { ssh_authorized_keys: [hostKey] } });
  expect(parsed.restore).toMatchObject({ password, target: targets[0] });
  expect(parsed.restore?.ssh_key).toBe(
    (await gateway.read('etc/pi-gateway/backup/sftp-seed')).trim(),
  );
  // The others stand there as comments; each is right when it takes the first one's place.
  const head = text.slice(0, text.indexOf('\nrestore:'));
  const others = text.split('# In place of the section above, ').slice(1);
  for (const [index, other] of others.entries()) {
    const section = other
      .split('\n')
      .slice(1)
      .filter((line) => /^# ( |restore)/.test(line));
    const read = parseSettings(`${head}\n${section.map((line) => line.slice(2)).join('\n')}\n`);
    expect(read.restore).toMatchObject({ password, target: targets[index + 1] });
  }
  expect(others).toHaveLength(2);
});

test('the status has no secret of a target in it', async () => {
  const status = await backupVerbs['backup.status'].run(gateway.system, {}, actor);
  expect(status.targets.map(({ name, location }) => [name, location])).toEqual([
    ['nas', 'sftp://attic@nas.home.arpa:22/backups/attic'],
    ['cloud', 'https://s3.example.org/attic/pi-gateway'],
    ['disk', 'disk BACKUP: pi-gateway'],
  ]);
  expect(JSON.stringify(status)).not.toContain('cloud-secret');
});

test('a task runs in its unit, for one target or all; a target that is not there is refused', async () => {
  const run = (args: { what: 'backup' | 'check' | 'test'; target?: string }) =>
    backupVerbs['backup.run'].run(gateway.system, args, actor);
  await run({ what: 'backup' });
  await run({ what: 'test', target: 'nas' });
  expect(gateway.calls).toEqual([
    'systemctl start --no-block -- pi-gateway-backup@backup.service',
    'systemctl start --no-block -- pi-gateway-backup@test:nas.service',
  ]);
  await expect(run({ what: 'check', target: 'nowhere' })).rejects.toThrow(
    "There is no target 'nowhere'",
  );
});

test('an image without backups says so, and what to build', async () => {
  const plain = await TestGateway.make();
  try {
    expect(await backupVerbs['backup.status'].run(plain.system, {}, actor)).toMatchObject({
      installed: false,
      targets: [],
    });
    const refused = backupVerbs['backup.run'].run(plain.system, { what: 'backup' }, actor);
    await expect(refused).rejects.toMatchObject({
      kind: 'missing',
      fix: expect.stringContaining('backup: {}'),
    });
  } finally {
    await plain.remove();
  }
});
