import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { startRegistry, type TestRegistry } from '../../builder/oci/testing.ts';
import { firewall } from '../../stages/firewall/stage.ts';
import { ssh } from '../../stages/ssh/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { wireguard } from '../../stages/wireguard/stage.ts';
import { catalog } from './catalog.ts';
import { dropImages, loadImage, pinnedName, resolveImage } from './images.ts';
import { portsRuleset } from './ports.ts';
import { quadlets, unitsOf } from './quadlet.ts';
import { RealPodman } from './real-podman.ts';
import { type Template, template } from './template.ts';
import { ContainersDevice, echoTemplate, writeTestImage } from './testing.ts';

/** The device's own Podman and Quadlet, really run. */
let podman: RealPodman;
let folder: string;

beforeAll(async () => {
  podman = await RealPodman.make();
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-podman-test-'));
}, 180_000);
afterAll(async () => {
  await podman?.remove();
  await rm(folder, { recursive: true, force: true });
});

const architecture = process.arch === 'arm64' ? ('arm64' as const) : ('amd64' as const);

async function archive(
  reference: string | null,
  version: string,
  isWell = true,
): Promise<{ file: string; digest: string }> {
  const file = join(folder, `${version}.tar`);
  const image = { reference, version, isWell, architecture };
  return { file, digest: await writeTestImage(file, image, podman.busybox) };
}

/** Units as Podman's generator makes them of an app's Quadlets, by name; and what it said. */
async function generated(
  app: string,
  from: Template,
): Promise<{ units: Map<string, string>; said: string }> {
  const images = Object.fromEntries(
    from.parts.map(({ name, image }) => [
      name,
      pinnedName({ reference: image, digest: `sha256:${'a'.repeat(64)}` }),
    ]),
  );
  const units = join(folder, `units-${app}`);
  await mkdir(units, { recursive: true });
  for (const [name, text] of Object.entries(quadlets(app, from, images)))
    await writeFile(join(units, name), text);
  const { stdout, stderr, exitCode } = await podman.quadlet(units);
  expect(exitCode, stderr).toBe(0);
  const parts = stdout.split(/^---(\S+)---$/m).slice(1);
  const made = new Map<string, string>();
  for (let i = 0; i < parts.length; i += 2) made.set(parts[i] ?? '', parts[i + 1] ?? '');
  return { units: made, said: stderr.replaceAll(/.*Loading source unit file.*\n?/g, '') };
}

/** ExecStart= as systemd would split it: systemd.syntax(7). */
function words(unit: string): string[] {
  const line = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? '';
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    (quoted === undefined ? (plain ?? '') : quoted.replaceAll(/\\(.)/g, '$1'))
      .replaceAll('%%', '%')
      .replaceAll('$$', () => '$'),
  );
}

const valueAfter = (args: readonly string[], name: string) => args[args.indexOf(name) + 1];

describe('the Quadlets of every template', () => {
  test.each(catalog.map((one) => [one.id, one] as const))(
    '%s: Podman’s own generator takes all of them without a word, and makes a unit of each',
    async (id, from) => {
      const { units, said } = await generated(id, from);
      expect(said).toBe('');
      expect([...units.keys()]).toEqual(expect.arrayContaining(unitsOf(id, from)));
      expect(units.size).toBe(Object.keys(quadlets(id, from, {})).length);
    },
  );

  test.each(catalog.map((one) => [one.id, one] as const))(
    '%s: systemd understands the units',
    async (id, from) => {
      const { units } = await generated(id, from);
      const written = join(folder, `verify-${id}`);
      await mkdir(written, { recursive: true });
      for (const [name, text] of units) await writeFile(join(written, name), text);
      const { stderr } = await run(
        'systemd-analyze',
        [
          ...['verify', '--user', '--man=no', '--recursive-errors=no'],
          ...[...units.keys()].map((name) => join(written, name)),
        ],
        { okCodes: [1], env: { XDG_RUNTIME_DIR: folder } },
      );
      const wrong = stderr
        .split('\n')
        .filter((line) => /Unknown|Failed to parse|invalid|ordering cycle/i.test(line))
        // What the generator leaves of the Quadlet for whoever reads the unit.
        .filter((line) => !/section .*X-/.test(line));
      expect(wrong).toEqual([]);
    },
  );

  test('hold each container to limits, without capabilities that are not named, never as newer than pinned', async () => {
    for (const from of catalog) {
      const { units } = await generated(from.id, from);
      for (const [index, name] of unitsOf(from.id, from).entries()) {
        const args = words(units.get(name) ?? '');
        const part = from.parts[index];
        expect(args, name).toEqual(
          expect.arrayContaining(['--security-opt=no-new-privileges', '--sdnotify=healthy']),
        );
        expect(valueAfter(args, '--cap-drop'), name).toBe('all');
        expect(valueAfter(args, '--pull'), name).toBe('never');
        expect(valueAfter(args, '--pids-limit'), name).toBe(String(part?.limits.pids));
        expect(args, name).toContain(`--memory=${part?.limits.memory_mib}m`);
        expect(args.includes('--read-only'), name).toBe(part?.writable_because === null);
        expect(args.join(' '), name).not.toMatch(/--privileged|seccomp=unconfined|--network host/);
        expect(
          args.some((word) => word.includes('@sha256:')),
          name,
        ).toBe(true);
      }
    }
  });

  test('give a container no secret in its environment, only the path of one', () => {
    for (const { parts } of catalog)
      for (const { environment } of parts)
        for (const name of Object.keys(environment))
          expect(name).not.toMatch(/PASS|TOKEN|SECRET(?!S)/);
  });

  test('say nothing of waiting for a network: the gateway is the network', async () => {
    for (const from of catalog)
      for (const [, unit] of (await generated(from.id, from)).units)
        expect(unit).not.toContain('wait-network-online');
  });
});

test('what Podman is told of a container holds in it', async () => {
  const reference = '127.0.0.1:9/lab/echo:1.0';
  const { file, digest } = await archive(reference, '1.0');
  await loadImage(podman.owner, file);
  const from = template.parse(echoTemplate(reference));
  const { units } = await generated('echo', from);
  const args = words(units.get('echo.service') ?? '');
  // The test's machine: no cgroups to limit by, no systemd to tell, no network, no volume.
  const without = [
    ...[
      '--name',
      '--cidfile=',
      '--replace',
      '--cgroups=',
      '--sdnotify=',
      '--network',
      '--publish',
      '-v',
      '-d',
    ],
    ...['--health', '--memory', '--cpus', '--pids-limit', '--log-driver', '--label', '--rm'],
  ];
  const alone: string[] = [];
  for (let i = 2; i < args.length; i += 1) {
    const word = args[i] ?? '';
    if (without.some((one) => word === one || word.startsWith(one))) {
      if (!word.includes('=') && !['--replace', '-d', '--rm'].includes(word)) i += 1;
    } else alone.push(word);
  }
  const image = alone.findIndex((one) => one.includes('@sha256:'));
  const { stdout } = await podman.podman([
    ...['run', '--rm', '--network=none', '--pids-limit=0'],
    ...['--ulimit=nofile=1024:1024', '--ulimit=nproc=256:256', '--ulimit=memlock=65536:65536'],
    ...alone.slice(0, image),
    `127.0.0.1:9/lab/echo@${digest}`,
    ...['/bin/sh', '-c'],
    'id; cat /proc/self/status; echo "greeting: $GREETING"; touch /scratch/mine && echo scratch; touch /mine; true',
  ]);
  expect(stdout).toContain('uid=1000(app) gid=1000');
  expect(stdout).toMatch(/^CapBnd:\s+0{16}$/m);
  expect(stdout).toMatch(/^CapEff:\s+0{16}$/m);
  expect(stdout).toMatch(/^NoNewPrivs:\s+1$/m);
  // 2: a filter, proc_pid_status(5).
  expect(stdout).toMatch(/^Seccomp:\s+2$/m);
  expect(stdout).toContain('greeting: two words, 100 % "quoted" $HOME');
  expect(stdout).toContain('scratch\n');
  const there = await podman.podman([
    ...['run', '--rm', '--network=none', '--pids-limit=0', '--read-only', '--cap-drop=all'],
    ...['--ulimit=nofile=1024:1024', '--ulimit=nproc=256:256', '--ulimit=memlock=65536:65536'],
    `127.0.0.1:9/lab/echo@${digest}`,
    ...['/bin/sh', '-c', 'touch /mine || echo refused'],
  ]);
  expect(there.stdout).toContain('refused');
});

describe('images', () => {
  test('of an archive have the digest that they were written with, by name and version', async () => {
    const reference = '127.0.0.1:9/lab/one:1.0';
    const { file, digest } = await archive(reference, 'one');
    expect(await loadImage(podman.owner, file)).toEqual([reference]);
    const device = await ContainersDevice.make();
    try {
      const found = await resolveImage(
        device.system,
        podman.owner,
        { reference, digest: null },
        'there',
      );
      expect(found).toEqual({ reference, digest });
      const pinned = await resolveImage(
        device.system,
        podman.owner,
        { reference, digest },
        'there',
      );
      expect(pinned).toEqual({ reference, digest });
    } finally {
      await device.device.remove();
    }
  });

  test('without a name get one, or are refused with how to give it', async () => {
    const { file } = await archive(null, 'nameless');
    await expect(loadImage(podman.owner, file)).rejects.toThrow('has no name, so no app finds it');
    const name = '127.0.0.1:9/lab/named:1.0';
    expect(await loadImage(podman.owner, file, name)).toEqual([name]);
    await expect(loadImage(podman.owner, file, 'x:latest')).rejects.toThrow('no name for an image');
  });

  test('that are none are refused', async () => {
    const file = join(folder, 'none.tar');
    await writeFile(file, 'no archive');
    await expect(loadImage(podman.owner, file)).rejects.toThrow('none.tar does not load');
  });

  test('that are in the device’s own image are loaded when an app asks for one, and not again', async () => {
    const device = await ContainersDevice.make();
    try {
      const reference = '127.0.0.1:9/lab/brought:1.0';
      const { digest } = await archive(reference, 'brought');
      const own = join(device.device.root, 'usr/share/pi-gateway/containers/brought.tar');
      await mkdir(join(own, '..'), { recursive: true });
      await run('cp', [join(folder, 'brought.tar'), own]);
      const wanted = { reference, digest: null };
      expect(await resolveImage(device.system, podman.owner, wanted, 'there')).toEqual({
        reference,
        digest,
      });
      let loads = 0;
      const { owner } = podman;
      const counting = {
        ...owner,
        feed: (...args: Parameters<typeof owner.feed>) => {
          loads += 1;
          return owner.feed(...args);
        },
      };
      await resolveImage(device.system, counting, wanted, 'there');
      expect(loads).toBe(0);
    } finally {
      await device.device.remove();
    }
  });

  test('of a registry are pulled by name, newer ones when an update asks, and what is there stays if it is gone', async () => {
    const registry: TestRegistry = await startRegistry();
    const device = await ContainersDevice.make();
    try {
      await podman.trust(registry.host);
      const reference = `${registry.host}/lab/echo:1.0`;
      const publish = async (version: string) => {
        const { file } = await archive(reference, version);
        // It compresses layers, so the digest is another than the archive's.
        const digestFile = join(folder, 'digest');
        await run('skopeo', [
          ...['copy', '--insecure-policy', '--dest-tls-verify=false', '--digestfile', digestFile],
          ...[`oci-archive:${file}`, `docker://${reference}`],
        ]);
        return (await readFile(digestFile, 'utf8')).trim();
      };
      const ask = (how: 'there' | 'newest') =>
        resolveImage(device.system, podman.owner, { reference, digest: null }, how);
      const old = await publish('old');
      expect((await ask('there')).digest).toBe(old);
      const newer = await publish('newer');
      expect((await ask('there')).digest).toBe(old);
      expect((await ask('newest')).digest).toBe(newer);
      // The one of before is still there for a roll-back.
      expect(
        (await podman.podman(['image', 'exists', `${registry.host}/lab/echo@${old}`])).exitCode,
      ).toBe(0);
      registry.behave((_, response) => {
        response.statusCode = 503;
        response.end();
        return true;
      });
      expect((await ask('newest')).digest).toBe(newer);
      const there = async (digest: string) =>
        (await podman.podman(['images', '--digests', '--format', '{{.Digest}}'])).stdout.includes(
          digest,
        );
      await dropImages(podman.owner, [{ reference, digest: old }], [{ reference, digest: newer }]);
      expect([await there(old), await there(newer)]).toEqual([false, true]);
    } finally {
      await registry.close();
      await device.device.remove();
    }
  });
});

describe('the rules of ports', () => {
  const facts = { address4: '10.90.0.2', address6: 'fd66:6761:7465:90::2' };
  const zones = { lan: { interfaces: ['eth1'] }, guest: { interfaces: ['eth2'] } };
  const containers = { network4: '10.90.0.0/30', network6: 'fd66:6761:7465:90::/64' };
  const others = { containers, ssh: ssh.options.parse({}), wireguard: wireguard.options.parse({}) };

  test('are taken by nft after those of the image, for every zone that there is', async () => {
    const rules = (await renderStage(firewall, { zones }, others)).text('/etc/nftables.conf');
    const ports = (['wan', 'lan', 'vpn', 'guest'] as const).map((zone, index) => ({
      app: 'echo',
      name: zone,
      protocol: index % 2 === 0 ? ('tcp' as const) : ('udp' as const),
      port: 8080 + index,
      zones: [zone],
    }));
    const text = portsRuleset(
      ports,
      facts,
      ['wan', 'lan', 'vpn', 'guest', 'containers'],
      new Set(),
    );
    const file = join(folder, 'ports.nft');
    await writeFile(join(folder, 'rules.nft'), rules.replaceAll(/^include .*$/gm, ''));
    await writeFile(file, text);
    const { stdout } = await run('unshare', [
      ...['--net', '--map-root-user', 'sh', '-euc'],
      'nft --file "$0"; nft --file "$1"; nft --file "$1"; nft list ruleset',
      join(folder, 'rules.nft'),
      file,
    ]);
    expect(stdout).toContain('oifname "podman-zone" goto container_ports');
    expect(stdout).toMatch(
      /chain container_ports \{[^}]*iifname @guest udp dport 8083 accept[^}]*goto drop_forward/,
    );
    expect(stdout).toMatch(/dnat ip6 to \[fd66:6761:7465:90::2\]:8081/);
  });

  test('leave the gateway its own ports: DNS of an app is at the containers’ address alone', () => {
    const port = {
      app: 'dns',
      name: 'dns',
      protocol: 'udp' as const,
      port: 53,
      zones: ['lan' as const],
    };
    const text = portsRuleset([port], facts, ['wan', 'lan'], new Set(['udp 53']));
    expect(text).toContain('iifname @lan udp dport 53 accept');
    expect(text).not.toContain('dnat');
  });

  test('without the stage the image’s rules are what they were', async () => {
    const { containers: _, ...without } = others;
    const rules = (await renderStage(firewall, { zones }, without)).text('/etc/nftables.conf');
    expect(rules).not.toMatch(/container_|podman-zone/);
  });
});
