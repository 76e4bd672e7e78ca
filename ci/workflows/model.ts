import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';

/** One step of a job or of a composite action, as far as it is read here. */
export type Step = {
  id?: string;
  name?: string;
  if?: string | boolean;
  uses?: string;
  with?: Record<string, string>;
  run?: string;
  shell?: string;
  env?: Record<string, string>;
  'working-directory'?: string;
};

export type Job = {
  needs?: string | string[];
  if?: string | boolean;
  env?: Record<string, string>;
  'timeout-minutes'?: number;
  steps: Step[];
};

/** A workflow of .github/workflows. */
export type Workflow = {
  name?: string;
  permissions?: unknown;
  concurrency?: unknown;
  env?: Record<string, string>;
  jobs: Record<string, Job>;
};

/** A composite action (action.yml). */
export type Action = {
  inputs?: Record<string, { default?: string; required?: boolean }>;
  outputs?: Record<string, { value: string }>;
  runs: { using: string; steps: Step[] };
};

export async function readYaml<T>(path: string): Promise<T> {
  return parse(await readFile(path, 'utf8')) as T;
}

/** Steps of a workflow or a composite action, with a name for each place. */
export function stepsOf(file: Workflow | Action): { place: string; step: Step }[] {
  const groups: [string, Step[]][] =
    'jobs' in file
      ? Object.entries(file.jobs).map(([id, job]) => [`job ${id}`, job.steps])
      : [['runs', file.runs.steps]];
  return groups.flatMap(([name, steps]) =>
    steps.map((step, index) => ({ place: `${name}, step ${index + 1}`, step })),
  );
}
