import { useMemo } from 'preact/hooks';
import { call } from '../lib/api.ts';
import { now } from '../lib/clock.ts';
import { measured, recentOf, units } from '../lib/live.ts';
import {
  type Plot,
  type PlotSet,
  plots,
  type Span,
  sets,
  spans,
  type Topic,
  topics,
} from '../lib/plots.ts';
import { useResource } from '../lib/resource.ts';
import { go, link, route } from '../lib/router.ts';
import { joined } from '../lib/series.ts';
import { Chart } from '../ui/chart.tsx';
import { Card, Empty, Loading, ProblemNote, Segments, Title } from '../ui/parts.tsx';

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

export function LiveChart({ set, span }: { set: PlotSet; span: Span }) {
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
