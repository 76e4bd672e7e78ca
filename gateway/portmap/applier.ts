import type { Applier } from '../settings/applier.ts';
import { hasPortmap, type Request, requestFile } from './request.ts';

const service = 'pi-gateway-portmap.service';

/** Puts `router:` in force: the service asks, renews by its timer, and takes back what is not wanted any more. */
export const routerApplier: Applier = {
  areas: ['router', 'vpn'],
  check: async (system, { router }) =>
    router.mapping === 'off' || (await hasPortmap(system))
      ? []
      : [
          {
            path: ['router', 'mapping'],
            message:
              'this image was built without what asks the router: build one with stages: {portmap: {}} in gateway.yaml, or forward the port by hand (sudo pi-gateway router guide)',
          },
        ],
  files: async (_, { router, vpn }) => {
    if (router.mapping === 'off') return { [requestFile]: null };
    const request: Request = {
      mapping: router.mapping,
      lease: router.lease,
      ipv6: router.ipv6,
      external_port: vpn.endpoint_port ?? null,
    };
    return { [requestFile]: `${JSON.stringify(request)}\n` };
  },
  activate: async (system, changed) => {
    if (!changed.includes(requestFile) || !(await hasPortmap(system))) return;
    // Not waited for: a router that does not answer takes its time, and is no reason to undo the settings.
    await system.run('systemctl', ['restart', '--no-block', service]);
  },
};
