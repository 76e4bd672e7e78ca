import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hostPath, run } from '../../builder/exec.ts';
import { device } from '../../builder/qemu/harness.ts';

/** Options of ssh and scp: no configuration or known hosts of who runs the test, and no questions. */
const asStranger = [
  ...['-F', 'none', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'],
  ...['-o', 'BatchMode=yes'],
];

/** A login from outside, with nothing but what is given; true if it got in. */
async function login(
  user: string,
  options: readonly string[],
): Promise<{ in: boolean; text: string }> {
  const { host, sshPort } = device();
  const result = await run(
    'ssh',
    [...asStranger, '-p', String(sshPort), ...options, `${user}@${host}`, 'true'],
    { okCodes: [255], timeout: 120_000 },
  );
  return { in: result.exitCode === 0, text: result.stderr };
}

/** Copies a file to the device as scp does, and gives back what is in it. */
async function transfer(path: string): Promise<string> {
  const { host, sshPort, key } = device();
  const file = join(key.directory, 'probe');
  const content = 'bytes of a file\n';
  await writeFile(file, content);
  await run(
    'scp',
    [...asStranger, '-i', key.path, '-P', String(sshPort), file, `gateway@${host}:${path}`],
    { timeout: 120_000 },
  );
  return content;
}

test('the admin gets in by key; root does not with the same key', async () => {
  const key = ['-i', device().key.path, '-o', 'IdentitiesOnly=yes'];
  expect((await login('gateway', key)).in).toBe(true);
  expect((await login('root', key)).in).toBe(false);
});

test("the session is outside of sshd's sandbox, and as whole as without it", async () => {
  const own = device();
  // What sudo needs: new privileges, every capability, no system call filter, a system that it can write.
  const status = await own.ssh('sudo cat /proc/self/status');
  expect(status).toMatch(/^NoNewPrivs:\t0$/m);
  expect(status).toMatch(/^Seccomp:\t0$/m);
  expect(status).toMatch(/^CapBnd:\t000001ffffffffff$/m);
  await own.ssh('sudo touch /usr/probe && sudo rm /usr/probe');
  // The command is the shell's to expand, nobody else's.
  expect(await own.ssh("x=1; echo $x '$x' %h $$ | cut -d' ' -f1-3")).toBe('1 $x %h\n');
  // Exit status, both outputs and bytes of the input arrive as they are.
  const result = await own.sshResult('echo out; echo err >&2; exit 7');
  expect(result).toMatchObject({ exitCode: 7, stdout: 'out\n', stderr: 'err\n' });
  expect(await own.sshResult('yes | head -n 1')).toMatchObject({ stdout: 'y\n', stderr: '' });
  expect(await own.ssh('printf "a\\0b" | od -An -c')).toContain('a  \\0   b');
  // Files (scp speaks sftp) land where everybody sees them.
  const copied = await transfer('/tmp/probe');
  expect(await own.ssh('cat /tmp/probe; rm /tmp/probe')).toBe(copied);
  // What is left in the background stays after the logout.
  const pid = (await own.ssh('setsid sleep 300 > /dev/null 2>&1 < /dev/null & echo $!')).trim();
  expect((await own.ssh(`cat /proc/${pid}/comm; kill ${pid}`)).trim()).toBe('sleep');
});

test('a terminal is one, of the size that the client has', async () => {
  const { host, sshPort, key } = device();
  const command = [
    `ssh -tt ${asStranger.join(' ')}`,
    `-i ${key.path} -p ${sshPort} gateway@${host} 'tty; stty size; echo $TERM'`,
  ].join(' ');
  // script(1) gives ssh a terminal of its own.
  const { stdout } = await run(
    'script',
    ['-qec', `stty rows 33 cols 99; ${command}`, '/dev/null'],
    { env: { PATH: hostPath, TERM: 'xterm-256color' }, timeout: 120_000 },
  );
  expect(stdout).toMatch(/\/dev\/pts\/\d+\s+33 99\s+xterm-256color/);
});

test('no password is ever asked for', async () => {
  const attempt = await login('gateway', [
    '-o',
    'PubkeyAuthentication=no',
    '-o',
    'PreferredAuthentications=password,keyboard-interactive',
  ]);
  expect(attempt.in).toBe(false);
  expect(attempt.text).toContain('Permission denied (publickey)');
});

test('sshd speaks post-quantum key exchange only, and nothing that it should not', async () => {
  const effective = await device().ssh('sudo sshd -T');
  expect(effective).toMatch(
    /^kexalgorithms mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com$/m,
  );
  expect(effective).toMatch(/^passwordauthentication no$/m);
  expect(effective).toMatch(/^permitrootlogin no$/m);
  // sshd -T also lists what GSSAPI would speak, which is off.
  expect(effective).toMatch(/^gssapikeyexchange no$/m);
  expect(effective.replace(/^gssapikexalgorithms .*$/m, '')).not.toMatch(
    /hmac-sha1|nistp|3des|cbc/,
  );
  const rsa = await device().ssh('ssh-keygen -l -f /etc/ssh/ssh_host_rsa_key.pub');
  expect(rsa).toMatch(/^4096 /);
});

test('fail2ban watches sshd through the journal, in its sandbox', async () => {
  expect(await device().ssh('sudo fail2ban-client status sshd')).toContain('Journal matches');
  // 192.0.2.0/24 is nobody's (RFC 5737). The ban is one of nftables, and ends.
  await device().ssh('sudo fail2ban-client set sshd banip 192.0.2.7');
  expect(await device().ssh('sudo nft list table inet f2b-table')).toContain('192.0.2.7');
  await device().ssh('sudo fail2ban-client set sshd unbanip 192.0.2.7');
  expect(await device().ssh('sudo nft list table inet f2b-table')).not.toContain('192.0.2.7');
});

test("an admin's last key is not removed", async () => {
  const [key] = JSON.parse(await device().ssh('sudo pi-gateway ssh keys list --json')) as {
    fingerprint: string;
  }[];
  const refused = await device().sshResult(
    `sudo pi-gateway ssh keys remove ${key?.fingerprint ?? ''}`,
  );
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain('nobody could log in as gateway');
});

test("what the stage turned off stays off, also after the first boot's presets", async () => {
  const state = await device().sshResult('systemctl is-enabled ssh.socket');
  expect(state.stdout.trim()).toBe('disabled');
});
