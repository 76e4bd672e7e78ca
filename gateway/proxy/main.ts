import { deviceSystem } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { reconcile } from './reconcile.ts';

/** pi-gateway-certificates.service. */
try {
  await reconcile(deviceSystem((text) => process.stdout.write(`${text}\n`)));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${message}\n${error instanceof GatewayError ? `  → ${error.fix}\n` : ''}`);
  process.exitCode = 1;
}
