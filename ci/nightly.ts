/** npm run nightly: makes a release if anything that it is made from has changed. See docs/releases.md. */
import { access } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { BuildError, exitCode } from '../builder/errors.ts';
import { presentError } from '../builder/ui/present.ts';
import { night } from './release/night.ts';
import { type BootTest, projectWork } from './release/work.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

type Flags = {
  folder: string;
  url: string;
  keep: string;
  bootTest: BootTest;
  vulnDb?: string;
  key?: string;
  publicKey?: string;
  config?: string;
  env?: string;
  set: string[];
  refresh: boolean;
  json?: boolean;
};

const collect = (value: string, all: string[]) => [...all, value];

const program = new Command('nightly')
  .description('Makes a release of the image if anything that it is made from has changed.')
  .requiredOption('--folder <directory>', 'folder of the releases, to be served over HTTP')
  .requiredOption('--url <url>', 'where that folder is downloaded from')
  .option('--keep <number>', 'how many releases are kept, the new one among them', '7')
  .addOption(
    new Option(
      '--boot-test <which>',
      'gate before publishing: all boot tests, only those of the start, or none (which the release then says)',
    )
      .choices(['all', 'start', 'none'])
      .default('all'),
  )
  .option(
    '--vuln-db <file|url>',
    "Debian's security data: trust.vulnerabilities of gateway.yaml has to allow what is known",
  )
  .option('--key <file>', 'secret key that signs the release')
  .option('--public-key <file>', 'its public half, which the signatures are verified with')
  .option('--config <file>', 'another file than gateway.yaml')
  .option('--env <name>', 'also read environments/<name>.yaml')
  .option('--set <key=value>', 'set one value', collect, [])
  .option('--no-refresh', 'take base and packages as the cache has them')
  .option('--json', 'print the result as JSON')
  .action(async (o: Flags) => {
    const keep = Number(o.keep);
    if (!Number.isInteger(keep) || keep < 1) throw usage('--keep', 'a whole number from 1 on');
    if (!URL.canParse(o.url))
      throw usage('--url', 'a whole URL, such as https://example.org/images');
    if ((o.key === undefined) !== (o.publicKey === undefined))
      throw usage('--key', 'both halves of the key pair: --key and --public-key');
    for (const file of [o.key, o.publicKey])
      if (file !== undefined)
        await access(file).catch((cause) => {
          throw usage(file, 'a file that can be read', cause);
        });
    const say = (text: string) => process.stderr.write(`${text}\n`);
    const result = await night(
      {
        folder: resolve(o.folder),
        url: o.url,
        keep,
        now: new Date(),
        onStep: (step) => say(`Night: ${step}`),
      },
      await projectWork({ ...o, root, onLine: say }),
    );
    const { released, reason } = result;
    if (o.json) process.stdout.write(`${JSON.stringify({ id: released?.id ?? null, reason })}\n`);
    else if (released)
      process.stdout.write(
        `Released ${released.id} (${reason})\n${released.boot_test === 'passed' ? '' : 'It was not boot-tested: nobody has started this image.\n'}${released.signed ? '' : 'It is not signed.\n'}${o.url}/${released.id}/\n`,
      );
    else process.stdout.write(`Nothing released: ${reason}\n`);
  });

function usage(where: string, wanted: string, cause?: unknown): BuildError {
  return new BuildError({
    what: `Not usable: ${where}`,
    where: 'command line',
    fix: `Give ${wanted}`,
    code: exitCode.usage,
    cause,
  });
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = presentError(error, { json: process.argv.includes('--json') });
}
