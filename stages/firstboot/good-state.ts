import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { identityToRecipient } from 'age-encryption';
import { readDiskLayout } from '../../builder/base/disk-layout.ts';
import { run } from '../../builder/exec.ts';
import { type Announced, announcedIn, remember } from '../../builder/qemu/announced.ts';
import { withBootPartition, withCard } from '../../builder/qemu/card.ts';
import { findInStream } from '../../builder/qemu/disk-secrets.ts';
import { type SshTarget, ssh } from '../../builder/qemu/ssh.ts';

/** What the owner asked for, as far as it can be seen on the device. */
export type Wanted = {
  hostname: string;
  timezone: string;
  /** By name; they have to be on the device and not on its boot partition. */
  secrets: { token: string; passwordHash: string };
};

/** What is wrong with a running device after first boot; empty if nothing. */
export async function problemsOfDevice(
  target: SshTarget,
  wanted: Wanted,
  known: Announced,
): Promise<string[]> {
  const script = await readFile(join(import.meta.dirname, 'good-state.sh'));
  const looks = await ssh(
    target,
    `sudo bash -s ${wanted.hostname} ${wanted.timezone}`,
    420,
    script,
  );
  const read = (path: string) => ssh(target, `sudo cat ${path}`);
  const problems = looks.split('\n').filter((line) => line !== '');
  const shadow = await read('/etc/shadow');
  if (!shadow.split('\n').some((line) => line.split(':')[1] === wanted.secrets.passwordHash))
    problems.push('nobody has the password hash of the owner');
  if (!(await read('/etc/pi-gateway/ddns.yaml')).includes(wanted.secrets.token))
    problems.push('ddns.yaml has no token of the owner');
  const identity = (await read('/etc/pi-gateway/age/identity.txt')).trim();
  const recipient = (await read('/etc/pi-gateway/age/recipient.txt')).trim();
  if ((await identityToRecipient(identity).catch(() => undefined)) !== recipient)
    problems.push('the age identity is not the one of its recipient');
  const card = announcedIn(await read('/var/lib/pi-gateway/device-card.txt'));
  problems.push(...remember(known, card));
  for (const name of ['SSH host key (ED25519)', 'WireGuard key', 'claim code'])
    if (!card.has(name)) problems.push(`the device card has no ${name}`);
  return problems;
}

/** What is wrong on the card of a device that was shut down after first boot; empty if nothing. */
export async function problemsOfCard(directory: string, wanted: Wanted): Promise<string[]> {
  const { exitCode, stdout } = await withCard(directory, async (card) => {
    const { root } = await readDiskLayout(card);
    return await run('e2fsck', ['-f', '-n', `${card}?offset=${root.startBytes}`], {
      okCodes: [1, 2, 4, 8, 12],
    });
  });
  return [
    ...(exitCode === 0 ? [] : [`e2fsck finds: ${stdout.trim()}`]),
    ...(await withBootPartition(directory, async (partition) => [
      ...(await problemsOfFat(partition)),
      ...(
        await findInStream(createReadStream(partition), wanted.secrets)
      ).map(({ secret, offset }) => `the boot partition has the ${secret} at byte ${offset}`),
    ])),
  ];
}

/**
 * What the journal of a card whose power was cut does not mend; empty if nothing. Nobody has started it
 * since: e2fsck(8) does to a copy what the kernel does when it mounts it.
 */
export async function problemsAfterReplay(directory: string): Promise<string[]> {
  return await withCard(directory, async (card) => {
    const { root } = await readDiskLayout(card);
    const place = `${card}?offset=${root.startBytes}`;
    await run('e2fsck', ['-E', 'journal_only', '-y', place], { okCodes: [1] });
    const { exitCode, stdout } = await run('e2fsck', ['-f', '-n', place], {
      okCodes: [1, 2, 4, 8, 12],
    });
    // A file system in use counts its free blocks and orphans only when it is unmounted: e2fsck -p
    // mends these alone without a question, and so does the boot.
    return exitCode === 0 || (await mendsAlone(place))
      ? []
      : [`after replay, e2fsck finds: ${stdout}`];
  });
}

async function mendsAlone(place: string): Promise<boolean> {
  // Exit code 1: errors corrected; 4: left, as they need an answer.
  const { exitCode } = await run('e2fsck', ['-f', '-p', place], { okCodes: [1, 4, 8, 12] });
  return exitCode <= 1;
}

/** fsck.fat(8), without the mark that a card whose power was cut keeps until it is checked. */
export async function problemsOfFat(partition: string): Promise<string[]> {
  const { stdout } = await run('fsck.fat', ['-n', partition], { okCodes: [1] });
  return stdout
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !harmless.some((one) => one.test(line)))
    .map((line) => `fsck.fat finds: ${line}`);
}

const harmless: readonly RegExp[] = [
  /^fsck\.fat \d/,
  /: \d+ files, \d+\/\d+ clusters$/,
  /^Dirty bit is set\. Fs was not properly unmounted/,
  /^Automatically removing dirty bit\.$/,
  // The mark is in the boot sector alone, not in its backup.
  /^There are differences between boot sector and its backup\.$/,
  /^This is mostly harmless\. Differences: \(offset:original\/backup\)$/,
  /^65:01\/00$/,
  /^Not automatically fixing this\.$/,
  /^Leaving filesystem unchanged\.$/,
];
