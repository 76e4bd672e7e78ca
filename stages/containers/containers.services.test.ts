import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configSchema } from '../../builder/config/schema.ts';
import { lab } from '../../builder/lab/harness.ts';
import { outside } from '../../builder/lab/lab.ts';
import type { LabHost } from '../../builder/lab/namespace.ts';
import { releaseTree } from '../../builder/lab/probes.ts';
import { listen } from '../../builder/lab/traffic.ts';
import { project } from '../../builder/testing/build.ts';
import { echoTemplate, writeTestImage } from '../../gateway/containers/testing.ts';

/** Apps in containers on the running device: loaded, installed, reached, updated, taken back, removed. */
const { wan, lan, guest, ssh: shell, sshResult, powerCycle } = lab();

/** What a command prints, without the line end. */
const ssh = async (...args: Parameters<typeof shell>) => (await shell(...args)).trim();

const reference = 'lab.example.org/lab/echo:1.0';
const address = '10.90.0.2';
const digests = new Map<string, string>();
let folder: string;
let password = '';

const podman = (command: string, seconds = 120) =>
  ssh(`sudo /usr/lib/pi-gateway/as-containers podman ${command}`, seconds);
const gateway = (command: string, seconds = 600) => ssh(`sudo pi-gateway ${command}`, seconds);

async function send(version: string): Promise<void> {
  await ssh(`cat > /tmp/${version}.tar`, 120, await readFile(join(folder, `${version}.tar`)));
}

/** The page that a host gets; '' if it gets none. */
async function page(host: LabHost, at: string): Promise<string> {
  const { stdout } = await host.run('curl', ['-sg', '-m', '10', `http://${at}:8080/`], {
    okCodes: [7, 28],
  });
  return stdout.trim();
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-services-'));
  const { debian } = configSchema([]).parse({ stages: {} });
  const tree = await releaseTree(join(project, 'cache'), debian, ['busybox-static'], 'arm64');
  for (const [version, isWell] of [
    ['1.0', true],
    ['bad', false],
    ['2.0', true],
  ] as const)
    digests.set(
      version,
      await writeTestImage(
        join(folder, `${version}.tar`),
        // All under one name, as a registry's tag moves on.
        { reference, version, isWell, architecture: 'arm64' },
        join(tree, 'usr/bin/busybox'),
      ),
    );
  const template = echoTemplate(reference);
  const [part] = template.parts;
  if (!part) throw new Error('The template has no part');
  part.health = {
    // Whoever makes /scratch/sick makes it sick; a new container has an empty /scratch.
    command: [
      '/bin/sh',
      '-c',
      'test ! -e /scratch/sick && wget -q -O /dev/null http://127.0.0.1:8080/health',
    ],
    interval_s: 15,
    timeout_s: 60,
    retries: 2,
    start_s: 0,
  };
  await ssh('sudo install -d /etc/pi-gateway/containers/templates');
  await ssh(
    'sudo tee /etc/pi-gateway/containers/templates/echo.json > /dev/null',
    60,
    Buffer.from(JSON.stringify(template)),
  );
  await wan.run('ip', ['route', 'replace', address, 'via', outside.gateway4]);
});
afterAll(async () => {
  await wan.run('ip', ['route', 'delete', address]);
  await rm(folder, { recursive: true, force: true });
});

test('nothing of it runs before an app is installed', async () => {
  expect((await sshResult('systemctl is-active user@850.service')).stdout.trim()).toBe('inactive');
  expect(await gateway('container catalog')).toContain('nextcloud: Nextcloud');
});

test('the Quadlets of all templates are taken by the device’s own generator', async () => {
  expect(await ssh('/usr/libexec/podman/quadlet --version')).toMatch(/^5\./);
});

describe('an app', () => {
  test('is installed from an archive, becomes well, and tells its first password once', async () => {
    await send('1.0');
    expect(await gateway('container load /tmp/1.0.tar')).toContain(reference);
    const said = await gateway('container install echo');
    expect(said).toContain('echo (Echo): well');
    password = /password {2}(\S+)/.exec(said)?.[1] ?? '';
    expect(password).toMatch(/^([A-Za-z2-9]{6}-){3}[A-Za-z2-9]{6}$/);
    expect((await sshResult('sudo pi-gateway container password echo')).stderr).toContain(
      'told already',
    );
    expect(await ssh('grep ^Image= /etc/containers/systemd/users/850/echo.container')).toContain(
      `@${digests.get('1.0')}`,
    );
  });

  test('is held to its limits by the kernel, and has no rights', async () => {
    const path = await podman("inspect echo --format '{{.State.CgroupPath}}'");
    const read = async (name: string) => await ssh(`cat /sys/fs/cgroup${path}/${name}`);
    expect(await read('memory.max')).toBe(String(32 * 1024 * 1024));
    expect(await read('pids.max')).toBe('16');
    expect(await read('cpu.max')).toBe('50000 100000');
    const status = await podman('exec echo cat /proc/1/status');
    expect(status).toMatch(/^CapBnd:\s+0{16}$/m);
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(status).toMatch(/^Seccomp:\s+2$/m);
    expect(await podman("exec echo sh -c 'touch /mine 2>&1 || true'")).toContain('Read-only');
    // The process on the device is nobody: user 1000 of the container.
    const pid = await podman("inspect echo --format '{{.State.Pid}}'");
    expect(await ssh(`stat -c %u /proc/${pid}`)).toBe(String(1_879_048_192 + 999));
  });

  test('is reached from the lan, at the gateway’s address and its own; not by guests, not from the internet', async () => {
    expect(await page(lan, '192.168.10.1')).toBe('version 1.0');
    expect(await page(lan, address)).toBe('version 1.0');
    expect(await page(guest, '192.168.20.1')).toBe('');
    expect(await page(guest, address)).toBe('');
    expect(await page(wan, address)).toBe('');
  });

  test('is opened to guests by a word, and to them alone', async () => {
    await gateway('container configure echo --zone web=guest');
    expect(await page(guest, address)).toBe('version 1.0');
    expect(await page(lan, address)).toBe('');
    await gateway('container configure echo --zone web=lan,vpn');
  });

  test('reaches the internet and nobody within, and asks the gateway for names alone', async () => {
    const reach = async (to: string, port: number) =>
      (
        await sshResult(
          `sudo /usr/lib/pi-gateway/as-containers podman exec echo nc -w 5 ${to} ${port} < /dev/null && echo yes`,
        )
      ).stdout.includes('yes');
    const servers = [
      await listen(wan, 7005, [outside.server4]),
      await listen(lan, 7005, ['192.168.10.10']),
    ];
    try {
      expect(await reach(outside.server4, 7005)).toBe(true);
      expect(await reach('192.168.10.10', 7005)).toBe(false);
      expect(await reach('10.90.0.1', 8443)).toBe(false);
      expect(await reach('10.90.0.1', 53)).toBe(true);
    } finally {
      await Promise.all(servers.map((server) => server.stop()));
    }
  });

  test('that becomes sick is killed and started anew', async () => {
    const started = () => podman("inspect echo --format '{{.State.StartedAt}}'");
    const before = await started();
    await podman('exec echo touch /scratch/sick');
    await expect
      .poll(async () => await started().catch(() => before), { timeout: 240_000, interval: 5_000 })
      .not.toBe(before);
    await expect
      .poll(() => page(lan, address), { timeout: 120_000, interval: 3_000 })
      .toBe('version 1.0');
  });
});

describe('an update', () => {
  test('to an image that is not well is taken back: the digest of before runs', async () => {
    await send('bad');
    await gateway('container load /tmp/bad.tar');
    const { stdout, exitCode } = await sshResult('sudo pi-gateway container update echo');
    expect(exitCode).toBe(1);
    expect(stdout).toContain('TAKEN BACK');
    expect(await ssh('grep ^Image= /etc/containers/systemd/users/850/echo.container')).toContain(
      `@${digests.get('1.0')}`,
    );
    expect(await page(lan, address)).toBe('version 1.0');
  });

  test('to one that is well stays, and rollback leads back', async () => {
    await send('2.0');
    await gateway('container load /tmp/2.0.tar');
    expect(await gateway('container update echo')).toContain('update: done');
    expect(await page(lan, address)).toBe('version 2.0');
    expect(await gateway('container rollback echo')).toContain('rollback: done');
    expect(await page(lan, address)).toBe('version 1.0');
  });
});

describe('its secret', () => {
  test('is in its container’s file, for its user alone, and nowhere else in clear', async () => {
    expect(await podman('exec echo cat /run/secrets/admin-password')).toBe(password);
    // Arguments of ssh would be found in /proc: the word comes by standard input.
    const search = `
read -r word
for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do
  sudo cat "$file" 2> /dev/null | tr '\\0' '\\n' | grep -qF -f /dev/fd/3 3<<< "$word" && echo "$file"
done
sudo journalctl --no-pager -o cat | grep -cF -f /dev/fd/3 3<<< "$word"
sudo grep -rlF -f /dev/fd/3 --exclude-dir=lost+found /etc /var /root /home /boot /opt /srv 3<<< "$word"
true`;
    const found = await ssh(
      `bash -c '${search.replaceAll("'", `'\\''`)}'`,
      600,
      Buffer.from(`${password}\n`),
    );
    expect(found.trim()).toBe('0');
  });

  test('was never on the card in clear: not in a block of it', async () => {
    const count = await ssh(
      'read -r word; sudo sync; sudo dd if=$(findmnt -no SOURCE /) bs=4M 2> /dev/null | grep -caF "$word" || true',
      900,
      Buffer.from(`${password}\n`),
    );
    expect(count.trim()).toBe('0');
  });

  test('is rotated, and the container sees the new value', async () => {
    await gateway('secret rotate container.echo.admin-password');
    const shown = await gateway('secret show container.echo.admin-password');
    expect(shown).not.toBe(password);
    await expect
      .poll(() => podman('exec echo cat /run/secrets/admin-password').catch(() => ''), {
        timeout: 240_000,
        interval: 5_000,
      })
      .toBe(shown);
  });
});

test('after a restart of the device the app is there again by itself', async () => {
  await powerCycle();
  await expect
    .poll(() => page(lan, address), { timeout: 300_000, interval: 5_000 })
    .toBe('version 1.0');
});

test('removed it is gone, and its volume stays until it is asked for', async () => {
  await gateway('container remove echo');
  expect(await page(lan, address)).toBe('');
  expect(await ssh('ls /etc/containers/systemd/users/850')).toBe('');
  expect(await podman('volume ls --quiet')).toContain('echo--data');
});
