import { isUtf8 } from 'node:buffer';
import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { OwnerError } from './step.ts';
import type { System } from './system.ts';

/** Bytes that a file of the owner's may have. The largest that makes sense has some 4 KiB. */
export const maxSize = 64 * 1024;

/**
 * A file of the boot partition, or undefined if there is none. Its owner wrote it, and so it may be
 * anything: no link is followed, nothing but a regular file is opened, and no more than `maxSize` read.
 * @throws OwnerError if it is something else or cannot be read.
 */
export async function readOwnerFile(system: System, name: string): Promise<Buffer | undefined> {
  const path = join(system.root, system.boot, name);
  const there = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw unreadable(name, error);
  });
  if (!there) return undefined;
  if (!there.isFile()) {
    const kind = there.isSymbolicLink()
      ? 'a symbolic link'
      : there.isDirectory()
        ? 'a folder'
        : 'no regular file';
    throw new OwnerError(`${name} is ${kind}`, `Put a plain file ${name} in its place`);
  }
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(
    (error: NodeJS.ErrnoException) => {
      throw unreadable(name, error);
    },
  );
  try {
    const { size } = await file.stat();
    if (size > maxSize) throw tooLarge(name, size);
    const buffer = Buffer.alloc(size);
    const { bytesRead } = await file.read(buffer, 0, size, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw error instanceof OwnerError ? error : unreadable(name, error as NodeJS.ErrnoException);
  } finally {
    await file.close();
  }
}

function unreadable(name: string, error: NodeJS.ErrnoException): OwnerError {
  return new OwnerError(
    `${name} cannot be read (${error.code ?? 'unknown error'})`,
    'Check the boot partition on another computer and write the file anew',
  );
}

function tooLarge(name: string, bytes: number): OwnerError {
  return new OwnerError(
    `${name} has ${Math.ceil(bytes / 1024)} KiB; settings have at most ${maxSize / 1024} KiB`,
    'Put the right file there; gateway-device.yaml.example shows how it looks',
  );
}

/**
 * The text of an owner's file, without byte order mark.
 * @throws OwnerError if it is too large, binary or in another encoding than UTF-8.
 */
export function decodeText(bytes: Uint8Array, name: string): string {
  if (bytes.length > maxSize) throw tooLarge(name, bytes.length);
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    throw new OwnerError(
      `${name} is in UTF-16`,
      'Save as UTF-8: in Notepad "Save as…", Encoding: UTF-8',
    );
  if (bytes.includes(0))
    throw new OwnerError(
      `${name} is binary, not text`,
      'Write it with a text editor, saved as UTF-8',
    );
  if (!isUtf8(bytes))
    throw new OwnerError(
      `${name} is not in UTF-8`,
      'Save as UTF-8 in the editor, or leave out letters like ä and é',
    );
  return withoutMark(Buffer.from(bytes).toString('utf8'));
}

export function withoutMark(text: string): string {
  return text.replace(/^\uFEFF/, '');
}

/** The text of a file on the boot partition, or undefined if there is none. */
export async function readOwnerText(system: System, name: string): Promise<string | undefined> {
  const bytes = await readOwnerFile(system, name);
  return bytes === undefined ? undefined : decodeText(bytes, name);
}
