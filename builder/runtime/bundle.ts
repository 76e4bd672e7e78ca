import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Manifest, Release, ReleaseIndex } from '../../gateway/updates/runtime/release.ts';
import { runtimeDashboard, runtimePrograms } from '../../stages/gateway/stage.ts';
import { run } from '../exec.ts';
import { bundleAssets } from '../overlay/assets.ts';
import { bundleProgram } from '../overlay/prepare.ts';
import { type Signer, signFile } from '../trust/minisign.ts';

/**
 * The gateway's own programs as a bundle that devices install (gateway/updates/runtime), and the signed list that
 * tells of it. The same sources give the same bytes.
 */

const sha256 = (content: Uint8Array) => createHash('sha256').update(content).digest('hex');

/** Programs and pages of a runtime by their paths in it, made of the project's sources. */
export async function runtimeFiles(root: string): Promise<Map<string, Buffer>> {
  const programs = await Promise.all(
    Object.entries(runtimePrograms).map(async ([name, entry]): Promise<[string, Buffer]> => {
      const { content } = await bundleProgram(join(root, entry), { path: `${name}.mjs` });
      return [`${name}.mjs`, content];
    }),
  );
  const pages = await bundleAssets(root, { ...runtimeDashboard, folder: 'dashboard' });
  return new Map([
    ...programs,
    ...pages.map(({ path, content }): [string, Buffer] => [path, content]),
  ]);
}

/** @param o.minimum the oldest version that can be replaced by it. */
export async function packRuntime(
  files: ReadonlyMap<string, Buffer>,
  o: { version: string; minimum: string },
): Promise<Buffer> {
  const manifest: Manifest = {
    format: 1,
    ...o,
    files: Object.fromEntries([...files].sort().map(([path, content]) => [path, sha256(content)])),
  };
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-runtime-'));
  try {
    const tree = join(folder, 'tree');
    const all = new Map([
      ...files,
      ['manifest.json', Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`)] as const,
    ]);
    for (const [path, content] of all) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await writeFile(join(tree, path), content);
    }
    const tar = join(folder, 'runtime.tar');
    await run('tar', [
      ...['--create', '--file', tar, '--directory', tree, '--format=ustar', '--sort=name'],
      ...['--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX', '.'],
    ]);
    await run('gzip', ['--no-name', '--best', tar]);
    return await readFile(`${tar}.gz`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

export type IndexFacts = { serial: number; issuedAt: Date; expiresAt: Date };

/** What a web server has to hand out: the bundle, the list, and the list's signature, by their names. */
export function releaseFiles(
  bundle: Buffer,
  o: { version: string; minimum: string },
  index: IndexFacts,
  signer: Signer,
): Map<string, Buffer> {
  const file = `pi-gateway-runtime-${o.version}.tar.gz`;
  const release: Release = { ...o, file, size: bundle.length, sha256: sha256(bundle) };
  const list: ReleaseIndex = {
    format: 1,
    serial: index.serial,
    issued_at: index.issuedAt.toISOString(),
    expires_at: index.expiresAt.toISOString(),
    releases: [release],
  };
  const content = Buffer.from(`${JSON.stringify(list, null, 1)}\n`);
  const comment = `pi-gateway runtimes, number ${index.serial}, until ${list.expires_at}`;
  return new Map([
    [file, bundle],
    ['index.json', content],
    ['index.json.minisig', Buffer.from(signFile(content, signer, comment))],
  ]);
}
