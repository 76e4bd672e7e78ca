import type { Command } from 'commander';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import { errorOf, localClient, localTransport, type Transport } from '../api/client.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { bytes, type Output, type Paint, painter, print, table } from '../terminal.ts';
import { readInstalled } from './installed.ts';
import { type Manifest, parametersOf, type Verb } from './manifest.ts';
import { type ExtensionView, usageOf } from './view.ts';

const noExtension =
  'This image has no extension; name its folder in extensions: of gateway.yaml and build it anew (docs/extensions.md)';

/** `pi-gateway extension …` */
export function addExtensionCommands(program: Command): void {
  const extension = program
    .command('extension')
    .description('what others have added to this gateway: what it may, on and off');

  extension
    .command('list')
    .description('extensions of this image; exit code 1: one of them is not well')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const { extensions } = await localClient().call('extensionList');
      print(o, extensions, listText(extensions, painter(process.stdout)));
      process.exitCode = extensions.some(({ state }) => isUnwell(state)) ? 1 : 0;
    });

  extension
    .command('show')
    .description('what one may, and what it adds')
    .argument('<extension>', 'its name, as in the list')
    .option('--json', 'for machines')
    .addHelpText('after', '\nExample:\n  sudo pi-gateway extension show hello')
    .action(async (name: string, o: Output) => {
      requireRoot();
      const { extensions } = await localClient().call('extensionList');
      const found = extensions.find((one) => one.name === name);
      if (!found)
        throw new GatewayError(
          `This image has no extension '${name}'`,
          extensions.length > 0
            ? `It has ${extensions.map((one) => one.name).join(', ')}`
            : noExtension,
          'missing',
        );
      print(o, found, showText(found, painter(process.stdout)));
    });

  const change = (
    verb: 'enable' | 'disable' | 'restart',
    description: string,
    done: string,
    id: 'extensionEnable' | 'extensionDisable' | 'extensionRestart',
  ) =>
    extension
      .command(verb)
      .description(description)
      .argument('<extension>', 'its name, as in the list')
      .option('--json', 'for machines')
      .action(async (name: string, o: Output) => {
        requireRoot();
        const answer = await localClient().call(id, { params: { name } });
        print(o, answer, `${name} ${done}. ${answer.detail}`);
        process.exitCode = isUnwell(answer.state) ? 1 : 0;
      });
  change('enable', 'switches one on again', 'is switched on', 'extensionEnable');
  change(
    'disable',
    'switches one off; it stays in the image, and keeps its data',
    'is switched off',
    'extensionDisable',
  );
  change('restart', 'stops one, and starts it as at boot', 'was restarted', 'extensionRestart');
}

/**
 * `pi-gateway x <extension> <verb>`: in a place of their own, so that no extension takes a word of the gateway,
 * nor one that the gateway may need later.
 */
export async function addVerbCommands(
  program: Command,
  system: System = deviceSystem(() => undefined),
  transport: Transport = localTransport(),
): Promise<void> {
  const x = program.command('x').description('commands of extensions: x EXTENSION VERB');
  const { extensions } = await readInstalled(system);
  if (extensions.length === 0) x.addHelpText('after', `\n${noExtension}.`);
  for (const { manifest } of extensions) {
    if (manifest.verbs.length === 0) continue;
    const group = x.command(manifest.name).description(manifest.summary);
    for (const verb of manifest.verbs) addVerb(group, manifest, verb, transport);
  }
}

function addVerb(group: Command, manifest: Manifest, verb: Verb, transport: Transport): void {
  const command = group
    .command(verb.name)
    .description(verb.summary)
    .option('--json', 'for machines')
    .addHelpText('after', `\nUsage: sudo pi-gateway ${usageOf(manifest, verb)}`);
  for (const { name, summary, optional } of verb.arguments)
    command.argument(optional ? `[${name}]` : `<${name}>`, summary);
  command.action(async (...given: unknown[]) => {
    requireRoot();
    const values = new Map(
      verb.arguments.flatMap(({ name }, index): [string, string][] => {
        const value = given[index];
        return typeof value === 'string' ? [[name, value]] : [];
      }),
    );
    const answer = await askRoute(transport, verb.route, values);
    print(command.opts<Output>(), answer, answerText(answer));
  });
}

/** Arguments fill in the path; those that it does not name are the query of a get, or else the body. */
export async function askRoute(
  transport: Transport,
  route: string,
  values: ReadonlyMap<string, string>,
): Promise<unknown> {
  const [method = '', path = ''] = route.split(' ');
  const inPath = parametersOf(path);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(values.get(name) ?? ''),
  );
  const rest = [...values].filter(([name]) => !inPath.includes(name));
  const query = method === 'get' ? new URLSearchParams(rest).toString() : '';
  const takesBody = method !== 'get' && method !== 'delete';
  const answer = await transport(
    method.toUpperCase(),
    `/api/v1${filled}${query === '' ? '' : `?${query}`}`,
    takesBody ? JSON.stringify(Object.fromEntries(rest)) : undefined,
  );
  if (answer.status >= 400) throw errorOf(answer);
  return JSON.parse(answer.text) as unknown;
}

/** The sentence that the extension has for people, or all that it answered. */
function answerText(answer: unknown): string {
  const said =
    typeof answer === 'object' && answer !== null && 'text' in answer ? answer.text : undefined;
  return typeof said === 'string' ? said : JSON.stringify(answer, null, 2);
}

const isUnwell = (state: ExtensionView['state']) => state === 'failed' || state === 'refused';

const marks = {
  waits: 'ok',
  runs: 'ok',
  files: 'ok',
  off: 'off',
  failed: 'FAIL',
  refused: 'FAIL',
} as const satisfies Record<ExtensionView['state'], string>;

function listText(extensions: readonly ExtensionView[], paint: Paint): string {
  if (extensions.length === 0) return `${noExtension}.`;
  const rows = extensions.map((one) => [
    marks[one.state],
    one.name,
    one.version ?? '-',
    one.memory_bytes === null ? '-' : bytes(one.memory_bytes),
    one.permissions
      .filter(({ reaches }) => reaches)
      .map(({ what }) => what)
      .join(', ') || '-',
    one.state === 'waits' || one.state === 'runs' ? (one.summary ?? '') : one.detail,
  ]);
  const [head = '', ...lines] = table([
    ['', 'extension', 'version', 'memory', 'reaches', ''],
    ...rows,
  ]).split('\n');
  return [paint('dim', head), ...lines].join('\n');
}

function showText(one: ExtensionView, paint: Paint): string {
  const part = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : ['', paint('bold', title), ...lines.map((line) => `  ${line}`)];
  return [
    `${one.title} ${one.version ?? ''}, extension API ${one.api_version ?? '?'}: ${one.summary ?? ''}`,
    `${one.state}: ${one.detail}`,
    ...(one.homepage ? [one.homepage] : []),
    ...part(
      'May',
      table(one.permissions.map(({ what, may, reaches }) => [what, reaches ? '!' : '', may])).split(
        '\n',
      ),
    ),
    ...part(
      'Commands',
      one.verbs.map(({ usage, summary }) => `sudo pi-gateway ${usage}   ${summary}`),
    ),
    ...part(
      'Routes',
      one.routes.map(
        ({ method, path, role, summary }) =>
          `${method.toUpperCase()} /api/v1${path}   ${role}: ${summary}`,
      ),
    ),
  ].join('\n');
}
