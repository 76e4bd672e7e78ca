import { useMemo } from 'preact/hooks';
import { call } from '../lib/api.ts';
import { now } from '../lib/clock.ts';
import { measured, recentOf, units } from '../lib/live.ts';
import { useResource } from '../lib/resource.ts';
import { go, link, route } from '../lib/router.ts';
import { joined, parseName } from '../lib/series.ts';
import { Chart } from '../ui/chart.tsx';
import { Card, Empty, Loading, ProblemNote, Segments, Title } from '../ui/parts.tsx';

export const spans = {
  '1h': { title: '1 h', seconds: 3600 },
  '24h': { title: '24 h', seconds: 86_400 },
  '7d': { title: '7 d', seconds: 7 * 86_400 },
  '30d': { title: '30 d', seconds: 30 * 86_400 },
} as const;
export type Span = keyof typeof spans;

const topics = { system: 'System', network: 'Network', vpn: 'VPN', disk: 'Storage' } as const;
type Topic = keyof typeof topics;

type Plot = {
  title: string;
  /** Kinds of series, each with how its line is called; `{}` stands for the label. */
  kinds: readonly (readonly [string, string])[];
  atLeast?: number;
  floating?: boolean;
  /** One chart for each label, not one with all of them. */
  each?: true;
};

const plots: Record<Topic, readonly Plot[]> = {
  system: [
    {
      title: 'Processor',
      kinds: [
        ['cpu.used', 'All cores'],
        ['cpu.busiest', 'Busiest core'],
        ['cpu.iowait', 'Waits for the disk'],
      ],
      atLeast: 100,
    },
    {
      title: 'Memory',
      kinds: [
        ['memory.used', 'Memory'],
        ['swap.used', 'Swap'],
      ],
      atLeast: 100,
    },
    { title: 'Temperature', kinds: [['heat.temperature', 'Hottest sensor']], floating: true },
    { title: 'Load', kinds: [['load.1m', 'Over a minute']], atLeast: 1 },
    {
      title: 'Waiting',
      kinds: [
        ['pressure.cpu', 'For the processor'],
        ['pressure.memory', 'For memory'],
        ['pressure.io', 'For the disk'],
      ],
      atLeast: 10,
    },
    { title: 'Memory of the gateway’s own process', kinds: [['daemon.memory', 'Memory']] },
  ],
  network: [
    {
      title: '{}',
      kinds: [
        ['network.received', 'Received'],
        ['network.sent', 'Sent'],
      ],
      each: true,
    },
    {
      title: 'Time until the Internet answers',
      kinds: [
        ['uplink.latency', '{}'],
        ['dns.time', 'A name is resolved'],
      ],
    },
    { title: 'Attempts without an answer', kinds: [['uplink.loss', '{}']], atLeast: 10 },
    { title: 'Connections', kinds: [['conntrack.count', 'Followed by the firewall']] },
    { title: 'Packets that the firewall counts', kinds: [['firewall.packets', '{}']] },
  ],
  vpn: [
    { title: 'Clients', kinds: [['vpn.connected', 'Connected']], atLeast: 1 },
    {
      title: '{}',
      kinds: [
        ['vpn.received', 'Received'],
        ['vpn.sent', 'Sent'],
      ],
      each: true,
    },
  ],
  disk: [
    { title: 'File systems', kinds: [['disk.used', '{}']], atLeast: 100 },
    {
      title: '{}',
      kinds: [
        ['disk.written', 'Written'],
        ['disk.read', 'Read'],
      ],
      each: true,
    },
    { title: 'Life of the flash memory that is used', kinds: [['wear.used', '{}']], atLeast: 100 },
  ],
};

/** Charts of one kind at once: a thousand clients have none each. */
const mostCharts = 12;

export function ChartsView() {
  const { rest, query } = route.value;
  const topic = (rest[0] ?? 'system') as Topic;
  const span = (query.get('span') ?? '1h') as Span;
  const to = (nextTopic: Topic, nextSpan: Span) =>
    go(`${link('charts', nextTopic)}?span=${nextSpan}`, true);
  const shown = plots[topic] ?? plots.system;
  const there = units.value;
  return (
    <>
      <Title
        actions={
          <Segments
            label="Span of time"
            value={span}
            options={Object.entries(spans).map(([key, { title }]) => [key as Span, title] as const)}
            onChange={(next) => to(topic, next)}
          />
        }
      >
        Charts
      </Title>
      <Segments
        label="What is shown"
        value={topic}
        options={Object.entries(topics).map(([key, title]) => [key as Topic, title] as const)}
        onChange={(next) => to(next, span)}
      />
      {there.size === 0 ? (
        <Card flush>
          <Loading />
        </Card>
      ) : (
        <Plots
          key={topic}
          plots={shown}
          names={[...there.keys()]}
          span={span in spans ? span : '1h'}
        />
      )}
    </>
  );
}

type Set = { title: string; plot: Plot; series: { name: string; title: string }[] };

/** The charts that there is something for. */
export function sets(plots: readonly Plot[], names: readonly string[]): Set[] {
  return plots.flatMap((plot) => {
    const found = plot.kinds.flatMap(([kind, title]) =>
      names.flatMap((name) => {
        const { area, what, label } = parseName(name);
        return `${area}.${what}` === kind
          ? [{ name, label, title: title.replace('{}', label ?? '') }]
          : [];
      }),
    );
    if (found.length === 0) return [];
    if (!plot.each) return [{ title: plot.title, plot, series: found.slice(0, 6) }];
    const labels = [...new Set(found.map(({ label }) => label ?? ''))].sort();
    return labels.map((label) => ({
      title: plot.title.replace('{}', label),
      plot,
      series: found.filter((one) => (one.label ?? '') === label),
    }));
  });
}

function Plots({
  plots: wanted,
  names,
  span,
}: {
  plots: readonly Plot[];
  names: readonly string[];
  span: Span;
}) {
  const all = useMemo(() => sets(wanted, names), [wanted, names]);
  if (all.length === 0)
    return (
      <Card flush>
        <Empty icon="chart">
          <p>Nothing of this is measured on this device.</p>
        </Empty>
      </Card>
    );
  return (
    <>
      <div class="grid two">
        {all.slice(0, mostCharts).map((set) => (
          <Card key={set.title}>
            <LiveChart set={set} span={span} />
          </Card>
        ))}
      </div>
      {all.length > mostCharts && (
        <p class="muted">
          The first {mostCharts} of {all.length}; a VPN client's own chart is on its page.
        </p>
      )}
    </>
  );
}

export function LiveChart({ set, span }: { set: Set; span: Span }) {
  const { seconds } = spans[span];
  const names = set.series.map(({ name }) => name).join(',');
  const history = useResource(
    `history:${names}:${span}`,
    () => call('get', '/metrics/history', { query: { series: names, span: seconds, points: 360 } }),
    { every: Math.max(60, seconds / 360) },
  );
  const data = history.data.value;
  const live = span === '1h';
  if (live) measured.value;
  const to = live ? Date.now() : now.value;
  if (!data)
    return history.problem.value ? <ProblemNote problem={history.problem.value} /> : <Loading />;
  const lines = set.series.map(({ name, title }) => ({
    name: title,
    ...joined(
      data.series.find((one) => one.name === name),
      live ? recentOf(name) : undefined,
    ),
  }));
  const unit = units.value.get(set.series[0]?.name ?? '') ?? '1';
  return (
    <Chart
      title={set.title}
      unit={unit}
      lines={lines}
      from={to - seconds * 1000}
      to={to}
      {...(set.plot.atLeast === undefined ? {} : { atLeast: set.plot.atLeast })}
      {...(set.plot.floating ? { floating: true } : {})}
    />
  );
}
