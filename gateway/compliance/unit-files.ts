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

/** True if there is a file, or a template, that systemd could load the unit from. */
export function unitExists(tree: Pick<FileTree, 'stat' | 'link'>, name: string): boolean {
  const template = name.replace(/@[^.]+\./, '@.');
  return [...unitDirectories, ...volatileDirectories].some((directory) =>
    // A link to nothing, or to /dev/null, is a unit too: systemd knows it as masked or broken.
    [name, template].some(
      (one) => tree.link(`${directory}/${one}`) !== undefined || tree.stat(`${directory}/${one}`),
    ),
  );
}
