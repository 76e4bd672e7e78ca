import { cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { manifestSchema } from '../../gateway/extensions/manifest.ts';
import { BuildError, exitCode, isErrno } from '../errors.ts';

/** The example that every new extension begins as: it works, and passes its own tests. */
const example = 'examples/extension-hello';

/**
 * Makes an extension in a folder of its own.
 * @returns its files, below the folder.
 * @throws BuildError for a name that is none, or a folder that has something in it.
 */
export async function newExtension(root: string, name: string, folder: string): Promise<string[]> {
  if (!manifestSchema.shape.name.safeParse(name).success)
    throw new BuildError({
      what: `'${name}' is no name for an extension`,
      fix: 'Take 2 to 18 of a-z, 0-9 and -, starting with a letter, e.g. hello',
      code: exitCode.usage,
    });
  if ((await filesIn(folder)).length > 0)
    throw new BuildError({
      what: 'There is something in the folder already',
      where: folder,
      fix: 'Name another folder: --extension FOLDER',
      code: exitCode.usage,
    });
  await mkdir(folder, { recursive: true });
  await cp(join(root, example), folder, { recursive: true });
  const own = 'overlay/etc/pi-gateway-x';
  if (name !== 'hello') await rename(join(folder, own, 'hello'), join(folder, own, name));
  const files = await filesIn(folder);
  for (const file of files) {
    const path = join(folder, file);
    const text = await readFile(path, 'utf8');
    // What is named after it; a greeting is still one.
    const renamed = text
      .replaceAll(/\bhello\b/g, name)
      .replace(/^title: Hello$/m, `title: ${titleOf(name)}`);
    if (renamed !== text) await writeFile(path, renamed);
  }
  return files;
}

const titleOf = (name: string) => `${name[0]?.toUpperCase()}${name.slice(1).replaceAll('-', ' ')}`;

async function filesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
      .sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
