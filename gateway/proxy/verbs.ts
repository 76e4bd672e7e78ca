import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import type { Actor } from '../helper/verb.ts';
import { defineVerb } from '../helper/verb.ts';
import { currentServers } from '../pki/issue.ts';
import { readCertificateStatus } from '../pki/status.ts';
import { allIssued } from '../pki/store.ts';
import { changeSettings } from '../settings/apply.ts';
import { withoutSetting, withSetting } from '../settings/edit.ts';
import { readDeviceSettings, settingsFile } from '../settings/read.ts';
import { needProxy, readProxyFacts } from './facts.ts';
import { readSites } from './reconcile.ts';
import { serviceName } from './settings.ts';
import { certificateOf, type Site } from './sites.ts';
import { newService, type ProxyState, proxyState, site } from './view.ts';

const by = ({ name, via }: Actor) => ({ by: `${name} (${via})` });

export const proxyVerbs = {
  'proxy.list': defineVerb({
    summary: 'Lists services behind the proxy',
    args: z.strictObject({}),
    result: proxyState,
    changes: false,
    run: readProxy,
  }),
  'proxy.add': defineVerb({
    summary: 'Puts a service behind the proxy',
    args: newService,
    result: site,
    changes: true,
    run: async (system, { name, to, names, zones, mtls }, actor) => {
      await needProxy(system);
      const { settings } = await readDeviceSettings(system);
      if (Object.hasOwn(settings.proxy.services, name))
        throw new GatewayError(
          `There is a service ${name} already: ${settings.proxy.services[name]?.to}`,
          `Change it: sudo pi-gateway config set proxy.services.${name}.to ${to}; or remove it first`,
          'conflict',
        );
      const service = {
        to,
        ...(names.length > 0 ? { names } : {}),
        ...(zones.length === 1 ? { zones } : {}),
        ...(mtls === false ? {} : { mtls }),
      };
      await changeSettings(
        system,
        (text) => withSetting(text, `proxy.services.${name}`, JSON.stringify(service)),
        by(actor),
      );
      const added = (await readProxy(system)).sites.find((one) => one.name === name);
      if (!added) throw new Error(`${name} is not in ${settingsFile}`);
      return added;
    },
  }),
  'proxy.remove': defineVerb({
    summary: 'Takes a service from behind the proxy',
    args: z.strictObject({ name: serviceName }),
    result: z.object({ removed: z.string() }),
    changes: true,
    run: async (system, { name }, actor) => {
      await needProxy(system);
      const { settings } = await readDeviceSettings(system);
      if (!Object.hasOwn(settings.proxy.services, name))
        throw new GatewayError(
          `There is no service ${name} behind the proxy`,
          'See which there are: sudo pi-gateway proxy list',
          'missing',
        );
      await changeSettings(
        system,
        (text) => withoutSetting(text, `proxy.services.${name}`),
        by(actor),
      );
      return { removed: name };
    },
  }),
} as const;

async function readProxy(system: System): Promise<ProxyState> {
  if (!(await readProxyFacts(system))) return { available: false, acme: false, sites: [] };
  const { sites, settings } = await readSites(system);
  const current = currentServers(await allIssued(system));
  const acme = readCertificateStatus(system)?.acme?.certificates ?? [];
  return {
    available: true,
    acme: settings.acme !== undefined,
    sites: sites.map((one) => {
      const outer = acme.find(({ name }) => name === one.name);
      return {
        name: one.name,
        urls: [...one.internal, ...one.public].map((name) => `https://${name}/`),
        to: urlOf(one),
        zones: [...one.zones],
        mtls: typeof one.mtls === 'boolean' ? one.mtls : [...one.mtls],
        origin: one.name === 'dashboard' ? 'gateway' : 'settings',
        certificates: [
          {
            names: [...one.internal],
            by: 'gateway',
            not_after: current.get(certificateOf(one))?.not_after ?? null,
            problem: null,
          },
          ...(one.public.length === 0
            ? []
            : [
                {
                  names: [...one.public],
                  by: 'public' as const,
                  not_after: outer?.not_after ?? null,
                  problem: outer?.problem ?? null,
                },
              ]),
        ],
      };
    }),
  };
}

function urlOf({ to: { tls, address, port } }: Site): string {
  return `${tls ? 'https' : 'http'}://${address.includes(':') ? `[${address}]` : address}:${port}`;
}
