import * as z from 'zod';
import { job, pinnedImage } from './app.ts';
import { appOptions } from './options.ts';
import { appName } from './template.ts';

/** What the API says of containers. */

export const templateView = z.object({
  id: appName,
  title: z.string(),
  summary: z.string(),
  parts: z.array(
    z.object({
      name: z.string(),
      image: z.string(),
      memory_mib: z.number(),
      cpus: z.number(),
      networks: z.array(z.string()),
      writable_because: z.string().nullable(),
    }),
  ),
  ports: z.array(
    z.object({
      name: z.string(),
      protocol: z.enum(['tcp', 'udp']),
      port: z.number().int().describe('On the gateway'),
      zones: z.array(z.string()).describe('Who reaches it, unless the owner says otherwise'),
    }),
  ),
  notes: z.array(z.string()),
});

export const partState = z.object({
  name: z.string(),
  state: z.string().describe("Podman's word: running, exited, …; missing: there is none"),
  health: z.enum(['healthy', 'unhealthy', 'starting', 'none']),
  since: z.iso.datetime().nullable(),
  image: pinnedImage.nullable(),
});

export const appView = z.object({
  app: appName,
  template: z.string(),
  title: z.string(),
  installed: z.boolean(),
  state: z
    .enum(['working', 'well', 'starting', 'unwell', 'not installed'])
    .describe('working: what was asked for last is under way'),
  job: job.nullable().describe('What was asked for last'),
  parts: z.array(partState),
  addresses: z.array(z.object({ name: z.string(), url: z.string().nullable(), text: z.string() })),
  options: appOptions,
  may_roll_back: z.boolean(),
  password_untold: z.boolean().describe('Its first password is still to be told, once'),
  volumes: z.array(z.string()),
  notes: z.array(z.string()),
});
export type AppView = z.output<typeof appView>;

export const containersView = z.object({
  available: z.boolean().describe('false: the image was built without the stage'),
  address4: z.string().nullable().describe('Where all ports of containers are'),
  address6: z.string().nullable(),
  apps: z.array(appView),
});
export type ContainersView = z.output<typeof containersView>;

export const catalogView = z.object({ templates: z.array(templateView) });

export const asked = z.object({ app: appName, revision: z.number().int() });

export const firstPassword = z.object({
  user: z.string().nullable().describe('null: there is only a password'),
  password: z.string(),
});
