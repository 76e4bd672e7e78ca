import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { setSecret } from '../secrets/change.ts';
import { findSecret } from '../secrets/store.ts';
import { readPorts } from '../services/units.ts';
import {
  type Action,
  appNames,
  isPending,
  readState,
  readWanted,
  type WantedApp,
  writeWanted,
} from './app.ts';
import { needTemplate } from './catalog.ts';
import { needFacts } from './facts.ts';
import { type AppOptions, applyOptions, appOptions, optionMistakes } from './options.ts';
import { secretsUnit } from './places.ts';
import { partName, secretOf, type Template } from './template.ts';

/** What the helper does when something is asked of an app: it notes that, and starts the worker. */

export const workerUnit = (app: string): string => `pi-gateway-container@${app}.service`;

export type Asked = { app: string; revision: number };

/** @throws GatewayError for names that clash, ports that are taken, options that the template does not have. */
export async function askInstall(
  system: System,
  app: string,
  templateId: string,
  options: AppOptions,
): Promise<Asked> {
  await needFacts(system);
  const known = await readWanted(system, app);
  if (known && (await readState(system, app)).installed)
    throw new GatewayError(
      `${app} is installed already`,
      `Change it: sudo pi-gateway container configure ${app}; or take another name: --name`,
      'conflict',
    );
  const from = await needTemplate(system, templateId);
  await refuseMistakes(system, app, from, options);
  for (const secret of from.secrets) {
    const name = secretOf(app, secret);
    // Kept from an app that was removed with its volumes kept: what is in them goes by the old one.
    if (!(await findSecret(system, name)))
      await setSecret(system, { name, made: 'generated', units: [secretsUnit(app)] });
  }
  return await note(system, {
    format: 1,
    app,
    template: templateId,
    revision: (known?.revision ?? 0) + 1,
    action: 'install',
    volumes: false,
    options,
    asked_at: new Date().toISOString(),
    told: false,
  });
}

/** @param given replaces the options of the same keys; what it does not name stays. */
export async function askConfigure(
  system: System,
  app: string,
  given: { [K in keyof AppOptions]?: AppOptions[K] | undefined },
): Promise<Asked> {
  const wanted = await needIdle(system, app);
  const merged = Object.fromEntries(
    Object.entries(wanted.options).map(([key, value]) => [
      key,
      { ...value, ...given[key as keyof AppOptions] },
    ]),
  );
  const options = appOptions.parse(merged);
  await refuseMistakes(system, app, await needTemplate(system, wanted.template), options);
  return await again(system, { ...wanted, options }, 'configure');
}

export async function ask(
  system: System,
  app: string,
  action: Extract<Action, 'update' | 'rollback' | 'restart' | 'remove'>,
  volumes = false,
): Promise<Asked> {
  const wanted = await needIdle(system, app);
  const state = await readState(system, app);
  if (action === 'rollback' && !state.previous)
    throw new GatewayError(
      `${app} has no images of before to go back to`,
      'There are some after its first update',
      'conflict',
    );
  if (action !== 'remove' && !state.installed)
    throw new GatewayError(
      `${app} is not installed: ${state.job?.message ?? 'its installation has not begun'}`,
      `Try again: sudo pi-gateway container remove ${app}, then install it`,
      'conflict',
    );
  return await again(system, { ...wanted, volumes }, action);
}

async function again(system: System, wanted: WantedApp, action: Action): Promise<Asked> {
  return await note(system, {
    ...wanted,
    action,
    revision: wanted.revision + 1,
    asked_at: new Date().toISOString(),
  });
}

async function note(system: System, wanted: WantedApp): Promise<Asked> {
  await writeWanted(system, wanted);
  await system.run('systemctl', ['reset-failed', workerUnit(wanted.app)]).catch(() => '');
  await system.run('systemctl', ['start', '--no-block', workerUnit(wanted.app)]);
  return { app: wanted.app, revision: wanted.revision };
}

export async function needApp(system: System, app: string): Promise<WantedApp> {
  await needFacts(system);
  const wanted = await readWanted(system, app);
  if (wanted) return wanted;
  throw new GatewayError(
    `There is no app ${app}`,
    'See which there are: sudo pi-gateway container status; and which could be: sudo pi-gateway container catalog',
    'missing',
  );
}

async function needIdle(system: System, app: string): Promise<WantedApp> {
  const wanted = await needApp(system, app);
  if (isPending(wanted, await readState(system, app))) {
    const unit = workerUnit(app);
    const state = await system
      .run('systemctl', ['show', '--property=ActiveState', '--value', unit])
      .catch(() => '');
    if (['active', 'activating', 'reloading'].includes(state.trim()))
      throw new GatewayError(
        `Something is under way with ${app} already: ${wanted.action}`,
        `Wait for its end: sudo pi-gateway container status ${app}`,
        'conflict',
      );
  }
  return wanted;
}

async function refuseMistakes(
  system: System,
  app: string,
  from: Template,
  options: AppOptions,
): Promise<void> {
  const mistakes = [
    ...optionMistakes(from, options),
    ...(await portClashes(system, app, applyOptions(from, options))),
  ];
  if (mistakes.length === 0) return;
  throw new GatewayError(mistakes.join('; '), 'Mend it and ask again', 'refused');
}

/** Ports that another app has. Those of the gateway itself are at other addresses. */
async function portClashes(system: System, app: string, from: Template): Promise<string[]> {
  const others = (await appNames(system)).filter((one) => one !== app);
  const taken = new Map<string, string>();
  for (const other of others) {
    const wanted = await readWanted(system, other);
    if (!wanted) continue;
    const theirs = applyOptions(await needTemplate(system, wanted.template), wanted.options);
    for (const part of theirs.parts)
      for (const port of part.ports) taken.set(`${port.protocol} ${port.published}`, other);
  }
  return from.parts.flatMap((part) =>
    part.ports.flatMap((port) => {
      const other = taken.get(`${port.protocol} ${port.published}`);
      return other === undefined
        ? []
        : [
            `port ${port.published} of ${partName(app, part, from)} is ${other}'s already: give it another by ports: {${port.name}: …}`,
          ];
    }),
  );
}

/** Whether the gateway itself has the port: then it is reached at the containers' own address alone. */
export async function isGatewayPort(
  system: System,
  protocol: string,
  port: number,
): Promise<boolean> {
  return (await readPorts(system)).some((one) => one.protocol === protocol && one.port === port);
}
