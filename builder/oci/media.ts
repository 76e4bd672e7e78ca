import * as z from 'zod';

/** Media types of the OCI image specification 1.1. */
export const mediaType = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);

export const descriptorSchema = z.object({
  mediaType: z.string(),
  digest,
  size: z.number().int().min(0),
});

export type Descriptor = z.output<typeof descriptorSchema>;

export const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.literal(mediaType.manifest),
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
  annotations: z.record(z.string(), z.string()).default({}),
});

export type Manifest = z.output<typeof manifestSchema>;

export const imageConfigSchema = z.object({
  architecture: z.string(),
  os: z.string(),
  config: z.object({ Labels: z.record(z.string(), z.string()) }),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(digest) }),
});

/** Larger manifests and configurations are refused (distribution spec 1.1: registries take 4 MiB). */
export const maxDocumentBytes = 4 * 1024 * 1024;
