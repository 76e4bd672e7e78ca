import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { fileDigest } from '../artifact/compress.ts';
import { run } from '../exec.ts';
import { measureTree, rootfsBytes } from '../image/size.ts';

/*
 * What the tests of bases from an image work on: a real disk image in the layout of Raspberry Pi OS
 * trixie, and a real HTTP server that serves it well or badly.
 */

const mebibyte = 1024 * 1024;
const sector = 512;

export type PiImageOptions = {
  /** Where the image goes. */
  path: string;
  table?: 'dos' | 'gpt';
  bootMount?: '/boot/firmware' | '/boot';
  /** Root file system; by default a few files that name a Raspberry Pi OS. It is not changed. */
  rootTree?: string;
  /** Boot partition; by default what the root tree has at its boot mount, or a few files. */
  bootTree?: string;
  /** Bytes; from 34 MiB on it is FAT32 as in the vendor's (512 MiB), below FAT16. */
  bootSize?: number;
  /** Bytes; by default as the tree needs and 4 MiB free. */
  rootSize?: number;
};

export type PiImage = {
  path: string;
  size: number;
  sha256: string;
  diskId: string;
  bootPartUuid: string;
  rootPartUuid: string;
};

/**
 * Makes a disk image as pi-gen (RPi-Distro/pi-gen, branch arm64) makes Raspberry Pi OS trixie: FAT
 * `bootfs` from 8 MiB, ext4 `rootfs` after it, both named by PARTUUID in fstab and cmdline.txt,
 * `resize` on the kernel command line, cloud-init's NoCloud files on bootfs, machine-id
 * `uninitialized`. Needs neither root nor loop devices.
 */
export async function makePiImage(o: PiImageOptions): Promise<PiImage> {
  const table = o.table ?? 'dos';
  const bootMount = o.bootMount ?? '/boot/firmware';
  const identity = identityOf(table);
  await mkdir(dirname(o.path), { recursive: true });
  const work = await mkdtemp(`${o.path}.work-`);
  try {
    const root = join(work, 'root');
    const boot = join(work, 'boot');
    await copyTree(o.rootTree, root);
    if (!o.rootTree) await writeFiles(root, rootFiles);
    await copyTree(o.bootTree ?? join(root, bootMount), boot);
    if ((await readdir(boot)).length === 0) await writeFiles(boot, firmwareFiles);
    await writeFiles(boot, cloudInitFiles);
    await writeFiles(boot, { 'cmdline.txt': kernelCommandLine(identity.rootPartUuid) });
    await rm(join(root, bootMount), { recursive: true, force: true });
    await mkdir(join(root, bootMount), { recursive: true });
    await writeFiles(root, {
      'etc/fstab': fstab(identity, bootMount),
      'etc/machine-id': 'uninitialized\n',
    });

    const bootStart = 8 * mebibyte;
    const bootSize = o.bootSize ?? 34 * mebibyte;
    const rootStart = bootStart + bootSize;
    const rootSize = o.rootSize ?? rootfsBytes(await measureTree(root, () => false), 4 * mebibyte);
    // A GPT has its second copy at the end.
    await emptyFile(o.path, rootStart + rootSize + (table === 'gpt' ? mebibyte : 0));
    await run('sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', o.path], {
      input: partitionScript(identity, [bootStart, bootSize], [rootStart, rootSize]),
    });
    await writeFat(o.path, bootStart, bootSize, boot);
    await writeExt4(o.path, rootStart, rootSize, root);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const { diskId, bootPartUuid, rootPartUuid } = identity;
  return { path: o.path, ...(await fileDigest(o.path)), diskId, bootPartUuid, rootPartUuid };
}

type Identity = {
  table: 'dos' | 'gpt';
  diskId: string;
  bootPartUuid: string;
  rootPartUuid: string;
};

function identityOf(table: 'dos' | 'gpt'): Identity {
  if (table === 'gpt')
    return {
      table,
      diskId: randomUUID(),
      bootPartUuid: randomUUID(),
      rootPartUuid: randomUUID(),
    };
  const diskId = randomBytes(4).toString('hex');
  return { table, diskId, bootPartUuid: `${diskId}-01`, rootPartUuid: `${diskId}-02` };
}

function partitionScript(id: Identity, boot: Place, root: Place): string {
  const dos = id.table === 'dos';
  const line = ([start, size]: Place, type: string, uuid: string) =>
    `start=${start / sector}, size=${size / sector}, type=${type}${dos ? '' : `, uuid=${uuid}`}`;
  return [
    `label: ${id.table}`,
    `label-id: ${dos ? `0x${id.diskId}` : id.diskId}`,
    'unit: sectors',
    line(boot, dos ? 'c' : 'EBD0A0A2-B9E5-4433-87C0-68B6B72699C7', id.bootPartUuid),
    line(root, dos ? '83' : '0FC63DAF-8483-4772-8E79-3D69D8477DE4', id.rootPartUuid),
    '',
  ].join('\n');
}

type Place = readonly [start: number, size: number];

/** Links files where it can, so that a big tree costs nothing; a file is replaced, never changed. */
async function copyTree(from: string | undefined, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  if (!from) return;
  const there = await readdir(from).catch(() => []);
  if (there.length === 0) return;
  const linked = await run('cp', ['-a', '--link', `${from}/.`, to], { okCodes: [1] });
  if (linked.exitCode === 0) return;
  await rm(to, { recursive: true });
  await run('cp', ['-a', from, to]);
}

async function writeFiles(tree: string, files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const path = join(tree, name);
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await writeFile(path, text);
  }
}

async function emptyFile(path: string, size: number): Promise<void> {
  const file = await open(path, 'w');
  await file.truncate(size);
  await file.close();
}

async function writeFat(image: string, start: number, size: number, tree: string): Promise<void> {
  const type = size >= 34 * mebibyte ? ['-F', '32', '-s', '1'] : ['-F', '16', '-s', '2'];
  const kilobytes = String(size / 1024);
  await run('mkfs.vfat', [
    ...type,
    ...['-n', 'bootfs', '--offset', String(start / sector), image, kilobytes],
  ]);
  const names = await readdir(tree);
  await run('mcopy', [
    ...['-i', `${image}@@${start}`, '-s', '-m', '-Q'],
    ...names.map((name) => join(tree, name)),
    '::',
  ]);
}

async function writeExt4(image: string, start: number, size: number, tree: string): Promise<void> {
  const mke2fs = [
    ...['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096', '-L', 'rootfs'],
    // As pi-gen's export-image: old boot loaders read neither.
    ...['-O', '^huge_file,^64bit', '-E', `offset=${start},root_owner=0:0`],
    ...['-d', tree, image, `${size / 1024}k`],
  ];
  // Without root, the files belong to root all the same: user_namespaces(7).
  const [command = '', ...args] =
    process.getuid?.() === 0 ? mke2fs : ['unshare', '--map-root-user', ...mke2fs];
  await run(command, args);
}

/** stage1/01-sys-tweaks/files/fstab. */
function fstab(id: Identity, bootMount: string): string {
  return `proc            /proc           proc    defaults          0       0
PARTUUID=${id.bootPartUuid}  ${bootMount}  vfat    defaults          0       2
PARTUUID=${id.rootPartUuid}  /               ext4    defaults,noatime  0       1
`;
}

/** stage1/00-boot-files/files/cmdline.txt. */
function kernelCommandLine(rootPartUuid: string): string {
  return `console=serial0,115200 console=tty1 root=PARTUUID=${rootPartUuid} rootfstype=ext4 fsck.repair=yes rootwait resize\n`;
}

/** The 64-bit system calls itself Debian; rpi-issue tells what it is. */
const rootFiles = {
  'usr/lib/os-release': `PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
NAME="Debian GNU/Linux"
VERSION_ID="13"
VERSION="13 (trixie)"
VERSION_CODENAME=trixie
ID=debian
`,
  'etc/os-release': `PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
VERSION_ID="13"
VERSION_CODENAME=trixie
ID=debian
`,
  'etc/rpi-issue': `Raspberry Pi reference 2025-10-01
Generated using pi-gen, https://github.com/RPi-Distro/pi-gen, stage2
`,
  'etc/hostname': 'raspberrypi\n',
  'etc/passwd': 'root:x:0:0:root:/root:/bin/bash\n',
  'var/lib/dpkg/status': '',
};

const firmwareFiles = {
  'config.txt': `dtparam=audio=on
camera_auto_detect=1
display_auto_detect=1
auto_initramfs=1
dtoverlay=vc4-kms-v3d
max_framebuffers=2
disable_fw_kms_setup=1
arm_64bit=1
disable_overscan=1
arm_boost=1

[cm4]
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
`,
  'kernel8.img': 'not a kernel: a test image\n',
  initramfs8: 'not an initramfs: a test image\n',
  'overlays/README': 'Device tree overlays\n',
};

/** stage2/04-cloud-init/files. */
const cloudInitFiles = {
  'user-data': '#cloud-config\n',
  'meta-data': 'dsmode: local\ninstance_id: rpios-image\n',
  'network-config': `network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      optional: true
`,
};

/** How the server answers one request; by default as a good one does. */
export type Behaviour = {
  /** What the file holds now. */
  content?: Uint8Array;
  /** Null sends none. Default: one per content. */
  etag?: string | null;
  /** Default: none. */
  lastModified?: Date;
  /** Honours Range and If-Range. Default true. */
  range?: boolean;
  /** Honours Range, but does not look at If-Range. */
  ignoreIfRange?: boolean;
  /** Says Content-Length. Default true. */
  length?: boolean;
  /** Instead of the file. */
  status?: number;
  headers?: Record<string, string>;
  /** Cuts the connection after so many bytes of the body. */
  cutAfter?: number;
  /** Goes silent after so many bytes of the body. */
  stallAfter?: number;
  /** Milliseconds before the answer; Infinity for never. */
  delay?: number;
};

export type ImageServer = {
  /** Of the file. */
  url: string;
  /** Method, path and headers of each request so far. */
  requests: { method: string; path: string; headers: IncomingMessage['headers'] }[];
  close(): Promise<void>;
};

/**
 * Serves a file on the loopback interface. The nth request is answered by the nth behaviour, all
 * further ones by the last.
 * @param path of the URL; a request for another path gets 404, unless `others` has it.
 */
export async function serveImage(
  content: Uint8Array,
  behaviours: readonly Behaviour[] = [{}],
  o: { path?: string; others?: Record<string, Uint8Array | string> } = {},
): Promise<ImageServer> {
  const path = o.path ?? '/image.img.xz';
  const requests: ImageServer['requests'] = [];
  let served = 0;
  const timers = new Set<NodeJS.Timeout>();
  const server = createServer((request, response) => {
    const asked = request.url ?? '/';
    requests.push({ method: request.method ?? '', path: asked, headers: request.headers });
    const other = o.others?.[asked];
    if (other !== undefined) return void response.end(other);
    if (asked !== path) return void response.writeHead(404).end();
    const behaviour = behaviours[Math.min(served++, behaviours.length - 1)] ?? {};
    if (behaviour.delay === undefined) return answer(behaviour, content, request, response);
    if (behaviour.delay === Number.POSITIVE_INFINITY) return;
    const timer = setTimeout(() => answer(behaviour, content, request, response), behaviour.delay);
    timers.add(timer);
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    requests,
    close: async () => {
      for (const timer of timers) clearTimeout(timer);
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(
  b: Behaviour,
  defaultContent: Uint8Array,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (b.status) return void response.writeHead(b.status, b.headers).end('sorry\n');
  const content = b.content ?? defaultContent;
  const etag = b.etag === undefined ? `"${content.length}-${content[0] ?? 0}"` : b.etag;
  const modified = b.lastModified?.toUTCString();
  if (etag && request.headers['if-none-match'] === etag) return void response.writeHead(304).end();
  const from = rangeStart(b, request, etag, modified);
  if (from !== undefined && from >= content.length)
    return void response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
  const body = content.subarray(from ?? 0);
  response.writeHead(from === undefined ? 200 : 206, {
    ...(etag ? { etag } : {}),
    ...(modified ? { 'last-modified': modified } : {}),
    ...(b.length === false ? {} : { 'content-length': String(body.length) }),
    ...(from === undefined
      ? {}
      : { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` }),
    ...b.headers,
  });
  const stop = b.cutAfter ?? b.stallAfter;
  if (stop === undefined || stop >= body.length) return void response.end(body);
  response.write(body.subarray(0, stop));
  // Not at once: a client throws away what it has not read when the connection breaks.
  if (b.cutAfter !== undefined) setTimeout(() => response.socket?.end(), 250);
}

/** Where the asked range begins, if it is to be honoured (RFC 9110 §13.1.5 and §14.2). */
function rangeStart(
  b: Behaviour,
  request: IncomingMessage,
  etag: string | null,
  modified: string | undefined,
): number | undefined {
  const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
  if (start === undefined || b.range === false) return undefined;
  const condition = request.headers['if-range'];
  const same = condition === undefined || condition === etag || condition === modified;
  return same || b.ignoreIfRange ? Number(start) : undefined;
}
