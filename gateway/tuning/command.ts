import type { Command } from 'commander';
import { at, deviceSystem, type System, writeDurably } from '../../firstboot/system.ts';
import { localClient } from '../api/client.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { kernelState } from '../kernel-state.ts';
import { type Output, print, table } from '../terminal.ts';
import { mtuOf } from './apply.ts';
import { measure } from './measure.ts';
import { probeMtu } from './mtu.ts';
import { hasTuning, readRequest } from './request.ts';
import { unshape } from './shaping.ts';
import {
  type Measurement,
  type MtuReport,
  measureArgs,
  measureFile,
  mtuArgs,
  mtuFile,
  type TuningView,
} from './view.ts';

const service = 'pi-gateway-tuning.service';

/** Seconds: a client that has traffic shakes hands every 2 minutes (WireGuard's paper, 6). */
const connected = 180;

type TuneOptions = Output & { measure?: boolean; server?: string; port?: string; seconds?: string };

/** pi-gateway net … */
export function addNetCommands(program: Command): void {
  const net = program.command('net').description('how fast the network is, and how quick');

  net
    .command('tune')
    .description('what network tuning has set; or what shaping does for the latency under load')
    .option('--measure', 'fills the line for about a minute, without shaping and with it')
    .option('--server <address>', 'an iperf3 server beyond the uplink, of your own')
    .option('--port <number>', 'its port', '5201')
    .option('--seconds <number>', 'of each of four transfers', '10')
    .option('--json', 'for machines')
    .addHelpText('after', '\nExample:\n  sudo pi-gateway net tune --measure --server 203.0.113.10')
    .action(async (o: TuneOptions) => {
      requireRoot();
      if (!o.measure) {
        const view = await localClient().call('tuningGet');
        return print(o, view, tuningText(view));
      }
      const result = await measureHere(o);
      print(o, result, measurementText(result));
    });

  net
    .command('mtu')
    .description(
      "looks for the largest packet that gets to VPN clients whole, and what fits the VPN's MTU",
    )
    .argument('[address...]', 'far ends; none: those of the clients that are connected')
    .option('--json', 'for machines')
    .action(async (addresses: string[], o: Output) => {
      requireRoot();
      const report = await probeHere(addresses);
      print(o, report, mtuText(report));
      process.exitCode = report.suggestion === null ? 1 : 0;
    });
}

const here = () => deviceSystem((text) => process.stderr.write(`${text}\n`));

async function requireStage(system: System): Promise<void> {
  if (!(await hasTuning(system)))
    throw new GatewayError(
      'This image was built without network tuning',
      'Build one with it: stages: {tuning: {}} in gateway.yaml',
      'missing',
    );
}

async function measureHere(o: TuneOptions): Promise<Measurement> {
  const system = here();
  await requireStage(system);
  const args = measureArgs.safeParse({
    server: o.server,
    port: Number(o.port),
    seconds: Number(o.seconds),
  });
  if (!args.success)
    throw new GatewayError(
      `--measure: ${args.error.issues[0]?.path.join('.')} ${args.error.issues[0]?.message}`,
      'Start iperf3 --server on a machine of yours beyond the uplink, and give its address: --server ADDRESS',
      'refused',
    );
  const { uplinks } = await readRequest(system);
  const off = async () => {
    for (const { interface: device } of uplinks)
      for (const { program, args: words } of unshape(device))
        await system.run(program, words).catch(() => undefined);
  };
  const on = async () => void (await system.run('systemctl', ['restart', service]));
  // An interrupt lets the measurement end, and that puts the shaping back.
  process.on('SIGINT', () => undefined);
  const result = await measure(system, {
    ...args.data,
    shaping: uplinks.length > 0 ? { off, on } : undefined,
  }).catch((error: unknown) => {
    throw new GatewayError(
      `It could not be measured: ${error instanceof Error ? error.message.split('\n')[0] : error}`,
      `Does iperf3 --server run at ${o.server}, and does it answer pings?`,
    );
  });
  await writeDurably(at(system, measureFile), `${JSON.stringify(result)}\n`);
  return result;
}

async function probeHere(given: readonly string[]): Promise<MtuReport> {
  const system = here();
  await requireStage(system);
  const args = mtuArgs.safeParse({ addresses: given });
  if (!args.success)
    throw new GatewayError(
      `${given.join(' ')}: ${args.error.issues[0]?.message}`,
      'Give addresses, e.g. 203.0.113.10',
      'refused',
    );
  const addresses = given.length > 0 ? args.data.addresses : await clientAddresses();
  if (addresses.length === 0)
    throw new GatewayError(
      'No VPN client is connected whose way could be looked at',
      'Connect one from outside; or give addresses in the internet: sudo pi-gateway net mtu 9.9.9.9',
      'missing',
    );
  const report = await probeMtu(system, addresses, await mtuOf(system, 'wg0'));
  await writeDurably(at(system, mtuFile), `${JSON.stringify(report)}\n`);
  return report;
}

/** Where clients that are connected were last heard from. */
async function clientAddresses(): Promise<string[]> {
  const since = Date.now() / 1000 - connected;
  const peers = await kernelState().wireguard();
  const found = peers.flatMap(({ endpoint, handshake }) =>
    handshake < since ? [] : (/^\[?([0-9a-f.:]+?)\]?:\d+$/i.exec(endpoint ?? '')?.[1] ?? []),
  );
  return [...new Set(found)].slice(0, 8);
}

export function mtuText({ paths, current, suggestion }: MtuReport): string {
  const rows = paths.map((one) => [
    one.address,
    one.mtu === null ? 'nobody answers' : `${one.mtu}`,
    one.vpn_mtu === null ? '' : `inside the VPN ${one.vpn_mtu}`,
    one.by === 'routers' ? '(as routers on the way tell)' : '',
  ]);
  return [
    table(rows),
    '',
    suggestion === null
      ? 'Nothing is known: no far end answers.'
      : current !== null && current <= suggestion
        ? `The VPN's MTU is ${current}: it fits all of them${current < suggestion ? `, ${suggestion} would, too` : ''}.`
        : [
            `The VPN's MTU is ${current ?? 'not known'}: larger than fits. Set, here and for new clients:`,
            `  sudo pi-gateway config set tuning.vpn_mtu ${suggestion}`,
            `  sudo pi-gateway config set vpn.mtu ${suggestion}`,
          ].join('\n'),
  ].join('\n');
}

export function measurementText({ idle_ms, before, after, ratio }: Measurement): string {
  const row = (name: string, one: Measurement['before']) => [
    name,
    `${one.upload_mbit} Mbit/s`,
    `${one.upload_ms} ms`,
    `${one.download_mbit} Mbit/s`,
    `${one.download_ms} ms`,
  ];
  return [
    `Idle: ${idle_ms} ms.`,
    table([
      ['', 'upload', 'latency', 'download', 'latency'],
      row('without shaping', before),
      ...(after ? [row('with shaping', after)] : []),
    ]),
    '',
    ...(after
      ? [
          ratio === null
            ? 'There was no latency to take away.'
            : `Of the latency that load adds, ${Math.round(ratio * 100)} % are left.`,
        ]
      : [
          'There is no shaping. Set 90 % of what the line does:',
          `  sudo pi-gateway config set tuning.uplinks '[{interface: eth0, upload: ${rounded(before.upload_mbit)}, download: ${rounded(before.download_mbit)}}]'`,
        ]),
  ].join('\n');
}

const rounded = (mbit: number) => Math.max(0.1, Math.round(mbit * 9) / 10);

export function tuningText({ available, status, measurement, running }: TuningView): string {
  if (!available)
    return 'This image was built without network tuning (stages: {tuning: {}} in gateway.yaml).';
  if (status === null) return 'It has not run since the device was started.';
  return [
    ...status.uplinks.map(
      (one) =>
        `${one.interface}: ${one.shaper === null ? 'NOT SHAPED' : `shaped by ${one.shaper}`}, up ${one.upload ?? '-'} down ${one.download ?? '-'} Mbit/s`,
    ),
    ...(status.uplinks.length === 0
      ? ['No uplink is shaped: give its rates in tuning.uplinks (docs/tuning.md).']
      : []),
    ...(status.vpn_mtu === null ? [] : [`MTU of the VPN: ${status.vpn_mtu}`]),
    '',
    table(status.sysctls.map((one) => [one.key, one.value, `before: ${one.before}`])),
    '',
    `${status.spread.why}.`,
    table([
      ...status.spread.interrupts.map((one) => [`interrupt ${one.irq}`, `CPUs ${one.cpus}`]),
      ...status.spread.queues.map((one) => [one.queue, `CPUs ${one.cpus}`]),
    ]),
    ...(status.notes.length === 0 ? [] : ['', ...status.notes]),
    ...(running === null ? [] : ['', `Under way: ${running}`]),
    ...(measurement === null
      ? []
      : ['', `Measured ${measurement.measured_at}:`, measurementText(measurement)]),
  ].join('\n');
}
