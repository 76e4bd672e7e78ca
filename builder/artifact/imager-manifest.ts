import { fileURLToPath } from 'node:url';

/** What the manifest tells Raspberry Pi Imager about the image. Sizes in bytes, SHA-256 in hex. */
export type ImagerEntry = {
  name: string;
  description: string;
  /** Absolute URLs, http(s) or file: Imager takes them as they are, relative to nothing. */
  url: string;
  iconUrl: string;
  bmapUrl: string;
  extractSize: number;
  extractSha256: string;
  downloadSize: number;
  downloadSha256: string;
  /** YYYY-MM-DD. */
  releaseDate: string;
  /** How the image takes customisation: `cloudinit`, `cloudinit-rpi`, `systemd` or `none`. */
  initFormat: string;
};

/**
 * The picture that iconUrl leads to a copy of. A file of its own, because Imager loads icons by http,
 * https and file URLs only (rpi-imager, src/iconmultifetcher.cpp).
 */
export const iconFile = fileURLToPath(new URL('icon.png', import.meta.url));

/**
 * Boards that the kernel starts on, by name and tag of the official list. Without devices in the
 * manifest, Imager's first step would have nothing to choose and no way on.
 */
const devices = [
  {
    name: 'Raspberry Pi 5',
    description: 'Raspberry Pi 5, 500 and Compute Module 5',
    tag: 'pi5-64bit',
  },
  {
    name: 'Raspberry Pi 4',
    description: 'Raspberry Pi 4, 400 and Compute Module 4',
    tag: 'pi4-64bit',
  },
  {
    name: 'Raspberry Pi 3',
    description: 'Raspberry Pi 3, Zero 2 W and Compute Module 3',
    tag: 'pi3-64bit',
  },
];

/** Imager's name for what Debian calls arm64. */
const architecture = 'armv8';

/**
 * The `.rpi-imager-manifest`: an os_list JSON with one image. Raspberry Pi Imager 2 customises a
 * local image only with it, because `init_format` says how the image takes customisation.
 * No `capabilities`: they turn on switches (I2C, Raspberry Pi Connect, …) that need the vendor's tools.
 */
export function imagerManifest(entry: ImagerEntry) {
  return {
    imager: {
      devices: devices.map(({ name, description, tag }) => ({
        name,
        description,
        tags: [tag],
        matching_type: 'exclusive',
        architecture,
      })),
    },
    os_list: [
      {
        name: entry.name,
        description: entry.description,
        icon: entry.iconUrl,
        url: entry.url,
        extract_size: entry.extractSize,
        extract_sha256: entry.extractSha256,
        image_download_size: entry.downloadSize,
        image_download_sha256: entry.downloadSha256,
        bmap_url: entry.bmapUrl,
        release_date: entry.releaseDate,
        init_format: entry.initFormat,
        architecture,
        devices: devices.map(({ tag }) => tag),
      },
    ],
  };
}
