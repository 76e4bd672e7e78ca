import { join } from 'node:path';
import { publishError, runService } from './service.ts';

/** systemd.exec(5): the unit's LoadCredential=, StateDirectory= and RuntimeDirectory=. */
const { CREDENTIALS_DIRECTORY, STATE_DIRECTORY, RUNTIME_DIRECTORY } = process.env;
if (!CREDENTIALS_DIRECTORY || !STATE_DIRECTORY || !RUNTIME_DIRECTORY)
  throw new Error('Start it with: systemctl start pi-gateway-ddns.service');

const places = {
  settings: join(CREDENTIALS_DIRECTORY, 'ddns.yaml'),
  state: join(STATE_DIRECTORY, 'state.json'),
  runtime: RUNTIME_DIRECTORY,
};
const say = (text: string) => process.stdout.write(`${text}\n`);

try {
  const { failed } = await runService({ places, say, patience: 4 * 60_000 });
  process.exitCode = failed ? 1 : 0;
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${message}\n`);
  await publishError(places, message);
  process.exitCode = 1;
}
