import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { writeDeviceCard } from '../../firstboot/device-card.ts';
import { statusFile } from '../../firstboot/report.ts';
import {
  claimCode,
  claimFolder,
  codePath,
  hashPath,
  isClaimCode,
} from '../../firstboot/steps/claim.ts';
import {
  at,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';

/** Wrong codes a minute. With 80 random bits even more would be no danger; each costs the Pi 4 MiB and some time. */
const triesPerMinute = 5;

/** A helper that has ended forgets them: that takes a minute without any, which forgets them too. */
class WrongTries {
  /** In milliseconds of the clock that never jumps. */
  #times: number[] = [];

  areTooMany(): boolean {
    const now = performance.now();
    this.#times = this.#times.filter((time) => now - time < 60_000);
    return this.#times.length >= triesPerMinute;
  }

  add(): void {
    this.#times.push(performance.now());
  }
}

/** The verbs, with a count of wrong codes of their own. */
export function newClaimVerbs() {
  const tries = new WrongTries();
  return {
    'claim.status': defineVerb({
      summary: 'Whether the claim code of first boot is still to be used',
      args: z.strictObject({}),
      result: z.strictObject({ open: z.boolean() }),
      changes: false,
      run: async (system) => ({ open: (await claimCode(system)) !== undefined }),
    }),
    'claim.use': defineVerb({
      summary: 'Uses the claim code up: who has it may make the first account',
      args: z.strictObject({ code: z.string().min(1).max(64) }),
      result: z.null(),
      changes: true,
      audited: () => ({}),
      run: async (system, { code }) => {
        await useClaim(system, code, tries);
        return null;
      },
    }),
    'claim.close': defineVerb({
      summary: 'Ends the claim code: root has made the first account without it',
      args: z.strictObject({}),
      result: z.null(),
      changes: true,
      run: async (system) => {
        if ((await claimCode(system)) !== undefined) await endClaim(system);
        return null;
      },
    }),
  } as const;
}

export const claimVerbs = newClaimVerbs();

/**
 * The code works once: its file is gone, and on disk so, before this returns. Verbs that change run one
 * after the other, so of two who have it the second finds it used.
 * @throws GatewayError refused if it is none, missing if it was the code and is used.
 */
async function useClaim(system: System, code: string, tries: WrongTries): Promise<void> {
  if (tries.areTooMany())
    throw new GatewayError('Too many wrong claim codes', 'Wait a minute and try again', 'conflict');
  const hash = await readIfThere(at(system, hashPath));
  if (hash === undefined)
    throw new GatewayError(
      'First boot has not made a claim code yet',
      'Wait for it to end; gateway-status.txt on the boot partition says how it went',
      'conflict',
    );
  // Before anything is said of the code: the API takes who is told that it is used for who has used it.
  if (!(await isClaimCode(code, hash))) {
    tries.add();
    throw new GatewayError(
      'That is not the claim code of this gateway',
      'It is above the login prompt on the screen, and in gateway-status.txt on the boot partition',
      'refused',
    );
  }
  if ((await claimCode(system)) === undefined)
    throw new GatewayError(
      'That claim code is used: this gateway has its owner',
      'Log in with your account, or let its owner make you one',
      'missing',
    );
  await endClaim(system);
}

async function endClaim(system: System): Promise<void> {
  await rm(at(system, codePath), { force: true });
  await syncDirectory(at(system, claimFolder));
  // Without the code. Where they cannot be written they show one that works no more: no reason to fail.
  for (const write of [writeDeviceCard, forgetInStatus])
    await write(system).catch((error: unknown) =>
      system.say(`A device card still shows the used claim code: ${String(error)}`),
    );
}

/** First boot's report on the boot partition has the card of then. */
async function forgetInStatus(system: System): Promise<void> {
  const path = join(system.root, system.boot, statusFile);
  const text = await readIfThere(path);
  const rest = text?.split('\n').filter((line) => !/claim code/i.test(line));
  if (text !== undefined && rest && rest.join('\n') !== text)
    await writeDurably(path, rest.join('\n'));
}
