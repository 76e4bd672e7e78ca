import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { AdminKeys, findAccount } from './admin-keys.ts';
import { type AuthorizedKey, isValid } from './authorized-keys.ts';
import { beginRotation, finishRotation, listHostKeys, readRotation } from './host-keys.ts';

const system = deviceSystem((text) => process.stdout.write(`${text}\n`));

/** `pi-gateway ssh …`: the keys of the device and of its admins. */
export function addSshCommands(program: Command): void {
  const ssh = program.command('ssh').description("the device's host keys and its admins' keys");

  ssh
    .command('host-keys')
    .description("show the host keys' fingerprints, and a rotation that is under way")
    .option('--json', 'for machines')
    .action(async (o: { json?: boolean }) => {
      const keys = await listHostKeys(system);
      const rotation = await readRotation(system).catch(() => undefined);
      if (o.json) return print({ keys, rotation: rotation ?? null });
      for (const key of keys) say(`${key.type.padEnd(8)} ${key.fingerprint} ${key.state}`);
      if (rotation) say(`The next keys take over on ${rotation.until}.`);
    });

  ssh
    .command('rotate-host-keys')
    .description('make new host keys; sshd offers both until the overlap is over')
    .option('--overlap <days>', 'days that clients have to learn the new keys', days, 30)
    .option('--json', 'for machines')
    .action(async (o: { overlap: number; json?: boolean }) => {
      requireRoot();
      const rotation = await beginRotation(system, { overlapDays: o.overlap, now: new Date() });
      const keys = await listHostKeys(system);
      if (o.json) return print({ keys, rotation });
      say(`sshd offers the old keys and the next ones until ${rotation.until}:`);
      for (const key of keys) say(`  ${key.type.padEnd(8)} ${key.fingerprint} ${key.state}`);
      say('OpenSSH clients that log in until then learn the new keys by themselves.');
    });

  ssh
    .command('finish-rotation')
    .description('end a rotation whose overlap is over (a timer does this daily)')
    .option('--now', 'end it before its time')
    .option('--json', 'for machines')
    .action(async (o: { now?: boolean; json?: boolean }) => {
      requireRoot();
      const finished = await finishRotation(system, { now: new Date(), force: o.now === true });
      if (o.json) return print({ finished });
      say(finished ? 'The old host keys are gone.' : 'No rotation is due.');
    });

  const keys = ssh.command('keys').description("admins' keys (authorized_keys)");
  const user = ['--user <name>', "whose keys; the caller's own by default"] as const;

  keys
    .command('list')
    .description('show the keys that let an admin in')
    .option(...user)
    .option('--json', 'for machines')
    .action(async (o: { user?: string; json?: boolean }) => {
      requireRoot();
      const list = await (await adminKeys(o.user)).list();
      if (o.json) return print(list.map(facts));
      if (list.length === 0) say('No key: nobody can log in as this user.');
      for (const key of list) say(line(key));
    });

  keys
    .command('add')
    .description('let a further key in')
    .argument('<key>', 'the public key, a .pub file, or - for standard input')
    .option(...user)
    .option('--json', 'for machines')
    .action(async (key: string, o: { user?: string; json?: boolean }) => {
      requireRoot();
      const added = await (await adminKeys(o.user)).add(await keyText(key));
      if (o.json) return print(facts(added));
      say(line(added));
    });

  keys
    .command('remove')
    .description('let a key no longer in; never the last one')
    .argument('<key>', 'its fingerprint (SHA256:…) or comment')
    .option(...user)
    .option('--json', 'for machines')
    .action(async (key: string, o: { user?: string; json?: boolean }) => {
      requireRoot();
      const removed = await (await adminKeys(o.user)).remove(key);
      if (o.json) return print(facts(removed));
      say(`removed: ${line(removed)}`);
    });

  keys
    .command('rotate')
    .description('let a new key in now, and the old one no longer after an overlap')
    .argument('<old>', "the old key's fingerprint (SHA256:…) or comment")
    .argument('<new>', 'the new public key, a .pub file, or - for standard input')
    .option('--overlap <days>', 'days that the old key still works; 0 ends it now', days, 7)
    .option(...user)
    .option('--json', 'for machines')
    .action(
      async (old: string, fresh: string, o: { overlap: number; user?: string; json?: boolean }) => {
        requireRoot();
        const both = await (await adminKeys(o.user)).rotate(old, await keyText(fresh), o.overlap);
        if (o.json) return print({ old: facts(both.old), new: facts(both.new) });
        say(`new: ${line(both.new)}`);
        say(`old: ${line(both.old)}`);
        say('Log in with the new key now, before you throw the old one away.');
      },
    );
}

async function adminKeys(user: string | undefined): Promise<AdminKeys> {
  const account = await findAccount(system, user, process.env.SUDO_USER);
  return new AdminKeys(system, account, new Date());
}

/** The key itself, the content of the file that is named, or standard input. */
async function keyText(argument: string): Promise<string> {
  if (argument === '-') return await readFile('/dev/stdin', 'utf8');
  if (argument.includes(' ')) return argument;
  try {
    return await readFile(argument, 'utf8');
  } catch {
    throw new GatewayError(
      `There is no file '${argument}'`,
      'Give the public key in quotes, or the path of its .pub file',
    );
  }
}

function days(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 3650)
    throw new InvalidArgumentError('must be a number of days from 0 to 3650, e.g. 30');
  return value;
}

function facts(key: AuthorizedKey) {
  return {
    fingerprint: key.fingerprint,
    type: key.type,
    comment: key.comment,
    expires: key.expires?.toISOString() ?? null,
    valid: isValid(key, new Date()),
  };
}

function line(key: AuthorizedKey): string {
  const { expires, valid } = facts(key);
  const end = expires === null ? '' : valid ? ` until ${expires}` : ` expired ${expires}`;
  return `${key.fingerprint} ${key.type} ${key.comment}${end}`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function print(value: unknown): void {
  say(JSON.stringify(value, null, 2));
}
