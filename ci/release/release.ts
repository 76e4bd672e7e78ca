/** One entry of an Imager list (os_list-schema.json); only what is read here is named. */
export type ImagerOs = {
  name: string;
  description: string;
  url: string;
  /** SHA-256 and bytes of the raw image. */
  extract_sha256: string;
  extract_size: number;
  [key: string]: unknown;
};

/** An Imager list with the boards to choose from. */
export type ImagerList = { imager: unknown; os_list: ImagerOs[] };

/** What can be known before anything is built. Digests in hex. */
export type Look = {
  /** Of the files that the image is made by: the builder, stages, overlays, extensions. */
  sources: string;
  /** Of the whole configuration, every layer of it. */
  config: string;
  /** Of the package archive's indexes; null where they cannot tell (a vendor's image is the base). */
  archive: string | null;
};

/** All that a release is made from. Digests in hex. */
export type Inputs = Omit<Look, 'archive'> & {
  /** Of the installed packages and their versions. */
  packages: string;
  base: string;
};

/** `release.json` of a release: what it is, and what the next night compares with. */
export type Release = {
  /** Name of its folder: when it was made, so that names sort by age. */
  id: string;
  created: string;
  /** The release before it, whose differences CHANGELOG.md tells. */
  previous: string | null;
  inputs: Inputs;
  look: Look;
  /** Of the git repository that it was made in, if it was one. */
  commit: string | null;
  /** Files of the sources were changed since that commit. */
  uncommitted: boolean;
  boot_test: 'passed' | 'skipped';
  signed: boolean;
  /** Name of the file to flash. */
  file: string;
  /** What Raspberry Pi Imager is told of it. */
  imager: ImagerOs;
  /** Releases that are kept beside it, newest first; all others are deleted once it is published. */
  retained: string[];
};

/** A release's name: the UTC time of its making, which sorts, and fits a tag and a URL. */
export function releaseId(time: Date): string {
  return time
    .toISOString()
    .replaceAll(':', '')
    .replace(/\.\d+Z$/, 'Z');
}

const idPattern = /^\d{4}-\d{2}-\d{2}T\d{6}Z$/;

/** True for names that {@link releaseId} gives. */
export function isReleaseId(name: string): boolean {
  return idPattern.test(name);
}
