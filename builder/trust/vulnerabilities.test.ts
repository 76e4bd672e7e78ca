import { expect, test } from 'vitest';
import { run } from '../exec.ts';
import { compareVersions } from './debian-version.ts';
import { judge } from './report.ts';
import { vulnerabilitiesOf } from './vulnerabilities.ts';

const versions = [
  '0',
  '1',
  '1.0',
  '1.0-1',
  '1.0-1+b1',
  '1.0-1+deb13u2',
  '1.0-1~bpo1',
  '1.0~rc1',
  '1.0~rc1-2',
  '1:0.5',
  '1.10',
  '1.9',
  '1.0a',
  '1.0+dfsg-3',
  '1.0-1.1',
  '2.0-0',
  '2.0',
  '9.9p2-1',
  '10.0p2-7',
  '1.0~~',
  '1.0.',
];

test('versions compare as dpkg compares them, each with each', async () => {
  for (const a of versions)
    for (const b of versions) {
      const relation = ['lt', 'eq', 'gt'][compareVersions(a, b) + 1] ?? '';
      const { exitCode } = await run('dpkg', ['--compare-versions', a, relation, b], {
        okCodes: [1],
      });
      expect(exitCode, `${a} ${relation} ${b}`).toBe(0);
    }
});

test('what the release has not mended, or in a later version, is found by the source package', () => {
  const openssl = {
    name: 'libssl3t64',
    version: '3.5.1-1+b1',
    architecture: 'arm64',
    source: 'openssl',
    sourceVersion: '3.5.1-1',
    maintainer: '',
    licences: [],
  };
  const of = (status: string, fixed_version?: string) => ({
    releases: { trixie: { status, urgency: 'high', ...(fixed_version ? { fixed_version } : {}) } },
  });
  const tracker = {
    openssl: {
      'CVE-1': of('open'),
      'CVE-2': of('resolved', '3.5.1-1+deb13u1'),
      'CVE-3': of('resolved', '3.5.0-2'),
      'CVE-4': of('resolved', '0'),
      'CVE-5': { releases: { bookworm: { status: 'open' } } },
    },
    other: { 'CVE-6': of('open') },
  };
  const found = vulnerabilitiesOf([openssl, { ...openssl, name: 'openssl' }], tracker, 'trixie');
  expect(found.map(({ id, fixed }) => [id, fixed])).toEqual([
    ['CVE-1', null],
    ['CVE-2', '3.5.1-1+deb13u1'],
  ]);
});

test('the policy decides what fails; what is accepted counts again from its day on', () => {
  const found = [
    { source: 'a', version: '1', id: 'CVE-1', urgency: 'low', fixed: '2' },
    { source: 'a', version: '1', id: 'CVE-2', urgency: 'high', fixed: null },
  ];
  const policy = { fail_on: 'fixed', ignore: [] } as const;
  const now = new Date('2026-03-01T12:00:00Z');
  expect(judge(found, policy, now).violations).toEqual(['CVE-1']);
  expect(judge(found, { ...policy, fail_on: 'high' }, now).violations).toEqual(['CVE-2']);
  const accepted = (until: string) => ({
    ...policy,
    ignore: [{ id: 'CVE-1', reason: 'unused', until }],
  });
  expect(judge(found, accepted('2026-03-02'), now)).toMatchObject({
    ignored: ['CVE-1'],
    violations: [],
  });
  expect(judge(found, accepted('2026-03-01'), now).violations).toEqual(['CVE-1']);
});
