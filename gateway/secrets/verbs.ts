import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { defineVerb } from '../helper/verb.ts';
import {
  deliverSecrets,
  isAvailable,
  removeSecret,
  requireStage,
  rotateSecret,
  setSecret,
} from './change.ts';
import { listSecrets, viewOf } from './store.ts';
import {
  type SecretList,
  secretChange,
  secretList,
  secretName,
  secretUnits,
  secretValue,
  secretView,
} from './view.ts';

/**
 * There is no verb that tells a value: whoever takes over the API gets none. Root reads them by
 * `pi-gateway secret show`, which decrypts by itself.
 */
export const secretsVerbs = {
  'secrets.list': defineVerb({
    summary: 'Lists secrets, without their values',
    args: z.strictObject({}),
    result: secretList,
    changes: false,
    run: list,
  }),
  'secrets.set': defineVerb({
    summary: 'Makes a secret, or gives it another value',
    args: z.strictObject({
      name: secretName,
      value: secretValue.optional(),
      units: secretUnits.optional(),
    }),
    result: secretView,
    changes: true,
    audited: ({ name, units }) => ({ name, units }),
    run: async (system, { name, value, units }) => {
      const made = value === undefined ? 'generated' : 'given';
      return viewOf(await setSecret(system, { name, value, made, units }));
    },
  }),
  'secrets.rotate': defineVerb({
    summary: 'Gives a secret another value and restarts what uses it',
    args: z.strictObject({ name: secretName, value: secretValue.optional() }),
    result: secretChange,
    changes: true,
    audited: ({ name }) => ({ name }),
    run: async (system, { name, value }) => {
      await requireStage(system);
      return await rotateSecret(system, name, value);
    },
  }),
  'secrets.remove': defineVerb({
    summary: 'Removes a secret',
    args: z.strictObject({ name: secretName, force: z.boolean().default(false) }),
    result: z.object({ removed: secretName }),
    changes: true,
    run: async (system, { name, force }) => {
      await removeSecret(system, name, force);
      return { removed: name };
    },
  }),
  'secrets.deliver': defineVerb({
    summary: 'Gives systemd the secrets that it does not have',
    args: z.strictObject({ all: z.boolean().default(false) }),
    result: z.object({ delivered: z.array(secretName) }),
    changes: true,
    run: async (system, { all }) => ({ delivered: await deliverSecrets(system, all) }),
  }),
} as const;

async function list(system: System): Promise<SecretList> {
  return {
    available: await isAvailable(system),
    secrets: (await listSecrets(system)).map(viewOf),
  };
}
