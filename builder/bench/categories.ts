import type { FileSystem } from '../inspect/file-system.ts';
import type { OpenImage } from '../inspect/open.ts';

export type Category = {
  category: string;
  /** Bytes: for files those of their blocks. */
  bytes: number;
  /** Absent for what is not made of files. */
  files?: number;
};

/** First match counts. */
const ofRoot: readonly (readonly [string, RegExp])[] = [
  ['kernel and modules', /^\/(boot\/|usr\/lib\/modules\/)/],
  ['firmware', /^\/usr\/lib\/firmware\//],
  ['locales', /^\/usr\/(share\/(locale|i18n)|lib\/locale)\//],
  ['documentation', /^\/usr\/share\/(doc|man|info|lintian|bug)\//],
  ['package lists and caches', /^\/var\/(lib\/apt\/lists|cache)\//],
  ['logs', /^\/var\/log\//],
  ['dpkg database', /^\/var\/lib\/dpkg\//],
  [
    'node',
    /^\/usr\/(bin\/node(js)?$|share\/(nodejs|node_modules)\/|lib\/[^/]+\/lib(node|v8|icu)[^/]*)/,
  ],
  ['python', /^\/usr\/(lib\/python3|share\/python|bin\/python3)/],
  ['perl', /^\/usr\/(share\/perl|lib\/[^/]+\/perl|bin\/perl)/],
  ['the gateway itself', /^\/(usr\/(lib|share)|etc|var\/lib)\/pi-gateway/],
  ['time zones', /^\/usr\/share\/zoneinfo/],
  ['keyboards and fonts', /^\/usr\/share\/(console|consolefonts|consoletrans|keymaps|X11)/],
  ['systemd', /^\/usr\/(lib\/systemd\/|bin\/systemd|lib\/[^/]+\/systemd)/],
  ['shared libraries', /^\/usr\/lib\/[^/]+-linux-gnu\//],
  ['programs', /^\/usr\/(s?bin|libexec|lib)\//],
];

const block = 4096;

/** What a raw image is made of, the largest first; the sum is the image's size. */
export function categoriesOf(
  image: Pick<OpenImage, 'size' | 'root' | 'boot' | 'layout'>,
): Category[] {
  const root = byCategory(
    image.root,
    (path) => ofRoot.find(([, match]) => match.test(path))?.[0] ?? 'other',
  );
  const boot = byCategory(image.boot, () => 'boot partition: files');
  const files = sumOf(root.values());
  const { layout } = image;
  const rest: Category[] = [
    // Metadata: inode tables, journal, directories, bitmaps.
    { category: 'root partition: metadata', bytes: Math.max(0, image.root.used - files) },
    { category: 'root partition: free', bytes: layout.root.sizeBytes - image.root.used },
    { category: 'boot partition: free', bytes: layout.boot.sizeBytes - sumOf(boot.values()) },
    {
      category: 'outside the partitions',
      bytes: image.size - layout.root.sizeBytes - layout.boot.sizeBytes,
    },
  ];
  return [...root.values(), ...boot.values(), ...rest].sort((a, b) => b.bytes - a.bytes);
}

function byCategory(system: FileSystem, name: (path: string) => string): Map<string, Category> {
  const found = new Map<string, Category & { files: number }>();
  for (const [path, { kind, size }] of system.files) {
    if (kind !== 'file') continue;
    const category = name(path);
    const one = found.get(category) ?? { category, bytes: 0, files: 0 };
    one.bytes += Math.ceil(size / block) * block;
    one.files += 1;
    found.set(category, one);
  }
  return found;
}

function sumOf(categories: Iterable<Category>): number {
  return [...categories].reduce((sum, { bytes }) => sum + bytes, 0);
}
