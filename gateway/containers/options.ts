import * as z from 'zod';
import { zone } from '../../builder/config/fields.ts';
import { environmentName, imageReference, type Template, type TemplatePart } from './template.ts';

/** What the owner says of an app; all else is as its template says. */
export const appOptions = z.strictObject({
  zones: z
    .record(z.string(), z.array(zone))
    .default({})
    .describe('Who may reach a port, by its name: {web: [lan, vpn]}'),
  ports: z
    .record(z.string(), z.number().int().min(1).max(65_535))
    .default({})
    .describe('Another port on the gateway, by its name: {web: 8080}'),
  memory_mib: z
    .record(z.string(), z.number().int().min(16).max(16_384))
    .default({})
    .describe('Most memory of a part, in MiB'),
  images: z
    .record(z.string(), imageReference)
    .default({})
    .describe("Another image of a part: the template's own, in a newer version"),
  environment: z
    .record(
      environmentName.refine(
        (name) => !/PASS|TOKEN|SECRET|CREDENTIAL|PRIVATE/i.test(name) || /_FILE$/.test(name),
        'looks like a secret: what is in the environment is to be read in /proc; use a template with secrets',
      ),
      z
        .string()
        .max(1_000)
        .regex(/^[^\r\n\0]*$/, 'must be one line'),
    )
    .default({})
    .describe('Variables of the main part that are no secrets'),
});
export type AppOptions = z.output<typeof appOptions>;

/** Mistakes that a schema can't say: names that the template does not have. */
export function optionMistakes(from: Template, options: AppOptions): string[] {
  const ports = from.parts.flatMap((part) => part.ports.map(({ name }) => name));
  const parts = from.parts.map(({ name }) => name);
  const unknown = (key: string, given: Record<string, unknown>, known: readonly string[]) =>
    Object.keys(given)
      .filter((name) => !known.includes(name))
      .map((name) => `${key}: ${from.id} has no ${name}; it has ${known.join(', ') || 'none'}`);
  return [
    ...unknown('zones', options.zones, ports),
    ...unknown('ports', options.ports, ports),
    ...unknown('memory_mib', options.memory_mib, parts),
    ...unknown('images', options.images, parts),
    // Who comes in from the internet meets a server in the dmz, not one that only looks after the gateway.
    ...from.parts.flatMap((part) =>
      part.networks.includes('dmz')
        ? []
        : part.ports
            .filter(({ name }) => zonesOf(options, part, name).some((one) => !isManagement(one)))
            .map(
              ({ name }) =>
                `zones: ${name} is on the management network, which is for lan and vpn only`,
            ),
    ),
  ];
}

const isManagement = (name: string): boolean => name === 'lan' || name === 'vpn';

function zonesOf(options: AppOptions, part: TemplatePart, port: string): readonly string[] {
  return options.zones[port] ?? part.ports.find(({ name }) => name === port)?.zones ?? [];
}

/** The template with what the owner says in place of its own. */
export function applyOptions(from: Template, options: AppOptions): Template {
  return {
    ...from,
    parts: from.parts.map((part) => ({
      ...part,
      image: options.images[part.name] ?? part.image,
      // A digest is of the template's own image.
      digest: options.images[part.name] === undefined ? part.digest : null,
      limits: {
        ...part.limits,
        memory_mib: options.memory_mib[part.name] ?? part.limits.memory_mib,
      },
      environment:
        part.name === from.id ? { ...part.environment, ...options.environment } : part.environment,
      ports: part.ports.map((port) => ({
        ...port,
        published: options.ports[port.name] ?? port.published,
        zones: options.zones[port.name] ?? port.zones,
      })),
    })),
  };
}
