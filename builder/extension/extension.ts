import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type Manifest, manifestFolder, unitOf } from '../../gateway/extensions/manifest.ts';
import {
  type BuildFacts,
  type Permission,
  permissionsOf,
} from '../../gateway/extensions/permissions.ts';
import { unitsOf } from '../../gateway/extensions/units.ts';
import type { Services, StageDefinition } from '../../stages/define.ts';
import { placeIn } from '../config/load.ts';
import type { Source } from '../config/source.ts';
import { BuildError, exitCode } from '../errors.ts';
import type { OverlayFile } from '../overlay/render.ts';
import { manifestError, manifestName, readManifest } from './manifest.ts';
import { unitFiles } from './sandbox.ts';
import { effectiveManifest, extensionStage } from './stage.ts';

/** An extension's manifest and folder on the builder. */
export type Extension = {
  folder: string;
  manifest: Manifest;
  source: Source;
  build: BuildFacts;
};

/**
 * Loads an extension that has a manifest; undefined for a folder that is a stage alone.
 * @param load loads a stage.ts.
 * @throws BuildError with every mistake of the manifest, or for a stage.ts that does not fit it.
 */
export async function loadExtension(
  folder: string,
  load: (module: string) => Promise<StageDefinition>,
): Promise<{ definition: StageDefinition; extension: Extension } | undefined> {
  const read = await readManifest(folder);
  if (!read) return undefined;
  const { manifest, source } = read;
  const module = join(folder, 'stage.ts');
  const own = (await isThere(module)) ? await load(module) : undefined;
  if (own) checkOwn(own, manifest, module);
  const { service } = manifest;
  if (service?.program !== undefined && !(await isThere(join(folder, service.program))))
    throw manifestError(source, ['service', 'program'], {
      message: `service.program: there is no file ${service.program} in the extension's folder`,
      fix: 'Write it, or name another',
    });
  return {
    definition: extensionStage(folder, manifest, own, (path) => {
      const { position, line } = placeIn([source], path);
      return {
        file: source.name,
        ...(position ? { position } : {}),
        ...(line === undefined ? {} : { line }),
      };
    }),
    extension: {
      folder,
      manifest,
      source,
      build: { code: own !== undefined, runs: own?.run !== undefined },
    },
  };
}

function checkOwn(own: StageDefinition, { name }: Manifest, module: string): void {
  const refuse = (what: string, fix: string) => {
    throw new BuildError({ what, where: module, fix, code: exitCode.usage });
  };
  if (own.name !== name)
    refuse(
      `The stage is named '${own.name}', and its extension '${name}'`,
      `Name both the same: ${manifestName} is the one that others see`,
    );
  if (own.ports)
    refuse(
      'The stage of an extension has ports of its own',
      `Declare them in ${manifestName}: permissions.ports`,
    );
  if (own.assets)
    refuse('The stage of an extension has web pages', 'The dashboard draws what its card has');
  if (own.enabledByDefault === false)
    refuse(
      'The stage of an extension is off by default',
      'Take enabledByDefault out: who names an extension in gateway.yaml wants it',
    );
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** Folders of the image that are an extension's own. */
const ownFolders = (name: string) =>
  ['/usr/lib', '/usr/share', '/etc'].map((folder) => `${folder}/pi-gateway-x/${name}`);

const isBelow = (path: string, folder: string) => `${path}/`.startsWith(`${folder}/`);

/**
 * Refuses what an extension brings or turns on without having declared it.
 * @throws BuildError with the place in its manifest.
 */
export function enforce(
  { manifest, source }: Extension,
  files: readonly { path: string; mode?: number }[],
  services: Required<Services>,
): void {
  const { name, permissions } = manifest;
  const sandbox = files.find(({ path }) => /\/systemd\/.*pi-gateway-x-/.test(path));
  if (sandbox)
    throw manifestError(source, ['permissions'], {
      message: `The extension ${name} brings ${sandbox.path}: units of extensions are made of their manifests alone`,
      fix: 'Declare in permissions what its service needs',
    });
  const privileged = files.find(({ mode = 0 }) => (mode & 0o6000) !== 0);
  if (privileged)
    throw manifestError(source, ['permissions'], {
      message: `The extension ${name} brings ${privileged.path} with a set-user-ID or set-group-ID bit`,
      fix: 'Take it away: whoever ran it would be another user',
    });
  const allowed = [...ownFolders(name), ...permissions.files];
  const stray = files.find(({ path }) => !allowed.some((folder) => isBelow(path, folder)));
  if (stray)
    throw manifestError(source, ['permissions', 'files'], {
      message: `The extension ${name} brings ${stray.path}, which its manifest does not declare`,
      fix: `Move it to ${ownFolders(name).join(', ')}, or declare it in permissions.files`,
    });
  const { all, gateway } = unitsOf(manifest);
  const own = [...all, gateway];
  const units = [...services.enable, ...services.disable, ...services.mask];
  const unit = units.find((one) => !own.includes(one) && !permissions.units.includes(one));
  if (unit !== undefined)
    throw manifestError(source, ['permissions', 'units'], {
      message: `The extension ${name} turns ${unit} on or off, which its manifest does not declare`,
      fix: 'Declare it in permissions.units',
    });
}

/**
 * Refuses extensions that bring a file which another stage has: the gateway's own would be another's, unseen.
 * @throws BuildError with the place in the manifest.
 */
export function refuseReplaced(
  prepared: readonly { stage: { extension?: Extension }; files: readonly { path: string }[] }[],
): void {
  for (const [index, { stage, files }] of prepared.entries()) {
    const { extension } = stage;
    if (!extension) continue;
    const others = new Set(
      prepared.flatMap((one, other) => (other === index ? [] : one.files.map(({ path }) => path))),
    );
    const twin = files.find(({ path }) => others.has(path));
    if (twin)
      throw manifestError(extension.source, ['permissions', 'files'], {
        message: `The extension ${extension.manifest.name} brings ${twin.path}, which is another stage's`,
        fix: 'Name it otherwise; files that programs read beside theirs (….d/) can be added',
      });
  }
}

/** What the builder makes of the manifest for the device. */
export function generatedFiles(
  { manifest, source, build }: Extension,
  options: unknown,
): OverlayFile[] {
  const effective = effectiveManifest(manifest, options);
  const { name, service, backup } = effective;
  const file = (path: string, content: string): OverlayFile => ({
    path,
    content: Buffer.from(content),
    mode: 0o644,
    owner: 'root:root',
    source: source.name,
  });
  const unit = unitOf(name);
  return [
    file(
      `${manifestFolder}/${name}.json`,
      `${JSON.stringify({ manifest: effective, build }, null, 2)}\n`,
    ),
    ...Object.entries(unitFiles(effective)).map(([unitName, text]) =>
      file(`/usr/lib/systemd/system/${unitName}`, text),
    ),
    ...(service
      ? [
          file(
            `/usr/lib/sysusers.d/${unit}.conf`,
            `# sysusers.d(5). The service of an extension, without privileges.\nu ${unit} - "Extension ${name}" /nonexistent\n`,
          ),
        ]
      : []),
    ...(backup
      ? [
          file(
            `/usr/share/pi-gateway/backup.d/x-${name}.json`,
            `${JSON.stringify(backupDeclaration(effective), null, 2)}\n`,
          ),
        ]
      : []),
  ];
}

/**
 * As gateway/backup/declared.ts has it. Root runs these commands, so nothing of the extension's own may stand in
 * them; the sockets stand still, too, or the next question would start the service.
 */
function backupDeclaration(manifest: Manifest): object {
  const { title, service, backup } = manifest;
  const { all } = unitsOf(manifest);
  const begun = all.filter((unit) => unit.endsWith('.socket') || service?.start === 'boot');
  return {
    description: `Extension ${title}`,
    paths: backup?.paths ?? [],
    exclude: backup?.exclude ?? [],
    ...(backup?.stop && service
      ? {
          quiesce: [['systemctl', 'stop', '--', ...all]],
          resume: [['systemctl', 'start', '--', ...begun]],
        }
      : {}),
  };
}

/** What it may, with the owner's ports. */
export function permissionsFor({ manifest, build }: Extension, options: unknown): Permission[] {
  return permissionsOf(effectiveManifest(manifest, options), build);
}

/** For who builds: what an extension may do; an exclamation mark is before what reaches beyond itself. */
export function permissionLines(permissions: readonly Permission[]): string[] {
  const width = Math.max(...permissions.map(({ what }) => what.length));
  return permissions.map(
    ({ what, may, reaches }) => `${reaches ? '!' : ' '} ${what.padEnd(width)}  ${may}`,
  );
}
