import { readlink, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { exists } from '../image.ts';
import {
  regulatoryDomain,
  wiredConnection,
  wiredNetwork,
  wirelessConnection,
  wirelessNetwork,
  wpaSupplicant,
} from '../network-files.ts';
import { readSettings } from '../settings.ts';
import { OwnerError, type Step } from '../step.ts';
import {
  at,
  linkDurably,
  makeFolder,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../system.ts';

const template = '/usr/lib/systemd/system/wpa_supplicant@.service';
const networkManager = '/usr/sbin/NetworkManager';

/**
 * Whom systemd-networkd reads for: it runs as a user of its own, and there is nothing secret in its files.
 * The others hold the Wi-Fi's password.
 */
const open = 0o644;
const secret = 0o600;

type Piece = { content: string; mode: number } | { link: string };

/** Every file that this step may write: what the settings ask for no longer is taken away again. */
const wiredPath = '/etc/systemd/network/05-owner-eth0.network';
const wirelessPath = '/etc/systemd/network/05-owner-wlan0.network';
const supplicantPath = '/etc/wpa_supplicant/wpa_supplicant-wlan0.conf';
/** Wanted by the device, not by multi-user.target: where there is no radio, nothing waits for it. */
const startPath =
  '/etc/systemd/system/sys-subsystem-net-devices-wlan0.device.wants/wpa_supplicant@wlan0.service';
const regulatoryPath = '/etc/modprobe.d/15-owner-wifi.conf';
const wiredConnectionPath = '/etc/NetworkManager/system-connections/owner-eth0.nmconnection';
const wirelessConnectionPath = '/etc/NetworkManager/system-connections/owner-wlan0.nmconnection';
const allPaths = [
  ...[wiredPath, wirelessPath, supplicantPath, startPath, regulatoryPath],
  ...[wiredConnectionPath, wirelessConnectionPath],
];

/** eth0's addresses and the Wi-Fi. Nothing here waits for a network or for the radio to be there. */
export const network: Step = {
  name: 'network',
  needs: ['settings'],
  check: async (system) => {
    const wanted = await wantedFiles(system);
    for (const path of allPaths) if (!(await isThere(system, path, wanted.get(path)))) return false;
    return true;
  },
  apply: async (system) => {
    const wanted = await wantedFiles(system);
    const { network: settings } = await readSettings(system);
    const managed = await exists(system, networkManager);
    if (settings?.wifi && !managed && !(await exists(system, template)))
      throw new OwnerError(
        'network.wifi: this image has no wpa_supplicant',
        'Leave wifi out, or build the image with it (debian.packages: [wpasupplicant, wireless-regdb, firmware-brcm80211])',
      );
    for (const path of allPaths) {
      const piece = wanted.get(path);
      if (await isThere(system, path, piece)) continue;
      if (piece === undefined) {
        await rm(at(system, path));
        await syncDirectory(dirname(at(system, path)));
      } else if ('link' in piece) {
        await makeFolder(dirname(at(system, path)), 0o755);
        await linkDurably(piece.link, at(system, path));
      } else await writeDurably(at(system, path), piece.content, piece.mode);
    }
    await takeEffect(system, { managed, wifi: wanted.has(startPath) });
  },
};

async function wantedFiles(system: System): Promise<Map<string, Piece>> {
  const { network: settings } = await readSettings(system);
  const files = new Map<string, Piece>();
  if (!settings) return files;
  const { wifi } = settings;
  const managed = await exists(system, networkManager);
  if (settings.addresses || settings.dns) {
    if (managed)
      files.set(wiredConnectionPath, { content: wiredConnection(settings), mode: secret });
    else files.set(wiredPath, { content: wiredNetwork(settings), mode: open });
  }
  if (!wifi) return files;
  files.set(regulatoryPath, { content: regulatoryDomain(wifi.country), mode: open });
  const { ssid } = wifi;
  if (managed) {
    if (ssid !== undefined)
      files.set(wirelessConnectionPath, {
        content: wirelessConnection({ ...wifi, ssid }),
        mode: secret,
      });
    return files;
  }
  files.set(supplicantPath, { content: wpaSupplicant(wifi), mode: secret });
  files.set(startPath, { link: template });
  if (ssid === undefined) return files;
  files.set(wirelessPath, { content: wirelessNetwork(), mode: open });
  return files;
}

async function isThere(system: System, path: string, piece: Piece | undefined): Promise<boolean> {
  if (piece === undefined) return !(await exists(system, path));
  const place = at(system, path);
  if ('link' in piece) return (await readlink(place).catch(() => '')) === piece.link;
  if ((await readIfThere(place)) !== piece.content) return false;
  return ((await stat(place)).mode & 0o777) === piece.mode;
}

/** The files are right by now; should the services not take them at once, the next boot does. */
async function takeEffect(system: System, o: { managed: boolean; wifi: boolean }): Promise<void> {
  const ask = async (command: string, args: readonly string[]) => {
    await system
      .run(command, args)
      .catch((error: unknown) => system.say(`network: from the next boot on (${String(error)})`));
  };
  if (o.managed) return await ask('nmcli', ['connection', 'reload']);
  // Not networkctl(1), which wants the same network namespace, and this service has none.
  await ask('systemctl', ['reload', 'systemd-networkd.service']);
  if (o.wifi && (await exists(system, '/sys/class/net/wlan0')))
    await ask('systemctl', ['--no-block', 'start', 'wpa_supplicant@wlan0.service']);
}
