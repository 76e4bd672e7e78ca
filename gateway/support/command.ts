import { resolve } from 'node:path';
import type { Command } from 'commander';
import { realWorld } from '../doctor/world.ts';
import { requireRoot } from '../errors.ts';
import { readHostname } from '../image-facts.ts';
import { bytes, type Output, print } from '../terminal.ts';
import { writeBundle } from './bundle.ts';

/** `pi-gateway support-bundle` */
export function addSupportCommand(program: Command): void {
  program
    .command('support-bundle')
    .description('writes what helps to find what is wrong, without secrets, into one file')
    .option('-o, --output <file>', 'where to; by default in this folder')
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Example:
  sudo pi-gateway support-bundle
  tar -tzf pi-gateway-support-*.tar.gz    (look through it before you give it to others)`,
    )
    .action(async (o: Output & { output?: string }) => {
      requireRoot();
      const world = realWorld();
      const name = `pi-gateway-support-${await readHostname(world.system)}-${new Date().toISOString().replaceAll(/[-:]|\..*/g, '')}.tar.gz`;
      const made = await writeBundle(world, resolve(o.output ?? name), caller());
      print(
        o,
        made,
        [
          `${made.path}, ${bytes(made.bytes)}, has:`,
          ...made.files.map(({ name, what }) => `  ${name.padEnd(20)} ${what}`),
          'Keys, tokens and passwords are not in it; addresses and names are. Look through it before you give it to others.',
        ].join('\n'),
      );
    });
}

/** Who called sudo: to them the file is to belong, so that they can fetch it. */
function caller(): { uid: number; gid: number } | undefined {
  const { SUDO_UID, SUDO_GID } = process.env;
  if (!/^\d+$/.test(SUDO_UID ?? '') || !/^\d+$/.test(SUDO_GID ?? '')) return undefined;
  return { uid: Number(SUDO_UID), gid: Number(SUDO_GID) };
}
