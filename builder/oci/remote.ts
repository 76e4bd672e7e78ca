import { resolve } from 'node:path';
import { messageOf } from '../errors.ts';
import { dockerCredentials } from './credentials.ts';
import { Layout } from './layout.ts';
import type { Descriptor } from './media.ts';
import { parseReference } from './reference.ts';
import { Registry } from './registry.ts';

/** Where layers are kept for several machines: a registry's repository or an OCI layout in a folder. */
export type Remote = {
  /** As it is configured: `oci://…`. */
  readonly name: string;
  hasTag(tag: string): Promise<boolean>;
  /** Undefined if there is no such tag. */
  readManifest(tag: string): Promise<Buffer | undefined>;
  /** The bytes as they come; nothing is checked yet. */
  readBlob(blob: Descriptor): Promise<AsyncIterable<Uint8Array>>;
  /** Writes the blob of a file, unless it is there. */
  writeBlob(blob: Descriptor, file: string): Promise<void>;
  writeManifest(tag: string, bytes: Buffer): Promise<void>;
};

export type RemoteOptions = {
  /** The project's folder. */
  root: string;
  plainHttp: readonly string[];
  authFile: string | null;
};

export function openRemote(text: string, o: RemoteOptions): Remote {
  const reference = parseReference(text);
  if (!reference)
    throw new Error(`'${text}' is no store for layers: the schema takes no such value`);
  if (reference.kind === 'layout') return new Layout(text, resolve(o.root, reference.path));
  return new Registry({
    name: text,
    ...reference,
    plainHttp: isLoopback(reference.host) || o.plainHttp.includes(reference.host),
    credentials: () => dockerCredentials(reference.host, o.authFile),
  });
}

/** What went wrong with a remote, in one line. */
export function failure(remote: Remote, error: unknown): string {
  return `${remote.name}: ${messageOf(error)}`;
}

/** As for Docker, a registry of this machine needs no certificate. */
function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(host);
}
