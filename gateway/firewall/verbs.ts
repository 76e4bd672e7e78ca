import { isSeq, parseDocument, YAMLSeq } from 'yaml';
import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { zoneOf } from '../../stages/firewall/zones.ts';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { changeSettings } from '../settings/apply.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { forwardIdOf, viewOf } from './forwards.ts';
import type { DeviceForward } from './settings.ts';
import { firewallStatus, zoneReport } from './status.ts';
import { type ForwardView, firewallState, forward, forwardId, newForward } from './view.ts';

const none = z.strictObject({});

export const firewallVerbs = {
  'firewall.state': defineVerb({
    summary: 'Reads which rules are in force and what they dropped',
    args: none,
    result: firewallState,
    changes: false,
    run: async (system) => ({
      ...(await firewallStatus(system)),
      table: (await zoneReport(system)).table,
    }),
  }),
  'firewall.forwards': defineVerb({
    summary: 'Lists port forwards',
    args: none,
    result: z.object({ forwards: z.array(forward) }),
    changes: false,
    run: async (system) => ({ forwards: await allForwards(system) }),
  }),
  'firewall.forward_add': defineVerb({
    summary: 'Adds a port forward',
    args: newForward,
    result: forward,
    changes: true,
    run: async (system, asked, actor) => {
      const { protocol, port, to, to_port, from, name } = asked;
      const one: DeviceForward = {
        [protocol]: port,
        to,
        ...(to_port === undefined || to_port === port ? {} : { port: to_port }),
        ...(from === undefined ? {} : { from }),
        ...(name === undefined ? {} : { name }),
      };
      const id = forwardIdOf(one);
      const twin = (await allForwards(system)).find((other) => other.id === id);
      if (twin)
        throw new GatewayError(
          `${protocol} port ${port} is forwarded already, to ${twin.to}`,
          twin.origin === 'image'
            ? 'That forward is part of the image: take another port'
            : `Take another port, or first: sudo pi-gateway firewall forward remove ${id}`,
          'conflict',
        );
      await changeSettings(system, (text) => withForward(text, one), {
        by: `${actor.name} (${actor.via})`,
      });
      const { policy } = await zoneReport(system);
      return { ...viewOf(policy, one, 'device'), zone: zoneOf(policy, to)?.name ?? null };
    },
  }),
  'firewall.forward_remove': defineVerb({
    summary: 'Removes a port forward',
    args: z.strictObject({ id: forwardId }),
    result: z.object({ removed: forwardId }),
    changes: true,
    run: async (system, { id }, actor) => {
      const there = (await allForwards(system)).find((one) => one.id === id);
      if (!there)
        throw new GatewayError(
          `There is no port forward ${id}`,
          'See which there are: sudo pi-gateway firewall forward list',
          'missing',
        );
      if (there.origin === 'image')
        throw new GatewayError(
          `The port forward ${id} is part of the image`,
          'Build an image without it (stages.firewall.forwards), or change the rules: docs/zones.md',
          'refused',
        );
      await changeSettings(system, (text) => withoutForward(text, id), {
        by: `${actor.name} (${actor.via})`,
      });
      return { removed: id };
    },
  }),
} as const;

/** The image's, then those of the settings. */
async function allForwards(system: System): Promise<ForwardView[]> {
  const { policy } = await zoneReport(system);
  const { settings } = await readDeviceSettings(system);
  return [
    ...policy.forwards.map((one) => viewOf(policy, one, 'image')),
    ...settings.firewall.forwards.map((one) => viewOf(policy, one, 'device')),
  ];
}

/** The owner's text with one forward more; comments stay. */
function withForward(text: string, one: DeviceForward): string {
  const { document, forwards } = open(text);
  forwards.add(document.createNode(one, { flow: true }));
  return document.toString({ lineWidth: 0 });
}

function withoutForward(text: string, id: string): string {
  const { document, forwards } = open(text);
  const index = (forwards.toJSON() as DeviceForward[]).findIndex((one) => forwardIdOf(one) === id);
  forwards.delete(index);
  return document.toString({ lineWidth: 0 });
}

/** Settings whose forwards can be changed. What is wrong with the text is told by who checks the result. */
function open(text: string) {
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent' });
  if (document.errors.length > 0)
    throw new GatewayError(
      'The settings in force are no valid YAML',
      'Mend them first: sudo pi-gateway config show',
      'refused',
    );
  if (document.contents !== null && document.get('firewall') === null) document.delete('firewall');
  const found: unknown = document.getIn(['firewall', 'forwards'], true);
  if (isSeq(found)) return { document, forwards: found };
  const forwards = new YAMLSeq();
  document.setIn(['firewall', 'forwards'], forwards);
  return { document, forwards };
}
