import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { containers } from '../../stages/containers/stage.ts';
import type { Zone } from '../../stages/define.ts';
import { firewall } from '../../stages/firewall/stage.ts';
import { ssh } from '../../stages/ssh/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { portsRuleset } from './ports.ts';
import { podmanTree } from './real-podman.ts';
import { writeTestImage } from './testing.ts';

/**
 * Containers as on the device: rootless, by the containers' user, in the network namespace that the device's own
 * script makes, behind the device's own firewall rules, among hosts in lan, guest and wan. All of it is in
 * namespaces that end with one program, and no packet leaves them.
 */
let folder: string;
let said: string;

const zones = {
  lan: { interfaces: ['eth1'], address4: '192.168.10.1/24', address6: 'fd10:6761:7465:10::1/64' },
  guest: { interfaces: ['eth2'], address4: '192.168.20.1/24' },
};
const hosts: readonly { zone: Zone; link: string; gateway: string; host: string }[] = [
  { zone: 'wan', link: 'eth0', gateway: '203.0.113.1', host: '203.0.113.10' },
  { zone: 'lan', link: 'eth1', gateway: '192.168.10.1', host: '192.168.10.10' },
  { zone: 'guest', link: 'eth2', gateway: '192.168.20.1', host: '192.168.20.10' },
];
const facts = { address4: '10.90.0.2', address6: 'fd66:6761:7465:90::2' };
const image = '127.0.0.1:9/lab/echo:1.0';

/** Apps with a port each, and who reaches it. */
const apps: readonly { app: string; network: string; port: number; zones: readonly Zone[] }[] = [
  { app: 'home', network: 'home--dmz', port: 8080, zones: ['lan'] },
  { app: 'open', network: 'open--dmz', port: 8090, zones: ['lan', 'guest', 'wan'] },
  { app: 'inner', network: 'inner--internal', port: 8100, zones: [] },
];

const ask = (url: string) => `busybox wget -q -T 1 -O - ${url} 2> /dev/null | tr -d '\\n'`;
const answer = (key: string, command: string) => `echo "${key}: $(${command})"`;

/** What is done within, in the device's own Debian. */
function script(): string {
  return [
    'export PATH=/usr/sbin:/usr/bin PODMAN_IGNORE_CGROUPSV1_WARNING=1',
    // As /usr/lib/pi-gateway/as-containers, which needs systemd; ip(8) hides the cgroups behind a /sys of its own.
    `as() { timeout 20 ip netns exec containers sh -c 'busybox mount -t cgroup2 none /sys/fs/cgroup; exec setpriv --reuid=850 --regid=850 --clear-groups env -i PODMAN_IGNORE_CGROUPSV1_WARNING=1 HOME=/home/ct XDG_RUNTIME_DIR=/run/user/850 PATH=/usr/sbin:/usr/bin "$@"' sh "$@"; }`,
    'ip link set lo up',
    'for key in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 > /proc/sys/net/$key; done',
    ...hosts.flatMap(({ zone, link, gateway, host }) => [
      `ip netns add ${zone}`,
      `ip link add ${link} type veth peer name eth0 netns ${zone}`,
      `ip address add ${gateway}/24 dev ${link}`,
      `ip link set ${link} up`,
      `ip -n ${zone} address add ${host}/24 dev eth0`,
      `ip -n ${zone} link set lo up`,
      `ip -n ${zone} link set eth0 up`,
      `ip -n ${zone} route add default via ${gateway}`,
      // A server in each zone, for what containers reach.
      `ip netns exec ${zone} sh -c 'cd /www && exec busybox httpd -f -p 7000' &`,
    ]),
    'sh /network up',
    'nft --file /rules.nft',
    'nft --file /ports.nft',
    'as podman load --quiet --input /echo.tar > /dev/null',
    ...apps.flatMap(({ app, network, port }) => [
      `as podman network create ${network.endsWith('internal') ? '--internal ' : ''}--opt isolate=strict ${network} > /dev/null`,
      `as podman run --detach --name ${app} --network ${network}:alias=web --publish ${port}:8080/tcp --read-only --cap-drop all --security-opt no-new-privileges --pids-limit 0 --ulimit nofile=1024:1024 --ulimit nproc=256:256 --ulimit memlock=65536:65536 ${image} > /dev/null`,
    ]),
    'sleep 1',
    ...hosts.flatMap(({ zone, gateway }) =>
      apps.flatMap(({ app, port }) => [
        answer(`${zone} to ${app}`, `ip netns exec ${zone} ${ask(`http://${gateway}:${port}/`)}`),
        answer(
          `${zone} to ${app} itself`,
          `ip netns exec ${zone} ${ask(`http://${facts.address4}:${port}/`)}`,
        ),
      ]),
    ),
    ...apps.map(({ app, port }) =>
      answer(`gateway to ${app}`, ask(`http://${facts.address4}:${port}/`)),
    ),
    answer('gateway to home by IPv6', ask(`'http://[${facts.address6}]:8080/'`)),
    `address() { as podman inspect "$1" --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'; }`,
    ...hosts.map(({ zone, host }) =>
      answer(
        `open to ${zone}`,
        `as podman exec open wget -q -T 1 -O - http://${host}:7000/ 2> /dev/null`,
      ),
    ),
    answer(
      'open to home',
      `as podman exec open wget -q -T 1 -O - http://$(address home):8080/ 2> /dev/null`,
    ),
    answer(
      'open to inner',
      `as podman exec open wget -q -T 1 -O - http://$(address inner):8080/ 2> /dev/null`,
    ),
    ...['10.90.0.2', 'host.containers.internal', '10.90.0.1'].map((host) =>
      answer(
        `open to home by ${host}`,
        `as podman exec open wget -q -T 1 -O - http://${host}:8080/ 2> /dev/null`,
      ),
    ),
    answer(
      'inner to wan',
      `as podman exec inner wget -q -T 1 -O - http://203.0.113.10:7000/ 2> /dev/null`,
    ),
    answer(
      'inner to itself',
      `as podman exec inner wget -q -T 1 -O - http://127.0.0.1:8080/ 2> /dev/null`,
    ),
    // The one rule within: without it, "the host's address" would lead round the firewall.
    'ip netns exec containers nft delete table inet containers',
    answer(
      'without the rule',
      `as podman exec open wget -q -T 1 -O - http://host.containers.internal:8080/ 2> /dev/null`,
    ),
    'as podman rm --all --force --time 0 > /dev/null',
    'echo end',
  ].join('\n');
}

/** $0: the tree; $1: the test's folder. The tree becomes the root, as user namespaces want (user_namespaces(7)). */
const enter = `
tree=$0 work=$1
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none "$work/upper"
mkdir "$work/upper/u" "$work/upper/w" "$work/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$work/upper/u,workdir=$work/upper/w" none "$work/root"
cd "$work/root"
mkdir -p proc sys dev run tmp var/tmp home/ct old www etc/netns etc/containers/containers.conf.d
mount --rbind /sys sys
mount --rbind /dev dev
for name in run tmp var/tmp; do mount -t tmpfs -o mode=1777 none "$name"; done
mount --bind "$work/home" home/ct
mkdir -p run/user/850 run/netns etc/netns/containers
chown 850:850 home/ct run/user/850
chmod 0666 dev/net/tun 2> /dev/null || true
echo 'pi-containers:x:850:850::/home/ct:/bin/sh' > etc/passwd
echo 'pi-containers:x:850:' > etc/group
echo 'pi-containers:1879048192:65536' > etc/subuid
cp etc/subuid etc/subgid
echo 'a server' > www/index.html
cp "$work"/files/* .
cp resolv.conf etc/netns/containers/
pivot_root . old
cd /
busybox umount -l /old
busybox mount -t proc proc /proc
busybox mount --make-rshared /
exec sh /script
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-network-'));
  const files = join(folder, 'files');
  for (const name of ['files', 'home', 'upper']) await mkdir(join(folder, name));
  const tree = await podmanTree();
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const echo = { reference: image, version: '1.0', isWell: true, architecture } as const;
  await writeTestImage(join(files, 'echo.tar'), echo, join(tree, 'usr/bin/busybox'));
  const stage = await renderStage(containers);
  await writeFile(join(files, 'network'), stage.text('/usr/lib/pi-gateway/containers-network'));
  await writeFile(join(files, 'resolv.conf'), stage.text('/etc/netns/containers/resolv.conf'));
  const others = { containers: containers.options.parse({}), ssh: ssh.options.parse({}) };
  const rules = (await renderStage(firewall, { zones }, others)).text('/etc/nftables.conf');
  await writeFile(join(files, 'rules.nft'), rules.replaceAll(/^include .*$/gm, ''));
  const ports = apps.map(({ app, port, zones: who }) => ({
    ...{ app, name: 'web', protocol: 'tcp' as const, port, zones: who },
  }));
  const there: readonly Zone[] = ['wan', 'lan', 'guest', 'containers'];
  await writeFile(join(files, 'ports.nft'), portsRuleset(ports, facts, there, new Set()));
  await writeFile(join(files, 'script'), script());
  const { stdout, stderr } = await run(
    'unshare',
    [
      ...['--mount', '--net', '--pid', '--fork', '--kill-child=KILL'],
      ...['sh', '-euc', enter, tree, folder],
    ],
    { timeout: 150_000, okCodes: [1, 137] },
  );
  said = stdout;
  expect(said.endsWith('end') || said.endsWith('end\n'), `${stdout}\n${stderr}`).toBe(true);
}, 180_000);
afterAll(async () => {
  // Files of users that exist within only.
  await rm(folder, { recursive: true, force: true });
});

const reached = (key: string) =>
  new RegExp(`^${key.replaceAll('.', '\\.')}: (.*)$`, 'm').exec(said)?.[1] ?? 'not asked';

test.each(
  hosts.flatMap(({ zone }) => apps.map(({ app, zones: who }) => [zone, app, who] as const)),
)(
  'from %s to %s: only as its port is opened, at the gateway’s address and at its own',
  (zone, app, who) => {
    const expected = who.includes(zone) ? 'version 1.0' : '';
    expect(reached(`${zone} to ${app}`)).toBe(expected);
    expect(reached(`${zone} to ${app} itself`)).toBe(expected);
  },
);

test('the gateway itself reaches every port, by IPv4 and IPv6: so its reverse proxy does', () => {
  for (const { app } of apps) expect(reached(`gateway to ${app}`), app).toBe('version 1.0');
  expect(reached('gateway to home by IPv6')).toBe('version 1.0');
});

test('a container of the dmz reaches the internet, and nobody within', () => {
  expect(reached('open to wan')).toBe('a server');
  expect(reached('open to lan')).toBe('');
  expect(reached('open to guest')).toBe('');
});

test('a container reaches no container of another app, by no address', () => {
  for (const key of [
    ...['open to home', 'open to inner', 'open to home by 10.90.0.2'],
    ...['open to home by host.containers.internal', 'open to home by 10.90.0.1'],
  ])
    expect(reached(key), key).toBe('');
  // And the question is one: without the rule of the containers' own network it is answered.
  expect(reached('without the rule')).toBe('version 1.0');
});

test('a container of the internal network has no way out', () => {
  expect(reached('inner to itself')).toBe('version 1.0');
  expect(reached('inner to wan')).toBe('');
});
