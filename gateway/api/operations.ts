import { alertOperations } from '../alerts/operations.ts';
import { backupOperations } from '../backup/operations.ts';
import { complianceOperations } from '../compliance/operations.ts';
import { containersOperations } from '../containers/operations.ts';
import { ddnsOperations } from '../ddns/operations.ts';
import { desktopOperations } from '../desktop/operations.ts';
import { extensionsOperations } from '../extensions/operations.ts';
import { firewallOperations } from '../firewall/operations.ts';
import { logsOperations } from '../logs/operations.ts';
import { monitorOperations } from '../monitor/operations.ts';
import { certificateOperations } from '../pki/operations.ts';
import { routerOperations } from '../portmap/operations.ts';
import { proxyOperations } from '../proxy/operations.ts';
import { secretsOperations } from '../secrets/operations.ts';
import { servicesOperations } from '../services/operations.ts';
import { configOperations } from '../settings/operations.ts';
import { statusOperations } from '../status/operations.ts';
import { tuningOperations } from '../tuning/operations.ts';
import { updatesOperations } from '../updates/operations.ts';
import { vpnOperations } from '../vpn/operations.ts';
import { accountsOperations } from './accounts/operations.ts';
import { events } from './events/operations.ts';
import { openapi } from './openapi/operations.ts';

/** Everything that the API does. Each area has its own list in `<area>/operations.ts`. */
export const operations = [
  ...alertOperations,
  ...backupOperations,
  ...updatesOperations,
  ...firewallOperations,
  ...configOperations,
  ...accountsOperations,
  ...complianceOperations,
  ...containersOperations,
  ...certificateOperations,
  ...ddnsOperations,
  ...desktopOperations,
  ...proxyOperations,
  ...extensionsOperations,
  ...logsOperations,
  ...monitorOperations,
  ...secretsOperations,
  ...routerOperations,
  ...servicesOperations,
  ...statusOperations,
  ...tuningOperations,
  ...vpnOperations,
  events,
  openapi,
] as const;

export type Operations = (typeof operations)[number];
export type OperationId = Operations['id'];
/** The operation of an id, with its schemas. */
export type OperationOf<I extends OperationId> = Extract<Operations, { id: I }>;
