import { access, readdir, readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { BuildError, exitCode } from '../errors.ts';
import { ownerFile } from './harness-facts.ts';
import { type Machine, startVm } from './vm.ts';

/** Boots the image on this terminal until the user leaves it; returns QEMU's exit code. */
export async function bootInteractively(o: {
  image: string;
  machine: Machine;
  key: string | undefined;
  sshPort: number;
}): Promise<number> {
  await access(o.image).catch((cause) => {
    throw new BuildError({
      what: 'There is no image to boot',
      where: o.image,
      fix: 'Build it first: npm run image',
      code: exitCode.usage,
      cause,
    });
  });
  const before = await stat(o.image);
  const publicKey = await readKey(o.key);
  const vm = await startVm({
    image: o.image,
    machine: o.machine,
    forwards: { 22: o.sshPort },
    bootFiles: publicKey ? ownerFile(publicKey) : {},
    interactive: true,
  });
  process.stderr.write(
    [
      publicKey
        ? `SSH: ssh -p ${o.sshPort} gateway@127.0.0.1`
        : 'No public SSH key was found: nobody can log in. Give one with --key FILE.pub',
      'Ctrl-a x ends QEMU. The image stays as it is.',
      '',
    ].join('\n'),
  );
  const code = await vm.ended;
  await vm.stop();
  const after = await stat(o.image);
  if (after.mtimeMs !== before.mtimeMs) throw new Error('the image was changed by booting it');
  return code;
}

async function readKey(given: string | undefined): Promise<string | undefined> {
  if (given !== undefined)
    return (
      await readFile(given, 'utf8').catch((cause) => {
        throw new BuildError({
          what: 'The public key cannot be read',
          where: given,
          code: exitCode.usage,
          cause,
        });
      })
    ).trim();
  const folder = join(homedir(), '.ssh');
  const names = await readdir(folder).catch(() => []);
  const name = names.filter((entry) => entry.endsWith('.pub')).sort()[0];
  return name === undefined ? undefined : (await readFile(join(folder, name), 'utf8')).trim();
}
