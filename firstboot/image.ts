import { lstat, stat } from 'node:fs/promises';
import { at, readIfThere, type System } from './system.ts';

/** The image's own facts that the steps need; written by the stage. */
export type ImageFacts = { admin: string };

export const factsPath = '/usr/share/pi-gateway/firstboot.json';

export async function imageFacts(system: System): Promise<ImageFacts> {
  const text = await readIfThere(at(system, factsPath));
  return text === undefined ? { admin: 'gateway' } : (JSON.parse(text) as ImageFacts);
}

/** What the wireguard stage tells of the VPN. */
export type VpnFacts = {
  port: number;
  mtu: number;
  dns: string;
  network4: string;
  network6: string;
};

/**
 * Reads /usr/share/pi-gateway/wireguard.env, which shells read too: `name=value`, quoted or not.
 * @returns undefined on an image without the wireguard stage.
 * @throws Error if a value is missing.
 */
export async function vpnFacts(system: System): Promise<VpnFacts | undefined> {
  const path = '/usr/share/pi-gateway/wireguard.env';
  const text = await readIfThere(at(system, path));
  if (text === undefined) return undefined;
  const value = (name: string): string => {
    const found = new RegExp(`^${name}='?([^'\\n]+)'?$`, 'm').exec(text)?.[1];
    if (!found) throw new Error(`${path} has no '${name}': the image is damaged, flash it again`);
    return found;
  };
  return {
    port: Number(value('port')),
    mtu: Number(value('mtu')),
    dns: value('dns'),
    network4: value('network4'),
    network6: value('network6'),
  };
}

/**
 * Seconds since 1970 of the newest thing in the image: PID 1 lets the clock be no earlier at start
 * (systemd(1), /usr/lib/clock-epoch). 0 if the image has no such file.
 */
export async function buildTime(system: System): Promise<number> {
  const facts = await stat(at(system, '/usr/lib/clock-epoch')).catch(absent);
  return facts ? Math.floor(facts.mtimeMs / 1000) : 0;
}

/** True if there is something of that name, be it a link to nowhere. */
export async function exists(system: System, path: string): Promise<boolean> {
  return (await lstat(at(system, path)).catch(absent)) !== undefined;
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
