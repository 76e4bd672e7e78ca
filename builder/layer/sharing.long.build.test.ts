import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRegistry, type TestRegistry } from '../oci/testing.ts';
import { freePort } from '../qemu/free-port.ts';
import { type CliResult, copyProject, removeFolder, runCli, sha256 } from '../testing/build.ts';

type Report = { raw_seconds: number; steps: { step: string; cached: boolean; seconds: number }[] };

let folder: string;
let registry: TestRegistry;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-sharing-'));
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.close();
  await removeFolder(folder);
});

/** Another machine: a project, a cache and results of its own. */
async function machine(name: string, cache: object): Promise<string> {
  const root = join(folder, name);
  await copyProject(root);
  await writeFile(join(root, 'gateway.local.yaml'), JSON.stringify({ base: ['debian'], cache }));
  return root;
}

async function build(root: string): Promise<CliResult & { report: Report; image: string }> {
  const result = await runCli(root, ['build', '--raw-only', '--json']);
  expect(result.code, result.stderr).toBe(0);
  const image = await sha256(join(root, 'output/pi-gateway/pi-gateway.img'));
  return { ...result, report: JSON.parse(result.stdout) as Report, image };
}

const ran = (report: Report) => report.steps.filter((one) => !one.cached).map((one) => one.step);

/** Takes the layers away that a file of the last stage makes, so that a build has a little to do. */
async function forgetLast(root: string): Promise<void> {
  const layers = join(root, 'cache/layers');
  for (const name of await readdir(layers)) {
    const { title } = JSON.parse(await readFile(join(layers, name, 'layer.json'), 'utf8'));
    if (title === 'seal' || title === 'config wireguard')
      await rm(join(layers, name), { recursive: true });
  }
  await rm(join(root, 'output/pi-gateway'), { recursive: true });
}

test('a runner with nothing but a registry that another has filled builds the same image in a fifth of the time', async () => {
  const store = `oci://${registry.host}/gateway/layers`;
  const first = await build(await machine('first', { push: store }));
  const root = await machine('second', { pull: [store], push: store });
  const second = await build(root);
  expect(second.image).toBe(first.image);
  expect(ran(second.report).filter((step) => !/^(pull|push) /.test(step))).toEqual(['image']);
  console.log(
    `cold ${first.report.raw_seconds} s, from the registry ${second.report.raw_seconds} s`,
  );
  expect(second.report.raw_seconds).toBeLessThanOrEqual(0.2 * first.report.raw_seconds);

  // The same machine with a registry that changes a byte of all that it gives.
  registry.behave((request, response) => {
    if (request.headers['x-honest'] || request.method !== 'GET') return false;
    void fetch(`http://${registry.host}${request.url}`, {
      headers: { 'x-honest': '1', accept: request.headers.accept ?? '*/*' },
    }).then(async (honest) => {
      const bytes = Buffer.from(await honest.arrayBuffer());
      if (request.url?.includes('/blobs/')) bytes[0] = (bytes[0] ?? 0) ^ 1;
      response.writeHead(honest.status).end(bytes);
    });
    return true;
  });
  await forgetLast(root);
  const lied = await build(root);
  expect(ran(lied.report)).toContain('config wireguard');
  expect(lied.stderr.match(/Warning: .*/g)).toEqual([
    expect.stringMatching(/refused: what came is/),
  ]);
  expect(lied.image).toBe(first.image);

  const away = `oci://127.0.0.1:${await freePort()}/gateway/layers`;
  await writeFile(
    join(root, 'gateway.local.yaml'),
    JSON.stringify({ base: ['debian'], cache: { pull: [away], push: away } }),
  );
  await forgetLast(root);
  const alone = await build(root);
  expect(alone.stderr.match(/Warning: .*/g)).toEqual([expect.stringMatching(/goes on without it/)]);
  expect(alone.image).toBe(first.image);
});
