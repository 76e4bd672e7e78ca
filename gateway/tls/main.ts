import { deviceSystem } from '../../firstboot/system.ts';
import { runTls } from './run.ts';

try {
  await runTls(deviceSystem((text) => process.stdout.write(`${text}\n`)));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
