import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { StageDefinition } from '../../stages/define.ts';
import { withImage } from '../inspect/open.ts';
import { replaceFile } from '../state.ts';
import { bundledPackages } from './npm.ts';
import { debianPackages, readerOf } from './packages.ts';
import { type Made, provenanceOf } from './provenance.ts';
import { provenanceSuffix } from './release-folder.ts';
import { licencesList, sbomOf } from './sbom.ts';

export const textDigest = (text: string): string => createHash('sha256').update(text).digest('hex');

type File = { file: string; size: number; sha256: string };

/** Writes what tells of an image's contents and origin beside it; the provenance last, it names the others. */
export async function writeTrust(
  o: Omit<Made, 'artifacts' | 'tools'> & {
    root: string;
    name: string;
    directory: string;
    image: string;
    stages: readonly StageDefinition[];
    tools: { versions: Record<string, string> };
    artifacts: readonly File[];
  },
): Promise<File[]> {
  const [debian, npm] = await Promise.all([
    withImage(o.image, (image) => debianPackages(readerOf(image.root))),
    bundledPackages(o.root, o.stages),
  ]);
  const write = async (suffix: string, text: string): Promise<File> => {
    const file = `${o.name}${suffix}`;
    await replaceFile(join(o.directory, file), text);
    return { file, size: Buffer.byteLength(text), sha256: textDigest(text) };
  };
  const lists = [
    await write('.cdx.json', sbomOf({ ...o, debian, npm })),
    await write('.licences.json', licencesList({ debian, npm })),
  ];
  const provenance = provenanceOf({
    ...o,
    tools: o.tools.versions,
    artifacts: [...o.artifacts, ...lists],
  });
  return [...lists, await write(provenanceSuffix, provenance)];
}
