import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { lab } from '../../builder/lab/harness.ts';
import { hostAddress } from '../../builder/lab/lab.ts';
import { freePort } from '../../builder/qemu/free-port.ts';
import { adminUser, bootSeconds } from '../../builder/qemu/harness-facts.ts';
import { type SshTarget, ssh as sshTo, waitForSsh } from '../../builder/qemu/ssh.ts';
import { startVm, type Vm } from '../../builder/qemu/vm.ts';
import { connectVpnClient } from '../../builder/qemu/vpn-client.ts';
import { listening, s3Server, sftpServer } from '../../gateway/backup/test-servers.ts';
import { start } from '../../gateway/backup/testing.ts';

/**
 * The disaster drill: backups of a running gateway to a disk, an SFTP and an S3-compatible server; then a fresh card
 * becomes that gateway, from the newest backup that is whole.
 */

const device = lab();
const { ssh, sshResult, lan, facts } = device;

const { v4: server } = hostAddress(facts.zones.lan, 10);
const ports = { sftp: 2022, s3: 9000 };
const secret = 'S3RVER';

let folder: string;
let repository: string;
let hostKey: string;
/** What the old gateway is known by. */
let identity: string;
let clientFile: string;
let vm: Vm | undefined;
let sshd: { stop(): Promise<void> } | undefined;

const identityCommand = [
  'sudo cat /etc/wireguard/server.pub /etc/pi-gateway/ca/root.crt /etc/ssh/ssh_host_ed25519_key.pub',
  'sudo cat /etc/machine-id /etc/hostname',
  'sudo sha256sum /etc/pi-gateway/age/identity.txt /etc/pi-gateway/backup/password',
].join('; ');

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-drill-'));
  repository = join(folder, 'repository');
  const allowed = await ssh('sudo pi-gateway backup key');
  const sftp = await sftpServer(join(folder, 'sshd'), {
    address: server,
    port: ports.sftp,
    allowed,
  });
  hostKey = sftp.hostKey;
  lan.start(sftp.command, sftp.args);
  const s3 = s3Server(join(folder, 's3'), { address: server, port: ports.s3 });
  lan.start(s3.command, s3.args);
  // A stick: a file system on a device of its own, by its label.
  await ssh(
    'sudo sh -c "truncate -s 200M /var/tmp/stick.img && mkfs.ext4 -q -L STICK /var/tmp/stick.img && losetup --find /var/tmp/stick.img && udevadm settle"',
    200,
  );
  const settings = `
backup:
  targets:
    - {type: sftp, name: nas, host: ${server}, port: ${ports.sftp}, user: root, path: ${repository}, host_key: ${hostKey}}
    - {type: disk, name: stick, label: STICK}
    - {type: s3, name: cloud, endpoint: 'http://${server}:${ports.s3}', allow_http: true, bucket: attic, access_key_id: ${secret}, secret_access_key: ${secret}-key}
`;
  await ssh('sudo pi-gateway config apply -', 200, Buffer.from(settings));
  await ssh('sudo pi-gateway vpn add drill', 120);
  clientFile = await ssh('sudo pi-gateway vpn export drill', 120);
  identity = await ssh(identityCommand);
}, 900_000);

afterAll(async () => {
  await vm?.stop();
  await sshd?.stop();
  await sshResult('sudo losetup -D; sudo rm -f /var/tmp/stick.img');
  await rm(folder, { recursive: true, force: true });
});

type Target = {
  name: string;
  last_success: { files: number } | null;
  last_attempt: { state: string; message: string } | null;
  test: { ok: boolean; files: number } | null;
  check: { ok: boolean } | null;
};
const status = async (): Promise<Target[]> => {
  const { stdout } = await sshResult('sudo pi-gateway backup status --json');
  return (JSON.parse(stdout) as { targets: Target[] }).targets;
};

test('a backup goes to a disk by its label, to SFTP and to S3, and no secret is seen by others meanwhile', async () => {
  // Looked for by a file: what looks must not be what is found.
  await ssh(
    `sudo sh -c 'umask 077; { echo ${secret}-key; cat /etc/pi-gateway/backup/password; } > /root/secrets'`,
  );
  const watched = sshResult(
    `sudo sh -c 'for i in $(seq 30); do cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n" | grep -F -f /root/secrets; sleep 1; done'`,
  );
  await ssh('sudo pi-gateway backup now', 580);
  expect((await watched).stdout).toBe('');
  const targets = await status();
  expect(targets.map(({ name, last_attempt }) => [name, last_attempt?.state])).toEqual([
    ['nas', 'ok'],
    ['stick', 'ok'],
    ['cloud', 'ok'],
  ]);
  expect(Math.min(...targets.map((one) => one.last_success?.files ?? 0))).toBeGreaterThan(20);
  expect(await readdir(repository)).toContain('snapshots');
  const left = await ssh(
    'sudo find /run/pi-gateway-backup -mindepth 1; mount | grep pi-gateway-backup || true',
  );
  expect(left.split('\n').filter((line) => /smb|aws|key|mount/.test(line))).toEqual([]);
  const journal = "sudo sh -c 'journalctl -b -u pi-gateway\\* | grep -c -F -f /root/secrets'";
  expect((await sshResult(journal)).stdout.trim()).toBe('0');
}, 900_000);

test('a restore test on the device finds every file as it was; a check reads data back', async () => {
  await ssh('sudo pi-gateway backup test-restore nas', 500);
  await ssh('sudo pi-gateway backup check stick', 500);
  const targets = await status();
  expect(targets.find(({ name }) => name === 'nas')?.test).toMatchObject({ ok: true });
  expect(targets.find(({ name }) => name === 'stick')?.check).toMatchObject({ ok: true });
}, 1_200_000);

test('snapshots and their files are listed, and files of one are put into a folder for a look', async () => {
  const [newest] = JSON.parse(await ssh('sudo pi-gateway backup list stick --json', 200)) as {
    id: string;
  }[];
  expect(newest?.id).toMatch(/^[0-9a-f]{8}$/);
  const files = await ssh(
    `sudo pi-gateway backup files ${newest?.id} /etc/wireguard --target stick`,
    300,
  );
  expect(files).toContain('/etc/wireguard/server.key');
  await ssh('sudo pi-gateway restore --target stick --to /root/look /etc/wireguard', 400);
  expect(
    await ssh('sudo diff -r /etc/wireguard/peers.d /root/look/etc/wireguard/peers.d && echo same'),
  ).toBe('same\n');
  const config = await ssh('sudo pi-gateway backup restic stick -- cat config', 200);
  expect(JSON.parse(config)).toMatchObject({ version: 2 });
}, 1_200_000);

test('without the disk nothing is written in its place, and the status says so', async () => {
  await ssh('sudo losetup -D; sudo udevadm settle');
  const { exitCode } = await sshResult('sudo pi-gateway backup now stick');
  expect(exitCode).toBe(1);
  const stick = (await status()).find(({ name }) => name === 'stick');
  expect(stick?.last_attempt).toMatchObject({
    state: 'away',
    message: expect.stringContaining('STICK'),
  });
}, 300_000);

/** Names of the packs that the SFTP repository has. */
async function packs(): Promise<string[]> {
  const names = await readdir(join(repository, 'data'), { recursive: true });
  return names.filter((name) => /[0-9a-f]{64}$/.test(name));
}

test('a fresh card becomes the old gateway from the recovery sheet; of a damaged newest backup it says so and takes the one before', async () => {
  const before = new Set(await packs());
  await ssh('sudo sh -c "head -c 200000 /dev/urandom > /home/gateway/later"');
  await ssh('sudo pi-gateway backup now nas', 500);
  for (const name of await packs())
    if (!before.has(name)) {
      const path = join(repository, 'data', name);
      const file = await open(path, 'r+');
      await file.write(Buffer.alloc(32, 0x5a), 0, 32, Math.floor((await stat(path)).size / 3));
      await file.close();
    }

  // The same server, as the fresh card reaches it.
  const port = await freePort();
  const allowed = await ssh('sudo pi-gateway backup key');
  const sftp = await sftpServer(join(folder, 'sshd'), { address: '127.0.0.1', port, allowed });
  sshd = start(sftp.command, sftp.args);
  await listening('127.0.0.1', port);
  const sheet = await ssh('sudo pi-gateway backup recovery-sheet', 120);
  const deviceFile = sheet
    .replace(`host: ${server}`, 'host: 10.0.2.2')
    .replace(`port: ${ports.sftp}`, `port: ${port}`);
  expect(deviceFile).toContain('10.0.2.2');

  vm = await startVm({
    image: inject('image'),
    diskSize: '4G',
    forwards: { 22: 0 },
    udpForwards: { 51820: 0 },
    bootFiles: { 'gateway-device.yaml': deviceFile },
  });
  const fresh: SshTarget = {
    user: adminUser,
    port: vm.ports[22] ?? 0,
    key: {
      directory: folder,
      path: join(facts.keyDirectory, 'key'),
      publicKey: facts.publicKey,
      remove: async () => undefined,
    },
  };
  const on = (command: string, seconds?: number) => sshTo(fresh, command, seconds);
  await vm.waitForConsole(/restored as .* from the backup/, 1500);
  // It has the old host keys now: what was noted of its first minutes is forgotten.
  await rm(join(folder, `known_hosts_${fresh.port}`), { force: true });
  await waitForSsh(fresh, bootSeconds);
  expect(await on(identityCommand)).toBe(identity);

  const told = await on('sudo cat /boot/firmware/gateway-status.txt');
  expect(told).toMatch(/The snapshot [0-9a-f]{8} of .* is damaged and was not used/);
  const secrets = await on(
    'sudo find /boot/firmware -name "gateway-device.yaml*" ! -name "*.example"; sudo find /var/lib/pi-gateway-backup/restore -name "re*.json"',
  );
  expect(secrets).toBe('');
  expect(await on('ls /home/gateway/later || true')).not.toContain('later\n');
  expect(JSON.parse(await on('sudo pi-gateway vpn list --json', 120))).toContainEqual(
    expect.objectContaining({ name: 'drill' }),
  );

  const client = await connectVpnClient({
    configuration: clientFile,
    port: vm.udpPorts[51820] ?? 0,
    folder,
  });
  try {
    const { stdout } = await client.host.run('ping', ['-c', '3', '-W', '20', '10.66.0.1']);
    expect(stdout).toContain(' 0% packet loss');
  } finally {
    await client.close();
  }
  // And it goes on with its backups.
  expect(await on('systemctl is-active pi-gateway-backup.timer')).toBe('active\n');
}, 3_000_000);
