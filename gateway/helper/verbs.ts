import type * as z from 'zod';
import { backupVerbs } from '../backup/verbs.ts';
import { claimVerbs } from '../claim/verbs.ts';
import { complianceVerbs } from '../compliance/verbs.ts';
import { containersVerbs } from '../containers/verbs.ts';
import { ddnsVerbs } from '../ddns/verbs.ts';
import { desktopVerbs } from '../desktop/verbs.ts';
import { extensionVerbs } from '../extensions/verbs.ts';
import { firewallVerbs } from '../firewall/verbs.ts';
import { certificateVerbs } from '../pki/verbs.ts';
import { routerVerbs } from '../portmap/verbs.ts';
import { proxyVerbs } from '../proxy/verbs.ts';
import { secretsVerbs } from '../secrets/verbs.ts';
import { servicesVerbs } from '../services/verbs.ts';
import { configVerbs } from '../settings/verbs.ts';
import { tuningVerbs } from '../tuning/verbs.ts';
import { updateVerbs } from '../updates/verbs.ts';
import { vpnVerbs } from '../vpn/verbs.ts';
import { auditVerbs } from './audit-verbs.ts';

/** Everything that the helper does, by name: `area.verb`. Each area has its own table in `<area>/verbs.ts`. */
export const verbs = {
  ...updateVerbs,
  ...firewallVerbs,
  ...configVerbs,
  ...auditVerbs,
  ...backupVerbs,
  ...claimVerbs,
  ...complianceVerbs,
  ...containersVerbs,
  ...certificateVerbs,
  ...ddnsVerbs,
  ...desktopVerbs,
  ...proxyVerbs,
  ...extensionVerbs,
  ...secretsVerbs,
  ...routerVerbs,
  ...servicesVerbs,
  ...tuningVerbs,
  ...vpnVerbs,
} as const;

export type Verbs = typeof verbs;
export type VerbName = keyof Verbs & string;
export type VerbArgs<N extends VerbName> = z.input<Verbs[N]['args']>;
export type VerbResult<N extends VerbName> = z.output<Verbs[N]['result']>;
