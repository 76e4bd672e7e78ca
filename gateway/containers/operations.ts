import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { appOptions } from './options.ts';
import { appName } from './template.ts';
import { asked, catalogView, containersView, firstPassword } from './view.ts';

const area = 'containers';
const params = z.strictObject({ app: appName });
const later = '`job` of GET /containers says how it goes';

const list = defineOperation({
  id: 'containersList',
  method: 'get',
  path: '/containers',
  area,
  summary: 'Apps in containers, how they are and where they are reached',
  role: 'viewer',
  response: containersView,
  run: (context) => context.call('containers.list', {}),
});

const catalog = defineOperation({
  id: 'containersCatalog',
  method: 'get',
  path: '/containers/catalog',
  area,
  summary: 'What can be installed, with its images, limits and ports',
  role: 'viewer',
  response: catalogView,
  run: (context) => context.call('containers.catalog', {}),
});

const install = defineOperation({
  id: 'containerInstall',
  method: 'post',
  path: '/containers',
  area,
  summary: `Installs an app of the catalogue; ${later}`,
  role: 'admin',
  body: z.strictObject({ app: appName, template: appName, options: appOptions.prefault({}) }),
  response: asked,
  status: 202,
  run: (context, { body }) => context.call('containers.install', body),
});

const configure = defineOperation({
  id: 'containerConfigure',
  method: 'patch',
  path: '/containers/{app}',
  area,
  summary: `Changes options of an app; ${later}`,
  role: 'admin',
  params,
  body: z.strictObject({ options: appOptions.partial() }),
  response: asked,
  status: 202,
  run: (context, { params: { app }, body: { options } }) =>
    context.call('containers.configure', { app, options }),
});

const update = defineOperation({
  id: 'containerUpdate',
  method: 'post',
  path: '/containers/{app}/update',
  area,
  summary: `Takes newer images, if the app becomes well with them; ${later}`,
  role: 'admin',
  params,
  response: asked,
  status: 202,
  run: (context, { params: { app } }) => context.call('containers.update', { app }),
});

const rollback = defineOperation({
  id: 'containerRollback',
  method: 'post',
  path: '/containers/{app}/rollback',
  area,
  summary: `Goes back to the images before the last update; ${later}`,
  role: 'admin',
  params,
  response: asked,
  status: 202,
  run: (context, { params: { app } }) => context.call('containers.rollback', { app }),
});

const restart = defineOperation({
  id: 'containerRestart',
  method: 'post',
  path: '/containers/{app}/restart',
  area,
  summary: `Restarts an app; ${later}`,
  role: 'admin',
  params,
  response: asked,
  status: 202,
  run: (context, { params: { app } }) => context.call('containers.restart', { app }),
});

const remove = defineOperation({
  id: 'containerRemove',
  method: 'delete',
  path: '/containers/{app}',
  area,
  summary: 'Removes an app; its volumes and what is in them stay, unless `volumes`',
  role: 'admin',
  params,
  query: z.strictObject({ volumes: z.enum(['true', 'false']).default('false') }),
  response: asked,
  status: 202,
  run: (context, { params: { app }, query: { volumes } }) =>
    context.call('containers.remove', { app, volumes: volumes === 'true' }),
});

const password = defineOperation({
  id: 'containerPassword',
  method: 'post',
  path: '/containers/{app}/password',
  area,
  summary: 'The password that an app was installed with: told once',
  role: 'admin',
  // A token is for machines, which have no business with it.
  personal: true,
  params,
  response: firstPassword,
  run: (context, { params: { app } }) => context.call('containers.password', { app }),
});

export const containersOperations = [
  list,
  catalog,
  install,
  configure,
  update,
  rollback,
  restart,
  remove,
  password,
] as const;
