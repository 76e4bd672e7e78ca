import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { project } from '../../builder/testing/build.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from './stage.ts';

test('the image holds no key', async () => {
  for (const entry of (await renderStage(wireguard)).entries)
    if ('content' in entry)
      expect(entry.content.toString()).not.toMatch(
        /^(PrivateKey|PresharedKey|PublicKey)\s*=\s*[A-Za-z0-9+/]{20}/m,
      );
});

test('the interface has an address of both families, its MTU, and loads its peers', async () => {
  const files = await renderStage(wireguard, { network4: '10.7.0.0/16', mtu: 1412 });
  expect(files.text('/etc/wireguard/wg0.conf')).toMatch(
    /^Address = 10\.7\.0\.1\/16, fd66:6761:7465::1\/64\nListenPort = 51820\nMTU = 1412\n/m,
  );
  expect(files.text('/etc/wireguard/wg0.conf')).toMatch(/^PostUp = .*wireguard-server up$/m);
  expect(files.mode('/etc/wireguard/wg0.conf')).toBe(0o600);
});

test('clients ask the gateway for names, unless they have servers of their own', async () => {
  const resolved = '/etc/systemd/resolved.conf.d/20-gateway-vpn.conf';
  const own = await renderStage(wireguard);
  expect(own.text(resolved)).toContain(
    'DNSStubListenerExtra=10.66.0.1\nDNSStubListenerExtra=fd66:6761:7465::1\n',
  );
  const ports = (options: object) =>
    wireguard.ports?.(wireguard.options.parse(options)).map((one) => `${one.name} ${one.zones}`);
  expect(ports({})).toEqual(['wireguard wan,lan', 'dns vpn', 'dns vpn']);
  const other = await renderStage(wireguard, { dns: ['9.9.9.9', '2620:fe::fe'] });
  expect(other.text(resolved)).not.toContain('DNSStubListenerExtra');
  expect(other.text('/usr/share/pi-gateway/wireguard.env')).toContain("dns='9.9.9.9, 2620:fe::fe'");
  expect(ports({ dns: ['9.9.9.9'] })).toEqual(['wireguard wan,lan']);
});

test('its start waits for no network', async () => {
  const unit = (await renderStage(wireguard)).text('/etc/systemd/system/wg-quick@wg0.service');
  expect(unit).not.toContain('online.target');
});

test('a network without room for clients is refused', () => {
  const check = (options: object) =>
    wireguard.validate?.(wireguard.options.parse(options), { name: 'x', stages: {}, ports: [] });
  expect(check({})).toEqual([]);
  expect(check({ rotation_port: 51820 })).toMatchObject([{ path: ['rotation_port'] }]);
  expect(check({ network4: '10.0.0.0/31' })).toMatchObject([{ path: ['network4'] }]);
  expect(check({ network6: 'fd00::/127' })).toMatchObject([{ path: ['network6'] }]);
});

describe("the server's key on the device", () => {
  let folder = '';
  // The script with its folder and a stand-in for wg(8) that knows a whole key by its length.
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pi-gateway-wg-'));
    const source = await readFile(
      join(project, 'overlays/wireguard/usr/lib/pi-gateway/wireguard-key'),
      'utf8',
    );
    await writeFile(join(folder, 'make-key'), source.replace('cd /etc/wireguard', `cd ${folder}`));
    await writeFile(
      join(folder, 'wg'),
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's, not ours
      '#!/bin/sh\ncase $1 in genkey) head -c 32 /dev/urandom | base64 -w0;; pubkey) read -r key || [ -n "$key" ] || exit 1; [ ${#key} -eq 44 ] || exit 1; echo "pub-$key";; esac\n',
    );
    await chmod(join(folder, 'wg'), 0o755);
  });
  afterAll(() => rm(folder, { recursive: true }));
  const make = () =>
    run('sh', [join(folder, 'make-key')], { env: { PATH: `${folder}:/usr/bin:/bin` } });
  const read = (name: string) => readFile(join(folder, name), 'utf8');

  test('is made once, readable by root alone, and kept', async () => {
    await make();
    const first = await read('server.key');
    expect(first).toHaveLength(44);
    expect((await stat(join(folder, 'server.key'))).mode & 0o777).toBe(0o600);
    await make();
    expect(await read('server.key')).toBe(first);
    expect(await read('server.pub')).toBe(`pub-${first}\n`);
  });

  test('is made anew if a power cut left it empty', async () => {
    await writeFile(join(folder, 'server.key'), '');
    await make();
    expect(await read('server.key')).toHaveLength(44);
  });
});

describe('a peer on the device', () => {
  let folder = '';
  // The helper with a stand-in for wg(8) that keeps what it was told, and refuses what is no [Peer].
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pi-gateway-peer-'));
    await mkdir(join(folder, 'peers.d'));
    await writeFile(join(folder, 'server.pub'), 'SERVER\n');
    await writeFile(
      join(folder, 'env'),
      (await renderStage(wireguard)).text('/usr/share/pi-gateway/wireguard.env'),
    );
    await writeFile(
      join(folder, 'wg'),
      `#!/bin/sh
case $1 in
  genpsk) echo PSK ;;
  addconf) tee -a ${folder}/calls < "$3" | head -n 1 | grep -q '^.Peer.$' || exit 1 ;;
esac
echo "$@" >> ${folder}/calls
`,
    );
    await chmod(join(folder, 'wg'), 0o755);
  });
  afterEach(() => rm(folder, { recursive: true }));
  const peer = (...args: string[]) =>
    run('sh', [join(project, 'overlays/wireguard/usr/lib/pi-gateway/wireguard-peer'), ...args], {
      env: {
        PATH: `${folder}:/usr/bin:/bin`,
        PEERS: join(folder, 'peers.d'),
        RUN: join(folder, 'run'),
        SETTINGS: join(folder, 'env'),
      },
      okCodes: [1],
    });
  const key = (letter: string) => `${letter.repeat(42)}A=`;
  const calls = () => readFile(join(folder, 'calls'), 'utf8');

  test('is added live with a preshared key of its own, and its client told what it needs', async () => {
    const { stdout } = await peer('add', 'laptop', key('a'), '10.66.0.2', 'fd66:6761:7465::2');
    const file = join(folder, 'peers.d/laptop.conf');
    expect(await readFile(file, 'utf8')).toBe(
      `[Peer]\n# laptop\nPublicKey = ${key('a')}\nPresharedKey = PSK\nAllowedIPs = 10.66.0.2/32, fd66:6761:7465::2/128\n`,
    );
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await calls()).toContain(`addconf wg0 ${file}.new\n`);
    for (const line of [
      'Address = 10.66.0.2/32, fd66:6761:7465::2/128',
      'DNS = 10.66.0.1, fd66:6761:7465::1',
      'PublicKey = SERVER',
      'PresharedKey = PSK',
      'MTU = 1420',
      'Endpoint = ...:51820',
    ])
      expect(stdout).toContain(`${line}\n`);
  });

  test.each([
    ['a name that is there', ['laptop', key('b'), '10.66.0.3'], 'already'],
    ['a name that is a path', ['../x', key('b'), '10.66.0.3'], 'no name'],
    ['a key that is cut short', ['phone', 'bbb=', '10.66.0.3'], 'public key'],
    ['the key of another', ['phone', key('a'), '10.66.0.3'], 'another peer has this key'],
    ['the address of another', ['phone', key('b'), '10.66.0.2'], 'another peer has the address'],
    ['no address', ['phone', key('b'), 'x; reboot'], 'no address'],
  ])('is refused with %s, and nothing is written', async (_, args, message) => {
    await peer('add', 'laptop', key('a'), '10.66.0.2');
    const { exitCode, stderr } = await peer('add', ...args);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(message);
    expect(await readdir(join(folder, 'peers.d'))).toEqual(['laptop.conf']);
  });

  test('that is broken keeps no other from being loaded', async () => {
    await writeFile(join(folder, 'peers.d/a.conf'), 'rubbish\n');
    await writeFile(join(folder, 'peers.d/b.conf'), `[Peer]\nPublicKey = ${key('b')}\n`);
    const { exitCode, stderr } = await peer('load');
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/a\.conf is left out.*\n.*b\.conf has no PresharedKey/);
    expect(await calls()).toContain(key('b'));
  });

  test('is removed live, and the others stay', async () => {
    await peer('add', 'laptop', key('a'), '10.66.0.2');
    await peer('add', 'phone', key('b'), '10.66.0.3');
    expect((await peer('remove', 'laptop')).exitCode).toBe(0);
    expect(await readdir(join(folder, 'peers.d'))).toEqual(['phone.conf']);
    expect(await calls()).toContain(`set wg0 peer ${key('a')} remove\n`);
    expect((await peer('remove', 'laptop')).stderr).toContain('there is no peer laptop');
  });
});
