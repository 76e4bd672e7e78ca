import type { Command } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { type Zone, zones } from '../../stages/define.ts';
import { type AnswerOf, localClient } from '../api/client.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { forTerminal, type Output, print, table } from '../terminal.ts';
import { loadImage } from './images.ts';
import { showLogs } from './logs.ts';
import type { AppOptions } from './options.ts';
import { type Owner, ownerOf, podman } from './owner.ts';
import type { AppView, ContainersView } from './view.ts';

type Flags = Output & {
  zone?: string[];
  port?: string[];
  memory?: string[];
  image?: string[];
  env?: string[];
  wait: boolean;
};

const collect = (one: string, all: readonly string[] = []): string[] => [...all, one];

/** pi-gateway container … */
export function addContainerCommands(program: Command): void {
  const container = program
    .command('container')
    .description(
      'apps in containers: without root, within limits, for the zones that they are opened to',
    );

  container
    .command('catalog')
    .description('what can be installed')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const catalog = await localClient().call('containersCatalog');
      print(o, catalog, catalogText(catalog));
    });

  container
    .command('status')
    .argument('[app]')
    .description('how apps are, and where they are reached')
    .option('--json', 'for machines')
    .action(async (app: string | undefined, o: Output) => {
      requireRoot();
      const all = await localClient().call('containersList');
      const shown = app === undefined ? all : { ...all, apps: [needApp(all, app)] };
      print(o, shown, statusText(shown));
      process.exitCode = shown.apps.every((one) => one.state === 'well') ? 0 : 1;
    });

  optionFlags(
    container
      .command('install')
      .argument('<template>', 'one of the catalogue')
      .description('installs an app, and tells its first password once')
      .option('--name <app>', 'another name than the template’s: for a second one of it'),
  )
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway container install grafana
  sudo pi-gateway container install nextcloud --zone web=lan,vpn,guest --memory nextcloud=1024`,
    )
    .action(async (template: string, o: Flags & { name?: string }) => {
      requireRoot();
      const app = o.name ?? template;
      await localClient().call('containerInstall', {
        body: { app, template, options: optionsOf(o) },
      });
      await tell(app, o);
    });

  optionFlags(
    container
      .command('configure')
      .argument('<app>')
      .description('changes who reaches it, its ports, memory, images or environment'),
  ).action(async (app: string, o: Flags) => {
    requireRoot();
    const options = optionsOf(o);
    if (Object.keys(options).length === 0)
      throw new GatewayError('Nothing to change', 'See --help for what there is', 'refused');
    await localClient().call('containerConfigure', { params: { app }, body: { options } });
    await tell(app, o);
  });

  for (const [name, id, what] of [
    ['update', 'containerUpdate', 'takes newer images; what does not become well is taken back'],
    ['rollback', 'containerRollback', 'goes back to the images before the last update'],
    ['restart', 'containerRestart', 'restarts it'],
  ] as const)
    container
      .command(name)
      .argument('<app>')
      .description(what)
      .option('--no-wait', 'return at once; container status says how it goes')
      .option('--json', 'for machines')
      .action(async (app: string, o: Flags) => {
        requireRoot();
        await localClient().call(id, { params: { app } });
        await tell(app, o);
      });

  container
    .command('remove')
    .argument('<app>')
    .description('removes it; what is in its volumes stays')
    .option('--volumes', 'the volumes too, and all that is in them')
    .option('--no-wait', 'return at once')
    .option('--json', 'for machines')
    .action(async (app: string, o: Flags & { volumes?: boolean }) => {
      requireRoot();
      const query = { volumes: o.volumes ? ('true' as const) : ('false' as const) };
      await localClient().call('containerRemove', { params: { app }, query });
      const left = o.wait ? await waitFor(app) : undefined;
      if (left?.job?.state === 'failed')
        throw new GatewayError(
          `${app} is not gone: ${left.job.message}`,
          `Try again: sudo pi-gateway container remove ${app}`,
        );
      print(
        o,
        { removed: app },
        o.volumes
          ? `${app} is gone, with all of its data.`
          : `${app} is gone; its volumes are kept.`,
      );
    });

  container
    .command('password')
    .argument('<app>')
    .description('the password that it was installed with: told once')
    .option('--json', 'for machines')
    .action(async (app: string, o: Output) => {
      requireRoot();
      const first = await localClient().call('containerPassword', { params: { app } });
      print(o, first, passwordText(first));
    });

  container
    .command('logs')
    .argument('<container>', 'an app, or a part of it: nextcloud--database')
    .description('what it has said last, without what looks like a key, token or password')
    .option('-n, --lines <count>', 'how many at most', '100')
    .action(async (name: string, o: { lines: string }) => {
      requireRoot();
      process.stdout.write(`${forTerminal(await showLogs(device(), name, Number(o.lines)))}\n`);
    });

  container
    .command('load')
    .argument('<file>', 'an OCI archive, or what podman save has written')
    .description('brings an image without a registry')
    .option('--as <image>', 'its name, if the archive has none: docker.io/grafana/grafana:12.1.1')
    .option('--json', 'for machines')
    .action(async (file: string, o: Output & { as?: string }) => {
      requireRoot();
      const images = await loadImage(owner(), file, o.as);
      print(o, { images }, `Loaded: ${images.join(', ')}.`);
    });

  container
    .command('images')
    .description('which images are on the device')
    .action(async () => {
      requireRoot();
      process.stdout.write(
        forTerminal(await podman(owner(), 'images', '--digests', '--format', imageColumns)),
      );
    });

  container
    .command('backup')
    .argument('<app>')
    .argument('<file>', 'a new file: APP.tar')
    .description('its volumes in one file; it rests meanwhile')
    .action(async (app: string, file: string) => {
      requireRoot();
      const { backUp } = await import('./backup.ts');
      needApp(await localClient().call('containersList'), app);
      const size = await backUp(device(), owner(), app, file);
      process.stdout.write(`${file} has the volumes of ${app}: ${size} bytes, 0600.\n`);
    });
}

const imageColumns = '{{.Repository}}:{{.Tag}}\t{{.Digest}}\t{{.Size}}';
const device = () => deviceSystem((text) => process.stderr.write(`${text}\n`));
const owner = (): Owner => ownerOf(device());

function optionFlags(command: Command): Command {
  return command
    .option('--zone <port=zones>', 'who reaches a port: web=lan,vpn; may be repeated', collect)
    .option('--port <port=number>', 'another port on the gateway: web=8080', collect)
    .option('--memory <part=MiB>', 'most memory of a part: grafana=512', collect)
    .option(
      '--image <part=image>',
      'another version: grafana=docker.io/grafana/grafana:12.2.0',
      collect,
    )
    .option('--env <name=value>', 'a variable of the main part, no secret', collect)
    .option('--no-wait', 'return at once; container status says how it goes')
    .option('--json', 'for machines');
}

/** What the flags say; keys that no flag names are not there. */
export function optionsOf(flags: Omit<Flags, 'wait'>): Partial<AppOptions> {
  const pairs = (given: readonly string[]) =>
    given.map((one): [string, string] => {
      const equals = one.indexOf('=');
      if (equals < 1)
        throw new GatewayError(`'${one}' is no name=value`, 'Write it like web=lan,vpn', 'refused');
      return [one.slice(0, equals), one.slice(equals + 1)];
    });
  const map = <V>(given: readonly string[], value: (text: string) => V) =>
    Object.fromEntries(pairs(given).map(([key, text]) => [key, value(text)]));
  const number = (text: string) => {
    if (!/^\d+$/.test(text))
      throw new GatewayError(`'${text}' is no number`, 'Write it like web=8080', 'refused');
    return Number(text);
  };
  return {
    ...(flags.zone && { zones: map(flags.zone, zonesOf) }),
    ...(flags.port && { ports: map(flags.port, number) }),
    ...(flags.memory && { memory_mib: map(flags.memory, number) }),
    ...(flags.image && { images: map(flags.image, (text) => text) }),
    ...(flags.env && { environment: map(flags.env, (text) => text) }),
  };
}

function zonesOf(text: string): Zone[] {
  return text
    .split(',')
    .filter((one) => one !== '')
    .map((one) => {
      const found = zones.find((zone) => zone === one);
      if (found) return found;
      throw new GatewayError(
        `There is no zone '${one}'`,
        `There are ${zones.join(', ')}`,
        'refused',
      );
    });
}

function needApp(all: ContainersView, app: string): AppView {
  if (!all.available)
    throw new GatewayError(
      'This image was built without containers',
      'Turn them on in gateway.yaml and build the image anew: stages: {secrets: {}, containers: {}}',
      'missing',
    );
  const found = all.apps.find((one) => one.app === app);
  if (found) return found;
  throw new GatewayError(
    `There is no app ${app}`,
    'See which there are: sudo pi-gateway container status',
    'missing',
  );
}

/** Milliseconds between two looks, and until nobody waits any more. */
const pause = 3_000;
const patience = 3_600_000;

/** @returns undefined when it is gone. */
async function waitFor(app: string): Promise<AppView | undefined> {
  const end = Date.now() + patience;
  for (;;) {
    const all = await localClient().call('containersList');
    const one = all.apps.find((other) => other.app === app);
    if (one?.state !== 'working') return one;
    if (Date.now() > end)
      throw new GatewayError(
        'It takes longer than an hour',
        `See what it does: sudo journalctl -fu pi-gateway-container@${app}`,
        'late',
      );
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function tell(app: string, o: Flags): Promise<void> {
  if (!o.wait) return print(o, { app }, `Started. See: sudo pi-gateway container status ${app}`);
  const one = await waitFor(app);
  if (!one) throw new GatewayError(`${app} is gone`, 'See sudo pi-gateway container status');
  const bad = one.job?.state === 'failed' || one.job?.state === 'undone';
  process.exitCode = bad ? 1 : 0;
  const first =
    !bad && one.password_untold
      ? await localClient().call('containerPassword', { params: { app } })
      : undefined;
  print(
    o,
    first ? { ...one, first_password: first } : one,
    [appText(one), ...(first ? [passwordText(first)] : [])].join('\n'),
  );
}

function passwordText({ user, password }: AnswerOf<'containerPassword'>): string {
  return [
    '',
    'To log in for the first time; it is not told again:',
    ...(user === null ? [] : [`  user      ${user}`]),
    `  password  ${password}`,
  ].join('\n');
}

const outcomes: Record<NonNullable<AppView['job']>['state'], string> = {
  running: 'under way',
  done: 'done',
  nothing: 'nothing to do',
  undone: 'TAKEN BACK: it did not become well',
  failed: 'FAILED',
};

export function statusText({ available, apps }: ContainersView): string {
  if (!available)
    return 'This image was built without containers. In gateway.yaml: stages: {secrets: {}, containers: {}}';
  if (apps.length === 0) return 'No apps yet. See what there is: sudo pi-gateway container catalog';
  return apps.map(appText).join('\n\n');
}

function appText(one: AppView): string {
  return [
    `${one.app} (${one.title}): ${one.state}`,
    ...(one.job
      ? [
          `  ${one.job.action}: ${outcomes[one.job.state]}${one.job.message === '' ? '' : `: ${one.job.message}`}`,
        ]
      : []),
    ...(one.parts.length === 0
      ? []
      : [
          table(
            one.parts.map((part) => [
              part.name,
              part.state,
              part.health,
              part.image ? `${part.image.reference} ${part.image.digest.slice(0, 19)}…` : '',
            ]),
            '  ',
          ),
        ]),
    ...one.addresses.map(
      ({ name, url, text }) => `  ${name}: ${url ?? text}${url ? ` (${text})` : ''}`,
    ),
    ...one.notes.map((note) => `  ! ${note}`),
  ].join('\n');
}

function catalogText({ templates }: AnswerOf<'containersCatalog'>): string {
  return templates
    .map((one) =>
      [
        `${one.id}: ${one.title}`,
        `  ${one.summary}`,
        `  up to ${one.parts.reduce((sum, part) => sum + part.memory_mib, 0)} MiB of memory; ${one.parts.map((part) => part.image).join(', ')}`,
        ...one.ports.map(
          (port) =>
            `  ${port.name}: ${port.protocol} ${port.port}, for ${port.zones.join(', ') || 'the gateway alone'}`,
        ),
      ].join('\n'),
    )
    .join('\n\n');
}
