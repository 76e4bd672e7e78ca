import { rename } from 'node:fs/promises';
import * as z from 'zod';
import { at, readIfThere, type System, writeDurably } from '../../../firstboot/system.ts';
import { roles, scopes } from '../operation.ts';

export const accountsFile = '/var/lib/pi-gatewayd/accounts.json';

const time = z.number().int().nonnegative();

const storedAccount = z.strictObject({
  name: z.string(),
  role: z.enum(roles),
  /** PHC string of the password. */
  hash: z.string(),
  created: time,
  password_changed: time,
  totp: z
    .strictObject({
      /** Base32. It must be readable to compute with; whoever reads this file is the gateway already. */
      secret: z.string(),
      /** Time step of the last code that was used; it and all before are good no more. */
      used: z.number().int(),
      /** SHA-256 of each recovery code that is left. */
      recovery: z.array(z.string()),
    })
    .optional(),
});
export type StoredAccount = z.output<typeof storedAccount>;

const storedToken = z.strictObject({
  id: z.string(),
  name: z.string(),
  role: z.enum(roles),
  scopes: z.array(z.enum(scopes)).optional(),
  owner: z.string(),
  /** SHA-256 of the token. */
  hash: z.string(),
  created: time,
  expires: time.optional(),
  last_used: time.optional(),
});
export type StoredToken = z.output<typeof storedToken>;

const stored = z.strictObject({
  version: z.literal(1),
  accounts: z.array(storedAccount),
  tokens: z.array(storedToken),
  /**
   * The first account while the claim code is used up: a power cut between that and the account would leave
   * a gateway without owner and without code. It counts once the code is gone.
   */
  owner_to_be: storedAccount.optional(),
});

/** What is kept over restarts: never a password, a token or a recovery code. */
export type Stored = {
  accounts: readonly StoredAccount[];
  tokens: readonly StoredToken[];
  owner_to_be?: StoredAccount | undefined;
};

/**
 * The accounts and tokens on disk. A file that cannot be understood is put aside, not thrown away: nobody
 * gets in until root makes an account, and nobody is the first visitor of a gateway without owner.
 */
export async function readAccounts(system: System): Promise<Stored & { damaged: boolean }> {
  const path = at(system, accountsFile);
  const aside = `${path}.damaged`;
  const text = await readIfThere(path);
  if (text === undefined)
    return { accounts: [], tokens: [], damaged: (await readIfThere(aside)) !== undefined };
  try {
    const { version: _, ...rest } = stored.parse(JSON.parse(text));
    return { ...rest, damaged: false };
  } catch {
    await rename(path, aside);
    system.say(
      `${accountsFile} cannot be understood and is now ${accountsFile}.damaged: sudo pi-gateway account add NAME --role admin`,
    );
    return { accounts: [], tokens: [], damaged: true };
  }
}

export async function writeAccounts(system: System, content: Stored): Promise<void> {
  const text = JSON.stringify({ version: 1, ...content }, null, 2);
  await writeDurably(at(system, accountsFile), `${text}\n`, 0o600);
}
