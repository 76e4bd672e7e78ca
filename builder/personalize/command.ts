import { access } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { BuildError, exitCode } from '../errors.ts';
import { megabytes, table, wantsColor } from '../ui/present.ts';
import { Progress } from '../ui/progress.ts';
import { type Device, deviceOf, fleetOf, readTextFile } from './devices.ts';
import { type Personalized, personalize, rawName, type Target } from './personalize.ts';

export type PersonalizeFlags = {
  device?: string;
  batch?: string;
  output?: string;
  filesOnly?: boolean;
  force?: boolean;
};

/**
 * The command: reads and checks all settings, then makes what was asked for, and takes it back if it
 * is interrupted.
 * @throws BuildError
 */
export async function runPersonalize(
  image: string,
  o: PersonalizeFlags,
  json: boolean,
): Promise<Personalized[]> {
  const devices = await readDevices(o);
  await access(image).catch((cause) => {
    throw new BuildError({
      what: 'There is no such image, or it cannot be read',
      where: image,
      fix: 'Give the path of an .img, .img.xz or .img.zst; build one with: npm run image',
      code: exitCode.usage,
      cause,
    });
  });
  const stream = process.stderr;
  const controller = new AbortController();
  const abort = () => controller.abort();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, abort);
  try {
    return await personalize({
      image,
      targets: targetsOf(image, devices, o),
      filesOnly: o.filesOnly ?? false,
      force: o.force ?? false,
      progress: new Progress({
        stream,
        live: stream.isTTY === true && !json && !process.env.CI && process.env.TERM !== 'dumb',
        color: wantsColor(stream),
      }),
      signal: controller.signal,
    });
  } finally {
    for (const signal of signals) process.off(signal, abort);
  }
}

async function readDevices(o: PersonalizeFlags): Promise<Device[]> {
  const read = (path: string) => readTextFile(resolve(path), path);
  if (o.batch !== undefined)
    return fleetOf(await read(o.batch), o.device === undefined ? undefined : await read(o.device));
  if (o.device !== undefined) return [deviceOf(await read(o.device))];
  throw new BuildError({
    what: 'Neither --device nor --batch was given, so there is nothing to write into the image',
    fix: "Give one device's settings with --device FILE, or a list of devices with --batch FILE.csv",
    code: exitCode.usage,
  });
}

/** Where each device's result goes: beside the image, unless --output says. */
export function targetsOf(
  image: string,
  devices: readonly Device[],
  o: Pick<PersonalizeFlags, 'batch' | 'output' | 'filesOnly'>,
): Target[] {
  const raw = rawName(basename(image));
  const stem = basename(raw, extname(raw));
  const beside = (name: string) => join(dirname(image), name);
  const ending = o.filesOnly ? '' : '.img';
  if (o.batch !== undefined) {
    const folder = o.output === undefined ? beside(`${stem}-devices`) : resolve(o.output);
    return devices.map((device) => ({ device, path: join(folder, `${device.name}${ending}`) }));
  }
  return devices.map((device) => ({
    device,
    path: o.output === undefined ? beside(`${stem}-${device.name}${ending}`) : resolve(o.output),
  }));
}

/** What machines get; it holds no settings. */
export function personalizeJson(all: readonly Personalized[]) {
  return all.map(({ device, path, size, sha256, bmap }) => ({
    name: device.name,
    from: device.where,
    ssh_keys: device.sshKeys,
    path,
    size,
    sha256,
    bmap,
  }));
}

/** What people get: a table, and what to take care of. */
export function personalizeText(all: readonly Personalized[]): string {
  const images = all.some((one) => one.sha256 !== null);
  const keyless = all.filter(({ device }) => device.sshKeys === 0);
  return [
    table([
      ['DEVICE', 'FROM', 'SSH KEYS', ...(images ? ['SIZE', 'SHA-256'] : []), 'RESULT'],
      ...all.map(({ device, path, size, sha256 }) => [
        device.name,
        device.where,
        String(device.sshKeys),
        ...(images ? [megabytes(size ?? 0), (sha256 ?? '').slice(0, 16)] : []),
        relative(process.cwd(), path),
      ]),
    ]),
    '',
    images
      ? "Each image holds its device's secrets: only you can read it (mode 0600). Flash it, then delete it."
      : "Each folder holds its device's secrets: only you can read it. Copy its files to the boot partition of the flashed card, then delete it.",
    ...(images ? ['Check one with sha256sum --check FILE.sha256.'] : []),
    ...(keyless.length > 0
      ? [
          `Note: no SSH key was given for ${keyless.map(({ device }) => device.name).join(', ')}: nobody can log in there.`,
        ]
      : []),
  ].join('\n');
}
