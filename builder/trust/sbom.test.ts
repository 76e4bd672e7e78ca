import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { describe, expect, test } from 'vitest';
import { loadStages } from '../stages.ts';
import { project } from '../testing/build.ts';
import { bundledPackages } from './npm.ts';
import { debianPackages } from './packages.ts';
import { provenanceOf } from './provenance.ts';
import { licencesList, sbomOf, spdxId } from './sbom.ts';

const tree: Record<string, string> = {
  '/var/lib/dpkg/status': `Package: libssl3t64
Status: install ok installed
Maintainer: Debian OpenSSL Team <openssl@example.org>
Architecture: arm64
Source: openssl (3.5.1-1)
Version: 3.5.1-1+b1

Package: gone
Status: deinstall ok config-files
Architecture: arm64
Version: 1

Package: g++-tool
Status: install ok installed
Architecture: all
Version: 1:2.0~rc1-3
`,
  '/usr/share/doc/libssl3t64/copyright': `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: Apache-2.0

Files: debian/*
License: GPL-2+
 This is free software.
`,
  '/usr/share/doc/g++-tool/copyright': 'It is free, says its author.\n',
};
const debian = debianPackages((path) => tree[path]);
const image = {
  name: 'pi',
  imageDigest: 'a'.repeat(64),
  sourceDateEpoch: 1_700_000_000,
  debian,
  npm: [{ name: '@preact/signals', version: '2.11.4', licence: 'MIT' }],
};

describe('the bill of materials', () => {
  test('is valid by the schema of CycloneDX 1.6', async () => {
    const errors = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(
      sbomOf(image),
    );
    expect(errors).toBeNull();
    const broken = sbomOf(image).replace('"library"', '"librarian"');
    expect(
      await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(broken),
    ).not.toBeNull();
  });

  test('names each installed package by its URL, with source and licences', () => {
    const { components } = JSON.parse(sbomOf(image)) as { components: { purl: string }[] };
    expect(components.map(({ purl }) => purl).sort()).toEqual([
      'pkg:deb/debian/g%2B%2B-tool@1:2.0~rc1-3?arch=all',
      'pkg:deb/debian/libssl3t64@3.5.1-1+b1?arch=arm64',
      'pkg:npm/%40preact/signals@2.11.4',
    ]);
    expect(debian.find(({ name }) => name === 'libssl3t64')).toMatchObject({
      source: 'openssl',
      sourceVersion: '3.5.1-1',
      licences: ['Apache-2.0', 'GPL-2+'],
    });
  });

  test('is the same bytes for the same image, and another for another', () => {
    expect(sbomOf(image)).toBe(sbomOf(structuredClone(image)));
    expect(sbomOf({ ...image, imageDigest: 'b'.repeat(64) })).not.toBe(sbomOf(image));
  });

  test('has the npm packages that are bundled, and none that only builds', async () => {
    const stages = (await loadStages(project, [])).map((stage) => stage.definition);
    const names = (await bundledPackages(project, stages)).map(({ name }) => name);
    expect(names).toContain('preact');
    expect(names).toContain('zod');
    expect(names).not.toContain('esbuild');
    expect(names).not.toContain('typescript');
  });
});

test("Debian's names of licences become those of SPDX where there is one", () => {
  expect(['GPL-2+', 'LGPL-2.1', 'Expat', 'Apache-2.0', 'my-own'].map(spdxId)).toEqual([
    'GPL-2.0-or-later',
    'LGPL-2.1-only',
    'MIT',
    'Apache-2.0',
    undefined,
  ]);
});

test('packages whose licence no machine can read are listed as unknown', () => {
  expect(JSON.parse(licencesList(image))).toMatchObject({ unknown: ['g++-tool'] });
});

test('the provenance names each artifact by its digest', () => {
  const sha256 = 'c'.repeat(64);
  const made = {
    artifacts: [{ file: 'pi.img', sha256 }],
    config: { name: 'pi' },
    base: { kind: 'debian', description: 'Debian', digest: 'd' },
    packages: { nftables: '1' },
    tools: { xz: '5' },
    archiveState: '',
    imageDigest: image.imageDigest,
    sourceDateEpoch: 1,
  };
  expect(JSON.parse(provenanceOf(made))).toMatchObject({
    _type: 'https://in-toto.io/Statement/v1',
    predicateType: 'https://slsa.dev/provenance/v1',
    subject: [{ name: 'pi.img', digest: { sha256 } }],
  });
});
