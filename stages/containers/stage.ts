import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { z } from 'zod';
import { addressIn, cidr4, cidr6, parseCidr } from '../../builder/config/fields.ts';
import { BuildError } from '../../builder/errors.ts';
import { archivesFolder, owner } from '../../gateway/containers/places.ts';
import { type Chroot, defineStage } from '../define.ts';
import { containersInterface } from '../firewall/zones.ts';
import { withArguments } from '../kernel/boot-arguments.ts';

const options = z.strictObject({
  network4: cidr4
    .default('10.90.0.0/30')
    .describe(
      'IPv4 network between the gateway and its containers, which are at its second address',
    ),
  network6: cidr6.default('fd66:6761:7465:90::/64').describe('The same for IPv6'),
  memory_percent: z
    .number()
    .int()
    .min(10)
    .max(90)
    .default(60)
    .describe('Most of the memory that all containers together may have'),
  archives: z
    .array(
      z.strictObject({
        file: z
          .string()
          .regex(/\.tar$/, 'must be a tar file: an OCI archive')
          .describe('On the machine that builds'),
        sha256: z
          .string()
          .regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits, as sha256sum prints them')
          .describe('Its checksum: the image is made of this file and no other'),
      }),
    )
    .default([])
    .describe('Images that are put into the device’s image, for devices without a registry'),
});

type Options = z.output<typeof options>;

/** subuid(5): users of the containers; beyond what useradd(8) gives to people, who begin at 100000. */
const firstSubId = 1_879_048_192;
const subIds = 65_536;

export const containers = defineStage({
  name: 'containers',
  summary:
    'Apps in containers: rootless Podman, held to limits, for the zones that they are opened to',
  needs: ['gateway', 'firewall', 'secrets'],
  enabledByDefault: false,
  options,
  packages: () => [
    'podman',
    'crun',
    'netavark',
    'aardvark-dns',
    'passt',
    'uidmap',
    'catatonit',
    'dbus-user-session', // the user's own systemd
    'iproute2',
    'systemd-resolved', // names, for containers
  ],
  services: () => ({
    enable: ['pi-gateway-containers.timer', 'pi-gateway-containers-resume.timer'],
    // Podman's own, of root and of every user: nothing here asks them.
    mask: [
      'podman.socket',
      'podman.service',
      'podman-auto-update.timer',
      'podman-auto-update.service',
      'podman-restart.service',
      'podman-clean-transient.service',
    ],
  }),
  bundles: [{ entry: 'gateway/containers/main.ts', path: '/usr/lib/pi-gateway/container.mjs' }],
  derive: (o) => ({
    device: containersInterface,
    gateway4: addressIn(o.network4, 1),
    address4: addressIn(o.network4, 2),
    bits4: parseCidr(o.network4)?.bits ?? 0,
    gateway6: addressIn(o.network6, 1),
    address6: addressIn(o.network6, 2),
    bits6: parseCidr(o.network6)?.bits ?? 0,
  }),
  validate: (o, config) => [
    ...((parseCidr(o.network4)?.bits ?? 32) > 30
      ? [{ path: ['network4'], message: 'has no room for two: take a /30 or a larger network' }]
      : []),
    ...((config.stages.kernel as { user_namespaces?: boolean } | undefined)?.user_namespaces ===
    false
      ? [
          {
            path: [],
            message: 'needs user namespaces: set stages.kernel.user_namespaces to true',
          },
        ]
      : []),
  ],
  run: async (chroot, o) => {
    await makeUser(chroot);
    await countMemory(chroot);
    await putArchives(chroot, o);
  },
});

async function makeUser(chroot: Chroot): Promise<void> {
  // systemd makes users by itself only when /usr is newer than /etc.
  await chroot.run('systemd-sysusers', ['/usr/lib/sysusers.d/pi-gateway-containers.conf']);
  const uid = (await chroot.run('id', ['-u', owner.name])).trim();
  if (uid !== String(owner.uid))
    throw new BuildError({
      what: `The user ${owner.name} must have the number ${owner.uid}, and has ${uid}`,
      fix: `Another package has ${owner.uid} already: see /etc/passwd in the image`,
    });
  for (const file of ['/etc/subuid', '/etc/subgid']) {
    const lines = (await chroot.exists(file)) ? (await chroot.read(file)).trimEnd() : '';
    const own = `${owner.name}:${firstSubId}:${subIds}`;
    if (!lines.split('\n').includes(own))
      await chroot.write(file, `${lines === '' ? '' : `${lines}\n`}${own}\n`);
  }
}

/** The vendor's firmware turns the memory controller off, without which no limit of memory holds. */
async function countMemory(chroot: Chroot): Promise<void> {
  const cmdline = '/boot/firmware/cmdline.txt';
  if (await chroot.exists('/etc/kernel/postinst.d/z50-raspi-firmware')) return;
  if (!(await chroot.exists(cmdline))) return;
  await chroot.write(
    cmdline,
    `${withArguments(await chroot.read(cmdline), ['cgroup_enable=memory'])}\n`,
  );
}

async function putArchives(chroot: Chroot, o: Options): Promise<void> {
  for (const { file, sha256 } of o.archives) {
    const content = await readFile(file).catch((cause: unknown) => {
      throw new BuildError({
        what: `The archive ${file} cannot be read`,
        fix: 'See stages.containers.archives in gateway.yaml',
        cause,
      });
    });
    const found = createHash('sha256').update(content).digest('hex');
    if (found !== sha256)
      throw new BuildError({
        what: `The archive ${file} is another one: its SHA-256 is ${found}`,
        fix: 'Write that in gateway.yaml if it is the right file: stages.containers.archives',
      });
    await chroot.write(`${archivesFolder}/${basename(file)}`, content);
  }
}
