/** What the manifest tells Raspberry Pi Imager about the image. */
export type ImagerEntry = {
  name: string;
  description: string;
  url: string;
  extractSize: number;
  extractSha256: string;
  downloadSize: number;
  downloadSha256: string;
  bmapUrl: string;
  /** YYYY-MM-DD. */
  releaseDate: string;
  initFormat: string;
};

/** A white router on raspberry red: the list needs an icon, and one that needs no server. */
const icon = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><rect width="40" height="40" rx="8" fill="#c51a4a"/><path d="M8 24h24v8H8zM14 24V10M26 24V10" stroke="#fff" stroke-width="3" fill="none"/></svg>',
)}`;

/** Device tags of the official list: 64-bit boards that the kernel starts on. */
const devices = ['pi5-64bit', 'pi4-64bit', 'pi3-64bit'];

/**
 * The `.rpi-imager-manifest`: an os_list JSON with one image. Raspberry Pi Imager customises a local
 * image only with it, because it tells by `init_format` how the image takes customisation.
 */
export function imagerManifest(entry: ImagerEntry): { os_list: Record<string, unknown>[] } {
  return {
    os_list: [
      {
        name: entry.name,
        description: entry.description,
        icon,
        url: entry.url,
        extract_size: entry.extractSize,
        extract_sha256: entry.extractSha256,
        image_download_size: entry.downloadSize,
        image_download_sha256: entry.downloadSha256,
        bmap_url: entry.bmapUrl,
        release_date: entry.releaseDate,
        init_format: entry.initFormat,
        architecture: 'arm64',
        devices,
      },
    ],
  };
}
