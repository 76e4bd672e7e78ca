import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { type UpdateResult, updateResult } from './view.ts';

/** How the last update went. */
export const lastFile = '/var/lib/pi-gateway/updates/last.json';

/** Everybody may read it: the daemon tells of it, and there is no secret in it. */
export async function keepResult(system: System, result: UpdateResult): Promise<void> {
  await writeDurably(at(system, lastFile), `${JSON.stringify(result)}\n`);
}

/** Null also for what another version has written in another form: nobody must stumble over it. */
export async function lastResult(system: System): Promise<UpdateResult | null> {
  const text = await readIfThere(at(system, lastFile));
  if (text === undefined) return null;
  try {
    return updateResult.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
