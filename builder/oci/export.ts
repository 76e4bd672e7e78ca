import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../exec.ts';
import { Layout } from './layout.ts';
import { type Descriptor, mediaType } from './media.ts';
import { type Packed, packTree, sha256Digest } from './pack.ts';

export type OciImage = {
  /** Trees of the layers, lowest first, and what each is. */
  layers: readonly { title: string; tree: string }[];
  labels: Record<string, string>;
  /** Unix time that the image says it was made at. */
  created: number;
  /** Its tag in the archive. */
  tag: string;
};

/** What a shell in a container finds, as on the device. */
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Writes an OCI image of layers as an archive (a tar of an OCI image layout), as podman, skopeo and others
 * read it. The same layers give the same bytes.
 * @returns the manifest's digest, which names the image.
 */
export async function exportOci(
  image: OciImage,
  o: { file: string; scratch: string; tar: readonly string[]; onLayer?: (title: string) => void },
): Promise<{ digest: string; layers: readonly Packed[] }> {
  const directory = join(o.scratch, 'oci');
  const packedFile = join(o.scratch, 'layer.tar.zst');
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const layout = new Layout(o.file, directory);
  const layers: Packed[] = [];
  for (const { title, tree } of image.layers) {
    o.onLayer?.(title);
    const packed = await packTree(tree, packedFile, o.tar);
    await layout.writeBlob(layerBlob(packed), packedFile);
    layers.push(packed);
  }
  const config = Buffer.from(JSON.stringify(imageConfig(image, layers)));
  const configFile = join(o.scratch, 'config.json');
  await writeFile(configFile, config);
  const configBlob = {
    mediaType: mediaType.config,
    digest: sha256Digest(config),
    size: config.length,
  };
  await layout.writeBlob(configBlob, configFile);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaType.manifest,
      config: configBlob,
      layers: layers.map(layerBlob),
      annotations: image.labels,
    }),
  );
  await layout.writeManifest(image.tag, manifest);
  await archive(directory, o, image.created);
  await rm(directory, { recursive: true });
  return { digest: sha256Digest(manifest), layers };
}

function layerBlob({ digest, size }: Packed): Descriptor {
  return { mediaType: mediaType.layer, digest, size };
}

/** Image spec 1.1, config.md. */
function imageConfig(image: OciImage, layers: readonly Packed[]): object {
  const created = new Date(image.created * 1000).toISOString();
  return {
    created,
    architecture: 'arm64',
    variant: 'v8',
    os: 'linux',
    config: {
      Env: [`PATH=${searchPath}`],
      Cmd: ['/bin/bash'],
      Labels: image.labels,
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: image.layers.map(({ title }) => ({ created, created_by: title })),
  };
}

async function archive(
  directory: string,
  o: { file: string; tar: readonly string[] },
  date: number,
): Promise<void> {
  const [tar = '', ...args] = o.tar;
  await mkdir(dirname(o.file), { recursive: true });
  await run(tar, [
    ...args,
    '--create',
    `--file=${o.file}`,
    `--directory=${directory}`,
    '--format=ustar',
    '--sort=name',
    `--mtime=@${date}`,
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=go=rX,u+rw,a-s',
    'blobs',
    'index.json',
    'oci-layout',
  ]);
}
