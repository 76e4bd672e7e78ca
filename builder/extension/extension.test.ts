import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { deviceSystem } from '../../firstboot/system.ts';
import { declarations, declarationsFolder } from '../../gateway/backup/declared.ts';
import type { StageDefinition } from '../../stages/define.ts';
import { gatewayConfig } from '../config/gateway.ts';
import { loadConfig } from '../config/load.ts';
import { run } from '../exec.ts';
import { prepareStage } from '../overlay/prepare.ts';
import { orderStages } from '../plan/order.ts';
import { type LoadedStage, loadStages } from '../stages.ts';
import { project, runCli } from '../testing/build.ts';
import { bundledPackages } from '../trust/npm.ts';
import { refuseReplaced } from './extension.ts';
import { readManifest } from './manifest.ts';
import { unitFiles } from './sandbox.ts';

const example = join(project, 'examples/extension-hello');
let scratch = '';
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'pi-gateway-extension-'));
});
afterAll(() => rm(scratch, { recursive: true }));

let count = 0;
/** The example in a folder of its own, with its manifest changed. */
async function changed(change: (manifest: string) => string): Promise<string> {
  count += 1;
  const folder = join(scratch, `hello-${count}`);
  await cp(example, folder, { recursive: true });
  const path = join(folder, 'extension.yaml');
  await writeFile(path, change(await readFile(path, 'utf8')));
  return folder;
}

/** The same, by what YAML makes of it; places of mistakes are then another's. */
const edited = (change: (manifest: Record<string, unknown>) => void) =>
  changed((text) => {
    const manifest = parse(text) as Record<string, unknown>;
    change(manifest);
    return stringify(manifest);
  });

async function prepared(folder: string, sets: readonly string[] = []) {
  const all = await loadStages(project, [folder]);
  const { config } = await loadConfig({
    root: project,
    sets,
    stages: all.map((stage) => stage.definition),
  });
  const enabled = all.filter(({ definition }) => definition.name in config.stages);
  const gateway = gatewayConfig(
    config,
    enabled.map(({ definition }) => definition),
  );
  const prepare = (stage: LoadedStage) =>
    prepareStage(project, stage, config.stages[stage.definition.name], gateway);
  const own = all.find(({ extension }) => extension) as LoadedStage;
  return { own: await prepare(own), stage: own, gateway, enabled, prepare };
}

describe('an extension outside this repository', () => {
  test('is made by one command, passes its tests, and its plan tells what it may', async () => {
    const made = join(scratch, 'weather-box');
    const answer = await runCli(project, ['stage', 'new', 'weather-box', '--extension', made]);
    expect(answer.stderr).toBe('');
    expect(answer.stdout).toContain('service/main.ts');
    const own = await run(process.execPath, ['--test'], { cwd: made });
    expect(own.stdout).toMatch(/pass 4\b/);
    // Where npm puts packages; node itself strips no types there.
    const folder = join(scratch, 'node_modules/weather-box');
    await cp(made, folder, { recursive: true });
    const plan = await runCli(project, [
      'plan',
      ...['--set', 'base=[debian]', '--set', `extensions=[${folder}]`],
      ...['--set', 'stages.weather-box.greeting=Moin'],
    ]);
    expect(plan.stderr).toBe('');
    const [, part = ''] = plan.stdout.split('config weather-box');
    const lines = part.split(/^[▸✓]/m)[0] ?? '';
    expect(lines).toContain('/usr/lib/pi-gateway-x/weather-box/service.mjs');
    expect(lines).toContain('/usr/lib/systemd/system/pi-gateway-x-weather-box.service');
    expect(lines).toMatch(/ {2}network +none/);
    expect(lines).toMatch(/ {2}writes +\/var\/lib\/pi-gateway-x\/weather-box$/m);
    expect(lines).toMatch(/ {2}root helper +nothing/);
    expect(lines).toMatch(/! build +its code \(stage\.ts\) runs on the builder/);
  });

  test('a name that is none, and a folder with something in it, are refused', async () => {
    const bad = await runCli(project, ['stage', 'new', 'X', '--extension', join(scratch, 'x')]);
    expect(bad).toMatchObject({ code: 2 });
    expect(bad.stderr).toContain('no name for an extension');
    const full = await runCli(project, ['stage', 'new', 'hello', '--extension', example]);
    expect(full).toMatchObject({ code: 2 });
    expect(full.stderr).toContain('There is something in the folder already');
  });

  test('its options reach its files, and the device is told what it is', async () => {
    const { own } = await prepared(await changed((text) => text), ['stages.hello.greeting=Moin']);
    const text = (path: string) => {
      const file = own.files.find((one) => one.path === path);
      return file && 'content' in file ? file.content.toString() : undefined;
    };
    expect(JSON.parse(text('/etc/pi-gateway-x/hello/settings.json') ?? '')).toEqual({
      greeting: 'Moin',
    });
    expect(JSON.parse(text('/usr/share/pi-gateway/extensions/hello.json') ?? '')).toMatchObject({
      manifest: { name: 'hello', apiVersion: 1 },
      build: { code: true, runs: false },
    });
    expect(JSON.parse(text('/usr/share/pi-gateway/backup.d/x-hello.json') ?? '')).toMatchObject({
      paths: ['/var/lib/pi-gateway-x/hello'],
    });
    expect(own.services.enable).toEqual(['pi-gateway-x-hello.socket']);
    expect(own.packages).toEqual(['nodejs']);
  });

  test('as an npm package it is named as it is installed', async () => {
    const root = join(scratch, 'project');
    await cp(example, join(root, 'node_modules/pi-gateway-extension-hello'), { recursive: true });
    await writeFile(join(root, 'package.json'), '{}');
    const [stage] = await loadStages(root, ['pi-gateway-extension-hello']);
    expect(stage?.extension?.manifest.name).toBe('hello');
    await expect(loadStages(root, ['pi-gateway-extension-hullo'])).rejects.toMatchObject({
      fix: 'npm install pi-gateway-extension-hullo, or write its path',
    });
  });

  test('npm packages in its program are in the bill of materials', async () => {
    const folder = await changed((text) => text);
    const foreign = join(folder, 'node_modules/greets');
    await mkdir(foreign, { recursive: true });
    const about = { name: 'greets', version: '3.2.1', license: 'ISC', type: 'module' };
    await writeFile(join(foreign, 'package.json'), JSON.stringify({ ...about, main: 'main.js' }));
    await writeFile(join(foreign, 'main.js'), 'export const greets = () => "Hello";\n');
    const program = join(folder, 'service/main.ts');
    const text = await readFile(program, 'utf8');
    await writeFile(program, `import { greets } from 'greets';\nconsole.log(greets());\n${text}`);
    const { stage } = await prepared(folder);
    expect(await bundledPackages(project, [stage.definition])).toEqual([
      { name: 'greets', version: '3.2.1', licence: 'ISC' },
    ]);
  });

  test('what it declares for backups is what they read', async () => {
    const folder = await edited((manifest) => {
      manifest.backup = { paths: ['/var/lib/pi-gateway-x/hello'], stop: true };
    });
    const { own } = await prepared(folder);
    const file = own.files.find(({ path }) => path.startsWith(declarationsFolder));
    if (!file || !('content' in file)) throw new Error('no declaration');
    const root = join(folder, 'device');
    await mkdir(join(root, declarationsFolder), { recursive: true });
    await writeFile(join(root, file.path), file.content);
    const system = { ...deviceSystem(() => undefined), root };
    const { found, problems } = await declarations(system, { paths: [], exclude: [] });
    expect(problems).toEqual([]);
    expect(found).toMatchObject([
      {
        name: 'x-hello',
        paths: ['/var/lib/pi-gateway-x/hello'],
        quiesce: [
          ['systemctl', 'stop', '--', 'pi-gateway-x-hello.socket', 'pi-gateway-x-hello.service'],
        ],
        resume: [['systemctl', 'start', '--', 'pi-gateway-x-hello.socket']],
      },
    ]);
  });

  test('left out of gateway.yaml, nothing of the image is another', async () => {
    const { enabled, prepare, stage } = await prepared(await changed((text) => text));
    const without = (await loadStages(project)).map(({ definition }) => definition.name);
    const { config } = await loadConfig({
      root: project,
      stages: enabled.map(({ definition }) => definition).filter((one) => one !== stage.definition),
    });
    expect(orderStages(enabled.map(named)).map(({ name }) => name)).toContain('hello');
    expect(without).not.toContain('hello');
    const others = enabled.filter((one) => one !== stage);
    const gateway = gatewayConfig(
      config,
      others.map(({ definition }) => definition),
    );
    for (const one of others) {
      if (one.definition.assets) continue;
      const alone = await prepareStage(project, one, config.stages[one.definition.name], gateway);
      expect((await prepare(one)).filesDigest, one.definition.name).toBe(alone.filesDigest);
    }
  });
});

const named = ({ definition }: { definition: StageDefinition }) => ({
  name: definition.name,
  needs: definition.needs ?? [],
});

describe('a mistake in a manifest is told with its place', () => {
  test.each([
    [
      'an unknown key',
      'permissions: {}',
      'permisions: {}',
      'permisions',
      "Did you mean 'permissions'",
    ],
    [
      'a permission that is none',
      'permissions: {}',
      'permissions: { netwrok: [any] }',
      'netwrok',
      "Did you mean 'network'",
    ],
    [
      'a route outside its prefix',
      'path: /x/hello/greetings\n    role: viewer',
      'path: /vpn/clients\n    role: viewer',
      '/vpn/clients',
      "must be below /x/hello/, the extension's own prefix",
    ],
    [
      'a route with dots in it',
      'path: /x/hello/greetings\n    role: viewer',
      'path: /x/hello/../vpn\n    role: viewer',
      '/x/hello/../vpn',
      'must be a path',
    ],
    [
      'a change that who may only look could do',
      'role: admin\n    summary: Greets',
      'role: viewer\n    summary: Greets',
      'viewer\n    summary: Greets',
      'must be admin',
    ],
    [
      'a verb without a route',
      'route: post /x/hello/greetings',
      'route: post /x/hello/greeting',
      'post /x/hello/greeting\n',
      'must be one of its routes',
    ],
    [
      'a backup of what is not its own',
      'paths: [/var/lib/pi-gateway-x/hello]',
      'paths: [/etc/shadow]',
      '/etc/shadow',
      'must be in /var/lib/pi-gateway-x/hello',
    ],
    [
      'a port that the internet could reach',
      'permissions: {}',
      'permissions: { ports: { web: { port: 8080, zones: [wan] } } }',
      'wan',
      'must be one of lan, vpn',
    ],
    [
      'a folder to write to that others need',
      'permissions: {}',
      'permissions: { writes: [/etc/ssh] }',
      '/etc/ssh',
      'must be below /srv',
    ],
    [
      'a line break that would reach a unit',
      'title: Hello',
      'title: "Hello\\nUser=root"',
      '"Hello',
      'must be one line of text',
    ],
    [
      'a program that is not there',
      'program: service/main.ts',
      'program: service/mian.ts',
      'service/mian.ts',
      'there is no file service/mian.ts',
    ],
    ['another version', 'apiVersion: 1', 'apiVersion: 2', '2', 'is written for version 2'],
  ])('%s', async (_, before, after, at, message) => {
    const folder = await changed((text) => {
      expect(text).toContain(before);
      return text.replace(before, after);
    });
    const text = await readFile(join(folder, 'extension.yaml'), 'utf8');
    const from = text.indexOf(after) + after.indexOf(at.trimEnd());
    const line = text.slice(0, from).split('\n').length;
    const column = from - text.lastIndexOf('\n', from - 1);
    const error = await loadStages(project, [folder]).then(
      () => undefined,
      (problem: unknown) => problem as { message: string; where: string; fix?: string },
    );
    expect(`${error?.message} ${error?.fix ?? ''}`).toContain(message);
    expect(error?.where).toBe(`${join(folder, 'extension.yaml')}:${line}:${column}`);
  });

  test('a port that another service has, told at the one that was chosen; the owner takes another', async () => {
    const folder = await changed((text) =>
      text.replace(
        'permissions: {}',
        'permissions: { ports: { web: { port: 8443, zones: [lan] } } }',
      ),
    );
    await expect(prepared(folder)).rejects.toMatchObject({
      message: expect.stringContaining("TCP port 8443 is also api's (stages.gateway.port)"),
      where: `${join(folder, 'extension.yaml')}:12:38`,
    });
    await expect(prepared(folder, ['stages.hello.ports.web.port=22'])).rejects.toMatchObject({
      message: expect.stringContaining("port 22 is also ssh's"),
      where: '--set stages.hello.ports.web.port=22',
    });
    const { own, gateway } = await prepared(folder, ['stages.hello.ports.web.port=8090']);
    expect(gateway.ports).toContainEqual(
      expect.objectContaining({ name: 'x-hello-web', port: 8090, zones: ['lan'] }),
    );
    const socket = own.files.find(({ path }) => path.endsWith('-port-web.socket'));
    expect(socket && 'content' in socket && socket.content.toString()).toContain(
      'ListenStream=8090',
    );
  });
});

describe('what it does not declare it does not bring', () => {
  test('a file elsewhere in the image', async () => {
    const bring = async (folder: string) => {
      await mkdir(join(folder, 'overlay/etc/cron.d'), { recursive: true });
      await writeFile(join(folder, 'overlay/etc/cron.d/hello'), '* * * * * root true\n');
      return folder;
    };
    await expect(prepared(await bring(await changed((text) => text)))).rejects.toMatchObject({
      message: 'The extension hello brings /etc/cron.d/hello, which its manifest does not declare',
      where: expect.stringMatching(/extension\.yaml:\d+:\d+$/),
    });
    const declared = await edited((manifest) => {
      manifest.permissions = { files: ['/etc/cron.d/hello'] };
    });
    const { own } = await prepared(await bring(declared));
    expect(own.files.map(({ path }) => path)).toContain('/etc/cron.d/hello');
  });

  test('a drop-in that would open its own sandbox, declared or not', async () => {
    const path = '/etc/systemd/system/pi-gateway-x-hello.service.d/open.conf';
    const folder = await edited((manifest) => {
      manifest.permissions = { files: ['/etc/systemd/system'] };
    });
    await mkdir(join(folder, 'overlay', path, '..'), { recursive: true });
    await writeFile(join(folder, 'overlay', path), '[Service]\nUser=root\n');
    await expect(prepared(folder)).rejects.toThrow('made of their manifests alone');
  });

  test('a program that runs as another user', async () => {
    const folder = await changed((text) => text);
    const path = '/usr/lib/pi-gateway-x/hello/tool';
    await mkdir(join(folder, 'overlay', path, '..'), { recursive: true });
    await writeFile(join(folder, 'overlay', path), '#!/bin/sh\n');
    await chmod(join(folder, 'overlay', path), 0o755);
    const stage = join(folder, 'stage.ts');
    const text = await readFile(stage, 'utf8');
    await writeFile(
      stage,
      text.replace('options:', `files: { '${path}': { mode: 0o4755 } },\n  options:`),
    );
    await expect(prepared(folder)).rejects.toThrow('set-user-ID');
  });

  test("a file of another stage, in the gateway's place", async () => {
    const path = '/etc/ssh/sshd_config.d/10-gateway.conf';
    const folder = await edited((manifest) => {
      manifest.permissions = { files: [path] };
    });
    await mkdir(join(folder, 'overlay', path, '..'), { recursive: true });
    await writeFile(join(folder, 'overlay', path), 'PasswordAuthentication yes\n');
    const { own, enabled, prepare } = await prepared(folder);
    const ssh = enabled.find(({ definition }) => definition.name === 'ssh') as LoadedStage;
    const others = [await prepare(ssh), own];
    expect(() => refuseReplaced(others)).toThrow(`hello brings ${path}, which is another stage's`);
  });

  test("another service's unit turned off", async () => {
    const folder = await changed((text) => text);
    const stage = join(folder, 'stage.ts');
    const text = await readFile(stage, 'utf8');
    await writeFile(
      stage,
      text.replace('options:', "services: () => ({ mask: ['nftables.service'] }),\n  options:"),
    );
    await expect(prepared(folder)).rejects.toThrow('turns nftables.service on or off');
  });
});

describe('its sandbox', () => {
  test.each([
    ['without a network', {}],
    ['with one', { network: ['any'] }],
    [
      'with some of it, a port and a folder',
      {
        network: ['192.0.2.0/24'],
        writes: ['/srv/photos'],
        ports: { web: { port: 8090, zones: ['lan'] } },
      },
    ],
  ])('%s is what systemd takes, and at most 2.0 by its measure', async (_, permissions) => {
    const folder = await edited((manifest) => {
      manifest.permissions = permissions;
      manifest.title = 'Costs 100 % %n';
    });
    const read = await readManifest(folder);
    if (!read) throw new Error('no manifest');
    const units = join(folder, 'units');
    await mkdir(units);
    const files = unitFiles(read.manifest);
    for (const [name, text] of Object.entries(files)) await writeFile(join(units, name), text);
    const service = files['pi-gateway-x-hello.service'] ?? '';
    expect(service).toContain('Description=Pi Gateway: extension Costs 100 %% %%n');
    expect(service.includes('PrivateNetwork=yes')).toBe(!('network' in permissions));
    const analyze = (...args: string[]) =>
      run('systemd-analyze', [...args, join(units, 'pi-gateway-x-hello.service')], {
        env: { SYSTEMD_COLORS: '0' },
      });
    const { stdout } = await analyze('security', '--offline=true', '--no-pager');
    const exposure = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    expect(exposure).toBeGreaterThan(0);
    expect(exposure).toBeLessThanOrEqual(2.0);
  });
});
