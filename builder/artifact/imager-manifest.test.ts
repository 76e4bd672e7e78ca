import { readFile } from 'node:fs/promises';
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { type ImagerEntry, iconFile, imagerManifest } from './imager-manifest.ts';

const entry: ImagerEntry = {
  name: 'Pi Gateway (pi-gateway)',
  description: 'Hardened gateway',
  url: 'https://example.org/releases/pi-gateway.img.xz',
  iconUrl: 'https://example.org/releases/pi-gateway.png',
  bmapUrl: 'https://example.org/releases/pi-gateway.img.bmap',
  extractSize: 1_580_204_032,
  extractSha256: 'a'.repeat(64),
  downloadSize: 240_000_000,
  downloadSha256: 'b'.repeat(64),
  releaseDate: '2026-11-24',
  initFormat: 'cloudinit',
};

/** raspberrypi/rpi-imager, doc/json-schema/os-list-schema.json, formatted. */
async function validate(manifest: unknown): Promise<string> {
  const schema = JSON.parse(
    await readFile(new URL('os-list-schema.json', import.meta.url), 'utf8'),
  );
  const ajv = new Ajv({ strict: false, allErrors: true });
  return ajv.validate(schema, manifest) ? '' : ajv.errorsText();
}

describe('the manifest for Raspberry Pi Imager', () => {
  test('holds to the official schema', async () => {
    expect(await validate(imagerManifest(entry))).toBe('');
  });

  test.each(['systemd', 'cloudinit', 'cloudinit-rpi', 'none'])(
    'holds to it with init_format %s',
    async (initFormat) => {
      expect(await validate(imagerManifest({ ...entry, initFormat }))).toBe('');
    },
  );

  test('would be refused with a wrong init_format or without a required key', async () => {
    expect(await validate(imagerManifest({ ...entry, initFormat: 'cloud-init' }))).toContain(
      'init_format',
    );
    const [{ extract_sha256: _, ...rest } = { extract_sha256: '' }] = imagerManifest(entry).os_list;
    expect(await validate({ os_list: [rest] })).toContain('extract_sha256');
  });

  test('offers the boards to choose from that the image is for', () => {
    const { imager, os_list } = imagerManifest(entry);
    expect(imager.devices.flatMap((device) => device.tags)).toEqual(os_list[0]?.devices);
    expect(os_list[0]?.devices).toEqual(['pi5-64bit', 'pi4-64bit', 'pi3-64bit']);
  });

  test('comes with an icon that is a PNG', async () => {
    const icon = await readFile(iconFile);
    expect(icon.subarray(1, 4).toString()).toBe('PNG');
    expect(icon.readUInt32BE(16)).toBe(icon.readUInt32BE(20));
  });
});
