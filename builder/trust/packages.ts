import { byName, type FileSystem, readText } from '../inspect/file-system.ts';

export type DebianPackage = {
  name: string;
  version: string;
  architecture: string;
  /** Source package and its version, which Debian's security tracker speaks of. */
  source: string;
  sourceVersion: string;
  maintainer: string;
  /** As its copyright file names them; empty if that cannot be read by machines. */
  licences: string[];
};

/** Reads a file of a root file system; undefined if it is not there. */
export type ReadFile = (path: string) => string | undefined;

/** Reads an image's files through one symbolic link of a folder, as /usr/share/doc has them. */
export function readerOf(system: FileSystem): ReadFile {
  return (path) => {
    const folder = path.slice(0, path.lastIndexOf('/'));
    const target = system.files.get(folder)?.target;
    if (target === undefined) return readText(system, path);
    const base = target.startsWith('/')
      ? target
      : `${folder.slice(0, folder.lastIndexOf('/'))}/${target}`;
    return readText(system, `${base}${path.slice(folder.length)}`);
  };
}

/** Licences of a copyright file in the machine-readable form (DEP-5); none if it is of another form. */
export function licencesOf(copyright: string): string[] {
  if (!/^Format:\s*https?:\/\/\S*copyright-format\/1\.0/im.test(copyright)) return [];
  const names = [...copyright.matchAll(/^License:[ \t]*(\S.*?)\s*$/gim)].map(
    ([, name = '']) => name,
  );
  return [...new Set(names)].sort(byName);
}

/** The installed packages, by name, from /var/lib/dpkg/status. */
export function debianPackages(read: ReadFile): DebianPackage[] {
  const stanzas = (read('/var/lib/dpkg/status') ?? '').split(/\n\n+/);
  return stanzas
    .flatMap((stanza) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? '';
      const [name, version] = [field('Package'), field('Version')];
      if (name === '' || !field('Status').endsWith(' installed')) return [];
      const [, source = name, sourceVersion = version] =
        /^(\S+)(?: \((.+)\))?$/.exec(field('Source')) ?? [];
      return [
        {
          name,
          version,
          architecture: field('Architecture'),
          source,
          sourceVersion,
          maintainer: field('Maintainer'),
          licences: licencesOf(read(`/usr/share/doc/${name}/copyright`) ?? ''),
        },
      ];
    })
    .sort((a, b) => byName(a.name, b.name) || byName(a.architecture, b.architecture));
}
