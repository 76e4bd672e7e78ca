import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { project } from '../../builder/testing/build.ts';
import { lintWorkflow } from './lint.ts';
import { type Action, readYaml, stepsOf, type Workflow } from './model.ts';
import { type PlayOptions, playAction, playWorkflow } from './play.ts';

const scratch = await mkdtemp(join(tmpdir(), 'pi-gateway-workflows-'));
afterAll(() => rm(scratch, { recursive: true }));

const workflows = (await readdir(join(project, '.github/workflows'))).map(
  (name) => `.github/workflows/${name}`,
);

describe('the workflows of this repository', () => {
  test.each([...workflows, 'action.yml'])(
    '%s has nothing that its linters object to',
    async (path) => {
      expect(await lintWorkflow(project, path)).toEqual([]);
    },
  );

  test('may only read, but for the night, which makes releases', async () => {
    for (const path of workflows) {
      const file = await readYaml<Workflow>(join(project, path));
      expect(file.permissions, path).toEqual({ contents: 'read' });
      const more = Object.values(file.jobs).filter((job) => 'permissions' in job);
      expect(more.length, path).toBe(path.endsWith('nightly.yml') ? 1 : 0);
    }
  });

  test('give a secret to no step but the one that signs and uploads', async () => {
    for (const path of workflows)
      for (const { step } of stepsOf(await readYaml<Workflow>(join(project, path)))) {
        const secrets = Object.values(step.env ?? {}).filter((value) => value.includes('secrets.'));
        if (secrets.length > 0) expect(step.run).toBe('bash ci/github-nightly.sh');
      }
  });
});

/** An expression, which biome would take for a forgotten template. */
const expression = (text: string) => `\${{ ${text} }}`;

/** A good workflow, changed. */
async function lintChanged(from: string | RegExp, to: string, name = 'x.yml'): Promise<string[]> {
  const checkout = 'actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2';
  const good = `name: x
on: push
permissions:
  contents: read
concurrency: x
jobs:
  a:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    steps:
      - uses: ${checkout}
      - run: bash ci/check.sh
`;
  await mkdir(join(scratch, 'ci'), { recursive: true });
  await cp(join(project, 'package.json'), join(scratch, 'package.json'));
  await writeFile(join(scratch, 'ci/check.sh'), '');
  await writeFile(join(scratch, name), good.replace(from, to));
  return await lintWorkflow(scratch, name);
}

describe('the linter of workflows', () => {
  test('has nothing against a thin caller', async () => {
    expect(await lintChanged('', '')).toEqual([]);
  });

  test.each([
    ['a key that workflows do not have', 'timeout-minutes', 'timeout', 'timeout'],
    ['an unknown context', 'bash ci/check.sh', `bash ci/check.sh ${expression('nope.x')}`, 'nope'],
    ['no permissions', /permissions:\n.*\n/, '', 'permissions'],
    ['no limit in time', / *timeout-minutes: 5\n/, '', 'timeout-minutes'],
    ['no concurrency', 'concurrency: x\n', '', 'concurrency'],
    ['an action by a tag, which can be moved', /@de0f.*/, '@v6', 'not pinned'],
    ['a pin that does not say its version', ' # v6.0.2', '', 'no comment'],
    ['shell lines in the workflow', 'bash ci/check.sh', 'make && make install', 'not one call'],
    ['two commands', 'ci/check.sh', 'ci/check.sh; rm -rf x', 'not one call'],
    ['a script that does not exist', 'ci/check.sh', 'ci/no.sh', 'does not exist'],
    ['an npm script that does not exist', 'bash ci/check.sh', 'npm run no', 'no script'],
    ['what shellcheck finds', 'ci/check.sh', 'ci/check.sh $HOME', 'SC2086'],
    [
      'an expression in a shell line',
      'ci/check.sh',
      `ci/check.sh "${expression('github.sha')}"`,
      'takes an expression into the shell',
    ],
    [
      'what strangers write, in a shell line',
      'ci/check.sh',
      `ci/check.sh "${expression('github.event.pull_request.title')}"`,
      'untrusted',
    ],
  ])('objects to %s', async (_, from, to, message) => {
    expect((await lintChanged(from, to)).join('\n')).toContain(message);
  });
});

const said: string[] = [];
const options = (more: Partial<PlayOptions> = {}): PlayOptions => ({
  workspace: scratch,
  env: { PATH: process.env.PATH ?? '' },
  secrets: { KEY: 'word' },
  dryRun: false,
  say: (line) => said.push(line),
  ...more,
});

async function play(text: string, more: Partial<PlayOptions> = {}) {
  said.length = 0;
  const { failed } = await playWorkflow(parse(text) as Workflow, options(more));
  return { failed, said: said.filter((line) => !/^ {2}\d/.test(line)) };
}

const jobs = `
env: { WHO: world }
jobs:
  second:
    needs: first
    steps:
      - run: echo "second after $WHO"
  first:
    steps:
      - uses: actions/checkout@v6
      - id: made
        run: echo "name=\${KEY}s" >> "$GITHUB_OUTPUT"
        env: { KEY: '\${{ secrets.KEY }}' }
      - run: echo "got $GOT"
        env: { GOT: '\${{ steps.made.outputs.name }}' }
      - if: github.event_name == 'push'
        run: echo never
`;

describe('a workflow on this machine', () => {
  test.each(workflows)('%s: says all that it would run', async (path) => {
    said.length = 0;
    const workflow = await readYaml<Workflow>(join(project, path));
    await playWorkflow(workflow, options({ workspace: project, dryRun: true }));
    for (const { step } of stepsOf(workflow))
      expect(said.join('\n')).toContain(`: ${step.run ?? step.uses}`);
  });

  test('runs its steps in the order of needs, with environment, secrets and outputs', async () => {
    const { failed, said: lines } = await play(jobs);
    expect(failed).toBe(false);
    expect(lines.filter((line) => !line.startsWith('  '))).toEqual([
      'job first',
      'got words',
      'job second',
      'second after world',
    ]);
    expect(lines).toContain('  step 1: actions/checkout@v6: skipped, since it uses an action');
    expect(lines.join('\n')).toContain("not run (github.event_name == 'push')");
  });

  test('with --dry-run runs nothing', async () => {
    const { said: lines } = await play(jobs, { dryRun: true });
    expect(lines).toContain('  step 1: echo "second after $WHO"');
    expect(lines).not.toContain('second after world');
  });

  test('stops at a step that fails, but for those that are for it, and fails', async () => {
    const { failed, said: lines } = await play(`
jobs:
  a:
    steps:
      - run: exit 3
      - run: echo not this
      - if: failure()
        run: echo but this
      - if: always()
        run: echo and this
  b: { needs: a, steps: [{ run: echo nor this }] }
`);
    expect(failed).toBe(true);
    expect(lines.filter((line) => !line.startsWith('  '))).toEqual([
      'job a',
      'but this',
      'and this',
      'job b: not run',
    ]);
  });
});

test('the action plans the image of another repository, with a stage of its own', async () => {
  const repository = join(scratch, 'repository');
  await mkdir(join(repository, 'hello/overlay/etc'), { recursive: true });
  await writeFile(join(repository, 'hello/overlay/etc/hello.conf'), 'hello\n');
  await writeFile(
    join(repository, 'hello/stage.ts'),
    `import { z } from '${project}/node_modules/zod/index.js';
export const hello = {
  name: 'hello', summary: 'Hello', options: z.strictObject({ who: z.string().default('world') }),
  needs: ['system'], packages: () => ['sl'],
};
`,
  );
  await writeFile(
    join(repository, 'gateway.yaml'),
    'name: ours\nbase: [debian]\nextensions: [./hello]\nstages: { hello: { who: us } }\n',
  );
  const action = await readYaml<Action>(join(project, 'action.yml'));
  said.length = 0;
  const { failed } = await playAction(
    action,
    { command: 'plan', sets: 'stages.ssh.port=2200\nimage.compress=zstd' },
    options({
      workspace: repository,
      env: { PATH: process.env.PATH ?? '', GITHUB_ACTION_PATH: project },
    }),
  );
  expect(said.join('\n')).toContain('packages hello');
  expect(said.join('\n')).toContain('packages: sl');
  expect(said.join('\n')).toContain('/etc/hello.conf');
  expect(failed).toBe(false);
});
