import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { incompatibility, type Manifest, manifestFolder, manifestSchema } from './manifest.ts';
import type { BuildFacts } from './permissions.ts';

/** An extension of this image that this gateway can run. */
export type Extension = { manifest: Manifest; build: BuildFacts };

/** One that it cannot: why, and what to do. */
export type Refused = { name: string; problem: string; fix: string };

export type Installed = { extensions: readonly Extension[]; refused: readonly Refused[] };

/** An owner has switched an extension off: its units look for it (ConditionPathExists=), and so do we. */
export const offFile = (name: string) => `/etc/pi-gateway/extensions/${name}.off`;

const nameOfFile = /^([a-z][a-z0-9-]{0,16}[a-z0-9])\.json$/;

/** What the image has, by name. One that is damaged or of another version is told, and harms no other. */
export async function readInstalled(system: System): Promise<Installed> {
  const folder = at(system, manifestFolder);
  const files = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    // The gateway is there without them.
    if (error.code !== 'ENOENT') system.say(`No extension is used: ${error.message}`);
    return [];
  });
  return installedIn(
    await Promise.all(
      files.map(async (file): Promise<[string, string | undefined]> => {
        const text = await readFile(join(folder, file), 'utf8').catch(() => undefined);
        return [file, text];
      }),
    ),
  );
}

/** The same of names of files and their texts. */
export function installedIn(
  files: readonly (readonly [file: string, text: string | undefined])[],
): Installed {
  const found = files
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([file, text]) => {
      const name = nameOfFile.exec(file)?.[1];
      return name === undefined ? [] : [installed(name, text)];
    });
  return {
    extensions: found.filter((one) => 'manifest' in one),
    refused: found.filter((one) => 'problem' in one),
  };
}

function installed(name: string, text: string | undefined): Extension | Refused {
  let given: { manifest?: { apiVersion?: unknown }; build?: BuildFacts } | null;
  try {
    given = JSON.parse(text ?? '') as typeof given;
  } catch {
    return damaged(name, 'is no JSON');
  }
  const other = incompatibility(given?.manifest?.apiVersion);
  if (other !== undefined)
    return {
      name,
      problem: `The extension ${name} ${other}`,
      fix: 'Build an image with a release of the extension for this gateway, or leave it out of gateway.yaml',
    };
  const parsed = manifestSchema.safeParse(given?.manifest);
  if (!parsed.success) return damaged(name, parsed.error.issues[0]?.message ?? 'is none');
  if (parsed.data.name !== name) return damaged(name, 'is of another extension');
  return {
    manifest: parsed.data,
    build: { code: given?.build?.code === true, runs: given?.build?.runs === true },
  };
}

function damaged(name: string, why: string): Refused {
  return {
    name,
    problem: `The manifest of the extension ${name} ${why}`,
    fix: 'The image is damaged: write it anew',
  };
}

export async function isOn(system: System, name: string): Promise<boolean> {
  return await stat(at(system, offFile(name))).then(
    () => false,
    // Of what cannot be looked at it is not known that it may be asked.
    (error: NodeJS.ErrnoException) => error.code === 'ENOENT',
  );
}

/** @throws GatewayError if this image has none of that name, or one that this gateway cannot run. */
export async function findExtension(system: System, name: string): Promise<Extension> {
  const { extensions, refused } = await readInstalled(system);
  const found = extensions.find(({ manifest }) => manifest.name === name);
  if (found) return found;
  const other = refused.find((one) => one.name === name);
  if (other) throw new GatewayError(other.problem, other.fix, 'conflict');
  throw new GatewayError(
    `This image has no extension '${name}'`,
    extensions.length > 0
      ? `It has ${extensions.map(({ manifest }) => manifest.name).join(', ')}`
      : 'Name its folder in extensions: of gateway.yaml and build the image anew: docs/extensions.md',
    'missing',
  );
}
