import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { BuildError } from '../../builder/errors.ts';
import { run } from '../../builder/exec.ts';
import { type Contexts, holds, interpolate, type Status } from './expressions.ts';
import type { Action, Job, Step, Workflow } from './model.ts';

export type PlayOptions = {
  /** Folder that GITHUB_WORKSPACE names: the repository. */
  workspace: string;
  /** Environment below the workflow's own. */
  env: Record<string, string>;
  /** Values of `secrets` and `vars`. */
  secrets: Record<string, string>;
  /** What GitHub tells of the event, beside what is here. */
  github?: Record<string, string>;
  /** Only say what would be run. */
  dryRun: boolean;
  say: (line: string) => void;
};

export type Played = { failed: boolean; outputs: Record<string, string> };

/** Runs the `run:` steps of all jobs here, in order; steps that use an action are named and skipped. */
export async function playWorkflow(workflow: Workflow, o: PlayOptions): Promise<Played> {
  const done = new Map<string, boolean>();
  let failed = false;
  for (const id of jobOrder(workflow.jobs)) {
    const job = workflow.jobs[id];
    if (!job) continue;
    const status = { failed: needsOf(job).some((need) => done.get(need) !== true) };
    if (!holds(job.if, contexts(o, {}), status)) {
      o.say(`job ${id}: not run`);
      done.set(id, false);
      continue;
    }
    o.say(`job ${id}`);
    const played = await playSteps(job.steps, { ...workflow.env, ...job.env }, {}, o);
    done.set(id, !played.failed);
    failed ||= played.failed;
  }
  return { failed, outputs: {} };
}

/** Runs the steps of a composite action as a job that uses it would. */
export async function playAction(
  action: Action,
  given: Record<string, string>,
  o: PlayOptions,
): Promise<Played> {
  const inputs = Object.fromEntries(
    Object.entries(action.inputs ?? {}).map(([name, input]) => {
      const value = given[name] ?? input.default;
      if (value === undefined && input.required === true)
        throw new BuildError({ what: `The input '${name}' is missing`, where: 'action.yml' });
      return [name, value ?? ''];
    }),
  );
  const { failed, steps } = await playSteps(action.runs.steps, {}, { inputs }, o);
  const outputs = Object.entries(action.outputs ?? {}).map(([name, { value }]) => [
    name,
    interpolate(value, contexts(o, { inputs, steps }), { failed }),
  ]);
  return { failed, outputs: Object.fromEntries(outputs) };
}

type StepOutputs = Record<string, { outputs: Record<string, string> }>;

async function playSteps(
  list: readonly Step[],
  jobEnv: Record<string, string>,
  more: Contexts,
  o: PlayOptions,
): Promise<{ failed: boolean; steps: StepOutputs }> {
  const temporary = await mkdtemp(join(tmpdir(), 'pi-gateway-runner-'));
  const status: Status = { failed: false };
  const steps: StepOutputs = {};
  let env: Record<string, string> = {};
  try {
    for (const [index, step] of list.entries()) {
      const known = contexts(o, { ...more, steps, runner: { temp: temporary } });
      const text = (value: string) => interpolate(String(value), { ...known, env }, status);
      const title = `  step ${index + 1}: ${step.name ?? step.uses ?? step.run ?? ''}`;
      if (!holds(step.if, { ...known, env }, status)) {
        o.say(`${title}: not run (${step.if ?? 'a step before failed'})`);
        continue;
      }
      if (step.run === undefined) {
        o.say(`${title}: skipped, since it uses an action`);
        if (step.id) steps[step.id] = { outputs: {} };
        continue;
      }
      const own = Object.fromEntries(
        Object.entries({ ...jobEnv, ...step.env }).map(([key, value]) => [key, text(value)]),
      );
      o.say(title);
      if (step.name !== undefined) o.say(`  $ ${step.run}`);
      if (o.dryRun) continue;
      const files = await commandFiles(temporary, index);
      const begun = performance.now();
      try {
        await run('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', step.run], {
          cwd: resolve(o.workspace, text(step['working-directory'] ?? '.')),
          env: { ...runnerEnv(o, temporary), ...env, ...own, ...files },
          onLine: o.say,
        });
      } catch (error) {
        if (!(error instanceof BuildError)) throw error;
        o.say(`  failed: ${error.message}`);
        status.failed = true;
      }
      o.say(`  ${((performance.now() - begun) / 1000).toFixed(1)} s`);
      if (step.id) steps[step.id] = { outputs: await assignments(files.GITHUB_OUTPUT) };
      env = { ...env, ...(await assignments(files.GITHUB_ENV)) };
    }
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return { failed: status.failed, steps };
}

function contexts(o: PlayOptions, more: Contexts): Contexts {
  const github = {
    event_name: 'local',
    ref_name: 'main',
    repository: 'local/pi-gateway',
    token: o.secrets.GITHUB_TOKEN ?? '',
    workspace: o.workspace,
    ...o.github,
  };
  const { secrets } = o;
  return { github, secrets, vars: secrets, env: {}, inputs: {}, steps: {}, runner: {}, ...more };
}

function runnerEnv(o: PlayOptions, temporary: string): Record<string, string> {
  return {
    ...o.env,
    CI: 'true',
    GITHUB_WORKSPACE: o.workspace,
    GITHUB_REPOSITORY: o.github?.repository ?? 'local/pi-gateway',
    RUNNER_TEMP: temporary,
  };
}

/** Files that a step writes what it hands on into, as GitHub's runner gives them. */
async function commandFiles(temporary: string, index: number) {
  const folder = join(temporary, `step-${index}`);
  await mkdir(folder);
  const files = {
    GITHUB_OUTPUT: join(folder, 'output'),
    GITHUB_ENV: join(folder, 'env'),
    GITHUB_STEP_SUMMARY: join(folder, 'summary'),
  };
  for (const path of Object.values(files)) await writeFile(path, '');
  return files;
}

/** Lines of `name=value`; our scripts write no others. */
async function assignments(path: string): Promise<Record<string, string>> {
  const lines = (await readFile(path, 'utf8')).split('\n').filter(Boolean);
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

function needsOf(job: Job): readonly string[] {
  return [job.needs ?? []].flat();
}

function jobOrder(jobs: Record<string, Job>): string[] {
  const ordered: string[] = [];
  const visit = (id: string) => {
    if (ordered.includes(id)) return;
    for (const need of needsOf(jobs[id] ?? { steps: [] })) visit(need);
    ordered.push(id);
  };
  for (const id of Object.keys(jobs)) visit(id);
  return ordered;
}
