import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { freePort } from '../../builder/qemu/free-port.ts';
import { sshPublicLine, sshSeed } from './ssh-key.ts';
import { readState } from './state.ts';
import { backUp, checkTarget, testTarget } from './tasks.ts';
import { listening, s3Server, sftpServer } from './test-servers.ts';
import { start, TestGateway } from './testing.ts';

let folder: string;
let gateway: TestGateway;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-servers-'));
});
beforeEach(async () => {
  gateway = await TestGateway.make();
  await gateway.furnish();
});
afterEach(() => gateway.remove());
afterAll(async () => {
  for (const one of running) await one.stop();
  await rm(folder, { recursive: true });
});

const attempt = async (name: string) =>
  (await readState(gateway.system)).targets[name]?.last_attempt;

async function startSftp(allowed: string) {
  const port = await freePort();
  const server = await sftpServer(join(folder, 'sshd'), { address: '127.0.0.1', port, allowed });
  running.push(start(server.command, server.args));
  await listening('127.0.0.1', port);
  return {
    type: 'sftp' as const,
    host: '127.0.0.1',
    port,
    user: server.user,
    path: join(folder, 'repository').replaceAll('//', '/'),
    host_key: server.hostKey,
  };
}

test('an SFTP server takes backups by the gateway’s own key, and is refused with another host key', async () => {
  const target = await startSftp(`${sshPublicLine(await sshSeed(gateway.system))}\n`);
  const job = gateway.job([target]);
  const [sftp] = job.settings.targets;
  expect(sftp).toBeDefined();
  if (!sftp) return;
  expect(await backUp(job, [sftp])).toEqual(['ok']);
  expect(await testTarget(job, sftp)).toBe(true);
  expect(await readdir(join(folder, 'repository'))).toContain('snapshots');

  // A server in the place of the right one: whoever it is, it learns nothing.
  const other = sshPublicLine('A'.repeat(43), '');
  const wrong = gateway.job([{ ...target, host_key: other }]);
  expect(await backUp(wrong, wrong.settings.targets)).toEqual(['failed']);
  expect((await attempt('sftp'))?.message).toMatch(/host key verification failed/i);

  // Another gateway, which the server does not know.
  const stranger = await TestGateway.make();
  const theirs = stranger.job([target]);
  expect(await backUp(theirs, theirs.settings.targets)).toEqual(['failed']);
  const said = (await readState(stranger.system)).targets.sftp?.last_attempt;
  expect(said?.message).toMatch(/permission denied/i);
  expect(said?.fix).toContain('pi-gateway backup key');
  await stranger.remove();

  await running.pop()?.stop();
  expect(await backUp(job, [sftp])).toEqual(['away']);
});

test('an S3-compatible server takes backups; its secret is in no argument, environment or log', async () => {
  const port = await freePort();
  const s3 = s3Server(join(folder, 's3'), { address: '127.0.0.1', port });
  running.push(start(s3.command, s3.args));
  await listening('127.0.0.1', port);
  const target = {
    type: 's3',
    endpoint: `http://127.0.0.1:${port}`,
    allow_http: true,
    bucket: 'attic',
    access_key_id: 'S3RVER',
    secret_access_key: 'S3RVER',
  };
  const job = gateway.job([target], { limits: { upload_kib: 20_000 } });
  const [first] = job.settings.targets;
  if (!first) throw new Error('no target');
  const seen: string[] = [];
  const spied = {
    ...job,
    run: (async (command, args, options) => {
      seen.push([...args, JSON.stringify(options?.env)].join(' '));
      return await job.run(command, args, options);
    }) satisfies typeof job.run,
  };
  expect(await backUp(spied, [first])).toEqual(['ok']);
  expect(seen.join('\n')).not.toContain('S3RVER');
  expect(seen.join('\n')).toContain('--limit-upload 20000');
  expect(await checkTarget(job, first)).toBe(true);
  expect(await testTarget(job, first)).toBe(true);

  const wrong = gateway.job([
    { ...target, access_key_id: 'OTHER', secret_access_key: 'something-else' },
  ]);
  expect(await backUp(wrong, wrong.settings.targets)).toEqual(['failed']);
  const { message = '' } = (await attempt('s3')) ?? {};
  expect(message).toMatch(/access key/i);
  expect(message).not.toContain('something-else');
});
