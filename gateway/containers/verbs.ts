import * as z from 'zod';
import { defineVerb } from '../helper/verb.ts';
import { ask, askConfigure, askInstall } from './ask.ts';
import { appOptions } from './options.ts';
import { catalogOf, containersStatus, tellFirstPassword } from './status.ts';
import { appName } from './template.ts';
import { asked, catalogView, containersView, firstPassword } from './view.ts';

const none = z.strictObject({});
const one = z.strictObject({ app: appName });

export const containersVerbs = {
  'containers.list': defineVerb({
    summary: 'Apps in containers, and how they are',
    args: none,
    result: containersView,
    changes: false,
    run: (system) => containersStatus(system),
  }),
  'containers.catalog': defineVerb({
    summary: 'What can be installed',
    args: none,
    result: catalogView,
    changes: false,
    run: catalogOf,
  }),
  'containers.install': defineVerb({
    summary: 'Installs an app',
    args: z.strictObject({ app: appName, template: appName, options: appOptions.prefault({}) }),
    result: asked,
    changes: true,
    run: (system, { app, template, options }) => askInstall(system, app, template, options),
  }),
  'containers.configure': defineVerb({
    summary: 'Changes the options of an app',
    args: z.strictObject({ app: appName, options: appOptions.partial() }),
    result: asked,
    changes: true,
    run: (system, { app, options }) => askConfigure(system, app, options),
  }),
  'containers.update': defineVerb({
    summary: 'Looks for newer images of an app and takes them if they become well',
    args: one,
    result: asked,
    changes: true,
    run: (system, { app }) => ask(system, app, 'update'),
  }),
  'containers.rollback': defineVerb({
    summary: 'Goes back to the images before the last update',
    args: one,
    result: asked,
    changes: true,
    run: (system, { app }) => ask(system, app, 'rollback'),
  }),
  'containers.restart': defineVerb({
    summary: 'Restarts an app',
    args: one,
    result: asked,
    changes: true,
    run: (system, { app }) => ask(system, app, 'restart'),
  }),
  'containers.remove': defineVerb({
    summary: 'Removes an app; its volumes only if asked',
    args: z.strictObject({ app: appName, volumes: z.boolean().default(false) }),
    result: asked,
    changes: true,
    run: (system, { app, volumes }) => ask(system, app, 'remove', volumes),
  }),
  'containers.password': defineVerb({
    summary: 'Tells the first password of an app, once',
    args: one,
    result: firstPassword,
    changes: true,
    run: (system, { app }) => tellFirstPassword(system, app),
  }),
} as const;
