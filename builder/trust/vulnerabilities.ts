import { compareVersions } from './debian-version.ts';
import type { DebianPackage } from './packages.ts';

/** https://security-tracker.debian.org/tracker/data/json: by source package, by CVE, by release. */
export type SecurityTracker = Record<
  string,
  Record<
    string,
    { releases?: Record<string, { status: string; fixed_version?: string; urgency?: string }> }
  >
>;

export type Vulnerability = {
  source: string;
  version: string;
  id: string;
  urgency: string;
  /** Version of the release that has it mended; null if none has. */
  fixed: string | null;
};

/** What the tracker knows against the installed versions of the source packages. */
export function vulnerabilitiesOf(
  packages: readonly DebianPackage[],
  tracker: SecurityTracker,
  release: string,
): Vulnerability[] {
  const sources = new Map(packages.map((one) => [`${one.source} ${one.sourceVersion}`, one]));
  return [...sources.values()].flatMap(({ source, sourceVersion: version }) =>
    Object.entries(tracker[source] ?? {}).flatMap(([id, { releases }]) => {
      const found = releases?.[release];
      if (!found || found.status === 'undetermined') return [];
      // The tracker names 0 where the release never had it.
      const fixed = found.status === 'resolved' ? (found.fixed_version ?? null) : null;
      if (fixed !== null && compareVersions(version, fixed) >= 0) return [];
      return [{ source, version, id, urgency: found.urgency ?? 'not yet assigned', fixed }];
    }),
  );
}
