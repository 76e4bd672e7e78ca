import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineStage } from '../../stages/define.ts';
import { BuildError, exitCode } from '../errors.ts';
import { explainConfig } from './explain.ts';
import { cidr, hostname, port } from './fields.ts';
import { type LoadOptions, loadConfig } from './load.ts';
import { editDistance } from './nearest.ts';

const net = defineStage({
  name: 'net',
  summary: 'for tests',
  options: z.strictObject({
    port: port.default(22),
    hostname: hostname.default('gw'),
    network: cidr.default('10.0.0.0/24'),
  }),
  ports: (o) => [
    { port: o.port, protocol: 'tcp', zones: ['wan'], path: ['port'], name: 'net' },
    { port: 53, protocol: 'udp', zones: ['vpn'], path: [], name: 'dns' },
  ],
  validate: (o) => (o.port === 6666 ? [{ path: ['port'], message: 'clashes' }] : []),
});
const web = defineStage({
  name: 'web',
  summary: 'for tests',
  options: z.strictObject({
    port: port.default(80),
    names: z.strictObject({ port: port.default(53) }).prefault({}),
  }),
  ports: (o) => [
    { port: o.port, protocol: 'tcp', zones: ['wan'], path: ['port'], name: 'web' },
    { port: o.names.port, protocol: 'udp', zones: [], path: ['names', 'port'], name: 'dns' },
  ],
});
const extra = defineStage({
  name: 'extra',
  summary: 'for tests',
  needs: ['net'],
  enabledByDefault: false,
  options: z.strictObject({}),
});

let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-config-'));
});
afterEach(() => rm(root, { recursive: true }));

async function load(yaml: string | Buffer, more: Partial<LoadOptions> = {}) {
  await writeFile(join(root, 'gateway.yaml'), yaml);
  return await loadConfig({ root, stages: [net, web, extra], ...more });
}

async function refused(
  yaml: string | Buffer,
  more: Partial<LoadOptions> = {},
): Promise<BuildError> {
  const error = await load(yaml, more).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof BuildError)) throw new Error(`it was accepted, or threw ${String(error)}`);
  expect(error.code).toBe(exitCode.usage);
  return error;
}

describe('a mistake is reported with its place and what was meant', () => {
  test.each([
    ['unknown key', 'nmae: x\n', 'gateway.yaml:1:1', "Unknown key 'nmae'", "Did you mean 'name'?"],
    [
      'unknown key in a stage',
      'stages:\n  net:\n    prot: 1\n',
      'gateway.yaml:3:5',
      "'stages.net.prot'",
      "Did you mean 'port'?",
    ],
    [
      'unknown stage',
      'stages:\n  nett: {}\n',
      'gateway.yaml:2:3',
      "'stages.nett'",
      "Did you mean 'net'?",
    ],
    [
      'a key at the wrong level',
      'headroom: 1G\n',
      'gateway.yaml:1:1',
      "'headroom'",
      'It belongs at image.headroom',
    ],
    [
      'wrong type',
      'stages:\n  net:\n    port: ssh\n',
      'gateway.yaml:3:11',
      'must be a port number',
      undefined,
    ],
    [
      'port out of range',
      'stages:\n  net:\n    port: 70000\n',
      'gateway.yaml:3:11',
      '1 to 65535',
      undefined,
    ],
    [
      'bad host name',
      'stages:\n  net: {hostname: -a-}\n',
      'gateway.yaml:2:19',
      'must be a host name',
      undefined,
    ],
    [
      'bad CIDR',
      'stages:\n  net: {network: 10.0.0.0}\n',
      'gateway.yaml:2:18',
      'CIDR notation',
      undefined,
    ],
    [
      'CIDR with host bits',
      'stages:\n  net: {network: 10.0.0.7/24}\n',
      'gateway.yaml:2:18',
      'the network is 10.0.0.0/24',
      undefined,
    ],
    [
      'IPv6 CIDR with host bits',
      "stages:\n  net: {network: 'fd00::1/64'}\n",
      'gateway.yaml:2:18',
      'the network is fd00::/64',
      undefined,
    ],
    ['YAML syntax', 'name: [a\n', 'gateway.yaml:2:1', 'no valid YAML', undefined],
    ['tab indentation', 'image:\n\theadroom: 1G\n', 'gateway.yaml:2:1', 'use spaces', undefined],
    ['duplicate key', 'name: a\nname: b\n', 'gateway.yaml:2:1', 'twice', undefined],
    ['a list where keys belong', '- a\n', 'gateway.yaml:1:1', 'keys and values', undefined],
    [
      "a stage's own check",
      'stages:\n  net:\n    port: 6666\n',
      'gateway.yaml:3:11',
      'clashes',
      undefined,
    ],
    [
      'a needed stage that is off',
      'stages:\n  net: false\n  extra: true\n',
      'gateway.yaml:2:8',
      "'extra' needs 'net', which is off",
      'Turn net on, or extra off',
    ],
    [
      'a port that another stage has by default',
      'stages:\n  net:\n    port: 80\n',
      'gateway.yaml:3:11',
      "stages.net.port: TCP port 80 is also web's (stages.web.port)",
      'Give one of them another port',
    ],
    [
      'a port that two stages were given',
      'stages:\n  net: {port: 7}\n  web: {port: 7}\n',
      'gateway.yaml:3:15',
      "stages.web.port: TCP port 7 is also net's (stages.net.port)",
      undefined,
    ],
    ['bad size', 'image: {headroom: lots}\n', 'gateway.yaml:1:19', 'must be a size', undefined],
    ['bad base', 'base: [ubuntu]\n', 'gateway.yaml:1:8', 'must be raspios, debian', undefined],
    ['alias', 'name: &a x\nbase: *a\n', 'gateway.yaml:2:7', 'not supported', 'Write the value out'],
  ])('%s', async (_, yaml, where, what, fix) => {
    const error = await refused(yaml);
    expect(error.where).toBe(where);
    expect(error.message).toContain(what);
    if (fix) expect(error.fix).toBe(fix);
  });

  test('a port of two stages is fine for one service, for another protocol, and for a stage that is off', async () => {
    expect((await load('')).config.stages).toMatchObject({ net: {}, web: { names: { port: 53 } } });
    await load('stages: {web: {names: {port: 22}}}\n');
    await load('stages: {net: {port: 80}, web: false}\n');
  });

  test('all mistakes of a file are told at once, in order, with the line and a caret', async () => {
    const error = await refused('nmae: x\nstages:\n  net:\n    port: 0\n');
    expect(error.where).toBe('gateway.yaml:1:1');
    expect(error.detail).toContain('  nmae: x\n  ^');
    expect(error.detail).toContain('gateway.yaml:4:11: stages.net.port');
    expect(error.detail).toContain('          ^');
  });

  test('a file that is no UTF-8, too large or a directory', async () => {
    expect((await refused(Buffer.from([0x6e, 0xff, 0xfe]))).message).toContain('UTF-8');
    expect((await refused(`# ${'x'.repeat(1024 * 1024)}\n`)).message).toContain('larger than');
    await rm(join(root, 'gateway.yaml'));
    await mkdir(join(root, 'gateway.yaml'));
    await expect(loadConfig({ root, stages: [net] })).rejects.toThrow('directory');
  });

  test('--set without a value, with an unknown key, and an unknown environment', async () => {
    expect((await refused('', { sets: ['nothing'] })).where).toBe('--set nothing');
    expect((await refused('', { sets: ['image.hedroom=1G'] })).fix).toBe(
      "Did you mean 'headroom'?",
    );
    await mkdir(join(root, 'environments'));
    await writeFile(join(root, 'environments/production.yaml'), '');
    expect((await refused('', { env: 'prod' })).fix).toBe('Known: production');
  });

  test('a value that pollutes prototypes is just an unknown key', async () => {
    expect((await refused('__proto__: {polluted: true}\n')).message).toContain('__proto__');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('layers', () => {
  test('defaults < gateway.yaml < environment < gateway.local.yaml < --set; maps merge, lists replace', async () => {
    await mkdir(join(root, 'environments'));
    await writeFile(
      join(root, 'environments/production.yaml'),
      'image: {compress_level: 9}\nbase: [debian]\n',
    );
    await writeFile(join(root, 'gateway.local.yaml'), 'image: {compress: zstd}\n');
    const loaded = await load(
      'name: mine\nimage: {compress: none, compress_level: 1, headroom: 1G}\nbase: [raspios, debian]\n',
      {
        env: 'production',
        sets: ['image.headroom=2G'],
      },
    );
    expect(loaded.config).toMatchObject({
      name: 'mine',
      base: ['debian'],
      image: {
        compress: 'zstd',
        compress_level: 9,
        headroom: 2 * 1024 ** 3,
        boot_size: 512 * 1024 ** 2,
      },
    });
    const from = Object.fromEntries(explainConfig(loaded).map((row) => [row.key, row.from]));
    expect(from).toMatchObject({
      name: 'gateway.yaml:1',
      'image.compress_level': 'environments/production.yaml:1',
      'image.compress': 'gateway.local.yaml:1',
      'image.headroom': '--set image.headroom=2G',
      'image.boot_size': 'default',
    });
  });

  test('a stage is turned on by true, an empty value or a map, and off by false', async () => {
    expect((await load('')).config.stages).toEqual({
      net: { port: 22, hostname: 'gw', network: '10.0.0.0/24' },
      web: { port: 80, names: { port: 53 } },
    });
    expect((await load('stages: {extra: true}\n')).config.stages).toHaveProperty('extra');
    expect((await load('stages:\n  extra:\n')).config.stages).toHaveProperty('extra');
    expect((await load('stages: {net: false, web: false}\n')).config.stages).toEqual({});
  });

  test('Windows line ends and a byte order mark are fine', async () => {
    expect((await load('\uFEFFname: a\r\nimage:\r\n  compress: none\r\n')).config).toMatchObject({
      name: 'a',
      image: { compress: 'none' },
    });
  });
});

test('any key with one letter wrong is suggested back', async () => {
  const keys = ['name', 'base', 'raspios', 'debian', 'image', 'paths', 'stages', 'extensions'];
  for (const key of keys)
    for (let index = 0; index < key.length; index++) {
      const wrong = `${key.slice(0, index)}q${key.slice(index + 1)}`;
      expect((await refused(`${wrong}: 1\n`)).fix, wrong).toBe(`Did you mean '${key}'?`);
    }
});

test('the distance between words counts swapped neighbours as one edit', () => {
  expect(editDistance('nmae', 'name')).toBe(1);
  expect(editDistance('port', 'port')).toBe(0);
  expect(editDistance('', 'abc')).toBe(3);
});
