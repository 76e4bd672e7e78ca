import { folder } from './run.ts';
import { growRootfs } from './steps/grow-rootfs.ts';
import { at, deviceSystem, writeDurably } from './system.ts';

// A program and a unit of its own: it alone needs disks and CAP_SYS_ADMIN.
const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
if (!(await growRootfs.check(system))) await growRootfs.apply(system);
if (!(await growRootfs.check(system)))
  throw new Error('the root file system does not fill the card, though nothing failed');
// The unit's condition: not again on this card.
await writeDurably(at(system, `${folder}/grown`), '');
