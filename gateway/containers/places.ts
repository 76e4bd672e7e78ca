/** Where things of containers are on the device; overlays/containers has the other half of each. */

/** The user that all containers run as; its number is in names of units, so it is fixed. */
export const owner = { name: 'pi-containers', uid: 850 } as const;

/** Its home: images, volumes. */
export const home = '/var/lib/pi-gateway-containers';
export const storage = `${home}/.local/share/containers/storage`;
export const volumesFolder = `${storage}/volumes`;

/** podman-systemd.unit(5): Quadlets of this user that it cannot change itself. */
export const quadletFolder = `/etc/containers/systemd/users/${owner.uid}`;
/** Configuration that templates bring, mounted read-only. */
export const filesFolder = '/etc/pi-gateway/containers/files';
/** In memory: what a container finds in /run/secrets. */
export const secretsFolder = '/run/pi-gateway-containers/secrets';
/** Which secret which part reads, for /usr/lib/pi-gateway/container-secrets. */
export const secretMaps = '/etc/pi-gateway/containers/secrets';

/** systemd puts an app's secrets where its containers find them. */
export const secretsUnit = (app: string): string => `pi-gateway-container-secrets@${app}.service`;

/** What is wanted, written by the helper; and how far it has come, written by the worker. */
export const appsFolder = '/var/lib/pi-gateway/containers';

/** Archives that the image brings or that are waiting to be loaded. */
export const archivesFolder = '/usr/share/pi-gateway/containers';

export const portsFile = '/etc/pi-gateway/nftables.d/containers.nft';

/** Facts of the stage, written when the image is built. */
export const factsFile = '/usr/share/pi-gateway/containers.json';
