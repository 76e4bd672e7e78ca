import { basename } from 'node:path';
import type { System } from '../../firstboot/system.ts';
import { readDaemonFacts, readHostname } from '../image-facts.ts';
import { readRoot } from '../pki/authority.ts';
import { withWork } from '../pki/openssl.ts';
import type { Applier, SettingsMistake } from '../settings/applier.ts';
import type { Settings } from '../settings/schema.ts';
import { acmePlanFile, planOf } from './acme/plan.ts';
import { readProxyFacts } from './facts.ts';
import { proveConfig } from './reconcile.ts';
import {
  configFile,
  listFile,
  publicFiles,
  publicFolder,
  renderProxy,
  upstreamCaFile,
} from './render.ts';
import { sitesOf } from './sites.ts';
import { certificatesUnit } from './unit.ts';

/** Milliseconds that issuing, deploying and reloading may take on a Pi 3 with a hundred services. */
const patience = 110_000;

/** Puts `proxy:` in force: the proxy's configuration, names and certificates. */
export const proxyApplier: Applier = {
  areas: ['proxy'],
  check: mistakesOf,
  files: filesOf,
  prove: async (system, files) => {
    const config = files[configFile];
    if (config) await proveCandidate(system, config, files);
  },
  activate: async (system, changed) => {
    if (!(await readProxyFacts(system))) return;
    // Not `start`: one that runs already may have read the settings of before. It may be cut off anywhere.
    await system.run('systemctl', ['restart', certificatesUnit], { timeout: patience });
    // It takes minutes, and starts the other one at its end; nobody waits for it.
    if (changed.includes(acmePlanFile))
      await system.run('systemctl', ['restart', '--no-block', 'pi-gateway-acme.service']);
  },
};

async function mistakesOf(system: System, { proxy }: Settings): Promise<SettingsMistake[]> {
  const facts = await readProxyFacts(system);
  const services = Object.entries(proxy.services);
  if (!facts)
    return services.length === 0 && proxy.acme === undefined
      ? []
      : [
          {
            path: ['proxy'],
            message:
              'this image was built without the proxy: put `proxy: {}` below `stages:` in gateway.yaml and build it anew',
          },
        ];
  const host = await readHostname(system);
  const sites = sitesOf(proxy, host, proxy.dashboard ? 1 : undefined);
  const seen = new Map<string, string>();
  const mistakes: SettingsMistake[] = [];
  for (const site of sites)
    for (const name of [...site.internal, ...site.public]) {
      const other = seen.get(name);
      if (other !== undefined)
        mistakes.push({
          path: ['proxy', 'services', site.name],
          message: `${name} is the name of ${other === 'dashboard' ? 'the dashboard' : other} already`,
        });
      seen.set(name, site.name);
    }
  const zones = facts.zones.map(({ name }) => name);
  for (const [name, service] of services) {
    // By default it is for both, whatever there is.
    for (const [index, zone] of service.zones.entries())
      if (!zones.includes(zone) && service.zones.length === 1)
        mistakes.push({
          path: ['proxy', 'services', name, 'zones', index],
          message: `is no zone that the proxy of this image answers to: ${zones.join(', ')}`,
        });
    const outer = sites.find((site) => site.name === name)?.public ?? [];
    if (outer.length > 0 && !proxy.acme)
      mistakes.push({
        path: ['proxy', 'services', name, 'names'],
        message: `has ${outer[0]}, which the device's own CA may not vouch for: set proxy.acme, or take a name below home.arpa`,
      });
    if (outer.length > 0 && proxy.acme) {
      // Only who asks for it waits for what it brings along.
      const { firstUnproven } = await import('./acme/cover.ts');
      const orphan = await firstUnproven(system, outer);
      if (orphan !== undefined)
        mistakes.push({
          path: ['proxy', 'services', name, 'names'],
          message: `has ${orphan}, which no dynamic DNS provider of this device can prove: cloudflare, duckdns and rfc2136 can (docs/certificates.md)`,
        });
    }
  }
  if (proxy.acme && !facts.acme)
    mistakes.push({
      path: ['proxy', 'acme'],
      message: 'needs an image that was built with `stages.proxy.acme: true`',
    });
  if (proxy.acme && !proxy.acme.terms_agreed)
    mistakes.push({
      path: ['proxy', 'acme', 'terms_agreed'],
      message: 'must be true: the CA issues nothing to who does not agree to its terms of service',
    });
  return mistakes;
}

async function filesOf(
  system: System,
  { proxy }: Settings,
): Promise<Record<string, string | null>> {
  const facts = await readProxyFacts(system);
  if (!facts) return {};
  const daemon = await readDaemonFacts(system).catch(() => undefined);
  const sites = sitesOf(
    proxy,
    await readHostname(system),
    daemon?.dashboard ? daemon.port : undefined,
  );
  const authorities = Object.entries(proxy.services).flatMap(([name, { ca }]) =>
    ca === undefined ? [] : [[upstreamCaFile(name), ca] as const],
  );
  const plan = planOf(proxy, sites);
  return {
    [configFile]: renderProxy(sites, facts),
    ...(facts.acme ? { [acmePlanFile]: plan ? `${JSON.stringify(plan, null, 2)}\n` : null } : {}),
    ...Object.fromEntries(authorities),
  };
}

/** Before any file is there: without certificates of services, and with the authorities in a folder of the test. */
async function proveCandidate(
  system: System,
  config: string,
  files: Record<string, string | null>,
): Promise<void> {
  const root = await readRoot(system);
  await withWork(system, async (put, folder) => {
    let candidate = config
      .replaceAll(listFile, await put('list', ''))
      .replaceAll(publicFolder, folder);
    for (const file of publicFiles) await put(file, root);
    for (const [path, text] of Object.entries(files))
      if (path !== configFile && text !== null)
        candidate = candidate.replaceAll(path, await put(`own-${basename(path)}`, text));
    await proveConfig(system, candidate);
  });
}
