import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadStages } from '../stages.ts';
import { project } from '../testing/build.ts';
import { publicKeyProblem } from './fields.ts';
import { configJsonSchema } from './json-schema.ts';
import { loadConfig } from './load.ts';

const stages = (await loadStages(project)).map((stage) => stage.definition);

test('gateway.yaml and every environment are valid', async () => {
  const names = (await readdir(join(project, 'environments'))).map((name) =>
    name.replace('.yaml', ''),
  );
  for (const env of [undefined, ...names]) await loadConfig({ root: project, env, stages });
});

test('gateway.yaml shows the defaults: without it the configuration is the same', async () => {
  const { config } = await loadConfig({ root: project, stages });
  const bare = await loadConfig({ root: join(project, 'docs'), stages });
  expect(bare.config).toEqual(config);
});

test('the exported JSON Schema accepts gateway.yaml and refuses a typo in it', async () => {
  const validate = new Ajv2020({ strict: false, formats: { uri: true } }).compile(
    configJsonSchema(stages),
  );
  const data = parse(await readFile(join(project, 'gateway.yaml'), 'utf8'));
  expect(validate(data), JSON.stringify(validate.errors)).toBe(true);
  expect(validate({ ...data, nmae: 'x' })).toBe(false);
  expect(validate({ ...data, stages: { ...data.stages, ssh: { prot: 22 } } })).toBe(false);
});

test('every option of every stage has a description and a default', () => {
  for (const stage of stages) {
    expect(() => stage.options.parse({}), stage.name).not.toThrow();
    const { shape } = stage.options as unknown as {
      shape: Record<string, { description?: string }>;
    };
    for (const [key, field] of Object.entries(shape))
      expect(field.description, `${stage.name}.${key}`).toBeTruthy();
  }
});

test('public keys are told from private ones, and damaged ones are refused', () => {
  const key = `ssh-ed25519 ${Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('ssh-ed25519'), Buffer.from([0, 0, 0, 32]), Buffer.alloc(32, 7)]).toString('base64')}`;
  expect(publicKeyProblem(`${key} me@laptop`)).toBeUndefined();
  expect(publicKeyProblem('-----BEGIN OPENSSH PRIVATE KEY-----')).toContain('PRIVATE');
  expect(publicKeyProblem(key.slice(0, 40))).toContain('cut short');
  expect(publicKeyProblem(key.replace('ssh-ed25519 ', 'ssh-rsa '))).toContain('damaged');
  expect(publicKeyProblem('hello')).toContain('must be a public SSH key');
});
