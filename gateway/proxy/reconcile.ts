import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { chown, readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { readForeign } from '../foreign-file.ts';
import { readDaemonFacts, readHostname } from '../image-facts.ts';
import { crlsIn, readRoot } from '../pki/authority.ts';
import { renewDue } from '../pki/issue.ts';
import { derOf } from '../pki/openssl.ts';
import { writeStatus } from '../pki/status.ts';
import { crlPem, issuingPem, keyFileOf, pairIn, withCaLock } from '../pki/store.ts';
import { readTrust, trustPage } from '../pki/trust.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { acmeCertificateOf } from './acme/places.ts';
import { needProxy, type ProxyFacts } from './facts.ts';
import {
  clientCaFile,
  clientCrlFile,
  configFile,
  listFile,
  listLines,
  proxyFolder,
  publicCertificateOf,
  publicFolder,
  renderProxy,
  siteFile,
  siteFolder,
  upstreamCaFile,
  upstreamFolder,
  withoutSockets,
} from './render.ts';
import type { ProxySettings } from './settings.ts';
import { certificateOf, hostsWithSites, type Site, sitesOf, wantedBy } from './sites.ts';

const unit = 'pi-gateway-proxy.service';
const group = 'pi-gateway-proxy';
const hostsFile = '/etc/hosts';

/** All sites of this device, as its settings are. */
export async function readSites(
  system: System,
): Promise<{ sites: Site[]; facts: ProxyFacts; settings: ProxySettings }> {
  const facts = await needProxy(system);
  const { settings } = await readDeviceSettings(system);
  const daemon = await readDaemonFacts(system).catch(() => undefined);
  const port = daemon?.dashboard ? daemon.port : undefined;
  const sites = sitesOf(settings.proxy, await readHostname(system), port);
  return { sites, facts, settings: settings.proxy };
}

/**
 * What pi-gateway-certificates.service does, by its timer and after each change: renews certificates, publishes
 * what is revoked, gives the proxy what it needs and lets it take that without dropping a connection. It may be
 * cut off anywhere: the next run does the rest, and the proxy goes on with what it has.
 * @throws GatewayError if haproxy refuses what it would get; then it goes on with what it has.
 */
export async function reconcile(system: System, now: number = Date.now()): Promise<void> {
  const { sites, facts, settings } = await readSites(system);
  const said = await withCaLock(system, () => renewDue(system, wantedBy(sites), now));
  for (const line of said) system.say(line);
  await deploy(system, sites, settings);
  await writeHosts(system, sites, facts);
  await writeStatus(system, now);
  const config = renderProxy(sites, facts);
  const mark = await markOf(system, config);
  if (mark === (await readIfThere(at(system, loadedFile))) && (await isRunning(system))) return;
  await proveConfig(system, config);
  if ((await readIfThere(at(system, configFile))) !== config)
    await writeDurably(at(system, configFile), config);
  await system.run('systemctl', ['reload-or-restart', unit]);
  await writeDurably(at(system, loadedFile), mark);
}

/** Of all that the proxy was last told to take: whoever is cut off before that tells it once more. */
const loadedFile = '/run/pi-gateway/proxy-loaded';

async function markOf(system: System, config: string): Promise<string> {
  const hash = createHash('sha256').update(config);
  for (const folder of folders)
    for (const entry of await readdir(at(system, folder), { withFileTypes: true }))
      if (entry.isFile() && join(folder, entry.name) !== configFile)
        hash.update(entry.name).update(await readFile(join(at(system, folder), entry.name)));
  return hash.digest('hex');
}

async function isRunning(system: System): Promise<boolean> {
  const state = await system
    .run('systemctl', ['show', '--property=ActiveState', '--value', unit])
    .catch(() => '');
  return state.trim() === 'active';
}

type File = { path: string; content: string | Buffer };

const folders = [proxyFolder, siteFolder, publicFolder, upstreamFolder] as const;

async function deploy(
  system: System,
  sites: readonly Site[],
  settings: ProxySettings,
): Promise<void> {
  const gid = await groupId(system);
  for (const folder of folders) {
    await makeFolder(at(system, folder), 0o750);
    if (gid !== undefined) await chown(at(system, folder), 0, gid);
  }
  const keys: File[] = [];
  for (const site of sites) {
    const own = await readIfThere(at(system, keyFileOf(certificateOf(site))));
    if (own !== undefined) keys.push({ path: siteFile(certificateOf(site)), content: own });
    if (site.public.length === 0) continue;
    // Another user's folder, where anything may lie.
    const acme = await readForeign(at(system, acmeCertificateOf(site.name)));
    if (acme !== undefined && isUsable(acme))
      keys.push({ path: siteFile(publicCertificateOf(site)), content: acme });
  }
  const there = new Set(keys.map(({ path }) => basename(path, '.pem')));
  const upstream = Object.entries(settings.services).flatMap(([name, { ca }]) =>
    ca === undefined ? [] : [{ path: upstreamCaFile(name), content: ca }],
  );
  const files = [
    ...keys,
    ...upstream,
    ...(await authorityFiles(system)),
    { path: listFile, content: `${sites.flatMap((site) => listLines(site, there)).join('\n')}\n` },
  ];
  for (const { path, content } of files) await put(system, path, content, gid);
  // The list that names them is new by now.
  const kept = new Set(files.map(({ path }) => path));
  for (const folder of [siteFolder, upstreamFolder])
    for (const name of await readdir(at(system, folder)))
      if (!kept.has(join(folder, name))) await rm(join(at(system, folder), name), { force: true });
}

/** A key with its certificate; one whose time is over is better than none. */
function isUsable(pem: string): boolean {
  const pair = pairIn(pem);
  try {
    return (
      pair !== undefined &&
      new X509Certificate(pair.certificate).checkPrivateKey(createPrivateKey(pair.key))
    );
  } catch {
    return false;
  }
}

async function authorityFiles(system: System): Promise<File[]> {
  const root = await readRoot(system);
  const issuing = pairIn(await readIfThere(at(system, issuingPem)))?.certificate ?? '';
  const crls = crlsIn((await readIfThere(at(system, crlPem))) ?? '');
  const trust = await readTrust(system);
  return [
    { path: clientCaFile, content: `${root}${issuing}` },
    { path: clientCrlFile, content: `${crls.issuing}${crls.root}` },
    { path: `${publicFolder}/root.pem`, content: root },
    { path: `${publicFolder}/root.mobileconfig`, content: trust.mobileconfig },
    { path: `${publicFolder}/issuing.crl`, content: derOf(crls.issuing) },
    { path: `${publicFolder}/root.crl`, content: derOf(crls.root) },
    { path: `${publicFolder}/trust.html`, content: await trustPage(system) },
  ];
}

async function put(
  system: System,
  path: string,
  content: string | Buffer,
  gid: number | undefined,
): Promise<void> {
  const there = await readFile(at(system, path)).catch(() => undefined);
  const facts = await stat(at(system, path)).catch(() => undefined);
  // On a card that a backup was restored to, the group may have another number.
  const isTheirs = gid === undefined || facts?.gid === gid;
  if (there?.equals(Buffer.from(content)) && isTheirs) return;
  await writeDurably(
    at(system, path),
    content,
    0o640,
    gid === undefined ? undefined : { uid: 0, gid },
  );
}

/** Undefined where there is no such group, or this process could not give anything to it. */
async function groupId(system: System): Promise<number | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const groups = (await readIfThere(at(system, '/etc/group'))) ?? '';
  const gid = new RegExp(`^${group}:[^:]*:(\\d+):`, 'm').exec(groups)?.[1];
  return gid === undefined ? undefined : Number(gid);
}

/** systemd-resolved sees by itself that the file is new. */
async function writeHosts(
  system: System,
  sites: readonly Site[],
  facts: ProxyFacts,
): Promise<void> {
  const path = at(system, hostsFile);
  const before = (await readIfThere(path)) ?? '127.0.0.1 localhost\n';
  const after = hostsWithSites(before, sites, facts);
  if (after !== before) await writeDurably(path, after);
}

/** @throws GatewayError with what haproxy says. */
export async function proveConfig(system: System, config: string): Promise<void> {
  const path = at(system, '/run/pi-gateway/proxy-candidate.cfg');
  try {
    await writeDurably(path, withoutSockets(config), 0o600);
    await system.run('haproxy', ['-c', '-f', path]);
  } catch (cause) {
    const says = (cause instanceof Error ? cause.message : String(cause))
      .split('\n')
      .filter((line) => !line.startsWith('[NOTICE]'))
      .join('\n');
    throw new GatewayError(
      `haproxy refuses its configuration: ${says}`,
      'It goes on with the one of before. See sudo pi-gateway proxy list, and what was changed last: sudo pi-gateway config history',
    );
  } finally {
    await rm(path, { force: true });
  }
}
