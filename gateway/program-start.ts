import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * What lies under the name of each program of the runtime, e.g. /usr/lib/pi-gateway/daemon.mjs: it goes on with the
 * program of that name in the runtime that was installed last (gateway/updates/runtime), or the image's own. So
 * units and the owner's habits know one name, and one rename changes all programs at once.
 */
const own = basename(fileURLToPath(import.meta.url));
const name = own === 'pi-gateway' ? 'cli.mjs' : own;
const installed = `/var/lib/pi-gateway/runtime/current/${name}`;
await import(existsSync(installed) ? installed : `/usr/lib/pi-gateway/runtime/${name}`);
