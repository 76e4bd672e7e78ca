import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { replaceFile } from '../state.ts';

type ImageRecord = {
  digest: string;
  size: number;
  modified: number;
  packages: Record<string, string>;
};

function recordPath(image: string): string {
  return join(dirname(image), '.image.json');
}

/** What the raw image that lies there was made from, if it is still as it was written. */
export async function readImageRecord(image: string): Promise<ImageRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(recordPath(image), 'utf8')) as ImageRecord;
    const { size, mtimeMs } = await stat(image);
    return size === record.size && mtimeMs === record.modified ? record : undefined;
  } catch {
    return undefined;
  }
}

export async function writeImageRecord(
  image: string,
  digest: string,
  packages: Record<string, string>,
): Promise<void> {
  const { size, mtimeMs } = await stat(image);
  await replaceFile(
    recordPath(image),
    JSON.stringify({ digest, size, modified: mtimeMs, packages } satisfies ImageRecord),
  );
}
