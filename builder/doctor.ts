import { access, constants, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { gigabytes } from './chroot/scratch.ts';
import { hostPath } from './exec.ts';
import { table } from './ui/present.ts';

export type Finding = {
  what: string;
  state: 'ok' | 'missing' | 'note';
  detail: string;
  /** The command that mends it. */
  fix?: string;
};

/** Looks at everything that a build and its tests need of the host; changes nothing. */
export async function examine(root: string): Promise<Finding[]> {
  const filesystems = await readFile('/proc/filesystems', 'utf8');
  return [
    nodeVersion(),
    architecture(),
    rights(),
    ...(await packages(root)),
    kernelFilesystem(filesystems, 'overlay', 'layers'),
    kernelFilesystem(filesystems, 'ext4', 'mounting base images'),
    ...(process.arch === 'arm64'
      ? []
      : [kernelFilesystem(filesystems, 'binfmt_misc', 'running arm64 programs')]),
    await device('/dev/loop-control', 'base images that are files', 'sudo modprobe loop'),
    await disk(root),
  ];
}

function nodeVersion(): Finding {
  const major = Number(process.versions.node.split('.')[0]);
  return major >= 24
    ? { what: 'Node', state: 'ok', detail: process.version }
    : {
        what: 'Node',
        state: 'missing',
        detail: `${process.version}; 24 or newer is needed`,
        fix: 'npm ci   (brings it; npm run … then uses it)',
      };
}

function architecture(): Finding {
  return process.arch === 'arm64'
    ? { what: 'processor', state: 'ok', detail: 'arm64: builds natively' }
    : {
        what: 'processor',
        state: process.arch === 'x64' ? 'ok' : 'missing',
        detail: `${process.arch}: the image's own programs run under emulation`,
      };
}

function rights(): Finding {
  return process.getuid?.() === 0
    ? { what: 'root', state: 'ok', detail: 'yes' }
    : { what: 'root', state: 'note', detail: 'no: the build asks for it through sudo' };
}

async function packages(root: string): Promise<Finding[]> {
  const text = await readFile(join(root, 'ci/debian-packages.txt'), 'utf8');
  const lines = text.split('\n').filter((line) => line.includes('|') && !line.startsWith('#'));
  return await Promise.all(
    lines.map(async (line): Promise<Finding> => {
      const [command = '', name = '', reason = ''] = line.split('|').map((cell) => cell.trim());
      const found = await onPath(command);
      return found
        ? { what: name, state: 'ok', detail: found }
        : { what: name, state: 'missing', detail: reason, fix: `sudo apt-get install ${name}` };
    }),
  );
}

async function onPath(command: string): Promise<string | undefined> {
  for (const folder of hostPath.split(':')) {
    const path = join(folder, command);
    const there = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  return undefined;
}

function kernelFilesystem(known: string, name: string, why: string): Finding {
  return new RegExp(`\\t${name}$`, 'm').test(known)
    ? { what: `kernel: ${name}`, state: 'ok', detail: why }
    : { what: `kernel: ${name}`, state: 'missing', detail: why, fix: `sudo modprobe ${name}` };
}

async function device(path: string, why: string, fix: string): Promise<Finding> {
  const there = await access(path).then(
    () => true,
    () => false,
  );
  return there
    ? { what: path, state: 'ok', detail: why }
    : { what: path, state: 'missing', detail: why, fix };
}

async function disk(root: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(root);
  const free = bavail * bsize;
  return free > 8e9
    ? { what: 'disk', state: 'ok', detail: `${gigabytes(free)} GB free` }
    : {
        what: 'disk',
        state: 'missing',
        detail: `${gigabytes(free)} GB free, 8 GB are comfortable`,
        fix: 'free some, or set paths.cache in gateway.local.yaml',
      };
}

export function doctorText(findings: readonly Finding[]): string {
  const signs = { ok: '✓', missing: '✗', note: '·' } as const;
  const missing = findings.filter((finding) => finding.state === 'missing').length;
  return [
    table(
      findings.map((f) => [signs[f.state], f.what, f.fix ? `${f.detail} → ${f.fix}` : f.detail]),
    ),
    '',
    missing === 0
      ? 'All is there.'
      : `${missing} missing. npm run image and npm test install packages by themselves.`,
  ].join('\n');
}
