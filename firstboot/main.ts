import { writeDeviceCard } from './device-card.ts';
import { runSteps } from './run.ts';
import { hostKeys } from './steps/host-keys.ts';
import { machineId } from './steps/machine-id.ts';
import { admin, hostName } from './steps/owner.ts';
import { deviceSystem } from './system.ts';

const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
const { failures } = await runSteps(system, [machineId, hostKeys, hostName, admin]);
await writeDeviceCard(system);
process.exitCode = failures.length === 0 ? 0 : 1;
