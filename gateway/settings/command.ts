import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { localClient } from '../api/client.ts';
import { GatewayError, requireRoot, UnavailableError } from '../errors.ts';
import { type Output, print, table } from '../terminal.ts';
import { withoutSetting, withSetting } from './edit.ts';
import { problemText, refuseProblems } from './read.ts';
import type { Applied, SettingsDifference, ShownSettings } from './view.ts';

type Change = Output & { confirm?: number; dryRun?: boolean };

const client = () => localClient();

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 10 || value > 3600)
    throw new InvalidArgumentError('It must be 10 to 3600 seconds.');
  return value;
}

const changeOptions = (command: Command): Command =>
  command
    .option('--confirm <seconds>', 'return to the old settings unless you confirm', seconds)
    .option('--dry-run', 'only say what would change')
    .option('--json', 'for machines');

/** pi-gateway config … */
export function addConfigCommands(program: Command): void {
  const config = program
    .command('config')
    .description('the settings of this device: /etc/pi-gateway/gateway.yaml');

  config
    .command('show')
    .description('the settings as they are written, without their secrets')
    .option('--all', 'with what is usual where nothing is set')
    .option('--json', 'for machines')
    .action(async (o: Output & { all?: boolean }) => {
      requireRoot();
      const shown = await client().call('configGet');
      const { stringify } = await import('yaml');
      print(o, shown, showText(shown, o.all ? stringify(shown.settings) : shown.text));
      process.exitCode = shown.problems.length > 0 ? 1 : 0;
    });

  changeOptions(
    config
      .command('set')
      .description('changes one setting; comments in the file stay')
      .argument('<key>', 'dotted, e.g. updates.reboot or firewall.forwards.0.to')
      .argument('<value>', 'as YAML; -: read it from standard input, for secrets'),
  )
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway config set updates.reboot 04:30
  sudo pi-gateway config set firewall.forwards.0 '{tcp: 443, to: 192.168.10.20}'
  sudo pi-gateway config set alerts.channels.0.password -`,
    )
    .action(async (key: string, value: string, o: Change) => {
      requireRoot();
      const given = value === '-' ? JSON.stringify((await standardInput()).trimEnd()) : value;
      await change((text) => withSetting(text, key, given), o);
    });

  changeOptions(
    config
      .command('unset')
      .description('takes one setting out: it is as usual then')
      .argument('<key>', 'dotted, e.g. updates.reboot'),
  ).action(async (key: string, o: Change) => {
    requireRoot();
    await change((text) => withoutSetting(text, key), o);
  });

  changeOptions(
    config.command('edit').description('opens the settings in your editor, and applies them'),
  ).action(async (o: Change) => {
    requireRoot();
    await editSettings(o);
  });

  config
    .command('diff')
    .description('what the settings in FILE would change; exit code 1: something')
    .argument('<file>', 'settings; -: standard input')
    .option('--json', 'for machines')
    .action(async (file: string, o: Output) => {
      requireRoot();
      const text = await fileText(file);
      const found = await client().call('configDiff', { body: { text } });
      refuseProblems(found.problems);
      print(o, found, diffText(found));
      process.exitCode = found.text === '' ? 0 : 1;
    });

  changeOptions(
    config
      .command('apply')
      .description(
        'puts the settings in FILE in force; what makes the gateway unwell is taken back',
      )
      .argument('<file>', 'settings, e.g. an edited copy of config show; -: standard input'),
  )
    .addHelpText(
      'after',
      `
Example:
  sudo pi-gateway config show > new.yaml     (secrets stay where it says '(secret unchanged)')
  sudo pi-gateway config diff new.yaml
  sudo pi-gateway config apply new.yaml --confirm 90
  (from a new connection)  sudo pi-gateway config confirm`,
    )
    .action(async (file: string, o: Change) => {
      requireRoot();
      const text = await fileText(file);
      await change(() => text, o);
    });

  config
    .command('confirm')
    .description('keeps settings that were applied with --confirm')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const done = await client().call('configConfirm');
      print(o, done, `Kept, also over a restart: version ${done.version}.`);
    });

  config
    .command('rollback')
    .description('ends a trial, or returns to the version before; a second one undoes the first')
    .argument('[version]', 'another one of the history', (text: string) => {
      if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a number.');
      return Number(text);
    })
    .option('--json', 'for machines')
    .action(async (version: number | undefined, o: Output) => {
      requireRoot();
      const done = await rollback(version);
      print(o, done, `In force is the state of version ${done.version}.`);
    });

  config
    .command('history')
    .description('versions that can be returned to')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const found = await client().call('configHistory');
      const rows = found.versions.map((one) => [
        one.current ? `${one.version} *` : String(one.version),
        one.at.replace(/\.\d+Z$/, 'Z'),
        one.by,
        one.changes.map(({ key }) => key).join(', ') || '-',
      ]);
      const text =
        rows.length === 0
          ? 'The settings have not been changed yet.'
          : table([['version', 'at', 'by', 'changed'], ...rows]);
      print(o, found, text);
    });
}

function showText({ problems, pending }: ShownSettings, text: string): string {
  return [
    ...(problems.length > 0
      ? [
          '# These settings have mistakes, and are not in force:',
          ...problemText(problems)
            .split('\n')
            .map((line) => `#   ${line}`),
        ]
      : []),
    ...(pending
      ? [`# On trial for ${pending.seconds_left} s more. Keep them: sudo pi-gateway config confirm`]
      : []),
    text.trimEnd() === ''
      ? '# Nothing is set: all is as usual (docs/settings.md).'
      : text.trimEnd(),
  ].join('\n');
}

function diffText(found: SettingsDifference): string {
  if (found.text === '') return 'Nothing would change.';
  const advice = found.confirm_advised
    ? '\nThis may lock you out: apply it with --confirm 90.'
    : '';
  return `${found.text.trimEnd()}${advice}`;
}

function appliedText(done: Applied): string {
  const keep = `  To return to the settings of before: sudo pi-gateway config rollback`;
  if (done.state === 'unchanged') return 'These are the settings in force: nothing was changed.';
  if (done.state === 'applied')
    return `In force, and the gateway is well: version ${done.version}.\n${keep}`;
  return `In force for ${done.seconds_left} s. Then the settings of before return, unless you confirm.
  Open a NEW connection to the gateway; this one would stay open either way. There:
    sudo pi-gateway config confirm
  To return at once: sudo pi-gateway config rollback`;
}

/** Applies what `edit` makes of the settings in force, or says what that would change. */
async function change(edit: (text: string) => string, o: Change): Promise<void> {
  const { text, digest } = await client().call('configGet');
  await applyText(edit(text), digest, o);
}

async function applyText(text: string, base: string, o: Change): Promise<void> {
  if (o.dryRun) {
    const found = await client().call('configDiff', { body: { text } });
    refuseProblems(found.problems);
    return print(o, found, diffText(found));
  }
  const body = { text, base, ...(o.confirm === undefined ? {} : { confirm_seconds: o.confirm }) };
  const done = await client().call('configApply', { body });
  print(o, done, appliedText(done));
}

/** In memory, as it may get a new secret; until it has no mistakes, or the owner gives up. */
async function editSettings(o: Change): Promise<void> {
  const { text, digest } = await client().call('configGet');
  const folder = await mkdtemp('/run/pi-gateway-config-');
  const file = join(folder, 'gateway.yaml');
  try {
    await writeFile(file, text, { mode: 0o600 });
    for (;;) {
      await runEditor(file);
      const edited = await readFile(file, 'utf8');
      const found = await client().call('configDiff', { body: { text: edited } });
      if (found.problems.length === 0) {
        process.stderr.write(`${diffText(found)}\n`);
        if (found.text === '') return;
        return await applyText(edited, digest, o);
      }
      process.stderr.write(`${problemText(found.problems)}\n`);
      if (!(await yes('Edit again? [Y/n] ')))
        throw new GatewayError('Nothing was changed', 'Begin anew: sudo pi-gateway config edit');
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runEditor(file: string): Promise<void> {
  const editor = process.env.VISUAL || process.env.EDITOR || 'sensible-editor';
  await new Promise<void>((resolve, reject) => {
    // EDITOR may have arguments (`code --wait`); it is root's own environment.
    const child = spawn('sh', ['-c', `${editor} "$1"`, 'sh', file], { stdio: 'inherit' });
    child.on('error', reject);
    child.on('exit', (code) =>
      code === 0
        ? resolve()
        : reject(new GatewayError(`The editor ended with ${code}`, 'Nothing was changed')),
    );
  });
}

async function yes(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(question).finally(() => lines.close());
  return !/^n/i.test(answer.trim());
}

/** The way back must not depend on what may be broken: without the daemon it is done here. */
async function rollback(version: number | undefined): Promise<Applied> {
  const body = version === undefined ? {} : { version };
  try {
    return await client().call('configRollback', { body });
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    const { configVerbs } = await import('./verbs.ts');
    const system = deviceSystem((text) => process.stderr.write(`${text}\n`));
    const name = process.env.SUDO_USER ?? 'root';
    return await configVerbs['config.rollback'].run(system, body, { via: 'cli', name });
  }
}

async function fileText(file: string): Promise<string> {
  if (file === '-') return await standardInput();
  return await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new GatewayError(`${file} cannot be read: ${cause.message}`, 'Check its name');
  });
}

async function standardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
