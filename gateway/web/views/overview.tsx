import { type Answer, call } from '../lib/api.ts';
import { bytes, duration, plural, quantity } from '../lib/format.ts';
import { measured, newest, recentOf, units } from '../lib/live.ts';
import { useResource } from '../lib/resource.ts';
import { link } from '../lib/router.ts';
import { lowestOf, parseName } from '../lib/series.ts';
import { Icon, type IconName } from '../ui/icon.tsx';
import { Badge, Card, Facts, Loaded, Sign, Spark, type State, Title } from '../ui/parts.tsx';

export type Status = Answer<'get', '/status'>;

export const useStatus = () =>
  useResource('status', () => call('get', '/status'), { every: 30, area: 'status' });

/** Samples of the last hour, so that the tiles have a trend at once. */
export const useTrend = (name: string) =>
  useResource(`trend:${name}`, () =>
    call('get', '/metrics/history', { query: { series: name, span: 3600, points: 60 } }),
  );

export function OverviewView() {
  const status = useStatus();
  return (
    <>
      <Title>Overview</Title>
      <Loaded of={status}>{(data) => <Glance of={data} />}</Loaded>
    </>
  );
}

function Glance({ of }: { of: Status }) {
  const used = (space: Status['memory']) =>
    1 - space.available_bytes / Math.max(1, space.total_bytes);
  const wear = worst('wear', 'used');
  return (
    <>
      <section class={`card hero ${of.health.state}`} aria-label="Health">
        <div class="head">
          <Sign state={of.health.state} />
          <div class="grow">
            <h2>{of.health.summary}</h2>
            <p class="muted small">
              Up for {duration(of.uptime_seconds)}
              {of.synchronized === false && ' · The clock is not synchronised'}
            </p>
          </div>
        </div>
        {of.health.findings.length > 0 && (
          <ul class="findings">
            {of.health.findings.map(({ state, source, text }) => (
              <li key={source + text}>
                <Badge state={state}>{state === 'failed' ? 'Failed' : 'Warning'}</Badge>
                <span>{text}</span>
              </li>
            ))}
          </ul>
        )}
      </section>
      <div class="tiles">
        <Uplink />
        {of.vpn ? (
          <Tile
            to={link('vpn')}
            icon="vpn"
            label="VPN clients"
            value={String(of.vpn.connected)}
            sub={`connected, of ${of.vpn.total}`}
            spark="vpn.connected"
            floor={0}
            ceiling={Math.max(1, of.vpn.total)}
          />
        ) : (
          <Tile
            to={link('vpn')}
            icon="vpn"
            label="VPN"
            value="Off"
            sub="No WireGuard on this gateway"
          />
        )}
        <Alerts of={of.alerts} />
        <Updates of={of.updates} />
        <Tile
          to={link('charts', 'system')}
          icon="cpu"
          label="Processor"
          value={quantity(newest('cpu.used').value, '%')}
          sub={`Load ${(of.load[0] ?? 0).toFixed(2)} on ${plural(of.cpus, 'core')}`}
          spark="cpu.used"
          floor={0}
          ceiling={100}
        />
        <Tile
          to={link('charts', 'system')}
          icon="memory"
          label="Memory"
          value={quantity(newest('memory.used').value ?? used(of.memory) * 100, '%')}
          sub={`${bytes(of.memory.available_bytes)} free of ${bytes(of.memory.total_bytes)}`}
          state={used(of.memory) > 0.92 ? 'warning' : 'ok'}
          spark="memory.used"
          floor={0}
          ceiling={100}
        />
        <Temperature celsius={of.temperature_celsius} />
        <Tile
          to={link('charts', 'disk')}
          icon="disk"
          label="Storage"
          value={`${Math.round(used(of.disk) * 100)} %`}
          sub={[
            `${bytes(of.disk.available_bytes)} free`,
            ...(wear === undefined ? [] : [`${Math.round(wear)} % of the card's life used`]),
          ].join(' · ')}
          state={used(of.disk) > 0.9 || (wear ?? 0) >= 90 ? 'warning' : 'ok'}
          spark="disk.used{/}"
          floor={0}
          ceiling={100}
        />
      </div>
      <div class="grid two">
        <Card title="Network">
          <Facts
            of={[
              ...of.addresses.map(
                ({ zone, interface: name, addresses }) =>
                  [
                    `${zone} (${name})`,
                    addresses.length > 0 ? addresses.join(', ') : 'no address',
                  ] as const,
              ),
            ]}
          />
          <div class="badges">
            <Firewall state={of.firewall} />
            {of.ddns && (
              <a href={link('ddns')}>
                <Badge state={ddnsState(of.ddns.state)} icon="globe">
                  Dynamic DNS: {of.ddns.state}
                </Badge>
              </a>
            )}
          </div>
        </Card>
        <Card title="Device">
          <Facts
            of={[
              ['Model', of.model ?? 'not known'],
              ['Image', of.image ? of.image.name : 'not known'],
              ['Base', of.image?.base ?? 'not known'],
              ['Device', of.device_id ?? 'not known'],
            ]}
          />
        </Card>
      </div>
    </>
  );
}

type TileProps = {
  to: string;
  icon: IconName;
  label: string;
  value: string;
  sub?: string;
  state?: State;
  spark?: string;
  floor?: number;
  ceiling?: number;
};

function Tile({ to, icon, label, value, sub, state = 'ok', spark, floor, ceiling }: TileProps) {
  return (
    <a class={`card tile ${state}`} href={to}>
      <span class="label">
        <Icon name={icon} />
        {label}
      </span>
      <span class="value">{value}</span>
      {sub !== undefined && <span class="sub">{sub}</span>}
      {spark !== undefined && <Trend name={spark} floor={floor} ceiling={ceiling} />}
    </a>
  );
}

function Trend({
  name,
  floor,
  ceiling,
}: {
  name: string;
  floor: number | undefined;
  ceiling: number | undefined;
}) {
  const before = useTrend(name).data.value?.series[0]?.values ?? [];
  measured.value;
  const values = [...before, ...recentOf(name).values].slice(-90);
  return (
    <Spark
      values={values}
      {...(floor === undefined ? {} : { floor })}
      {...(ceiling === undefined ? {} : { ceiling })}
    />
  );
}

/** The highest of all series of one kind. */
function worst(area: string, what: string): number | undefined {
  const values = [...units.value.keys()]
    .filter((name) => {
      const parsed = parseName(name);
      return parsed.area === area && parsed.what === what;
    })
    .flatMap((name) => newest(name).value ?? []);
  return values.length > 0 ? Math.max(...values) : undefined;
}

function Uplink() {
  const names = [...units.value.keys()];
  const loss = lowestOf(names, 'uplink.loss', (name) => newest(name).value);
  const latency = lowestOf(names, 'uplink.latency', (name) => newest(name).value);
  // One target that answers is enough: the others may be away.
  const down = loss !== undefined && loss.lowest >= 99;
  const poor = loss !== undefined && loss.lowest >= 5;
  return (
    <Tile
      to={link('charts', 'network')}
      icon="globe"
      label="Internet"
      value={loss === undefined ? '–' : down ? 'Offline' : 'Online'}
      sub={
        loss === undefined
          ? 'Not measured yet'
          : down
            ? 'No target answers'
            : [
                quantity(latency?.lowest, 's'),
                ...(poor ? [`${Math.round(loss.lowest)} % loss`] : []),
              ].join(', ')
      }
      state={down ? 'failed' : poor ? 'warning' : 'ok'}
      {...(latency ? { spark: latency.name, floor: 0 } : {})}
    />
  );
}

function Alerts({ of }: { of: Status['alerts'] }) {
  const count = of.critical + of.warning + of.info;
  return (
    <Tile
      to={link('alerts')}
      icon="bell"
      label="Alerts"
      value={count === 0 ? 'None' : String(count)}
      sub={
        count === 0
          ? 'Nothing is wrong'
          : [
              ...(of.critical > 0 ? [`${of.critical} critical`] : []),
              ...(of.warning > 0 ? [plural(of.warning, 'warning')] : []),
              ...(of.info > 0 ? [`${of.info} for information`] : []),
            ].join(', ')
      }
      state={of.critical > 0 ? 'failed' : of.warning > 0 ? 'warning' : 'ok'}
    />
  );
}

function Updates({ of }: { of: Status['updates'] }) {
  return (
    <Tile
      to={link('updates')}
      icon="update"
      label="Updates"
      value={of.pending === null ? '–' : of.pending === 0 ? 'None' : String(of.pending)}
      sub={
        of.reboot_required
          ? 'A restart is due'
          : of.pending === null
            ? 'Not looked yet'
            : of.pending === 0
              ? 'All is up to date'
              : `${of.pending === 1 ? 'package waits' : 'packages wait'}`
      }
      state={of.reboot_required ? 'warning' : 'ok'}
    />
  );
}

function Temperature({ celsius }: { celsius: number | null }) {
  const value = newest('heat.temperature').value ?? celsius;
  // A Pi's firmware slows down at 80 °C, and hard at 85 (raspberrypi.com, Frequency management).
  const state = value === null ? 'ok' : value >= 85 ? 'failed' : value >= 75 ? 'warning' : 'ok';
  return (
    <Tile
      to={link('charts', 'system')}
      icon="heat"
      label="Temperature"
      value={quantity(value, 'Cel')}
      sub={
        value === null
          ? 'No sensor'
          : state === 'ok'
            ? 'Cool enough'
            : state === 'warning'
              ? 'Warm'
              : 'Too hot'
      }
      state={state}
      spark="heat.temperature"
    />
  );
}

const firewallWords: Record<Status['firewall'], readonly [State, string]> = {
  active: ['ok', 'Firewall is in force'],
  pending: ['warning', 'Firewall: rules on trial'],
  closed: ['failed', 'Firewall: rules broken, all but SSH and VPN is shut'],
  none: ['failed', 'No firewall: the device is open'],
  unknown: ['unknown', 'Firewall: state not known'],
};

function Firewall({ state }: { state: Status['firewall'] }) {
  const [badge, words] = firewallWords[state];
  return (
    <a href={link('firewall')}>
      <Badge state={badge}>{words}</Badge>
    </a>
  );
}

export function ddnsState(state: string): State {
  if (state === 'registered') return 'ok';
  if (state === 'fallback' || state === 'pending') return 'warning';
  return state === 'offline' ? 'unknown' : 'failed';
}
