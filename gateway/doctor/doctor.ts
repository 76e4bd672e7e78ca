import { GatewayError } from '../errors.ts';
import { accessExaminations } from './access.ts';
import { deviceExaminations } from './device.ts';
import { type Diagnosis, type Examination, failed, type World } from './examination.ts';
import { networkExaminations } from './network.ts';
import { reachExaminations } from './reach.ts';
import { runtimeExaminations } from './runtime.ts';
import { vpnExaminations } from './vpn.ts';

/** In the order in which one thing needs the other, so that the first that fails is the one to mend. */
export const examinations: readonly Examination[] = [
  ...runtimeExaminations,
  ...accessExaminations,
  ...networkExaminations,
  ...vpnExaminations,
  ...reachExaminations,
  ...deviceExaminations,
];

/** Milliseconds for one: apt-get takes a small Pi half a minute. */
const patience = 90_000;

/** Examines everything at the same time: most of it waits for something. */
export function examine(
  world: World,
  all: readonly Examination[] = examinations,
): Promise<Diagnosis[]> {
  return Promise.all(all.map((one) => diagnose(world, one)));
}

async function diagnose(world: World, { id, title, run }: Examination): Promise<Diagnosis> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`it took longer than ${patience / 1000} s`)),
      patience,
    );
  });
  try {
    return { id, title, ...(await Promise.race([run(world), late])) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return {
      id,
      title,
      ...failed(
        `It could not be examined: ${why.split('\n')[0]}`,
        'What it would have told is not known',
        error instanceof GatewayError
          ? error.fix
          : 'Try again; if it stays, send a support bundle: sudo pi-gateway support-bundle',
      ),
    };
  } finally {
    clearTimeout(timer);
  }
}
