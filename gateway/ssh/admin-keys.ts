import { join } from 'node:path';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import {
  type AuthorizedKey,
  expiring,
  formatAuthorizedKeys,
  isKey,
  isValid,
  type Line,
  newKey,
  parseAuthorizedKeys,
} from './authorized-keys.ts';

type Account = { name: string; uid: number; gid: number; home: string };

/** The keys that let an account in by SSH. Every change is durable, and never the last valid key's end. */
export class AdminKeys {
  readonly #system: System;
  readonly #account: Account;
  readonly #now: Date;

  constructor(system: System, account: Account, now: Date) {
    this.#system = system;
    this.#account = account;
    this.#now = now;
  }

  get #path(): string {
    return at(this.#system, join(this.#account.home, '.ssh/authorized_keys'));
  }

  async lines(): Promise<Line[]> {
    return parseAuthorizedKeys((await readIfThere(this.#path)) ?? '');
  }

  async list(): Promise<AuthorizedKey[]> {
    return (await this.lines()).filter(isKey);
  }

  /** Lets a further key in. One that is there already is added no second time. */
  async add(text: string): Promise<AuthorizedKey> {
    const key = parseNew(text);
    const lines = await this.lines();
    const same = lines.filter(isKey).find(({ fingerprint }) => fingerprint === key.fingerprint);
    if (same && isValid(same, this.#now)) return same;
    await this.#write([...lines.filter((line) => line !== same), key]);
    return key;
  }

  /** Ends a key, at once. @param which fingerprint, or comment if only one key has it. */
  async remove(which: string): Promise<AuthorizedKey> {
    const lines = await this.lines();
    const key = find(lines.filter(isKey), which);
    await this.#write(lines.filter((line) => !isKey(line) || line.fingerprint !== key.fingerprint));
    return key;
  }

  /** Lets the new key in now and the old one no longer after the overlap (days; 0: at once). */
  async rotate(
    which: string,
    text: string,
    overlapDays: number,
  ): Promise<{ old: AuthorizedKey; new: AuthorizedKey }> {
    const lines = await this.lines();
    const old = find(lines.filter(isKey), which);
    const fresh = parseNew(text);
    if (fresh.fingerprint === old.fingerprint)
      throw new GatewayError(
        'The new key is the old one',
        'Make a new one first: ssh-keygen -t ed25519',
      );
    const end = new Date(this.#now.getTime() + overlapDays * 86_400_000);
    const ending = expiring(old, end);
    const others = lines.filter((line) => !isKey(line) || line.fingerprint !== fresh.fingerprint);
    const kept = others.flatMap((line) => {
      if (line !== old) return [line];
      return overlapDays > 0 ? [ending] : [];
    });
    await this.#write([...kept, fresh]);
    return { old: ending, new: fresh };
  }

  async #write(lines: readonly Line[]): Promise<void> {
    const lasting = lines.filter(isKey).some((key) => isValid(key, this.#now));
    if (!lasting)
      throw new GatewayError(
        `Without this key nobody could log in as ${this.#account.name} any more`,
        'Add another key first: sudo pi-gateway ssh keys add FILE',
      );
    await writeDurably(this.#path, formatAuthorizedKeys(lines), 0o600, this.#account);
  }
}

function parseNew(text: string): AuthorizedKey {
  try {
    return newKey(text);
  } catch (error) {
    throw new GatewayError(
      error instanceof Error ? error.message : String(error),
      'Give the line of the .pub file, e.g. the output of: cat ~/.ssh/id_ed25519.pub',
    );
  }
}

function find(keys: readonly AuthorizedKey[], which: string): AuthorizedKey {
  const found = keys.filter(
    ({ fingerprint, comment }) => fingerprint === which || comment === which,
  );
  const [key, more] = found;
  if (key && !more) return key;
  throw new GatewayError(
    key ? `Several keys have the comment '${which}'` : `There is no key '${which}'`,
    'Name the key by its fingerprint: sudo pi-gateway ssh keys list',
  );
}

/**
 * The account whose keys are meant: the one that is named, else who called sudo, else the image's admin.
 * @throws GatewayError if there is none of that name.
 */
export async function findAccount(
  system: System,
  name: string | undefined,
  sudoUser: string | undefined,
): Promise<Account> {
  const accounts = parsePasswd((await readIfThere(at(system, '/etc/passwd'))) ?? '');
  const facts = await readIfThere(at(system, '/usr/share/pi-gateway/firstboot.json'));
  const admin = facts === undefined ? 'gateway' : (JSON.parse(facts) as { admin: string }).admin;
  const caller = accounts.find((account) => account.name === sudoUser && account.uid >= 1000);
  const wanted = name ?? caller?.name ?? admin;
  const account = accounts.find((one) => one.name === wanted);
  if (account) return account;
  throw new GatewayError(`There is no user '${wanted}'`, 'Name one with --user NAME');
}

function parsePasswd(text: string): Account[] {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 7)
    .map(([name = '', , uid, gid, , home = '/']) => ({
      name,
      uid: Number(uid),
      gid: Number(gid),
      home,
    }));
}
