import { readdir, rm } from 'node:fs/promises';
import * as z from 'zod';
import { zone } from '../../builder/config/fields.ts';
import {
  at,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { appOptions } from './options.ts';
import { appsFolder } from './places.ts';
import { appName, imageDigest } from './template.ts';

/**
 * Two files of each app: what is wanted of it, as the helper was told (or the nightly update), and how far that
 * has come, which the worker alone writes. A worker that was killed finds in them what is left to do.
 */

export const actions = ['install', 'configure', 'update', 'rollback', 'restart', 'remove'] as const;
export type Action = (typeof actions)[number];

export const wantedApp = z.strictObject({
  format: z.literal(1),
  app: appName,
  template: appName,
  /** One more with each thing that is asked for. */
  revision: z.number().int().min(1),
  action: z.enum(actions),
  /** Of remove: the volumes and secrets too. */
  volumes: z.boolean().default(false),
  options: appOptions,
  asked_at: z.iso.datetime(),
  /** Its first password was told. */
  told: z.boolean().default(false),
});
export type WantedApp = z.output<typeof wantedApp>;

/** What a part's image is: its name, and the digest that what runs is pinned to. */
export const pinnedImage = z.strictObject({ reference: z.string(), digest: imageDigest });
export type PinnedImage = z.output<typeof pinnedImage>;
const images = z.record(z.string(), pinnedImage);

export const job = z.strictObject({
  action: z.enum(actions),
  /**
   * running; done; nothing: the image is the newest already; undone: what was there before is back, as the new
   * did not become well; failed.
   */
  state: z.enum(['running', 'done', 'nothing', 'undone', 'failed']),
  message: z.string(),
  started_at: z.iso.datetime(),
  finished_at: z.iso.datetime().nullable(),
});
export type Job = z.output<typeof job>;

export const appState = z.strictObject({
  format: z.literal(1),
  app: appName,
  /** The revision that the job is of. */
  revision: z.number().int().min(0),
  job: job.nullable(),
  installed: z.boolean(),
  images,
  /** Those before the last update: where a roll-back leads to. */
  previous: images.nullable(),
  units: z.array(z.string()),
  /** Names of its Quadlets. */
  files: z.array(z.string()),
  /** The Quadlets that it was last well with: what a change that fails goes back to. */
  good: z.record(z.string(), z.string()),
  /** Names of its volumes in Podman; they stay when it is removed, unless asked. */
  volumes: z.array(z.string()),
  ports: z.array(
    z.strictObject({
      app: appName,
      name: z.string(),
      protocol: z.enum(['tcp', 'udp']),
      port: z.number().int(),
      zones: z.array(zone),
    }),
  ),
});
export type AppState = z.output<typeof appState>;

const pathOf = (system: System, app: string, what: 'wanted' | 'state') =>
  at(system, `${appsFolder}/${appName.parse(app)}.${what}.json`);

export async function appNames(system: System): Promise<string[]> {
  const names = await readdir(at(system, appsFolder)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .filter((one) => one.endsWith('.wanted.json') && !one.startsWith('.'))
    .map((one) => one.slice(0, -'.wanted.json'.length))
    .filter((one) => appName.safeParse(one).success)
    .sort();
}

export async function readWanted(system: System, app: string): Promise<WantedApp | undefined> {
  return await read(pathOf(system, app, 'wanted'), wantedApp);
}

export async function readState(system: System, app: string): Promise<AppState> {
  return (
    (await read(pathOf(system, app, 'state'), appState)) ?? {
      format: 1,
      app,
      revision: 0,
      job: null,
      installed: false,
      images: {},
      previous: null,
      units: [],
      files: [],
      good: {},
      volumes: [],
      ports: [],
    }
  );
}

async function read<S extends z.ZodType>(
  path: string,
  schema: S,
): Promise<z.output<S> | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    throw new GatewayError(
      `${path} is damaged`,
      'Restore it from a backup; or remove it and install the app anew: its volumes are kept',
    );
  }
}

export async function writeWanted(system: System, wanted: WantedApp): Promise<void> {
  await write(pathOf(system, wanted.app, 'wanted'), wantedApp.parse(wanted));
}

export async function writeState(system: System, state: AppState): Promise<void> {
  await write(pathOf(system, state.app, 'state'), appState.parse(state));
}

async function write(path: string, value: unknown): Promise<void> {
  await writeDurably(path, `${JSON.stringify(value, null, 2)}\n`, 0o600);
}

/** The app is gone: what is wanted first, so that a state without it is nobody's. */
export async function forgetApp(system: System, app: string): Promise<void> {
  for (const what of ['wanted', 'state'] as const)
    await rm(pathOf(system, app, what), { force: true });
  await syncDirectory(at(system, appsFolder));
}

/** True while the worker has something to do, or does it. */
export function isPending(wanted: WantedApp, state: AppState): boolean {
  return state.revision !== wanted.revision || state.job?.state === 'running';
}
