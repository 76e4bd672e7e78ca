import { createHash } from 'node:crypto';
import { Enums, Models, Serialize, SPDX, Spec } from '@cyclonedx/cyclonedx-library';
import { PackageURL } from 'packageurl-js';
import type { NpmPackage } from './npm.ts';
import type { DebianPackage } from './packages.ts';

/** What an image is made of. */
export type Ingredients = {
  name: string;
  /** Digest of the raw image's inputs: it alone names the list. */
  imageDigest: string;
  /** Unix time. */
  sourceDateEpoch: number;
  debian: readonly DebianPackage[];
  npm: readonly NpmPackage[];
};

/** Debian's short names that SPDX has others for (copyright-format 1.0, "Short name"). */
const spdxNames: Record<string, string> = { Expat: 'MIT' };

/** The identifier of SPDX, if there is one: `GPL-2+` is GPL-2.0-or-later, `Expat` is MIT. */
export function spdxId(name: string): string | undefined {
  const gnu = /^([AL]?GPL)-(\d)(?:\.(\d))?(\+?)$/.exec(name);
  const id = gnu
    ? `${gnu[1]}-${gnu[2]}.${gnu[3] ?? '0'}-${gnu[4] ? 'or-later' : 'only'}`
    : (spdxNames[name] ?? name);
  return SPDX.fixupSpdxId(id);
}

function licence(name: string): Models.SpdxLicense | Models.NamedLicense {
  const id = spdxId(name);
  return id === undefined ? new Models.NamedLicense(name) : new Models.SpdxLicense(id);
}

/** A UUID of a digest (RFC 9562, version 8: of our own making). */
function uuidOf(digest: string): string {
  const bytes = createHash('sha256').update(digest).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

const debianPurl = (one: DebianPackage) =>
  new PackageURL('deb', 'debian', one.name, one.version, {
    arch: one.architecture,
  }).toString();

function npmPurl({ name, version }: NpmPackage): string {
  const [scope, rest] = name.includes('/') ? name.split('/') : [undefined, name];
  return new PackageURL('npm', scope, rest ?? name, version).toString();
}

/** The image's bill of materials, CycloneDX 1.6 in JSON; the same image gives the same bytes. */
export function sbomOf(o: Ingredients): string {
  const bom = new Models.Bom({ serialNumber: `urn:uuid:${uuidOf(o.imageDigest)}` });
  bom.metadata.timestamp = new Date(o.sourceDateEpoch * 1000);
  bom.metadata.component = new Models.Component(Enums.ComponentType.OperatingSystem, o.name, {
    bomRef: 'image',
    version: o.imageDigest,
  });
  const add = (
    purl: string,
    one: { name: string; version: string },
    licences: readonly string[],
    more: ConstructorParameters<typeof Models.Component>[2] = {},
  ) =>
    bom.components.add(
      new Models.Component(Enums.ComponentType.Library, one.name, {
        bomRef: purl,
        purl,
        version: one.version,
        licenses: new Models.LicenseRepository(licences.map(licence)),
        ...more,
      }),
    );
  for (const one of o.debian)
    add(debianPurl(one), one, one.licences, {
      ...(one.maintainer === ''
        ? {}
        : { supplier: new Models.OrganizationalEntity({ name: one.maintainer }) }),
      properties: new Models.PropertyRepository([
        new Models.Property('debian:source', one.source),
        new Models.Property('debian:source-version', one.sourceVersion),
      ]),
    });
  for (const one of o.npm) add(npmPurl(one), one, one.licence === undefined ? [] : [one.licence]);
  const serializer = new Serialize.JsonSerializer(
    new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6),
  );
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

/** Licences of all components, and those whose licence no machine-readable file tells. */
export function licencesList(o: Pick<Ingredients, 'debian' | 'npm'>): string {
  const all = [
    ...o.debian.map((one) => ({
      name: one.name,
      version: one.version,
      kind: 'debian',
      licences: one.licences,
    })),
    ...o.npm.map((one) => ({
      name: one.name,
      version: one.version,
      kind: 'npm',
      licences: one.licence === undefined ? [] : [one.licence],
    })),
  ];
  const unknown = all.filter((one) => one.licences.length === 0).map(({ name }) => name);
  return `${JSON.stringify({ components: all, unknown }, null, 2)}\n`;
}
