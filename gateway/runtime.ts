import { stat } from 'node:fs/promises';
import { at, type System } from '../firstboot/system.ts';
import { type Alerts, startAlerts } from './alerts/alerts.ts';
import { dashboardFolder } from './api/http/files.ts';
import { operations } from './api/operations.ts';
import { type Listen, startApi } from './api/server.ts';
import { backupConditions } from './backup/conditions.ts';
import { extensionGuests } from './extensions/guests.ts';
import { routeOperations } from './extensions/routes.ts';
import type { Helper } from './helper/protocol.ts';
import type { Actor } from './helper/verb.ts';
import type { VerbResult } from './helper/verbs.ts';
import { readDaemonFacts, readHostname } from './image-facts.ts';
import type { KernelState } from './kernel-state.ts';
import { type RunningMonitor, startMonitor } from './monitor/start.ts';
import { certificateConditions } from './pki/status.ts';
import { routerConditions } from './portmap/conditions.ts';
import { settingsCondition } from './settings/conditions.ts';
import { problemText } from './settings/read.ts';
import { followSettings } from './settings/reading.ts';
import { type Settings, settingsSchema } from './settings/schema.ts';
import type { SettingsProblem } from './settings/view.ts';
import type { InheritedSocket } from './sockets.ts';
import { updateConditions } from './updates/conditions.ts';
import { installedDashboard } from './updates/runtime/store.ts';
import { version } from './version.ts';
import { vpnConditions } from './vpn/server-state.ts';

/** What the daemon itself asks of the helper, for the audit log. */
const self: Actor = { via: 'device', name: 'pi-gatewayd' };

export type GatewayOptions = {
  system: System;
  helper: Helper;
  kernel: KernelState;
  /** Key and certificate of the API. */
  pem: string;
  /** Where it listens with TLS. */
  listen: readonly Listen[];
  /** Where root's commands come in. */
  socket: { fd: number } | string | undefined;
  /** All sockets that systemd opened, those of extensions among them. */
  inherited?: readonly InheritedSocket[];
};

export type Gateway = {
  /** Takes the owner's settings as they are now. */
  reload(): Promise<void>;
  /** Ends everything; what must be kept is on disk then. */
  stop(): Promise<void>;
};

/** Starts monitoring, alerts and the API, which know of one another by what is passed here alone. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { system, helper, kernel, pem } = options;
  const facts = await readDaemonFacts(system);
  let settings = settingsSchema.parse({});
  let mistakes: readonly SettingsProblem[] = [];
  /** With a mistake in them all goes on as it was. */
  const follow = async (use: (settings: Settings) => void): Promise<void> => {
    try {
      await followSettings(system, (found, problems) => {
        mistakes = problems;
        if (problems.length === 0) use(found);
        else system.say(`The settings have mistakes, and are not used:\n${problemText(problems)}`);
      });
    } catch (error) {
      system.say(`The settings cannot be read: ${String(error)}`);
    }
  };
  await follow((first) => {
    settings = first;
  });

  // Each tells the other, so one of them comes first.
  let monitor: RunningMonitor | undefined;
  const alerts: Alerts = await startAlerts({
    system,
    settings: settings.alerts,
    host: await readHostname(system),
    changed: (alert) => monitor?.announce(alert),
  });
  monitor = await startMonitor({
    system,
    kernel,
    settings: settings.monitor,
    peerNames: async () => namesByKey(await helper.call('vpn.list', {}, self)),
    restart: async (id) => void (await helper.call('service.restart', { id }, self)),
    onConditions: (conditions) =>
      void Promise.all([
        updateConditions(system),
        backupConditions(system, settings.backup),
        routerConditions(system),
      ])
        .then((found) =>
          alerts.update(
            [
              ...conditions,
              ...found.flat(),
              ...vpnConditions(system),
              ...certificateConditions(system),
              settingsCondition(mistakes),
            ],
            Date.now(),
          ),
        )
        // Nobody waits for it, and a mistake of ours in one look must not end the daemon.
        .catch((error: unknown) => system.say(`Alerts were not looked at: ${String(error)}`)),
    alerts: () => alerts.alerts(),
  });
  const running = monitor;
  const api = await startApi({
    system,
    helper,
    kernel,
    monitor: running,
    alerts,
    operations: [...operations, ...(await routeOperations(system))],
    settings: () => settings.api,
    certificate: { key: pem, cert: pem },
    listen: options.listen,
    ...(options.socket === undefined ? {} : { socket: options.socket }),
    guests: await extensionGuests(system, options.inherited ?? []),
    version,
    // What is no folder has no files.
    dashboard: facts.dashboard ? await ownDashboard(system) : '/dev/null',
  });

  const use = (next: Settings) => {
    settings = next;
    running.configure(next.monitor);
    alerts.reload(next.alerts);
    api.changed('config');
  };
  let reloading = Promise.resolve();
  return {
    reload: () => {
      reloading = reloading.then(() => follow(use));
      return reloading;
    },
    stop: async () => {
      await reloading;
      const ends = await Promise.allSettled([api.close(), running.stop(), alerts.stop()]);
      for (const one of ends)
        if (one.status === 'rejected') system.say(`At the end: ${String(one.reason)}`);
    },
  };
}

/** That of the runtime which runs, or the image's. */
async function ownDashboard(system: System): Promise<string> {
  const installed = at(system, installedDashboard);
  const isThere = await stat(installed).catch(() => undefined);
  return isThere ? installed : at(system, dashboardFolder);
}

/** A client whose keys are being replaced has two. */
function namesByKey(clients: VerbResult<'vpn.list'>): Map<string, string> {
  return new Map(
    clients.flatMap(({ name, public_key, rotation }) =>
      [public_key, rotation?.public_key].flatMap((key) => (key ? [[key, name] as const] : [])),
    ),
  );
}
