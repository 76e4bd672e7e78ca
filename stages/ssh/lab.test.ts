import { describe, expect, test } from 'vitest';
import { lab } from '../../builder/lab/harness.ts';
import { gateway6, outside } from '../../builder/lab/lab.ts';
import { sshAudit } from '../../builder/lab/probes.ts';
import { send } from '../../builder/lab/traffic.ts';

const { facts, probes, ssh, wan } = lab();

describe('ssh-audit, from outside', () => {
  test.each(['IPv4', 'IPv6'])('has nothing to fail and nothing to warn of (%s)', async (family) => {
    const host = family === 'IPv4' ? outside.gateway4 : await gateway6(facts);
    const { stdout } = await sshAudit(wan, probes, [
      '--json',
      '--timeout',
      '30',
      '--skip-rate-test',
      host,
    ]);
    const report = JSON.parse(stdout) as Record<
      string,
      { algorithm: string; notes?: Record<string, string[]> }[]
    >;
    const bad = ['kex', 'key', 'enc', 'mac'].flatMap((kind) =>
      (report[kind] ?? []).flatMap(({ algorithm, notes }) =>
        [...(notes?.fail ?? []), ...(notes?.warn ?? [])].map((note) => `${algorithm}: ${note}`),
      ),
    );
    expect(report.kex?.length).toBeGreaterThan(0);
    expect(bad).toEqual([]);
  });
});

describe('a stranger who guesses', () => {
  test('is banned, and the admin stays connected', async () => {
    const from = outside.stranger4(1);
    const wrong = `${facts.keyDirectory}/wrong`;
    await wan.run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', wrong]);
    const guess = async () =>
      await wan
        .run(
          'ssh',
          [
            ...['-F', 'none', '-b', from, '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no'],
            ...['-o', 'UserKnownHostsFile=/dev/null', '-i', wrong, `root@${outside.gateway4}`],
            'true',
          ],
          { okCodes: [255], timeout: 15_000 },
        )
        // A ban in the middle of a login leaves it without an answer.
        .catch(() => undefined);
    for (let n = 0; n < 7; n++) await guess();
    await expect
      .poll(() => ssh('sudo fail2ban-client status sshd'), { timeout: 60_000, interval: 2000 })
      .toContain(from);
    expect(
      (await send(wan, { protocol: 'tcp', to: outside.gateway4, port: 22, from, wait: 5 })).kind,
    ).not.toBe('answer');
    expect((await ssh('whoami')).trim()).toBe('gateway');
  });
});
