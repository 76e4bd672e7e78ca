import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { z } from 'zod';
import type { StageDefinition, StagePort } from '../../stages/define.ts';
import { BuildError, exitCode } from '../errors.ts';
import { gatewayConfig, portClashes } from './gateway.ts';
import { nearest } from './nearest.ts';
import { type Config, configSchema, fileSchema } from './schema.ts';
import {
  type ConfigProblem,
  configErrors,
  isRecord,
  parseSet,
  pathKey,
  readSource,
  type Source,
} from './source.ts';

export type LoadedConfig = {
  config: Config;
  /** Layers that were given, lowest first. */
  sources: readonly Source[];
};

export type LoadOptions = {
  /** The project's folder. */
  root: string;
  /** Path of gateway.yaml, if another is meant. */
  file?: string | undefined;
  /** Name of a file in environments/. */
  env?: string | undefined;
  /** `--set` arguments. */
  sets?: readonly string[];
  stages: readonly StageDefinition[];
};

/**
 * Reads and checks the configuration:
 * defaults < gateway.yaml < environments/<env>.yaml < gateway.local.yaml < --set.
 * Maps are merged, lists and single values replaced.
 * @throws BuildError that holds every problem, each with its file, line and column.
 */
export async function loadConfig(o: LoadOptions): Promise<LoadedConfig> {
  const sources = await readLayers(o);
  const merged = sources.reduce<Record<string, unknown>>(
    (below, source) => merge(below, source.value),
    {},
  );
  const { enabled, data } = splitStages(merged, o.stages);
  const parsed = configSchema(enabled).safeParse(data);
  const schema = fileSchema(o.stages);
  const place = (path: readonly PropertyKey[], key = false) => placeIn(sources, path, key);
  if (!parsed.success) throw configErrors(schemaProblems(parsed.error, schema, sources));
  const config = parsed.data as Config;
  const problems = checkStages(config, enabled, o.stages, place);
  if (problems.length > 0) throw configErrors(inOrder(problems, sources));
  return { config, sources };
}

async function readLayers(o: LoadOptions): Promise<Source[]> {
  const main = o.file ?? join(o.root, 'gateway.yaml');
  const first = await readSource(main, relative(o.root, main));
  if (!first && o.file)
    throw new BuildError({
      what: 'There is no such configuration file',
      where: o.file,
      fix: 'Check the path given to --config',
      code: exitCode.usage,
    });
  const layers: (Source | undefined)[] = [first];
  if (o.env !== undefined) layers.push(await readEnvironment(o.root, o.env));
  layers.push(await readSource(join(o.root, 'gateway.local.yaml'), 'gateway.local.yaml'));
  layers.push(...(o.sets ?? []).map(parseSet));
  return layers.filter((layer) => layer !== undefined);
}

async function readEnvironment(root: string, env: string): Promise<Source> {
  const folder = join(root, 'environments');
  const known = (await readdir(folder).catch(() => []))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -5))
    .sort();
  const source = known.includes(env)
    ? await readSource(join(folder, `${env}.yaml`), `environments/${env}.yaml`)
    : undefined;
  if (!source)
    throw new BuildError({
      what: `There is no environment '${env}'`,
      where: 'environments/',
      fix: known.length > 0 ? `Known: ${known.join(', ')}` : `Make environments/${env}.yaml`,
      code: exitCode.usage,
    });
  return source;
}

function merge(
  below: Record<string, unknown>,
  above: Record<string, unknown>,
): Record<string, unknown> {
  const result = new Map(Object.entries(below));
  for (const [key, value] of Object.entries(above)) {
    const old = result.get(key);
    result.set(key, isRecord(old) && isRecord(value) ? merge(old, value) : value);
  }
  return Object.fromEntries(result);
}

/** Takes the stages that are off out of the data; what is no stage stays in and is refused later. */
function splitStages(
  merged: Record<string, unknown>,
  stages: readonly StageDefinition[],
): { enabled: StageDefinition[]; data: Record<string, unknown> } {
  const given = merged.stages ?? {};
  if (!isRecord(given)) return { enabled: [...stages], data: merged };
  const rest = new Map(Object.entries(given));
  const enabled = stages.filter((stage) => {
    const value = rest.get(stage.name);
    const on = value === undefined ? stage.enabledByDefault !== false : value !== false;
    if (!on) rest.delete(stage.name);
    else if (value === undefined || value === null || value === true) rest.set(stage.name, {});
    return on;
  });
  return { enabled, data: { ...merged, stages: Object.fromEntries(rest) } };
}

/** Depth: how many keys of the path are really there. */
type Placed = Omit<ConfigProblem, 'message'> & { depth: number };
type Place = (path: readonly PropertyKey[], key?: boolean) => Placed;

/** The place where the topmost layer that has the path (or its nearest parent) set it. */
export function placeIn(
  sources: readonly Source[],
  path: readonly PropertyKey[],
  key = false,
): Placed {
  for (let length = path.length; length > 0; length--) {
    const wanted = pathKey(path.slice(0, length));
    for (const source of sources.toReversed()) {
      if (!has(source.value, path.slice(0, length))) continue;
      const position =
        (key || length < path.length ? source.keys : source.values).get(wanted) ??
        source.keys.get(wanted);
      const line = position ? source.lines[position.line - 1] : undefined;
      return { source, position, line, depth: length };
    }
  }
  return { source: sources[0], file: 'gateway.yaml', depth: 0 };
}

function has(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return true;
}

/** What a schema finds wrong in the layers, with the place of each mistake. */
export function schemaProblems(
  error: z.ZodError,
  schema: z.ZodType,
  sources: readonly Source[],
): ConfigProblem[] {
  const place = (path: readonly PropertyKey[], key = false) => placeIn(sources, path, key);
  const problems = error.issues.flatMap(flatten).flatMap((one) => describe(one, schema, place));
  return inOrder(problems, sources);
}

type Issue = z.core.$ZodIssue;

/** Of a union's branches, the one that got furthest says best what is wrong. */
function flatten(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const branches = issue.errors.filter((branch) =>
    branch.some((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys'),
  );
  const [best] = branches.toSorted((a, b) => a.length - b.length);
  if (!best) return [issue];
  return best.flatMap((inner) => flatten({ ...inner, path: [...issue.path, ...inner.path] }));
}

function describe(issue: Issue, schema: z.ZodType, place: Place): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return {
        ...place(path, true),
        message: `Unknown key '${path.map(String).join('.')}'`,
        fix: suggestKey(schema, issue.path, key),
      };
    });
  const path = issue.path.map(String).join('.');
  return [{ ...place(issue.path), message: `${path}: ${issue.message}` }];
}

/** The nearest key that is valid there, or the place where the key itself is valid. */
function suggestKey(schema: z.ZodType, path: readonly PropertyKey[], key: string): string {
  const here = keysAt(schema, path);
  const close = nearest(key, here);
  if (close) return `Did you mean '${close}'?`;
  const elsewhere = allPaths(schema).filter((candidate) => candidate.split('.').at(-1) === key);
  if (elsewhere.length > 0) return `It belongs at ${elsewhere.join(' or ')}`;
  return here.length > 0 ? `Valid here: ${here.toSorted().join(', ')}` : 'Remove it';
}

/** Shape of an object schema below wrappers such as defaults and unions. */
function shapeOf(schema: unknown): Record<string, unknown> | undefined {
  if (schema instanceof z.ZodObject) return schema.shape;
  const { def } = schema as { def?: { innerType?: unknown; options?: unknown[]; in?: unknown } };
  for (const inner of [def?.innerType, def?.in, ...(def?.options ?? [])]) {
    const shape = inner === undefined ? undefined : shapeOf(inner);
    if (shape) return shape;
  }
  return undefined;
}

function keysAt(schema: unknown, path: readonly PropertyKey[]): string[] {
  let shape = shapeOf(schema);
  for (const key of path) shape = shape?.[String(key)] ? shapeOf(shape[String(key)]) : undefined;
  return Object.keys(shape ?? {});
}

function allPaths(schema: unknown, prefix = ''): string[] {
  return Object.entries(shapeOf(schema) ?? {}).flatMap(([key, inner]) => [
    `${prefix}${key}`,
    ...allPaths(inner, `${prefix}${key}.`),
  ]);
}

function checkStages(
  config: Config,
  enabled: readonly StageDefinition[],
  all: readonly StageDefinition[],
  place: Place,
): ConfigProblem[] {
  const names = new Set(enabled.map((stage) => stage.name));
  const gateway = gatewayConfig(config, enabled);
  const own = enabled.flatMap((stage) => [
    ...(stage.needs ?? [])
      .filter((need) => !names.has(need))
      .map((need) => ({
        ...place(['stages', need]),
        message: `The stage '${stage.name}' needs '${need}', which is ${all.some((other) => other.name === need) ? 'off' : 'unknown'}`,
        fix: `Turn ${need} on, or ${stage.name} off`,
      })),
    ...(stage.validate?.(config.stages[stage.name], gateway) ?? []).map((problem) => ({
      ...place(['stages', stage.name, ...problem.path]),
      message: `stages.${[stage.name, ...problem.path].join('.')}: ${problem.message}`,
    })),
  ]);
  return [...own, ...portClashes(gateway.ports).map((clash) => describeClash(clash, place))];
}

/** The port that somebody set is the mistake, not the default that it meets. */
function describeClash([one, other]: readonly [StagePort, StagePort], place: Place): ConfigProblem {
  const path = (port: StagePort) => ['stages', port.stage, ...port.path];
  const isSet = (port: StagePort) => place(path(port)).depth === path(port).length;
  const depth = (port: StagePort) =>
    // An extension comes to what is there already.
    port.declared && !isSet(port) ? Number.POSITIVE_INFINITY : place(path(port)).depth;
  const [wrong, right] = depth(one) > depth(other) ? [one, other] : [other, one];
  return {
    ...(wrong.declared && !isSet(wrong) ? wrong.declared : place(path(wrong))),
    message: `${path(wrong).join('.')}: ${wrong.protocol.toUpperCase()} port ${wrong.port} is also ${right.name}'s (${path(right).join('.')})`,
    fix: 'Give one of them another port',
  };
}

function inOrder(problems: readonly ConfigProblem[], sources: readonly Source[]): ConfigProblem[] {
  const rank = (problem: ConfigProblem) =>
    (problem.source ? sources.indexOf(problem.source) : -1) * 1e9 +
    (problem.position?.line ?? 0) * 1e4 +
    (problem.position?.column ?? 0);
  return problems.toSorted((a, b) => rank(a) - rank(b));
}
