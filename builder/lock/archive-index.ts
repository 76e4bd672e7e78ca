import { createReadStream } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import { fetchLines, hostMirrors } from '../tools/mirror.ts';
import { hostArchitecture } from '../tools/tools.ts';
import type { Pin } from './lock-file.ts';

/** By package: each version that the archive has, as its signed index says. */
export type ArchiveIndex = ReadonlyMap<string, readonly Pin[]>;

/** The image's and, for the tools, the host's. */
const architectures = [...new Set(['arm64', hostArchitecture])];

const defaultKeyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Fetches the archive's package lists with the host's apt, in a folder of their own in the cache, and
 * checks their signature. Needs no root. A few seconds; unchanged lists are not fetched again.
 * @throws BuildError with code `source` if a list cannot be had or its signature does not hold.
 */
export async function fetchIndex(cache: string, debian: Config['debian']): Promise<string> {
  const folder = join(cache, 'apt', 'index');
  const lines = fetchLines(debian, await hostMirrors());
  if (lines.length === 0)
    throw new BuildError({
      what: 'No Debian mirror is known to ask for its package lists',
      where: 'debian in gateway.yaml',
      fix: 'Set debian.mirror and debian.security_mirror',
      code: exitCode.usage,
    });
  for (const name of ['lists/partial', 'cache', 'empty'])
    await mkdir(join(folder, name), { recursive: true });
  const sources = join(folder, 'sources.list');
  await writeFile(sources, withOption(lines, `signed-by=${debian.keyring ?? defaultKeyring}`));
  const options = [
    `Dir::State::lists=${join(folder, 'lists')}`,
    `Dir::Cache=${join(folder, 'cache')}`,
    `Dir::Etc::SourceList=${sources}`,
    `Dir::Etc::SourceParts=${join(folder, 'empty')}`,
    'Dir::State::status=/dev/null',
    `APT::Architecture=${architectures[0]}`,
    ...architectures.map((name) => `APT::Architectures::=${name}`),
    'APT::Update::Error-Mode=any',
    'APT::Sandbox::User=root',
    'Acquire::Languages=none',
    'Acquire::GzipIndexes=false',
    'Acquire::Retries=3',
  ];
  try {
    await run('apt-get', ['update', ...options.flatMap((option) => ['-o', option])]);
  } catch (cause) {
    throw new BuildError({
      what: "The archive's package lists cannot be had, so that nobody knows which versions it has",
      where: lines.join(', '),
      detail: cause instanceof BuildError ? cause.detail : undefined,
      fix: 'Check the network and the mirror (debian.mirror, debian.snapshot in gateway.yaml), then again',
      code: exitCode.source,
      cause,
    });
  }
  return join(folder, 'lists');
}

/** Puts an option into each line of sources.list(5): `deb [OPTION …] URI …`. */
function withOption(lines: readonly string[], option: string): string {
  return lines
    .map((line) =>
      line.startsWith('deb [')
        ? `${line.replace('deb [', `deb [${option} `)}\n`
        : `${line.replace('deb ', `deb [${option}] `)}\n`,
    )
    .join('');
}

/** Reads what apt's lists in `folder` say of the wanted packages, for one architecture. */
export async function readIndex(
  folder: string,
  architecture: string,
  wanted: ReadonlySet<string>,
): Promise<ArchiveIndex> {
  const index = new Map<string, Pin[]>();
  const files = (await readdir(folder)).filter((name) =>
    name.endsWith(`_binary-${architecture}_Packages`),
  );
  for (const file of files) {
    let name = '';
    let version = '';
    const lines = createInterface({ input: createReadStream(join(folder, file)) });
    // Of a stanza's fields, Package comes first and SHA256 after Version (apt-ftparchive(1)).
    for await (const line of lines) {
      if (line.startsWith('Package: ')) name = line.slice(9);
      else if (line.startsWith('Version: ')) version = line.slice(9);
      else if (line.startsWith('SHA256: ') && wanted.has(name)) {
        const known = index.get(name) ?? [];
        known.push({ version, sha256: line.slice(8) });
        index.set(name, known);
      }
    }
  }
  return index;
}
