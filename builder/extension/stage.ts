import { join } from 'node:path';
import * as z from 'zod';
import { listen, type Manifest, unitOf } from '../../gateway/extensions/manifest.ts';
import { unitsOf } from '../../gateway/extensions/units.ts';
import { type Chroot, defineStage, type Port, type StageDefinition } from '../../stages/define.ts';
import { programOf } from './sandbox.ts';

type Options = Record<string, unknown> & {
  ports?: Record<string, z.output<typeof listen>>;
};

/**
 * The stage that an extension is for the builder: what its manifest says, and what its own stage.ts adds. The
 * owner may set other ports and zones in gateway.yaml, since systemd opens them, not the extension.
 */
export function extensionStage(
  folder: string,
  manifest: Manifest,
  own: StageDefinition | undefined,
  declaredAt: (path: readonly string[]) => Port['declared'],
) {
  const { name, service, permissions } = manifest;
  const names = Object.keys(permissions.ports);
  const { all, gateway } = unitsOf(manifest);
  const enabled = [...all, ...(gateway === undefined ? [] : [gateway])].filter(
    (unit) => unit.endsWith('.socket') || (service?.start === 'boot' && unit.endsWith('.service')),
  );
  const users = service
    ? (chroot: Chroot) =>
        chroot.run('systemd-sysusers', [`/usr/lib/sysusers.d/${unitOf(name)}.conf`])
    : undefined;
  return defineStage({
    ...own,
    name,
    summary: manifest.summary,
    needs: [...new Set(['gateway', ...(own?.needs ?? [])])],
    options: names.length > 0 ? withPorts(own?.options, manifest) : (own?.options ?? nothing),
    // They are found from the project's folder.
    bundles: [
      ...(own?.bundles ?? []).map((one) => ({ ...one, entry: join(folder, one.entry) })),
      ...(service?.program === undefined
        ? []
        : [{ entry: join(folder, service.program), path: programOf(name), mode: 0o644 }]),
    ],
    packages: (o) => [
      ...new Set([
        ...(service?.program === undefined ? [] : ['nodejs']),
        ...manifest.packages,
        ...(own?.packages?.(o) ?? []),
      ]),
    ],
    services: (o) => {
      const others = own?.services?.(o) ?? {};
      return { ...others, enable: [...enabled, ...(others.enable ?? [])] };
    },
    ports: (o) =>
      Object.entries((o as Options).ports ?? {}).map(([port, chosen]): Port => {
        const declared = declaredAt(['permissions', 'ports', port, 'port']);
        return {
          ...chosen,
          path: ['ports', port, 'port'],
          name: `x-${name}-${port}`,
          ...(declared ? { declared } : {}),
        };
      }),
    ...runOf(users, own?.run),
  });
}

const nothing = z.strictObject({});

/** A run that takes the configuration says so by its third parameter: builder/plan/plan.ts. */
function runOf(
  users: ((chroot: Chroot) => Promise<unknown>) | undefined,
  own: StageDefinition['run'],
): Pick<StageDefinition, 'run'> {
  if (own && own.length > 2)
    return {
      run: async (chroot, options, config) => {
        await users?.(chroot);
        await own(chroot, options, config);
      },
    };
  const short = own as ((chroot: Chroot, options: unknown) => Promise<void>) | undefined;
  return users || short
    ? {
        run: async (chroot, options) => {
          await users?.(chroot);
          await short?.(chroot, options);
        },
      }
    : {};
}

function withPorts(own: z.ZodType | undefined, { permissions }: Manifest): z.ZodType {
  const ports = z.strictObject(
    Object.fromEntries(
      Object.entries(permissions.ports).map(([name, one]) => [
        name,
        z
          .strictObject({
            port: listen.shape.port.default(one.port),
            protocol: z.literal(one.protocol).default(one.protocol),
            zones: listen.shape.zones.default(one.zones),
          })
          .prefault({}),
      ]),
    ),
  );
  const base = own instanceof z.ZodObject ? own : nothing;
  return base.extend({
    ports: ports.prefault({}).describe('Other ports and zones than its manifest has'),
  });
}

/** The manifest with the ports that the owner has chosen: what the device is told. */
export function effectiveManifest(manifest: Manifest, options: unknown): Manifest {
  const chosen = (options as Options | undefined)?.ports;
  if (Object.keys(manifest.permissions.ports).length === 0 || !chosen) return manifest;
  return { ...manifest, permissions: { ...manifest.permissions, ports: chosen } };
}
