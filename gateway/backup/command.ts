import { mkdir, readdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { addAudit } from '../helper/audit.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { bytes, type Output, print } from '../terminal.ts';
import type { Restic, Snapshot } from './restic.ts';
import { runProgram } from './run-program.ts';
import { nameOf, type Target } from './settings.ts';
import { findTarget, readBackups, requireInstalled, unitOf } from './status.ts';
import { initTarget, type Job, tryRestore, withTarget } from './tasks.ts';
import { statusText } from './text.ts';
import type { TaskKind } from './view.ts';

const json = ['--json', 'for machines'] as const;
const targetArgument = ['[target]', 'one of the targets; without it all'] as const;

const system = deviceSystem((text) => process.stderr.write(`${text}\n`));

/** `pi-gateway backup …` and `pi-gateway restore`. They do not need the daemon: backups are for bad days. */
export function addBackupCommands(program: Command): void {
  const backup = program
    .command('backup')
    .description('backups of this gateway, and what they are good for');

  backup
    .command('status')
    .description(
      'the last backup to each target, the next one, checks; exit code 1: something is not well',
    )
    .option(...json)
    .action(async (o: Output) => {
      await begin();
      const view = await readBackups(system);
      print(o, view, statusText(view));
      const isWell = view.targets.every(
        (one) =>
          !one.late &&
          one.last_attempt?.state !== 'failed' &&
          one.check?.ok !== false &&
          one.test?.ok !== false,
      );
      process.exitCode = isWell ? 0 : 1;
    });

  task(backup, 'now', 'backup', 'makes a backup now');
  task(
    backup,
    'check',
    'check',
    'reads part of the data back, and gives room of forgotten backups free',
  );
  task(
    backup,
    'test-restore',
    'test',
    'restores the last backup into a scratch folder and compares it byte for byte',
  )
    .option('--all', 'every snapshot that there is, the newest first: which are whole?')
    .addHelpText(
      'after',
      '\nWith --all nothing is recorded; it tells which snapshots a restore could use.',
    );

  backup
    .command('init')
    .description("makes a target's repository, or goes on with the one that is there now")
    .argument('[target]', 'one of the targets')
    .action(async (name: string | undefined) => {
      const job = await begin();
      const target = findTarget(job.settings, name);
      const done = await initTarget(job, target);
      await audit(system, 'backup.init', { target: nameOf(target) });
      print(
        {},
        undefined,
        done === 'made' ? 'The repository is made.' : 'The repository that is there is used.',
      );
    });

  backup
    .command('list')
    .description('the snapshots at a target')
    .argument('[target]', 'one of the targets')
    .option(...json)
    .action(async (name: string | undefined, o: Output) => {
      const job = await begin();
      await withTarget(job, findTarget(job.settings, name), async (restic) => {
        const all = (await restic.snapshots()).map(shown);
        const lines = all.map(
          ({ id, at, host }) => `${id}  ${at.slice(0, 16).replace('T', ' ')}Z  ${host}`,
        );
        print(o, all, lines.join('\n') || 'No backup yet.');
      });
    });

  backup
    .command('files')
    .description('the files of a snapshot')
    .argument('<snapshot>', 'its id, or latest')
    .argument('[path]', 'a folder in it', '/')
    .option('--target <target>', 'where it is')
    .option(...json)
    .action(async (id: string, path: string, o: Output & { target?: string }) => {
      const job = await begin();
      await withTarget(job, findTarget(job.settings, o.target), async (restic) => {
        const found = await findSnapshot(restic, id);
        const { stdout } = await restic.run([
          'ls',
          '--json',
          '--no-lock',
          found.id,
          '--recursive',
          path,
        ]);
        const files = stdout
          .split('\n')
          .filter((line) => line.includes('"struct_type":"node"'))
          .map(
            (line) =>
              JSON.parse(line) as { path: string; type: string; size?: number; mtime: string },
          );
        const lines = files.map(
          (one) =>
            `${one.type === 'file' ? bytes(one.size ?? 0).padStart(9) : one.type.padStart(9)}  ${one.path}`,
        );
        print(o, files, lines.join('\n'));
      });
    });

  backup
    .command('recovery-sheet')
    .description(
      'what must be kept elsewhere to restore after the card is lost; it opens every backup',
    )
    .action(async () => {
      const job = await begin();
      const { recoverySheet } = await import('./sheet.ts');
      const text = await recoverySheet(system, job.settings.targets);
      await audit(system, 'backup.sheet', undefined);
      process.stdout.write(text);
    });

  backup
    .command('key')
    .description('the public key that SFTP servers must let in (authorized_keys)')
    .action(async () => {
      await begin();
      const { sshPublicLine, sshSeed } = await import('./ssh-key.ts');
      process.stdout.write(
        `${sshPublicLine(await sshSeed(system), `pi-gateway-backup@${hostname()}`)}\n`,
      );
    });

  backup
    .command('restic')
    .description('runs restic on a target, for what has no command here: repair, diff, mount')
    .argument('<target>', 'one of the targets')
    .argument('<arguments...>', "restic's own; after --")
    .action(async (name: string, args: string[]) => {
      const job = await begin();
      await withTarget(job, findTarget(job.settings, name), async (restic) => {
        const ran = await restic.try(args, { onLine: (line) => process.stdout.write(`${line}\n`) });
        process.stderr.write(ran.stderr);
        process.exitCode = ran.code === 0 ? 0 : 1;
      });
      await audit(system, 'backup.restic', { target: name, arguments: args });
    });

  restoreCommand(backup);
  restoreCommand(program);
}

/** What every command needs. */
async function begin(): Promise<Job> {
  requireRoot();
  await requireInstalled(system);
  const { settings } = await readDeviceSettings(system);
  return { system, run: runProgram, settings: settings.backup };
}

async function audit(on: System, verb: string, args: unknown): Promise<void> {
  await addAudit(on, {
    at: new Date().toISOString(),
    actor: { via: 'cli', name: process.env.SUDO_USER ?? 'root' },
    verb,
    ...(args === undefined ? {} : { args }),
    outcome: 'done',
  });
}

function task(parent: Command, verb: string, kind: TaskKind, description: string): Command {
  return parent
    .command(verb)
    .description(description)
    .argument(...targetArgument)
    .option(...json)
    .action(async (name: string | undefined, o: Output & { all?: boolean }) => {
      const job = await begin();
      if (o.all) return await tryAll(job, findTarget(job.settings, name), o);
      const target = name === undefined ? undefined : nameOf(findTarget(job.settings, name));
      if (target === undefined && job.settings.targets.length === 0)
        findTarget(job.settings, undefined);
      await audit(system, 'backup.run', {
        what: kind,
        ...(target === undefined ? {} : { target }),
      });
      // In its unit, as the timer would: with its limits, and after what is under way.
      const ran = await runProgram('systemctl', ['start', '--wait', '--', unitOf(kind, target)]);
      const view = await readBackups(system);
      const shownTargets = view.targets.filter(
        (one) => target === undefined || one.name === target,
      );
      print(o, shownTargets, statusText({ ...view, targets: shownTargets }));
      process.exitCode = ran.code === 0 ? 0 : 1;
    });
}

/** Which snapshots are whole: what is done with a damaged repository depends on it. */
async function tryAll(job: Job, target: Target, o: Output): Promise<void> {
  await withTarget(job, target, async (restic) => {
    const results = [];
    for (const [index, one] of (await restic.snapshots()).entries()) {
      const problem = await tryRestore(job, restic, one, index === 0).then(
        () => null,
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      results.push({ ...shown(one), whole: problem === null, problem });
    }
    const lines = results.map(
      (one) => `${one.id}  ${one.at.slice(0, 16)}Z  ${one.problem ?? 'whole'}`,
    );
    print(o, results, lines.join('\n') || 'No backup yet.');
    process.exitCode = results.every((one) => one.whole) ? 0 : 1;
  });
}

const shown = ({ id, time, hostname: host }: Snapshot) => ({
  id: id.slice(0, 8),
  at: new Date(time).toISOString(),
  host,
});

async function findSnapshot(restic: Restic, id: string): Promise<Snapshot> {
  const all = await restic.snapshots();
  const found = id === 'latest' ? all[0] : all.find((one) => one.id.startsWith(id));
  if (found) return found;
  throw new GatewayError(
    id === 'latest' ? 'There is no backup yet' : `There is no snapshot '${id}'`,
    'See which there are: sudo pi-gateway backup list',
    'missing',
  );
}

type RestoreOptions = {
  target?: string;
  from?: string;
  snapshot?: string;
  to?: string;
  yes?: boolean;
  cancel?: boolean;
};

function restoreCommand(parent: Command): void {
  parent
    .command('restore')
    .description(
      'makes this gateway what it was; or, with --to, puts files of a backup into a folder',
    )
    .argument('[paths...]', 'with --to: only these')
    .option('--target <target>', 'one of the targets of the settings')
    .option('--from <file>', 'a recovery sheet, in place of a target; - for standard input')
    .option('--snapshot <id>', 'another than the last one that is whole')
    .option('--to <folder>', 'an empty folder; nothing else is touched', empty)
    .option('--yes', 'do not ask')
    .option('--cancel', 'ends a restore that gateway-device.yaml has asked for')
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway restore --from sheet.yaml                    # a fresh gateway becomes the old one
  sudo pi-gateway restore --to /root/look /etc/pi-gateway      # files for a look
  sudo pi-gateway restore --snapshot 3f2a9c10                  # this gateway as it was then

The whole gateway: settings, keys, VPN clients and accounts are replaced, and it restarts. Nothing is touched
before the whole backup is here and was found whole.`,
    )
    .action(async (paths: string[], o: RestoreOptions) => {
      if (o.to !== undefined) await restoreFiles(await begin(), o.to, paths, o);
      else await restoreAll(await begin(), o);
    });
}

function empty(folder: string): string {
  if (folder === '') throw new InvalidArgumentError('Name a folder');
  return resolve(folder);
}

async function restoreFiles(
  job: Job,
  folder: string,
  paths: readonly string[],
  o: RestoreOptions,
): Promise<void> {
  if (o.from !== undefined)
    throw new GatewayError(
      '--from and --to do not go together yet',
      'Set the target in the settings (sudo pi-gateway config edit), and name it: --target',
      'refused',
    );
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if ((await readdir(folder)).length > 0)
    throw new GatewayError(
      `${folder} is not empty`,
      'Name an empty folder, or one that is to be made',
      'refused',
    );
  const missing = paths.find((one) => !one.startsWith('/'));
  if (missing !== undefined)
    throw new GatewayError(
      `'${missing}' is no path of a backup`,
      'Paths begin with /, e.g. /etc/pi-gateway',
      'refused',
    );
  await withTarget(job, findTarget(job.settings, o.target), async (restic) => {
    const found = await findSnapshot(restic, o.snapshot ?? 'latest');
    const includes = paths.flatMap((one) => ['--include', one]);
    await restic.run(
      ['restore', found.id, '--target', folder, '--verify', '--no-lock', ...includes],
      { onLine: () => undefined },
    );
    print({}, undefined, `Restored from ${shown(found).id} of ${shown(found).at} into ${folder}`);
  });
  await audit(system, 'backup.restore', { to: folder, paths });
}

async function restoreAll(job: Job, o: RestoreOptions): Promise<void> {
  const { restoreWishes } = await import('./sheet.ts');
  const { forgetRequest, readRequest, writeRequest } = await import('./restore/request.ts');
  const { fetchRestore, nameMachine } = await import('./restore/fetch.ts');
  if (o.cancel) {
    await system.run('systemctl', ['stop', 'pi-gateway-restore.service']);
    await forgetRequest(system);
    return;
  }
  if (await readRequest(system))
    throw new GatewayError(
      'A restore is under way already',
      'See how it goes: journalctl -u pi-gateway-restore; to end it: sudo pi-gateway restore --cancel',
      'conflict',
    );
  const given =
    o.from === undefined
      ? (await restoreWishes(system, [findTarget(job.settings, o.target)]))[0]?.wish
      : await wishOf(o.from);
  if (!given)
    throw new GatewayError(
      `${o.from} has no section restore:`,
      'Give a recovery sheet: sudo pi-gateway backup recovery-sheet makes it',
      'refused',
    );
  const wish = { ...given, ...(o.snapshot === undefined ? {} : { snapshot: o.snapshot }) };
  if (!o.yes && !(await yes()))
    throw new GatewayError('Nothing was touched', 'Say --yes, or answer the question');
  await writeRequest(system, wish);
  await audit(system, 'backup.restore', { snapshot: wish.snapshot ?? 'latest' });
  try {
    await fetchRestore(system, runProgram);
  } catch (error) {
    // Who asked is here to be told, and asks again: nothing goes on behind their back.
    await forgetRequest(system);
    throw error;
  }
  await nameMachine(system);
  print(
    {},
    undefined,
    'The backup is here and whole. This gateway restarts, and is then what it was.',
  );
  await system.run('systemctl', ['--no-block', 'reboot']);
}

async function wishOf(file: string) {
  const { parseSettings } = await import('../../firstboot/settings.ts');
  const text =
    file === '-'
      ? await readStandardInput()
      : await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
          throw new GatewayError(`${file} cannot be read: ${cause.message}`, 'Check its name');
        });
  return parseSettings(text, file).restore;
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

async function yes(): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const question =
    'Settings, keys, VPN clients and accounts of this gateway are replaced, and it restarts. Go on? [y/N] ';
  const answer = await lines.question(question).finally(() => lines.close());
  return /^y/i.test(answer.trim());
}
