import { requestFile, requestText, writeRequest } from '../../gateway/backup/restore/request.ts';
import { exists } from '../image.ts';
import { readSettings } from '../settings.ts';
import { OwnerError, type Step } from '../step.ts';
import { at, readIfThere } from '../system.ts';

const unit = '/usr/lib/systemd/system/pi-gateway-restore.service';

/**
 * Hands the owner's wish to become another gateway, with the password of its backups, to the service that fetches it.
 * That needs the network, which first boot does not wait for; what first boot has made here is then replaced.
 */
export const restore: Step = {
  name: 'restore',
  needs: ['settings'],
  check: async (system) => {
    const { restore: wish } = await readSettings(system);
    return wish === undefined || (await readIfThere(at(system, requestFile))) === requestText(wish);
  },
  apply: async (system) => {
    const { restore: wish } = await readSettings(system);
    if (!wish) return;
    if (!(await exists(system, unit)))
      throw new OwnerError(
        'gateway-device.yaml asks for a restore, and this image was built without backups',
        'Flash an image that was built with stages.backup, or take the section restore: out',
      );
    await writeRequest(system, wish);
  },
};
