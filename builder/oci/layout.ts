import { createReadStream } from 'node:fs';
import { copyFile, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { isErrno, messageOf } from '../errors.ts';
import { replaceFile } from '../state.ts';
import { type Descriptor, descriptorSchema, mediaType } from './media.ts';
import { sha256Digest } from './pack.ts';
import type { Remote } from './remote.ts';
import { RemoteError } from './remote-error.ts';

/** The name of a tag in an index (image spec 1.1, annotations.md). */
const refName = 'org.opencontainers.image.ref.name';

const indexSchema = z.object({
  manifests: z.array(
    descriptorSchema.extend({ annotations: z.record(z.string(), z.string()).optional() }),
  ),
});

type Index = z.output<typeof indexSchema>;

/** An OCI image layout in a folder (image spec 1.1, image-layout.md). */
export class Layout implements Remote {
  readonly name: string;
  readonly #directory: string;

  constructor(name: string, directory: string) {
    this.name = name;
    this.#directory = directory;
  }

  async hasTag(tag: string): Promise<boolean> {
    return (await this.#entry(tag)) !== undefined;
  }

  async readManifest(tag: string): Promise<Buffer | undefined> {
    const entry = await this.#entry(tag);
    return entry ? await readFile(this.#blob(entry.digest)) : undefined;
  }

  async readBlob(blob: Descriptor): Promise<AsyncIterable<Uint8Array>> {
    return createReadStream(this.#blob(blob.digest));
  }

  async writeBlob(blob: Descriptor, file: string): Promise<void> {
    const target = this.#blob(blob.digest);
    const there = await stat(target).catch(() => undefined);
    if (there?.size === blob.size) return;
    await mkdir(join(this.#directory, 'blobs/sha256'), { recursive: true });
    const temporary = `${target}.${process.pid}.tmp`;
    await copyFile(file, temporary);
    await rename(temporary, target);
  }

  async writeManifest(tag: string, bytes: Buffer): Promise<void> {
    const digest = sha256Digest(bytes);
    await mkdir(join(this.#directory, 'blobs/sha256'), { recursive: true });
    await replaceFile(this.#blob(digest), bytes);
    await replaceFile(join(this.#directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    const { manifests } = await this.#index();
    const others = manifests.filter((entry) => entry.annotations?.[refName] !== tag);
    const entry = {
      mediaType: mediaType.manifest,
      digest,
      size: bytes.length,
      annotations: { [refName]: tag },
    };
    await replaceFile(
      join(this.#directory, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaType.index,
        manifests: [...others, entry],
      }),
    );
  }

  async #entry(tag: string): Promise<Index['manifests'][number] | undefined> {
    const { manifests } = await this.#index();
    return manifests.find((entry) => entry.annotations?.[refName] === tag);
  }

  async #index(): Promise<Index> {
    const path = join(this.#directory, 'index.json');
    try {
      return indexSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    } catch (cause) {
      if (isErrno(cause, 'ENOENT')) return { manifests: [] };
      throw new RemoteError(`This is no OCI image layout: ${messageOf(cause)}`, path, cause);
    }
  }

  #blob(digest: string): string {
    return join(this.#directory, 'blobs', digest.replace(':', '/'));
  }
}
