import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { at, type System, syncDirectory, writeDurably } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { zoneReport } from '../firewall/status.ts';
import { readPorts } from '../services/units.ts';
import {
  type AppState,
  appNames,
  forgetApp,
  isPending,
  type Job,
  type PinnedImage,
  readState,
  readWanted,
  type WantedApp,
  writeState,
  writeWanted,
} from './app.ts';
import { needTemplate } from './catalog.ts';
import { needFacts } from './facts.ts';
import { dropImages, pinnedName, resolveImage } from './images.ts';
import { applyOptions } from './options.ts';
import { type Owner, ownerOf, podman, userSystemctl } from './owner.ts';
import {
  filesFolder,
  owner as ownerUser,
  quadletFolder,
  secretMaps,
  secretsUnit,
} from './places.ts';
import { applyPorts, portsRuleset } from './ports.ts';
import { hostFile, quadlets, unitsOf } from './quadlet.ts';
import { partName, secretOf, type Template } from './template.ts';

/**
 * Makes an app what is wanted of it. Each step may be done again: a worker that was killed, or a power cut, is
 * followed by one that begins anew and comes to the same end.
 */

type Images = Record<string, PinnedImage>;

/** What a change came to. */
type Outcome = Pick<Job, 'state' | 'message'>;

export async function workOn(
  system: System,
  app: string,
  owner: Owner = ownerOf(system),
): Promise<Job | undefined> {
  let last: Job | undefined;
  for (;;) {
    const wanted = await readWanted(system, app);
    const state = await readState(system, app);
    if (!wanted || !isPending(wanted, state)) return last;
    last = await doJob(system, owner, wanted, state);
    system.say(
      `${app}: ${last.action}: ${last.state}${last.message === '' ? '' : `: ${last.message}`}`,
    );
    if (wanted.action === 'remove' && last.state === 'done') return last;
  }
}

/** Every app with something left to do: after a power cut. */
export async function resumeAll(system: System, owner: Owner = ownerOf(system)): Promise<void> {
  for (const app of await appNames(system)) await workOn(system, app, owner);
}

/** After a restore onto another card: every app as it was, with images loaded or pulled anew. */
export async function reviveAll(system: System, owner: Owner = ownerOf(system)): Promise<void> {
  for (const app of await appNames(system)) {
    const wanted = await readWanted(system, app);
    if (!wanted) continue;
    await writeWanted(system, { ...wanted, action: 'configure', revision: wanted.revision + 1 });
    await workOn(system, app, owner);
  }
}

async function doJob(
  system: System,
  owner: Owner,
  wanted: WantedApp,
  before: AppState,
): Promise<Job> {
  const started_at = new Date().toISOString();
  const running: Job = {
    action: wanted.action,
    state: 'running',
    message: '',
    started_at,
    finished_at: null,
  };
  let state: AppState = { ...before, revision: wanted.revision, job: running };
  await writeState(system, state);
  let outcome: Outcome;
  try {
    if (wanted.action === 'remove') {
      await removeApp(system, owner, wanted, state);
      return { ...running, state: 'done', finished_at: new Date().toISOString() };
    }
    ({ state, outcome } = await changeApp(system, owner, wanted, state));
  } catch (error) {
    const fix = error instanceof GatewayError ? ` → ${error.fix}` : '';
    const text = error instanceof Error ? error.message : String(error);
    outcome = { state: 'failed', message: `${text}${fix}`.slice(0, 1_000) };
  }
  const done: Job = { ...running, ...outcome, finished_at: new Date().toISOString() };
  await writeState(system, { ...state, job: done });
  return done;
}

async function changeApp(
  system: System,
  owner: Owner,
  wanted: WantedApp,
  before: AppState,
): Promise<{ state: AppState; outcome: Outcome }> {
  const { app, action } = wanted;
  if (action === 'restart') {
    await start(owner, before.units);
    return { state: before, outcome: { state: 'done', message: '' } };
  }
  const from = applyOptions(await needTemplate(system, wanted.template), wanted.options);
  const images =
    action === 'rollback'
      ? previousImages(before)
      : await resolveImages(system, owner, from, before, action === 'update' ? 'newest' : 'there');
  if (action === 'update' && sameImages(images, before.images))
    return { state: before, outcome: { state: 'nothing', message: 'It is the newest already' } };

  const files = quadlets(app, from, namesOf(images));
  const after: AppState = {
    ...before,
    images,
    units: unitsOf(app, from),
    files: Object.keys(files).sort(),
    volumes: [
      ...new Set([
        ...before.volumes,
        ...from.parts.flatMap((part) => part.volumes.map(({ name }) => `${app}--${name}`)),
      ]),
    ],
  };
  // Before anything is there: a worker that is killed from here on leaves nothing that is in no list.
  await writeState(system, {
    ...before,
    files: [...new Set([...before.files, ...after.files])],
    units: [...new Set([...before.units, ...after.units])],
    volumes: after.volumes,
  });
  try {
    await writeFiles(system, app, from);
    await ready(system, app);
    await writeQuadlets(system, files, before.files);
    await userSystemctl(owner, ['daemon-reload']);
    await stop(
      owner,
      before.units.filter((unit) => !after.units.includes(unit)),
    );
    await start(owner, after.units);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (!before.installed) {
      await discard(system, owner, app, after);
      throw error;
    }
    await writeQuadlets(system, before.good, after.files);
    await userSystemctl(owner, ['daemon-reload']);
    const again = await start(owner, before.units).then(
      () => '',
      (cause: unknown) => `; and what was before does not run either: ${String(cause)}`,
    );
    await dropImages(owner, Object.values(images), [
      ...imagesOf(before),
      ...(await imagesOfOthers(system, app)),
    ]);
    const state = again === '' ? ('undone' as const) : ('failed' as const);
    return { state: before, outcome: { state, message: `${text}${again}`.slice(0, 1_000) } };
  }
  const state: AppState = {
    ...after,
    installed: true,
    good: files,
    previous: sameImages(images, before.images)
      ? before.previous
      : before.installed
        ? before.images
        : null,
    ports: from.parts.flatMap((part) =>
      part.ports.map(({ name, protocol, published, zones }) => ({
        app,
        name,
        protocol,
        port: published,
        zones,
      })),
    ),
  };
  await writeState(system, state);
  // Opened when it is well.
  await loadPorts(system);
  if (from.metrics)
    await system.run('systemctl', ['enable', '--quiet', '--now', metricsTimer(app)]);
  await dropImages(owner, imagesOf(before), [
    ...imagesOf(state),
    ...(await imagesOfOthers(system, app)),
  ]);
  return { state, outcome: { state: 'done', message: '' } };
}

function previousImages({ previous }: AppState): Images {
  if (previous) return previous;
  throw new GatewayError(
    'There are no images of before to go back to',
    'There are some after the first update',
    'conflict',
  );
}

async function resolveImages(
  system: System,
  owner: Owner,
  from: Template,
  before: AppState,
  how: 'there' | 'newest',
): Promise<Images> {
  const images: Images = {};
  for (const part of from.parts) {
    const known = before.images[part.name];
    // An app keeps the images that it has until it is updated, or told to have others.
    const stays = how === 'there' && before.installed && known?.reference === part.image;
    const wanted = { reference: part.image, digest: stays ? known.digest : part.digest };
    images[part.name] = await resolveImage(system, owner, wanted, how);
  }
  return images;
}

const namesOf = (images: Images): Record<string, string> =>
  Object.fromEntries(Object.entries(images).map(([part, image]) => [part, pinnedName(image)]));

const sameImages = (a: Images, b: Images): boolean =>
  JSON.stringify(namesOf(a)) === JSON.stringify(namesOf(b));

/** Those that it runs, and those that a roll-back needs. */
const imagesOf = ({ images, previous }: AppState): PinnedImage[] => [
  ...Object.values(images),
  ...Object.values(previous ?? {}),
];

async function imagesOfOthers(system: System, app: string): Promise<PinnedImage[]> {
  const others = (await appNames(system)).filter((one) => one !== app);
  const states = await Promise.all(others.map((one) => readState(system, one)));
  return states.flatMap(imagesOf);
}

// ---- Files

/** @param others names that may be there and are removed if they are not among the files. */
async function writeQuadlets(
  system: System,
  files: Readonly<Record<string, string>>,
  others: readonly string[],
): Promise<void> {
  const folder = at(system, quadletFolder);
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeDurably(join(folder, name), text);
  for (const name of others) if (!(name in files)) await rm(join(folder, name), { force: true });
  await syncDirectory(folder);
}

/** Configuration that the template brings, and which part reads which secret. */
async function writeFiles(system: System, app: string, from: Template): Promise<void> {
  for (const part of from.parts)
    for (const file of part.files)
      await writeDurably(at(system, hostFile(partName(app, part, from), file.path)), file.content);
  const lines = [
    ...unitsOf(app, from).map((unit) => `unit ${unit}`),
    ...from.parts.flatMap((part) =>
      part.secrets.map(
        ({ secret }) => `secret ${part.name} ${secret} ${secretOf(app, secret)} ${part.uid}`,
      ),
    ),
  ];
  await writeDurably(at(system, join(secretMaps, app)), `${lines.join('\n')}\n`, 0o600);
}

// ---- Units

const metricsTimer = (app: string) => `pi-gateway-container-metrics@${app}.timer`;

/** Secrets in their place, and the user's own systemd, which holds the containers. */
async function ready(system: System, app: string): Promise<void> {
  await system.run('systemctl', ['enable', '--quiet', secretsUnit(app)]);
  await system.run('systemctl', ['restart', secretsUnit(app)]);
  await system.run('loginctl', ['enable-linger', ownerUser.name]);
  await system.run('systemctl', ['start', `user@${ownerUser.uid}.service`]);
}

/** Milliseconds: the longest health check of a template, and a slow card. Its own end is TimeoutStartSec=. */
const startPatience = 3_900_000;

/** Starts them anew, in order, each until it is well. @throws GatewayError of the first that does not become so. */
async function start(owner: Owner, units: readonly string[]): Promise<void> {
  // What needs a unit is stopped with it.
  await stop(owner, units);
  for (const unit of units) {
    try {
      await userSystemctl(owner, ['start', unit], startPatience);
    } catch {
      throw new GatewayError(
        `${unit.replace('.service', '')} does not become well`,
        `See why: sudo pi-gateway container logs ${unit.replace('.service', '')}`,
      );
    }
  }
}

async function stop(owner: Owner, units: readonly string[]): Promise<void> {
  if (units.length === 0) return;
  await userSystemctl(owner, ['stop', ...units], 300_000).catch(() => undefined);
  await userSystemctl(owner, ['reset-failed', ...units]).catch(() => undefined);
}

// ---- Removal

async function discard(system: System, owner: Owner, app: string, state: AppState): Promise<void> {
  await stop(owner, state.units);
  await writeQuadlets(system, {}, state.files);
  await userSystemctl(owner, ['daemon-reload']);
  for (const unit of [metricsTimer(app), secretsUnit(app)])
    await system.run('systemctl', ['disable', '--quiet', '--now', unit]).catch(() => '');
  await rm(at(system, join(secretMaps, app)), { force: true });
  for (const unit of state.units)
    await rm(at(system, join(filesFolder, unit.replace('.service', ''))), {
      recursive: true,
      force: true,
    });
}

async function removeApp(
  system: System,
  owner: Owner,
  wanted: WantedApp,
  state: AppState,
): Promise<void> {
  const { app } = wanted;
  // First nobody reaches it.
  await writeState(system, { ...state, ports: [] });
  await loadPorts(system);
  await discard(system, owner, app, state);
  for (const network of state.files.filter((one) => one.endsWith('.network')))
    await podman(owner, 'network', 'rm', '--force', network.replace('.network', '')).catch(
      () => '',
    );
  if (wanted.volumes && state.volumes.length > 0)
    await podman(owner, 'volume', 'rm', '--force', ...state.volumes);
  await forgetApp(system, app);
  await dropImages(owner, imagesOf(state), await imagesOfOthers(system, app));
  if ((await appNames(system)).length === 0)
    await system.run('loginctl', ['disable-linger', ownerUser.name]).catch(() => '');
}

// ---- Ports

/** The firewall's rules for the ports of all apps. */
export async function loadPorts(system: System): Promise<void> {
  const facts = await needFacts(system);
  const { policy } = await zoneReport(system);
  const ports = (
    await Promise.all((await appNames(system)).map((app) => readState(system, app)))
  ).flatMap((one) => one.ports);
  const own = (await readPorts(system)).map(({ protocol, port }) => `${protocol} ${port}`);
  const zones = policy.zones.map(({ name }) => name);
  await applyPorts(system, portsRuleset(ports, facts, zones, new Set(own)));
}
