import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { type TuningSettings, tuningSettings } from './settings.ts';

/** The settings for the service, if they are others than the usual ones. No secret is in them. */
export const requestFile = '/etc/pi-gateway/tuning.json';
/** There if an uplink adapts its rate: the unit's condition. */
export const autorateFile = '/etc/pi-gateway/tuning-autorate';
/** Written by the stage: this image has the service. */
export const stageFile = '/usr/share/pi-gateway/tuning';

export async function readRequest(system: System): Promise<TuningSettings> {
  const text = await readIfThere(at(system, requestFile));
  return tuningSettings.parse(text === undefined ? {} : JSON.parse(text));
}

export async function hasTuning(system: System): Promise<boolean> {
  return (await readIfThere(at(system, stageFile))) !== undefined;
}
