import { output } from '../exec.ts';

export type Mirrors = { debian?: string | undefined; security?: string | undefined };

/**
 * The Debian mirrors that this host's own apt uses (apt-get(8) indextargets), so that no mirror is
 * named in the project. Empty on hosts that are no Debian; mmdebstrap then takes its own default.
 */
export async function hostMirrors(): Promise<Mirrors> {
  const format = '$(ORIGIN)|$(LABEL)|$(REPO_URI)';
  const text = await output(
    'apt-get',
    ['indextargets', '--format', format, 'Created-By: Packages'],
    {
      okCodes: [100],
    },
  );
  const find = (label: string) =>
    text
      .split('\n')
      .map((line) => line.split('|'))
      .find(([origin, name]) => origin === 'Debian' && name === label)?.[2]
      ?.replace(/\/$/, '');
  return { debian: find('Debian'), security: find('Debian-Security') };
}

export type DebianSource = {
  suite: string;
  components: readonly string[];
  mirror: string | null;
  security_mirror: string | null;
};

/** Where packages are fetched from, where that is not the mirror that the image names. */
export type FetchSource = DebianSource & {
  snapshot: string | null;
  security_snapshot: string | null;
};

/**
 * Source lines that packages are fetched from: those of a snapshot mirror, if one is configured, else
 * {@link sourceLines}. The Release files of a snapshot have expired (Valid-Until); they are signed as ever.
 */
export function fetchLines(source: FetchSource, host: Mirrors): string[] {
  const { snapshot, security_snapshot } = source;
  if (snapshot === null) return sourceLines(source, host);
  return sourceLines(
    { ...source, mirror: snapshot, security_mirror: security_snapshot },
    { security: undefined },
  ).map((line) => line.replace('deb ', 'deb [check-valid-until=no] '));
}

/**
 * The suite, mirror and source lines for mmdebstrap(1): release, updates and security. Without a
 * known mirror it gets none and takes its default, which has all three.
 */
export function sourceLines(source: DebianSource, host: Mirrors): string[] {
  const mirror = source.mirror ?? host.debian;
  if (!mirror) return [];
  const security = source.security_mirror ?? host.security;
  const components = source.components.join(' ');
  return [
    `deb ${mirror} ${source.suite} ${components}`,
    `deb ${mirror} ${source.suite}-updates ${components}`,
    ...(security ? [`deb ${security} ${source.suite}-security ${components}`] : []),
  ];
}
