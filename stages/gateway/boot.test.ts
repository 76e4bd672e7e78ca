import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';
import type { Report } from '../../gateway/compliance/report.ts';

const gateway = device();

async function judge(): Promise<Report> {
  // Exit code 1 says that something fails; what it is, is in the report.
  const { stdout, stderr } = await gateway.sshResult('sudo pi-gateway compliance --json');
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Report;
}

const failed = (report: Report) =>
  report.controls.filter((control) => control.state === 'fail').map((control) => control.id);

test("the compliance report's score is 90 or more, and nothing could not be checked", async () => {
  const report = await judge();
  expect(report.live).toBe(true);
  expect(report.controls.length).toBeGreaterThan(300);
  const unreadable = report.controls.filter((one) => one.evidence.startsWith('cannot be checked'));
  expect(unreadable.map((one) => `${one.id} ${one.evidence}`)).toEqual([]);
  expect(
    report.score.percent,
    report.controls
      .filter((one) => one.state === 'fail')
      .map((one) => `${one.id} ${one.title}: ${one.evidence}`)
      .join('\n'),
  ).toBeGreaterThanOrEqual(90);
});

test.each([
  {
    what: 'a kernel parameter',
    id: '1.5.5',
    spoil: 'sudo sysctl -qw kernel.dmesg_restrict=0',
    mend: 'sudo sysctl -qw kernel.dmesg_restrict=1',
  },
  {
    what: "a file's permissions",
    id: '1.6.6',
    spoil: 'sudo chmod 0664 /etc/issue.net',
    mend: 'sudo chmod 0644 /etc/issue.net',
  },
])(
  'it sees the state of the machine: $what that is changed fails $id and nothing else',
  async (o) => {
    const before = failed(await judge());
    expect(before).not.toContain(o.id);
    await gateway.ssh(o.spoil);
    try {
      const after = await judge();
      expect(failed(after).filter((id) => !before.includes(id))).toEqual([o.id]);
    } finally {
      await gateway.ssh(o.mend);
    }
    expect(failed(await judge())).not.toContain(o.id);
  },
);

test('without root it says that it needs root', async () => {
  const { exitCode, stderr } = await gateway.sshResult('pi-gateway compliance');
  expect(exitCode).toBe(1);
  expect(stderr).toContain('sudo pi-gateway');
});

test("the gateway's own programs are the image's, and updates of them are off until somebody is trusted", async () => {
  expect(await gateway.ssh('sudo pi-gateway update runtime status')).toMatch(
    /^Version \d+\.\d+\.\d+, of the image\.\n.*updates\.runtime\.url is not set/,
  );
});
