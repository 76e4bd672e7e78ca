import { createWriteStream } from 'node:fs';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import { BuildError, exitCode } from '../errors.ts';
import { digestOf } from '../plan/digest.ts';
import {
  type Descriptor,
  imageConfigSchema,
  type Manifest,
  manifestSchema,
  maxDocumentBytes,
  mediaType,
} from './media.ts';
import { Counter, packTree, sha256Digest, unpackTree } from './pack.ts';
import type { Remote } from './remote.ts';
import { RemoteError } from './remote-error.ts';

/** A tree of the cache as it lies in a registry: an OCI image of one layer, with what is known of it. */
export type Parcel = {
  /** Names what it was made from; the registry's tag. */
  tag: string;
  /** For people. */
  title: string;
  /** Seconds that it took to make. */
  seconds: number;
  /** What the cache records about it. */
  facts: unknown;
};

/** Labels of the image's configuration. */
const labels = {
  title: 'org.opencontainers.image.title',
  parcel: 'pi-gateway.layer',
} as const;

/** Bump when the form changes, so that no reader takes one for the other. */
const form = 1;

const recordSchema = z.object({
  form: z.literal(form),
  tag: z.string(),
  title: z.string().max(200),
  seconds: z.number().min(0),
  tarSize: z.number().int().min(0),
  facts: z.unknown(),
});

/** How a parcel is vouched for: by whoever has the key, for who knows its public part. */
export type Seal = {
  annotation: string;
  sign?: (statement: string) => string;
  verify?: (statement: string, signature: string) => boolean;
};

/** Puts a tree into a remote under the parcel's tag. */
export async function sendParcel(
  remote: Remote,
  parcel: Parcel,
  o: { tree: string; scratch: string; tar?: readonly string[]; seal?: Seal | undefined },
): Promise<{ bytes: number }> {
  await mkdir(o.scratch, { recursive: true });
  const file = join(o.scratch, `${parcel.tag}.tar.zst`);
  const configFile = join(o.scratch, `${parcel.tag}.json`);
  try {
    const { digest, size, diffId, tarSize } = await packTree(o.tree, file, o.tar);
    const record = { form, ...parcel, tarSize } satisfies z.input<typeof recordSchema>;
    const config = Buffer.from(
      JSON.stringify({
        architecture: 'arm64',
        os: 'linux',
        config: {
          Labels: { [labels.title]: parcel.title, [labels.parcel]: JSON.stringify(record) },
        },
        rootfs: { type: 'layers', diff_ids: [diffId] },
      }),
    );
    await writeFile(configFile, config);
    const layerBlob = { mediaType: mediaType.layer, digest, size };
    const configBlob = {
      mediaType: mediaType.config,
      digest: sha256Digest(config),
      size: config.length,
    };
    const signature = o.seal?.sign?.(statementOf(parcel.tag, configBlob, layerBlob));
    await remote.writeBlob(layerBlob, file);
    await remote.writeBlob(configBlob, configFile);
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaType.manifest,
      config: configBlob,
      layers: [layerBlob],
      annotations: {
        [labels.title]: parcel.title,
        ...(o.seal && signature ? { [o.seal.annotation]: signature } : {}),
      },
    } satisfies Manifest;
    await remote.writeManifest(parcel.tag, Buffer.from(JSON.stringify(manifest)));
    return { bytes: size };
  } finally {
    await rm(file, { force: true });
    await rm(configFile, { force: true });
  }
}

/**
 * Gets a parcel and unpacks it into the new directory `tree`. All that comes is checked before it is used:
 * the documents' form, that the parcel is the one asked for, the signature if one is wanted, size and
 * SHA-256 of each blob, the archive's members and the SHA-256 of its content.
 * @returns undefined if the remote does not have it.
 * @throws BuildError with code `source` if anything does not hold; `tree` is then removed.
 */
export async function fetchParcel(
  remote: Remote,
  tag: string,
  o: {
    tree: string;
    scratch: string;
    seal?: Seal | undefined;
    onProgress?: (done: number, total: number) => void;
  },
): Promise<Parcel | undefined> {
  const opened = await openParcel(remote, tag, o.seal);
  if (!opened) return undefined;
  const { layer, record, diffId } = opened;
  await mkdir(o.scratch, { recursive: true });
  await checkSpace(o.scratch, layer.size + record.tarSize);
  const file = join(o.scratch, `${tag}.tar.zst`);
  try {
    await download(remote, layer, file, record.seconds, o.onProgress);
    await unpackTree(file, o.tree, { diffId, tarSize: record.tarSize });
  } catch (error) {
    await rm(o.tree, { recursive: true, force: true });
    throw error;
  } finally {
    await rm(file, { force: true });
  }
  const { title, seconds, facts } = record;
  return { tag, title, seconds, facts };
}

/** What is recorded of a parcel, if the remote has it: checked as {@link fetchParcel} does, but for its content. */
export async function readFacts(
  remote: Remote,
  tag: string,
  seal: Seal | undefined,
): Promise<unknown> {
  return (await openParcel(remote, tag, seal))?.record.facts;
}

async function openParcel(
  remote: Remote,
  tag: string,
  seal: Seal | undefined,
): Promise<
  { layer: Descriptor; record: z.output<typeof recordSchema>; diffId: string } | undefined
> {
  const bytes = await remote.readManifest(tag);
  if (!bytes) return undefined;
  const manifest = parsed(manifestSchema, bytes, 'manifest');
  const layer = manifest.layers[0];
  if (manifest.layers.length !== 1 || layer?.mediaType !== mediaType.layer)
    throw refused('the image under its name is no layer of ours');
  checkSeal(seal, manifest, tag, layer);
  const config = parsed(imageConfigSchema, await readDocument(remote, manifest.config), 'config');
  const record = parsed(recordSchema, config.config.Labels[labels.parcel] ?? '', 'record');
  if (record.tag !== tag) throw refused(`it says that it is ${record.tag.slice(0, 40)}`);
  const diffId = config.rootfs.diff_ids[0];
  if (config.rootfs.diff_ids.length !== 1 || !diffId) throw refused('it names no content');
  return { layer, record, diffId };
}

/** What a signature is of: the name, what is recorded and what is in it. */
function statementOf(tag: string, config: Descriptor, layer: Descriptor): string {
  return digestOf([labels.parcel, form, tag, config.digest, layer.digest]);
}

function checkSeal(
  seal: Seal | undefined,
  manifest: Manifest,
  tag: string,
  layer: Descriptor,
): void {
  if (!seal?.verify) return;
  const signature = manifest.annotations[seal.annotation];
  if (signature === undefined) throw refused('it is not signed');
  if (!seal.verify(statementOf(tag, manifest.config, layer), signature))
    throw refused('its signature is not of the key in cache.verify_key');
}

async function readDocument(remote: Remote, blob: Descriptor): Promise<Buffer> {
  if (blob.size > maxDocumentBytes) throw refused('its description is larger than 4 MiB');
  const counter = new Counter(blob.size);
  const parts: Uint8Array[] = [];
  for await (const part of counter.through(await remote.readBlob(blob))) parts.push(part);
  checkBlob(blob, counter);
  return Buffer.concat(parts);
}

/** Getting a layer may take longer than making it, since both cores may be busy, but not without end. */
function patience(seconds: number): number {
  return 30 + 3 * seconds;
}

async function download(
  remote: Remote,
  blob: Descriptor,
  file: string,
  secondsToMake: number,
  onProgress?: (done: number, total: number) => void,
): Promise<void> {
  const counter = new Counter(blob.size);
  const limit = performance.now() + patience(secondsToMake) * 1000;
  const watch = async function* (bytes: AsyncIterable<Uint8Array>) {
    for await (const chunk of bytes) {
      if (performance.now() > limit)
        throw new RemoteError('It is slower than making the layer anew', remote.name);
      onProgress?.(counter.size, blob.size);
      yield chunk;
    }
  };
  await pipeline(watch(counter.through(await remote.readBlob(blob))), createWriteStream(file));
  checkBlob(blob, counter);
}

function checkBlob(blob: Descriptor, counter: Counter): void {
  if (counter.size !== blob.size) throw refused(`${counter.size} of ${blob.size} bytes came`);
  if (counter.digest() !== blob.digest)
    throw refused(`what came is ${counter.digest()}, announced was ${blob.digest}`);
}

async function checkSpace(directory: string, wanted: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (wanted > bavail * bsize)
    throw new BuildError({
      what: 'There is no room for the layer',
      where: directory,
      code: exitCode.host,
    });
}

function parsed<Schema extends z.ZodType>(
  schema: Schema,
  text: Buffer | string,
  what: string,
): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text.toString()));
  } catch (cause) {
    throw refused(`its ${what} is malformed`, cause);
  }
}

function refused(why: string, cause?: unknown): BuildError {
  return new BuildError({ what: `A layer is refused: ${why}`, code: exitCode.source, cause });
}
