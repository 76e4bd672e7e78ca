import { report } from './report.ts';
import type { Plan } from './run.ts';
import { admin } from './steps/admin.ts';
import { ageIdentity } from './steps/age-identity.ts';
import { backupPassword } from './steps/backup-password.ts';
import { ca } from './steps/ca.ts';
import { claim } from './steps/claim.ts';
import { ddns } from './steps/ddns.ts';
import { hostKeys } from './steps/host-keys.ts';
import { hostName } from './steps/hostname.ts';
import { machineId } from './steps/machine-id.ts';
import { network } from './steps/network.ts';
import { entropy, settings, time } from './steps/ready.ts';
import { keyboard, locale, timeZone } from './steps/region.ts';
import { restore } from './steps/restore.ts';
import { wipe } from './steps/wipe.ts';
import { wireguardClient } from './steps/wireguard-client.ts';
import { wireguardKey } from './steps/wireguard-key.ts';

/** First boot of this image. The device's own secrets come first: they need nothing of the owner. */
export const plan: Plan = {
  prepare: [
    ...[entropy, time, machineId, wireguardKey, ca, ageIdentity, backupPassword, claim],
    ...[settings, hostName, locale, timeZone, keyboard, network, admin],
    ...[wireguardClient, ddns, restore],
    // Last, as RSA takes its time, which goes by beside the others.
    hostKeys,
  ],
  finish: [wipe],
  report,
};
