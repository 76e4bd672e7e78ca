import type { ImageDiff } from '../../builder/inspect/diff.ts';
import type { Release } from './release.ts';

/** So many lines a list has at most; changelog.json has all. A new kernel alone has thousands of files. */
const longest = 200;

/** CHANGELOG.md of a release: what differs from the one before. */
export function changelog(
  release: Release,
  diff: ImageDiff | undefined,
  commits: readonly string[],
): string {
  const facts = [
    `Made ${release.created.slice(0, 16).replace('T', ' ')} UTC${release.commit ? `, of commit ${release.commit}${release.uncommitted ? ' with uncommitted changes' : ''}` : ''}.`,
    release.boot_test === 'passed'
      ? 'The image was started in QEMU and passed its boot tests before it was published.'
      : '**Not boot-tested**: nobody has started this image before it was published.',
    release.signed ? 'Signed.' : '**Not signed**: its checksums tell damage, but not who made it.',
  ];
  return [
    `# ${release.id}`,
    '',
    ...facts.map((fact) => `- ${fact}`),
    '',
    ...(diff ? differences(release, diff) : [first(release)]),
    ...section(
      'Commits',
      commits.map((line) => `- ${line}`),
    ),
  ].join('\n');
}

function first(release: Release): string {
  return release.previous === null
    ? 'The first release.\n'
    : `Before it was ${release.previous}, whose image is not at hand to compare with.\n`;
}

function differences(release: Release, { packages, files, size }: ImageDiff): string[] {
  const bytes = size.after - size.before;
  return [
    `Compared with ${release.previous}: ${packages.added.length} packages more, ${packages.removed.length} fewer, ${packages.changed.length} in other versions; ${files.added.length} files more, ${files.removed.length} fewer, ${files.changed.length} changed; raw image ${bytes === 0 ? 'of the same size' : `${Math.abs(bytes)} bytes ${bytes > 0 ? 'larger' : 'smaller'}`}.`,
    '',
    ...section('Packages', [
      ...packages.added.map(({ name, version }) => `- new: ${name} ${version}`),
      ...packages.removed.map(({ name, version }) => `- gone: ${name} ${version}`),
      ...packages.changed.map(({ name, before, after }) => `- ${name}: ${before} → ${after}`),
    ]),
    ...section('Files', [
      ...files.added.map(({ path }) => `- new: \`${path}\``),
      ...files.removed.map(({ path }) => `- gone: \`${path}\``),
      ...files.changed.map(({ path, what }) => `- \`${path}\`: ${what.join(', ')}`),
    ]),
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  const rest = lines.length - longest;
  return [
    `## ${title}`,
    '',
    ...lines.slice(0, longest),
    ...(rest > 0 ? [`- … and ${rest} more, in changelog.json`] : []),
    '',
  ];
}
