import { digestOf } from '../plan/digest.ts';

export type Made = {
  /** Every file that the build vouches for. */
  artifacts: readonly { file: string; sha256: string }[];
  config: unknown;
  base: { kind: string; description: string; digest: string };
  packages: Record<string, string>;
  tools: Record<string, string>;
  archiveState: string;
  imageDigest: string;
  sourceDateEpoch: number;
};

/**
 * Says what the files were made from: an in-toto statement v1 with SLSA's provenance v1
 * (https://slsa.dev/spec/v1.0/provenance).
 */
export function provenanceOf(o: Made): string {
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: o.artifacts.map(({ file, sha256 }) => ({ name: file, digest: { sha256 } })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'urn:pi-gateway-image:build:v1',
        externalParameters: { config: o.config, config_digest: digestOf(o.config) },
        internalParameters: {
          archive_state: o.archiveState,
          source_date_epoch: o.sourceDateEpoch,
          tools: o.tools,
        },
        resolvedDependencies: [
          {
            name: 'base',
            annotations: {
              kind: o.base.kind,
              description: o.base.description,
              digest: o.base.digest,
            },
          },
          ...Object.entries(o.packages).map(([name, version]) => ({
            name,
            annotations: { version },
          })),
        ],
      },
      runDetails: {
        builder: { id: 'urn:pi-gateway-image:builder' },
        metadata: { invocationId: o.imageDigest },
      },
    },
  };
  return `${JSON.stringify(statement, null, 2)}\n`;
}
