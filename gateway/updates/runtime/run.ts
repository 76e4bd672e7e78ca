import { createHash } from 'node:crypto';
import { mkdir, statfs } from 'node:fs/promises';
import { type PublicKey, parsePublicKey } from '../../../builder/trust/minisign.ts';
import {
  at,
  makeFolder,
  readIfThere,
  type System,
  writeDurably,
} from '../../../firstboot/system.ts';
import { GatewayError } from '../../errors.ts';
import { healthChecks, type Patience, waitForHealth } from '../../settings/health.ts';
import type { HealthCheck } from '../../settings/view.ts';
import { fetchBytes } from './download.ts';
import { compareVersions, newest, type Release, readIndex } from './release.ts';
import {
  begin,
  changeState,
  currentRuntime,
  downloaded,
  examine,
  install,
  isInstalled,
  prune,
  readPending,
  readState,
  runtimeFolder,
  settle,
  sweep,
  switchTo,
  unpacked,
} from './store.ts';
import type { RuntimeResult } from './view.ts';

/**
 * Updates of the gateway's own programs: fetched, verified, switched by one rename, judged by the same health
 * check as updates of packages, and taken back if the gateway is unwell, or if the power goes in the middle.
 */

/** Keys of whom this image takes runtimes, in minisign's format; written when the image is built. */
export const keyFile = '/usr/share/pi-gateway/runtime-keys.pub';

/** node starts slowly on a small Pi. */
const usualPatience: Patience = { whole: 90_000, pause: 3_000 };

/** Bytes; some kilobytes are usual. */
const longestIndex = 256 * 1024;

export type Options = {
  /** The version that runs. */
  current: string;
  /** Of the index; undefined: nobody wants updates. */
  url: string | undefined;
  /** PEM of authorities to trust besides the system's. */
  ca?: string | undefined;
  patience?: Patience;
  now?: () => number;
};

/** @throws GatewayError if the image trusts nobody. */
export async function trustedKeys(system: System): Promise<PublicKey[]> {
  const text = (await readIfThere(at(system, keyFile))) ?? '';
  const keys = text
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('untrusted comment:'))
    .map(parsePublicKey);
  if (keys.length > 0) return keys;
  throw new GatewayError(
    'This image trusts nobody to update its programs',
    'Build one with stages.gateway.runtime_keys; or flash new images',
    'conflict',
  );
}

/** Looks for a newer runtime. @returns undefined if there is none. */
export async function check(system: System, o: Options): Promise<Release | undefined> {
  await makeFolder(at(system, runtimeFolder), 0o755);
  const checked_at = timeOf(o);
  try {
    const found = await look(system, o);
    await changeState(system, { checked_at, problem: null, available: found?.version ?? null });
    return found;
  } catch (error) {
    await changeState(system, { checked_at, problem: textOf(error) });
    throw error;
  }
}

async function look(system: System, o: Options): Promise<Release | undefined> {
  const keys = await trustedKeys(system);
  const url = urlOf(o);
  const [content, signature] = await Promise.all([
    fetchBytes(url, o.ca, longestIndex),
    fetchBytes(`${url}.minisig`, o.ca, 4096),
  ]);
  const { seen } = await readState(system);
  const index = readIndex(content, signature.toString('utf8'), keys, seen, o.now?.() ?? Date.now());
  // Before anything of it is used: the next one must not be older.
  await changeState(system, { seen: { serial: index.serial, issued_at: index.issued_at } });
  return newest(index, o.current);
}

function urlOf({ url }: Options): string {
  if (url !== undefined) return url;
  throw new GatewayError(
    'Where runtimes are to be had is not set',
    'Set it: sudo pi-gateway config set updates.runtime.url=https://…/index.json',
    'conflict',
  );
}

/** Installs the newest runtime, if there is a newer one, and goes back if the gateway is unwell with it. */
export async function apply(
  system: System,
  o: Options & { again?: boolean },
): Promise<RuntimeResult | undefined> {
  await recover(system);
  const found = await check(system, o);
  if (!found) return undefined;
  const { undone } = await readState(system);
  if (undone.includes(found.sha256) && !o.again)
    throw new GatewayError(
      `Version ${found.version} was undone before, as the gateway was not well with it`,
      'Wait for a later one, or try it again: sudo pi-gateway update runtime apply --again',
      'conflict',
    );
  try {
    await fetchRuntime(system, o, found);
  } catch (error) {
    await sweep(system).catch(() => undefined);
    // The disk may be full.
    await changeState(system, {
      last: {
        what: 'apply',
        state: 'failed',
        version: found.version,
        detail: textOf(error),
        finished_at: timeOf(o),
      },
    }).catch(() => undefined);
    throw error;
  }
  const result = await exchange(system, o, 'apply', found.version);
  if (result.state === 'undone')
    await changeState(system, { undone: [...undone, found.sha256].slice(-20) });
  else await changeState(system, { available: null });
  return result;
}

async function fetchRuntime(system: System, o: Options, found: Release): Promise<void> {
  await sweep(system);
  // Packed, unpacked some four times as large, and what the gateway itself writes meanwhile.
  const space = await statfs(at(system, runtimeFolder));
  const needed = found.size * 6 + 32 * 1024 * 1024;
  if (space.bavail * space.bsize < needed)
    throw new GatewayError(
      `The card has less than ${Math.ceil(needed / 1024 / 1024)} MiB left`,
      'Make room: sudo systemctl start pi-gateway-cleanup',
    );
  const url = new URL(found.file, urlOf(o)).href;
  const content = await fetchBytes(url, o.ca, found.size);
  const digest = createHash('sha256').update(content).digest('hex');
  if (content.length !== found.size || digest !== found.sha256)
    throw new GatewayError(
      `${found.file} is not what the signed list says`,
      'Nothing was changed. It was damaged on its way, or somebody stands between',
      'refused',
    );
  await writeDurably(at(system, downloaded), content, 0o600);
  await mkdir(at(system, unpacked), { recursive: true, mode: 0o755 });
  await system.run('tar', [
    ...['--extract', '--gzip', '--no-same-owner', '--no-same-permissions'],
    ...['--file', at(system, downloaded), '--directory', at(system, unpacked)],
  ]);
  await system.run('chmod', ['-R', 'u=rwX,go=rX', at(system, unpacked)]);
  const { version, minimum } = await examine(at(system, unpacked));
  if (version !== found.version || compareVersions(minimum, o.current) > 0)
    throw new GatewayError(
      `${found.file} says of itself that it is ${version}, for ${minimum} and later`,
      'Nothing was changed. Tell its publisher',
      'refused',
    );
  // One that does not even start is no risk to take.
  const cli = at(system, `${unpacked}/cli.mjs`);
  const said = await system.run('node', ['--jitless', '--no-expose-wasm', cli, '--version']);
  if (said.trim() !== version)
    throw new GatewayError(
      `The programs of ${found.file} do not start as they should: ${said.trim().slice(0, 100)}`,
      'Nothing was changed. Tell its publisher',
    );
  await install(system, version);
  await sweep(system);
}

/** Goes back to the runtime of before. @throws GatewayError if there is none. */
export async function rollback(system: System, o: Options): Promise<RuntimeResult> {
  await recover(system);
  const from = await currentRuntime(system);
  if (from === null)
    throw new GatewayError(
      "The image's own runtime runs: there is none before it",
      'See sudo pi-gateway update runtime status',
      'conflict',
    );
  const { previous } = await readState(system);
  const to =
    previous !== null && previous !== from && (await isInstalled(system, previous))
      ? previous
      : null;
  return await exchange(system, o, 'rollback', to);
}

/** Switches, and judges. */
async function exchange(
  system: System,
  o: Options,
  what: RuntimeResult['what'],
  to: string | null,
): Promise<RuntimeResult> {
  const patience = o.patience ?? usualPatience;
  const before = await healthChecks(system);
  const from = await currentRuntime(system);
  await begin(system, { from, to: to ?? '', started_at: timeOf(o) });
  await switchTo(system, to);
  const broken = await trial(system, before, patience);
  const result: RuntimeResult = {
    what,
    state: 'ok',
    version: to,
    detail: broken
      .map((one) => `${one.id}: ${one.detail}`)
      .join('; ')
      .slice(0, 1000),
    finished_at: timeOf(o),
  };
  if (broken.length > 0) {
    result.state = 'undone';
    await switchTo(system, from);
    await trial(system, before, patience);
  }
  // The end is on the card before what made it one is forgotten: a cut in between only goes back once more.
  await changeState(system, {
    last: result,
    ...(result.state === 'ok' ? { previous: from } : {}),
  });
  await settle(system);
  const { previous } = await readState(system);
  await prune(system, [await currentRuntime(system), previous]);
  return result;
}

/** Starts anew what has the old programs in its memory. */
export async function restartPrograms(system: System): Promise<void> {
  // Its socket starts the helper again.
  await system.run('systemctl', ['stop', 'pi-gateway-helper.service']);
  await system.run('systemctl', ['restart', 'pi-gatewayd.service']);
}

/** @returns what is not well with what starts now. */
async function trial(
  system: System,
  before: readonly HealthCheck[],
  patience: Patience,
): Promise<HealthCheck[]> {
  try {
    await restartPrograms(system);
  } catch (error) {
    return [{ id: 'start', ok: false, detail: textOf(error).slice(0, 200) }];
  }
  const { broken } = await waitForHealth(system, before, patience);
  if (broken.length > 0) return broken;
  // One that starts and falls over a moment later was well for that moment.
  await new Promise((resolve) => setTimeout(resolve, patience.pause * 3));
  return (await waitForHealth(system, before, patience)).broken;
}

/**
 * What was cut off by the power, or killed: the runtime of before returns. Nothing is started: before the daemon
 * at boot, and otherwise by who calls.
 * @returns true if there was something.
 */
export async function recover(system: System, now: () => number = Date.now): Promise<boolean> {
  await sweep(system);
  const cut = await readPending(system);
  if (!cut) return false;
  await switchTo(system, cut.from);
  await changeState(system, {
    last: {
      what: 'apply',
      state: 'undone',
      version: cut.to === '' ? null : cut.to,
      detail: 'It was cut off in the middle: the power, or a kill',
      finished_at: new Date(now()).toISOString(),
    },
  });
  await settle(system);
  return true;
}

const timeOf = (o: Options) => new Date(o.now?.() ?? Date.now()).toISOString();
const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
