import { z } from 'zod';
import type { StageDefinition } from '../../stages/define.ts';
import { parseReference } from '../oci/reference.ts';
import { byteSize } from './fields.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256: 64 hex digits in lower case');

const httpUrl = z.url({
  protocol: /^https?$/,
  error: 'must be a URL, e.g. https://example.org/image.img.xz',
});

const remoteStore = z.string().refine((text) => parseReference(text) !== undefined, {
  error: 'must be oci://HOST[:PORT]/REPOSITORY (in lower case) or oci-layout:FOLDER',
});

const baseItem = z.union(
  [
    z.literal('raspios'),
    z.literal('debian'),
    z.strictObject({ file: z.string().min(1), sha256: sha256.optional() }),
    z.strictObject({ url: httpUrl, sha256 }),
  ],
  { error: 'must be raspios, debian, {file: path} or {url: …, sha256: …}' },
);

const top = {
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be of a-z, 0-9 and -, e.g. pi-gateway')
    .default('pi-gateway')
    .describe('Name of the image: output/<name>/<name>.img'),
  base: z
    .array(baseItem)
    .min(1, 'must name at least one base')
    .default(['raspios', 'debian'])
    .describe('Bases in order of preference; the first that can be had is taken and said aloud'),
  raspios: z
    .strictObject({
      os_list: httpUrl
        .default('https://downloads.raspberrypi.com/os_list_imagingutility_v4.json')
        .describe('Raspberry Pi Imager list that the image is looked up in'),
      image: z
        .string()
        .min(1)
        .default('Raspberry Pi OS Lite (64-bit)')
        .describe('Name of the image in that list'),
      url: httpUrl.nullable().default(null).describe('Take this image instead of the list'),
      sha256: sha256.nullable().default(null).describe('SHA-256 of what the URL gives'),
      extract_sha256: sha256.nullable().default(null).describe('SHA-256 of the unpacked image'),
      signature: z
        .strictObject({
          url: httpUrl
            .nullable()
            .default(null)
            .describe("Detached signature; by default the image's URL and .sig"),
          keyring: z.string().min(1).describe('File with the public keys that may have signed'),
        })
        .nullable()
        .default(null)
        .describe('Check the detached GPG signature too'),
    })
    .prefault({})
    .describe('Where Raspberry Pi OS comes from'),
  debian: z
    .strictObject({
      suite: z.literal('trixie').default('trixie').describe('Debian release'),
      components: z
        .array(z.enum(['main', 'contrib', 'non-free', 'non-free-firmware']))
        .default(['main', 'non-free-firmware'])
        .describe('Archive areas; the Pi starts with firmware from non-free-firmware'),
      mirror: httpUrl.nullable().default(null).describe("Debian mirror; by default the host's own"),
      security_mirror: httpUrl
        .nullable()
        .default(null)
        .describe("Security mirror; by default the host's own"),
      snapshot: httpUrl
        .nullable()
        .default(null)
        .describe('Mirror that keeps old versions: packages come from it, the image names mirror'),
      security_snapshot: httpUrl
        .nullable()
        .default(null)
        .describe('The same of the security archive'),
      keyring: z
        .string()
        .nullable()
        .default(null)
        .describe("Archive keyring; by default the host's"),
      packages: z.array(z.string().min(1)).default([]).describe('Further packages in the base'),
    })
    .prefault({})
    .describe('How the Debian base is assembled'),
  apt: z
    .strictObject({
      pin: z
        .record(z.string(), z.string().min(1))
        .default({})
        .describe('Versions of packages that stages install, by package'),
    })
    .prefault({}),
  image: z
    .strictObject({
      headroom: byteSize
        .prefault('256M')
        .describe('Free space on rootfs before it grows on first boot'),
      boot_size: byteSize
        .prefault('512M')
        .refine(
          (bytes) => bytes >= 64 * 1024 ** 2 && bytes <= 4 * 1024 ** 3 && bytes % 1024 ** 2 === 0,
          {
            error: 'must be 64M to 4G, in whole MiB',
          },
        )
        .describe('Size of bootfs (Debian base)'),
      compress: z.enum(['xz', 'zstd', 'none']).default('xz').describe('Compression of the release'),
      compress_level: z.number().int().min(0).max(9).default(6).describe('0 (fast) to 9 (small)'),
      source_date_epoch: z
        .number()
        .int()
        .min(0)
        .nullable()
        .default(null)
        .describe("Date of the image's newest file, Unix time; by default the base's"),
      release_url: httpUrl
        .nullable()
        .default(null)
        .describe('Folder that the artifacts will be downloaded from; by default this machine'),
    })
    .prefault({}),
  paths: z
    .strictObject({
      cache: z.string().min(1).default('./cache').describe('Layers, downloads and tools'),
      output: z.string().min(1).default('./output').describe('Finished images'),
    })
    .prefault({}),
  cache: z
    .strictObject({
      push: remoteStore
        .nullable()
        .default(null)
        .describe('Where layers made here are put for other machines'),
      pull: z
        .array(remoteStore)
        .default([])
        .describe('Where layers are looked for before they are made, in this order'),
      plain_http: z
        .array(z.string().regex(/^[\w.-]+(:\d{1,5})?$/, 'must be HOST or HOST:PORT'))
        .default([])
        .describe("Registries without TLS; this machine's own need not be named"),
      auth_file: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe("Credentials as `docker login` writes them; by default Docker's config.json"),
      sign_key: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe('Secret key (of `keys new`) that signs what is pushed'),
      verify_key: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe('Public key that what is pulled must be signed with'),
    })
    .prefault({})
    .describe('Layers that several machines share (docs/layer-store.md)'),
  matrix: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'must be of a-z, 0-9 and -'),
      z.strictObject({
        env: z.string().optional().describe('Environment: environments/<env>.yaml'),
        name: z.string().optional().describe('Name of the image; by default <name>-<variant>'),
        set: z
          .record(z.string(), z.unknown())
          .optional()
          .describe('Values by dotted path, e.g. stages.ssh.port: 2222'),
      }),
    )
    .default({})
    .describe('Images that `matrix` builds side by side from this configuration'),
  trust: z
    .strictObject({
      vulnerabilities: z
        .strictObject({
          fail_on: z
            .enum(['none', 'fixed', 'high', 'any'])
            .default('fixed')
            .describe('Which known vulnerabilities make the command vulnerabilities fail'),
          ignore: z
            .array(
              z.strictObject({
                id: z.string().min(1),
                reason: z.string().min(1),
                until: z.iso.date(),
              }),
            )
            .default([])
            .describe('Those that are accepted, why, and until which day'),
        })
        .prefault({}),
    })
    .prefault({})
    .describe('What a release must hold (docs/trust.md)'),
  extensions: z
    .array(z.string().min(1))
    .default([])
    .describe('Further stages: paths (./…) or npm packages'),
};

type Top = { [Key in keyof typeof top]: z.output<(typeof top)[Key]> };

/** The whole configuration with every default filled in. */
export type Config = Top & {
  /** Options of the enabled stages, by name. */
  stages: Record<string, unknown>;
};

/** Schema of the configuration once the stages that are off are taken out. */
export function configSchema(enabled: readonly StageDefinition[]) {
  return z.strictObject({
    ...top,
    stages: z.strictObject(
      Object.fromEntries(enabled.map((stage) => [stage.name, stage.options.prefault({})])),
    ),
  });
}

/** Schema of gateway.yaml as people write it, for editors and the reference. */
export function fileSchema(stages: readonly StageDefinition[]) {
  const shape = stages.map((stage) => [
    stage.name,
    z.union([z.boolean(), z.null(), stage.options]).optional().describe(stage.summary),
  ]);
  return z.strictObject({
    ...top,
    stages: z
      .strictObject(Object.fromEntries(shape))
      .prefault({})
      .describe('Options of each stage; false turns one off'),
  });
}
