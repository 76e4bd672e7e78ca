import type { System } from '../../firstboot/system.ts';
import { changeSettings } from './apply.ts';
import { followSettings } from './reading.ts';

/** Changes the settings below a folder to and fro until it is killed; says each that is done. */
const [, , root = '', ...texts] = process.argv;
const system: System = {
  root,
  boot: '/boot/firmware',
  say: () => undefined,
  // systemd, the daemon and nft, who say yes to everything; what matters here are the files.
  run: async (command, args) => {
    if (args[0] === 'reload') await followSettings(system, () => undefined);
    if (args.includes('--value')) return 'active\n';
    return command === 'nft' ? '{"nftables":[]}' : '';
  },
};
const patience = { whole: 10, pause: 10 };
for (let turn = 0; ; turn += 1) {
  const text = texts[turn % texts.length] ?? '';
  await changeSettings(system, () => text, { by: 'agent', patience });
  process.stdout.write(`${turn % texts.length}\n`);
}
