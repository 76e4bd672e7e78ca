import type { Command } from 'commander';
import { completionScript, type Shell } from './scripts.ts';
import { factsOf } from './tree.ts';

/** Where shells look for it on the device. */
const places: Readonly<Record<Shell, string>> = {
  bash: '/usr/share/bash-completion/completions/pi-gateway',
  zsh: '/usr/share/zsh/vendor-completions/_pi-gateway',
  fish: '/usr/share/fish/vendor_completions.d/pi-gateway.fish',
};

/** The files with the completion of each shell, by path on the device. */
export function completionFiles(program: Command): [path: string, text: string][] {
  const facts = factsOf(program);
  return Object.entries(places).map(([shell, path]) => [
    path,
    completionScript(shell as Shell, facts),
  ]);
}
