import type * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { decryptValue, needSecret } from '../secrets/store.ts';
import {
  type AppState,
  appNames,
  isPending,
  readState,
  readWanted,
  type WantedApp,
  writeWanted,
} from './app.ts';
import { isGatewayPort, needApp } from './ask.ts';
import { needTemplate, readTemplates } from './catalog.ts';
import { type ContainersFacts, readFacts } from './facts.ts';
import { applyOptions } from './options.ts';
import { type Owner, ownerOf, podman } from './owner.ts';
import { owner as ownerUser } from './places.ts';
import { partName, secretOf, type Template } from './template.ts';
import type { AppView, ContainersView, catalogView, partState } from './view.ts';

type Part = z.input<typeof partState>;

/** `podman ps --format json`, as far as it is used. */
type PodmanContainer = { Names?: string[]; State?: string; Status?: string; StartedAt?: number };

/** All apps, and how they are. */
export async function containersStatus(
  system: System,
  owner: Owner = ownerOf(system),
): Promise<ContainersView> {
  const facts = await readFacts(system);
  if (!facts) return { available: false, address4: null, address6: null, apps: [] };
  const names = await appNames(system);
  const running = names.length === 0 ? new Map() : await containersOf(system, owner);
  const apps: AppView[] = [];
  for (const app of names) {
    const wanted = await readWanted(system, app);
    if (wanted) apps.push(await viewOf(system, facts, wanted, running));
  }
  return { available: true, address4: facts.address4, address6: facts.address6, apps };
}

async function containersOf(system: System, owner: Owner): Promise<Map<string, PodmanContainer>> {
  // Without the user's systemd nothing runs; Podman would only make its folders anew.
  const isUp = await system
    .run('systemctl', ['is-active', '--quiet', `user@${ownerUser.uid}.service`])
    .then(
      () => true,
      () => false,
    );
  if (!isUp) return new Map();
  const text = await podman(
    owner,
    ...['ps', '--all', '--filter', 'label=pi-gateway.app', '--format', 'json'],
  );
  const all = JSON.parse(text.trim() === '' ? '[]' : text) as PodmanContainer[];
  return new Map(all.flatMap((one) => (one.Names ?? []).map((name) => [name, one] as const)));
}

async function viewOf(
  system: System,
  facts: ContainersFacts,
  wanted: WantedApp,
  running: ReadonlyMap<string, PodmanContainer>,
): Promise<AppView> {
  const { app } = wanted;
  const state = await readState(system, app);
  const from = applyOptions(await needTemplate(system, wanted.template), wanted.options);
  const parts = state.installed
    ? from.parts.map((part) => partOf(partName(app, part, from), part.name, state, running))
    : [];
  return {
    app,
    template: wanted.template,
    title: from.title,
    installed: state.installed,
    state: stateOf(wanted, state, parts),
    job: state.revision === wanted.revision ? state.job : null,
    parts,
    addresses: state.installed ? await addressesOf(system, facts, from) : [],
    options: wanted.options,
    may_roll_back: state.installed && state.previous !== null,
    password_untold: from.login !== null && !wanted.told,
    volumes: state.volumes,
    notes: from.notes,
  };
}

function partOf(
  container: string,
  name: string,
  state: AppState,
  running: ReadonlyMap<string, PodmanContainer>,
): Part {
  const found = running.get(container);
  const health = /\((healthy|unhealthy|starting)\)/.exec(found?.Status ?? '')?.[1];
  const started = found?.StartedAt;
  return {
    name,
    state: found?.State ?? 'missing',
    health: (health as Part['health'] | undefined) ?? 'none',
    since: started && started > 0 ? new Date(started * 1000).toISOString() : null,
    image: state.images[name] ?? null,
  };
}

function stateOf(wanted: WantedApp, state: AppState, parts: readonly Part[]): AppView['state'] {
  if (isPending(wanted, state)) return 'working';
  if (!state.installed) return 'not installed';
  if (parts.every((one) => one.state === 'running' && one.health === 'healthy')) return 'well';
  const begins = parts.every(
    (one) => one.state === 'running' && (one.health === 'healthy' || one.health === 'starting'),
  );
  return begins ? 'starting' : 'unwell';
}

async function addressesOf(
  system: System,
  { address4 }: ContainersFacts,
  from: Template,
): Promise<AppView['addresses']> {
  const addresses: AppView['addresses'] = [];
  for (const part of from.parts)
    for (const { name, protocol, published, web, zones } of part.ports) {
      const own = await isGatewayPort(system, protocol, published);
      const who = zones.length === 0 ? 'the gateway alone' : zones.join(', ');
      addresses.push({
        name,
        url: web === null ? null : `http://${address4}:${published}${web}`,
        text: `${protocol} ${published} of ${own ? address4 : `the gateway or ${address4}`}, for ${who}`,
      });
    }
  return addresses;
}

export async function catalogOf(system: System): Promise<z.input<typeof catalogView>> {
  const templates = await readTemplates(system);
  return {
    templates: templates.map(({ id, title, summary, parts, notes }) => ({
      id,
      title,
      summary,
      parts: parts.map(({ name, image, limits, networks, writable_because }) => ({
        name,
        image,
        memory_mib: limits.memory_mib,
        cpus: limits.cpus,
        networks,
        writable_because,
      })),
      ports: parts.flatMap((part) =>
        part.ports.map(({ name, protocol, published, zones }) => ({
          name,
          protocol,
          port: published,
          zones,
        })),
      ),
      notes,
    })),
  };
}

/**
 * The password that an app was installed with, once: that it was told is noted before it is, so that whoever takes
 * over a session later does not get it again.
 */
export async function tellFirstPassword(
  system: System,
  app: string,
): Promise<{ user: string | null; password: string }> {
  const wanted = await needApp(system, app);
  const { login } = await needTemplate(system, wanted.template);
  if (!login)
    throw new GatewayError(
      `${app} was not given a password`,
      'Its first user is made where it is opened for the first time: do that now',
      'missing',
    );
  const secret = secretOf(app, login.secret);
  if (wanted.told)
    throw new GatewayError(
      `The first password of ${app} was told already`,
      `Root reads it on the device: sudo pi-gateway secret show ${secret}`,
      'conflict',
    );
  const password = await decryptValue(system, await needSecret(system, secret));
  await writeWanted(system, { ...wanted, told: true });
  return { user: login.user, password };
}
