import { constants, open } from 'node:fs/promises';
import { jsonOf } from './json.ts';

/** Bytes: what a service leaves for others is some lines of JSON. */
const longest = 262_144;

/**
 * Reads, as root, a file in a folder of another user, who may have put something else in its place: a link to
 * what root alone may read, or a pipe that never ends (open(2): O_NOFOLLOW, O_NONBLOCK).
 * @returns undefined for whatever is no plain file of a sensible size.
 */
export async function readForeign(path: string): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch(() => undefined);
  if (!file) return undefined;
  try {
    const facts = await file.stat();
    return facts.isFile() && facts.size <= longest ? await file.readFile('utf8') : undefined;
  } finally {
    await file.close();
  }
}

/** As JSON; undefined for what is none. node's own error would quote some of it. */
export async function readForeignJson(path: string): Promise<unknown> {
  const text = await readForeign(path);
  return text === undefined ? undefined : jsonOf(text);
}
