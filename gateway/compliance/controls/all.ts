import type { Control } from '../control.ts';
import { accessControl } from './access.ts';
import { firewall } from './firewall.ts';
import { logging } from './logging.ts';
import { maintenance } from './maintenance.ts';
import { network } from './network.ts';
import { services } from './services.ts';
import { setup } from './setup.ts';

export type Chapter = { number: number; title: string; controls: readonly Control[] };

/** The edition whose numbers the controls have. */
export const benchmark =
  'CIS Debian Linux 13 Benchmark 1.0.0, Server (4.3: CIS Debian Linux 12 Benchmark 1.1.0)';

export const chapters: readonly Chapter[] = [
  { number: 1, title: 'Initial setup', controls: setup },
  { number: 2, title: 'Services', controls: services },
  { number: 3, title: 'Network', controls: network },
  { number: 4, title: 'Host-based firewall', controls: firewall },
  { number: 5, title: 'Access control', controls: accessControl },
  { number: 6, title: 'Logging and auditing', controls: logging },
  { number: 7, title: 'System maintenance', controls: maintenance },
];

export const controls: readonly Control[] = chapters.flatMap((chapter) => chapter.controls);

/** Every unit that a control asks for. */
export const unitsAsked: readonly string[] = [
  ...new Set(controls.flatMap((control) => control.units ?? [])),
];
