import * as z from 'zod';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { factsFile } from './places.ts';

/** What stage `containers` was told, for the programs on the device. */
const facts = z.object({
  /** Where all published ports are: the containers' end of the way to them. */
  address4: z.string(),
  address6: z.string(),
});
export type ContainersFacts = z.output<typeof facts>;

/** undefined: the image was built without the stage. */
export async function readFacts(system: System): Promise<ContainersFacts | undefined> {
  const text = await readIfThere(at(system, factsFile));
  return text === undefined ? undefined : facts.parse(JSON.parse(text));
}

/** @throws GatewayError if the image was built without the stage. */
export async function needFacts(system: System): Promise<ContainersFacts> {
  const found = await readFacts(system);
  if (found) return found;
  throw new GatewayError(
    'This image was built without containers',
    'Turn them on in gateway.yaml and build the image anew: stages: {secrets: {}, containers: {}}',
    'missing',
  );
}
