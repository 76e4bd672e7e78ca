/** npm run ci:local -- WORKFLOW [--dry-run]: runs a workflow's scripts on this machine. */
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { BuildError, exitCode } from '../../builder/errors.ts';
import { presentError } from '../../builder/ui/present.ts';
import { readYaml, type Workflow } from './model.ts';
import { playWorkflow } from './play.ts';

const root = resolve(import.meta.dirname, '../..');

const program = new Command('ci:local')
  .description(
    "Runs a workflow's `run:` steps in order on this machine; steps that use an action are named and skipped.",
  )
  .argument('<workflow>', 'name of a file in .github/workflows, without .yml')
  .option('--dry-run', 'only say what would be run')
  .addHelpText('after', '\nSecrets are taken from the environment variables of their names.')
  .action(async (name: string, o: { dryRun?: boolean }) => {
    const path = join(root, '.github/workflows', `${name}.yml`);
    await access(path).catch((cause) => {
      throw new BuildError({
        what: 'There is no such workflow',
        where: path,
        fix: 'Give the name of a file in .github/workflows, without .yml',
        code: exitCode.usage,
        cause,
      });
    });
    const environment = Object.fromEntries(
      Object.entries(process.env).flatMap(([key, value]) =>
        value === undefined ? [] : [[key, value] as const],
      ),
    );
    const { failed } = await playWorkflow(await readYaml<Workflow>(path), {
      workspace: root,
      env: environment,
      secrets: environment,
      dryRun: o.dryRun ?? false,
      say: (line) => process.stdout.write(`${line}\n`),
    });
    process.stdout.write(failed ? `${name}: failed\n` : `${name}: passed\n`);
    if (failed) process.exitCode = exitCode.failed;
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = presentError(error, { json: false });
}
