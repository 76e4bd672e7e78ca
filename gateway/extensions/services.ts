import type { System } from '../../firstboot/system.ts';
import type { ServiceDefinition } from '../services/registry.ts';
import { readInstalled } from './installed.ts';
import { unitsOf } from './units.ts';

/** What this image's extensions add to the services of the gateway. */
export async function extensionServices(system: System): Promise<ServiceDefinition[]> {
  const { extensions } = await readInstalled(system);
  return extensions.flatMap(({ manifest }): ServiceDefinition[] => {
    const { service, socket } = unitsOf(manifest);
    if (service === undefined || socket === undefined) return [];
    return [
      {
        id: `x-${manifest.name}`,
        title: `Extension ${manifest.title}`,
        // One that is started when it is asked for is there as long as its socket is.
        units: [manifest.service?.start === 'boot' ? service : socket],
        ports: Object.keys(manifest.permissions.ports).map((port) => `x-${manifest.name}-${port}`),
        needs: [],
        restart: 'no',
        note: `It has commands of its own: sudo pi-gateway extension restart ${manifest.name}`,
      },
    ];
  });
}
