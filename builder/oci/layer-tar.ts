import { BuildError, exitCode } from '../errors.ts';
import {
  entryBlocks,
  makeHeader,
  padding,
  readTar,
  type TarEntry,
  type TarKind,
  tarEnd,
} from './tar-entries.ts';

/**
 * How an overlayfs directory and an OCI layer say the same (kernel, overlayfs.rst; OCI image spec 1.1,
 * layer.md): a removed file is a character device 0:0 or an empty file `.wh.NAME`; a directory that hides
 * all below it has the attribute trusted.overlay.opaque or holds a file `.wh..wh..opq`.
 */
const whiteoutPrefix = '.wh.';
const opaqueName = '.wh..wh..opq';
const opaqueRecord = 'SCHILY.xattr.trusted.overlay.opaque';
/** Others of these are of one machine's file system (origin, uuid, impure): they mean nothing elsewhere. */
const overlayRecords = 'SCHILY.xattr.trusted.overlay.';

/** Records that GNU tar writes for a layer; any other would be something that we do not understand. */
const knownRecord =
  /^(path|linkpath|size|uid|gid|mtime|SCHILY\.xattr\.(security\.[\w.]+|user\.[^=]+|system\.posix_acl_(access|default)|trusted\.(?!overlay\.)[\w.]+))$/;

/** Static device nodes of a Debian root (makedev(8)), by path, as major:minor: no tree has others. */
const deviceNodes = new Map([
  ['./dev/console', '5:1'],
  ['./dev/full', '1:7'],
  ['./dev/null', '1:3'],
  ['./dev/ptmx', '5:2'],
  ['./dev/random', '1:8'],
  ['./dev/tty', '5:0'],
  ['./dev/urandom', '1:9'],
  ['./dev/zero', '1:5'],
]);

/**
 * GNU tar's archive of an overlayfs directory as an OCI layer: the same tree gives the same bytes.
 * @throws BuildError when the tree holds what an OCI layer cannot say, such as a file named `.wh.x`.
 */
export async function* toOciLayer(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const removed = new Set<string>();
  let rest: Buffer = Buffer.alloc(0);
  for await (const part of readTar(bytes)) {
    if (part.type === 'content') {
      yield part.bytes;
      continue;
    }
    yield rest;
    const { entry } = part;
    rest = padding(entry.size);
    const { parent, name } = split(entry.path);
    if (name.startsWith(whiteoutPrefix))
      throw unfit(`'${entry.path}' has a name that means a removed file in OCI layers`);
    // overlayfs makes one such device and links it to the other names.
    if (isWhiteout(entry) || (entry.kind === 'hardlink' && removed.has(entry.link))) {
      removed.add(entry.path);
      yield* marker(`${parent}/${whiteoutPrefix}${name}`);
      continue;
    }
    checkKind(entry);
    const opaque = entry.pax.get(opaqueRecord)?.toString() === 'y';
    for (const key of entry.pax.keys()) if (key.startsWith(overlayRecords)) entry.pax.delete(key);
    checkRecords(entry);
    yield* entryBlocks(entry);
    if (opaque) yield* marker(`${entry.path}/${opaqueName}`);
  }
  yield rest;
  yield tarEnd;
}

/**
 * The archive for GNU tar of an OCI layer that {@link toOciLayer} made, so that it can be unpacked as root:
 * each member lies below a directory of the archive itself, none comes twice, hard links lead to files
 * before them, and there are no devices but a root's static ones.
 * @throws BuildError with code `source` on anything else.
 */
export async function* fromOciLayer(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const seen = new Map<string, TarKind>();
  /** A directory waits for what comes next: that it is opaque. */
  let held: TarEntry | undefined;
  let rest: Buffer = Buffer.alloc(0);
  for await (const part of readTar(bytes)) {
    if (part.type === 'content') {
      yield part.bytes;
      continue;
    }
    yield rest;
    const { entry } = part;
    rest = padding(entry.size);
    const { parent, name } = split(entry.path);
    if (name === opaqueName) {
      if (held?.path !== parent || !isMarker(entry))
        throw refused(`'${entry.path}' does not follow its directory`);
      held.pax.set(opaqueRecord, Buffer.from('y'));
      continue;
    }
    if (held) yield* entryBlocks(held);
    held = undefined;
    checkPlace(entry, seen);
    if (name.startsWith(whiteoutPrefix)) {
      const removed = name.slice(whiteoutPrefix.length);
      const path = `${parent}/${removed}`;
      if (!isMarker(entry) || /^\.{0,2}$/.test(removed) || seen.has(path))
        throw refused(`'${entry.path}' is no sound mark of a removed file`);
      seen.set(path, 'character device');
      yield* named(path, makeHeader({ name: path, letter: '3', mode: 0 }));
      continue;
    }
    checkKind(entry);
    checkRecords(entry);
    seen.set(entry.path, entry.kind);
    if (entry.kind === 'directory') held = entry;
    else yield* entryBlocks(entry);
  }
  if (held) yield* entryBlocks(held);
  yield rest;
  yield tarEnd;
}

function checkPlace(entry: TarEntry, seen: ReadonlyMap<string, TarKind>): void {
  const { path, kind, link } = entry;
  if (path === '.') {
    if (kind !== 'directory' || seen.size > 0) throw refused('its root is no directory');
    return;
  }
  const parts = path.split('/');
  if (
    parts[0] !== '.' ||
    parts.slice(1).some((name) => /^\.{0,2}$/.test(name) || name.includes('\0'))
  )
    throw refused(`'${path}' leads out of it`);
  if (seen.get(split(path).parent) !== 'directory')
    throw refused(`'${path}' does not lie in a directory of it`);
  if (seen.has(path)) throw refused(`'${path}' comes twice`);
  const target = seen.get(link);
  if (kind === 'hardlink' && target !== 'file' && target !== 'symlink' && target !== 'fifo')
    throw refused(`'${path}' is a hard link to '${link}', which is no file of it`);
}

function checkKind(entry: TarEntry): void {
  const device = entry.kind === 'character device' || entry.kind === 'block device';
  const node = `${entry.major}:${entry.minor}`;
  // A layer is a root; the tools' one lies in a folder of that name.
  const path = entry.path.replace(/^\.\/root\//, './');
  if (!device || (entry.kind === 'character device' && deviceNodes.get(path) === node)) return;
  throw refused(`'${entry.path}' is a ${entry.kind} (${node})`);
}

function checkRecords(entry: TarEntry): void {
  for (const key of entry.pax.keys())
    if (!knownRecord.test(key)) throw refused(`'${entry.path}' has the record '${key}'`);
}

function isWhiteout(entry: TarEntry): boolean {
  return entry.kind === 'character device' && entry.major === 0 && entry.minor === 0;
}

function isMarker(entry: TarEntry): boolean {
  return entry.kind === 'file' && entry.size === 0;
}

function marker(path: string): Buffer[] {
  return named(path, makeHeader({ name: path, letter: '0', mode: 0 }));
}

/** A name that does not fit into a header, or is not plain ASCII, goes into a record. */
function named(path: string, header: Buffer): Buffer[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is all of ASCII
  const plain = path.length < 100 && /^[\x01-\x7f]*$/.test(path);
  const pax = plain ? new Map<string, Buffer>() : new Map([['path', Buffer.from(path, 'latin1')]]);
  return entryBlocks({ pax, header });
}

function split(path: string): { parent: string; name: string } {
  const at = path.lastIndexOf('/');
  return at < 0
    ? { parent: '', name: path }
    : { parent: path.slice(0, at), name: path.slice(at + 1) };
}

function refused(why: string): BuildError {
  return new BuildError({ what: `The layer is refused: ${why}`, code: exitCode.source });
}

function unfit(why: string): BuildError {
  return new BuildError({ what: `The layer cannot be shared: ${why}`, code: exitCode.failed });
}
