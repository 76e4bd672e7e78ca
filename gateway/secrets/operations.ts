import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import {
  secretChange,
  secretList,
  secretName,
  secretUnits,
  secretValue,
  secretView,
} from './view.ts';

const params = z.strictObject({ name: secretName });
const value = secretValue.meta({ writeOnly: true });

const listSecrets = defineOperation({
  id: 'secretsList',
  method: 'get',
  path: '/secrets',
  area: 'secrets',
  summary: 'Secrets of the device and who uses them; a value is never told',
  role: 'admin',
  response: secretList,
  run: (context) => context.call('secrets.list', {}),
});

const setSecret = defineOperation({
  id: 'secretSet',
  method: 'put',
  path: '/secrets/{name}',
  area: 'secrets',
  summary: 'Makes a secret, or gives it another value; without one a password is made',
  role: 'admin',
  params,
  body: z.strictObject({ value: value.optional(), units: secretUnits.optional() }),
  response: secretView,
  run: (context, { params: { name }, body }) => context.call('secrets.set', { name, ...body }),
});

const rotateSecret = defineOperation({
  id: 'secretRotate',
  method: 'post',
  path: '/secrets/{name}/rotate',
  area: 'secrets',
  summary:
    'Another value, and a restart of what uses it; the value of before returns if that fails',
  role: 'admin',
  params,
  body: z.strictObject({ value: value.optional() }),
  response: secretChange,
  run: (context, { params: { name }, body }) => context.call('secrets.rotate', { name, ...body }),
});

const removeSecret = defineOperation({
  id: 'secretRemove',
  method: 'delete',
  path: '/secrets/{name}',
  area: 'secrets',
  summary: 'Removes a secret; one that units use only with `force`',
  role: 'admin',
  params,
  query: z.strictObject({ force: z.enum(['true', 'false']).default('false') }),
  run: async (context, { params: { name }, query: { force } }) => {
    await context.call('secrets.remove', { name, force: force === 'true' });
    return undefined;
  },
});

const deliverSecrets = defineOperation({
  id: 'secretsDeliver',
  method: 'post',
  path: '/secrets/deliver',
  area: 'secrets',
  summary: 'Gives systemd the secrets that it does not have, or all anew: after a restore',
  role: 'admin',
  body: z.strictObject({ all: z.boolean().default(false) }),
  response: z.object({ delivered: z.array(secretName) }),
  run: (context, { body }) => context.call('secrets.deliver', body),
});

export const secretsOperations = [
  listSecrets,
  setSecret,
  rotateSecret,
  removeSecret,
  deliverSecrets,
] as const;
