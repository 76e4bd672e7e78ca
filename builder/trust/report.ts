import { readFile } from 'node:fs/promises';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import { withImage } from '../inspect/open.ts';
import { table } from '../ui/present.ts';
import { debianPackages, readerOf } from './packages.ts';
import { type SecurityTracker, type Vulnerability, vulnerabilitiesOf } from './vulnerabilities.ts';

export type Policy = {
  /** `fixed`: what a newer package mends; `high`: what is urgent; `any`; `none` only reports. */
  fail_on: 'none' | 'fixed' | 'high' | 'any';
  ignore: readonly { id: string; reason: string; until: string }[];
};

export type Report = { found: Vulnerability[]; ignored: string[]; violations: string[] };

/** Pure. An ignored one counts again from the day `until` on. */
export function judge(found: readonly Vulnerability[], policy: Policy, now: Date): Report {
  const today = now.toISOString().slice(0, 10);
  const ignored = new Set(policy.ignore.filter(({ until }) => today < until).map(({ id }) => id));
  const fails = ({ fixed, urgency }: Vulnerability) =>
    policy.fail_on === 'any' ||
    (policy.fail_on === 'fixed' && fixed !== null) ||
    (policy.fail_on === 'high' && urgency.startsWith('high'));
  return {
    found: [...found],
    ignored: [...new Set(found.map(({ id }) => id))].filter((id) => ignored.has(id)),
    violations: [
      ...new Set(found.filter((one) => !ignored.has(one.id) && fails(one)).map(({ id }) => id)),
    ],
  };
}

async function readTracker(place: string): Promise<SecurityTracker> {
  try {
    if (!/^https?:\/\//.test(place)) return JSON.parse(await readFile(place, 'utf8'));
    const answer = await fetch(place, { signal: AbortSignal.timeout(300_000) });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    return (await answer.json()) as SecurityTracker;
  } catch (cause) {
    throw new BuildError({
      what: `The security data cannot be read: ${messageOf(cause)}`,
      where: place,
      fix: "Give Debian's data.json as a file or URL (security-tracker.debian.org/tracker/data/json)",
      code: exitCode.source,
      cause,
    });
  }
}

/** Exit code 1 if the policy is violated. */
export async function runVulnerabilities(
  image: string,
  o: { tracker: string; release: string; policy: Policy },
): Promise<Report> {
  const tracker = await readTracker(o.tracker);
  const packages = await withImage(image, ({ root }) => debianPackages(readerOf(root)));
  const report = judge(vulnerabilitiesOf(packages, tracker, o.release), o.policy, new Date());
  if (report.violations.length > 0) process.exitCode = exitCode.failed;
  return report;
}

export function reportText({ found, ignored, violations }: Report): string {
  const failing = new Set(violations);
  return [
    ...(found.length === 0
      ? []
      : [
          table([
            ['ID', 'SOURCE', 'VERSION', 'URGENCY', 'FIXED IN', ''],
            ...found.map(({ id, source, version, urgency, fixed }) => [
              id,
              source,
              version,
              urgency,
              fixed ?? '-',
              failing.has(id) ? 'FAILS' : ignored.includes(id) ? 'ignored' : '',
            ]),
          ]),
        ]),
    `${found.length} found, ${ignored.length} ignored, ${violations.length} against the policy`,
  ].join('\n');
}
