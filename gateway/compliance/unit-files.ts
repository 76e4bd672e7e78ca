import type { FileTree } from './tree.ts';

/** Where the administrator's unit files are: systemd.unit(5). */
export const etcUnits = '/etc/systemd/system';

/** Where unit files of the disk are. */
export const unitDirectories = [
  etcUnits,
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
];

/** Made since the start: by hand, by programs, and by generators (systemd.generator(7)). */
const volatileDirectories = [
  '/run/systemd/system',
  '/run/systemd/transient',
  '/run/systemd/generator',
  '/run/systemd/generator.early',
  '/run/systemd/generator.late',
];

/** Names of everything that systemd could load a unit from, templates and links to /dev/null among them. */
export function unitFiles(tree: Pick<FileTree, 'list'>): ReadonlySet<string> {
  return new Set([...unitDirectories, ...volatileDirectories].flatMap((one) => tree.list(one)));
}

/** True if there is a file, or a template, of that unit. */
export function unitExists(files: ReadonlySet<string>, name: string): boolean {
  return files.has(name) || files.has(name.replace(/@[^.]+\./, '@.'));
}
