import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { dateTime, quantity } from '../lib/format.ts';
import { type Line, nearest, summarize, tabled, ticks, timeTicks } from '../lib/series.ts';
import { painted } from '../lib/theme.ts';
import { Button } from './parts.tsx';

export type ChartLine = Line & { name: string };

type ChartProps = {
  title: string;
  unit: string;
  lines: readonly ChartLine[];
  /** Milliseconds. */
  from: number;
  to: number;
  /** The least that the axis goes up to, e.g. 100 for percent. */
  atLeast?: number;
  /** The axis begins at the lowest value, not at 0: for temperatures. */
  floating?: boolean;
};

const left = 4;
const right = 4;
const top = 16;
const bottom = 22;

/**
 * Lines over time on a canvas. Pointer and touch read single values; for who cannot see it there is a
 * sentence with the figures, and the same as a table.
 */
export function Chart({ title, unit, lines, from, to, atLeast, floating }: ChartProps) {
  const plot = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [at, setAt] = useState<number | undefined>(undefined);
  const [table, setTable] = useState(false);
  const id = useId();

  useEffect(() => {
    const element = plot.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setSize({ width: entry.contentRect.width, height: entry.contentRect.height });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [table]);

  const colours = painted.value;
  useEffect(() => {
    if (canvas.current && size.width > 0)
      draw(canvas.current, { unit, lines, from, to, atLeast, floating, ...size, at });
  }, [unit, lines, from, to, atLeast, floating, size, at, colours, table]);

  const read = (event: PointerEvent) => {
    const box = plot.current?.getBoundingClientRect();
    if (!box) return;
    const share = (event.clientX - box.left - left) / (box.width - left - right);
    setAt(from + Math.max(0, Math.min(1, share)) * (to - from));
  };

  const point = at === undefined ? undefined : nearest(longest(lines), at);
  const time = point === undefined ? undefined : longest(lines)[point];
  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption class="title">
        <h3 id={id} class="grow">
          {title}
        </h3>
        <span class="small muted number">{time === undefined ? '' : dateTime(time)}</span>
        <Button
          kind="bare"
          square
          icon={table ? 'chart' : 'table'}
          aria-pressed={table}
          onClick={() => setTable(!table)}
        >
          {`${title} as a table`}
        </Button>
      </figcaption>
      <ul class="legend">
        {lines.map((line, index) => {
          const value =
            time === undefined ? summarize(line)?.last : line.values[nearest(line.times, time)];
          return (
            <li key={line.name}>
              <i class={colour(index)} aria-hidden="true" />
              <span class="muted">{line.name}</span>
              <b>{quantity(value, unit)}</b>
            </li>
          );
        })}
      </ul>
      {table ? (
        <ChartTable title={title} unit={unit} lines={lines} from={from} to={to} />
      ) : (
        <>
          <div
            class="plot"
            ref={plot}
            onPointerMove={read}
            onPointerDown={read}
            onPointerLeave={() => setAt(undefined)}
          >
            <canvas ref={canvas} />
          </div>
          <p class="hidden">{inWords(lines, unit)}</p>
        </>
      )}
    </figure>
  );
}

const colour = (index: number) => `c${(index % 6) + 1}`;

function longest(lines: readonly ChartLine[]): readonly number[] {
  return lines.reduce<readonly number[]>(
    (best, { times }) => (times.length > best.length ? times : best),
    [],
  );
}

function inWords(lines: readonly ChartLine[], unit: string): string {
  const parts = lines.flatMap((line) => {
    const sum = summarize(line);
    return sum
      ? [
          `${line.name}: now ${quantity(sum.last, unit)}, lowest ${quantity(sum.lowest, unit)}, highest ${quantity(sum.highest, unit)}, mean ${quantity(sum.mean, unit)}.`,
        ]
      : [];
  });
  return parts.length > 0 ? parts.join(' ') : 'Nothing was measured in this time.';
}

function ChartTable({
  title,
  unit,
  lines,
  from,
  to,
}: Pick<ChartProps, 'title' | 'unit' | 'lines' | 'from' | 'to'>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
    <section class="scroll" tabIndex={0} aria-label={`${title}, table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">From</th>
            {lines.map(({ name }) => (
              <th scope="col" class="number" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {tabled(lines, from, to, 12).map(({ time, values }) => (
            <tr key={time}>
              <th scope="row" class="nowrap">
                {dateTime(time)}
              </th>
              {values.map((value, index) => (
                <td class="number nowrap" key={lines[index]?.name}>
                  {quantity(value, unit)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

type Drawn = Omit<ChartProps, 'title' | 'atLeast' | 'floating'> & {
  atLeast: number | undefined;
  floating: boolean | undefined;
  width: number;
  height: number;
  at: number | undefined;
};

function draw(canvas: HTMLCanvasElement, o: Drawn): void {
  const scale = Math.min(3, devicePixelRatio || 1);
  canvas.width = Math.round(o.width * scale);
  canvas.height = Math.round(o.height * scale);
  const context = canvas.getContext('2d');
  if (!context) return;
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const of = (name: string) => style.getPropertyValue(name).trim();

  const sums = o.lines.flatMap((line) => summarize(line) ?? []);
  const highest = Math.max(...sums.map((sum) => sum.highest));
  const lowest = Math.min(...sums.map((sum) => sum.lowest));
  const margin = Math.max((highest - lowest) * 0.15, 1);
  const low =
    o.floating && sums.length > 0
      ? Math.floor(lowest - margin)
      : Math.min(0, sums.length > 0 ? lowest : 0);
  const high = Math.max(
    o.atLeast ?? Number.NEGATIVE_INFINITY,
    sums.length > 0 ? (o.floating ? highest + margin : highest * 1.08) : 1,
    low + 1e-9 + (o.atLeast === undefined ? 0 : 1e-6),
  );
  const right_ = o.width - right;
  const floor = o.height - bottom;
  const x = (time: number) => left + ((time - o.from) / (o.to - o.from)) * (right_ - left);
  const y = (value: number) => floor - ((value - low) / (high - low || 1)) * (floor - top);

  context.font = `11px ${style.fontFamily}`;
  context.lineWidth = 1;
  context.strokeStyle = of('--line');
  context.fillStyle = of('--muted');
  context.textBaseline = 'bottom';
  for (const tick of ticks(low, high, 3)) {
    const height = Math.round(y(tick)) + 0.5;
    context.beginPath();
    context.moveTo(left, height);
    context.lineTo(right_, height);
    context.stroke();
    if (tick > low) context.fillText(quantity(tick, o.unit), left, height - 2);
  }
  const { times, days } = timeTicks(o.from, o.to, Math.max(2, Math.floor(o.width / 90)));
  context.textBaseline = 'alphabetic';
  context.textAlign = 'center';
  for (const time of times) {
    const text = days
      ? new Date(time).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })
      : new Date(time).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
    const half = context.measureText(text).width / 2;
    if (x(time) - half > 0 && x(time) + half < o.width)
      context.fillText(text, x(time), o.height - 5);
  }

  context.save();
  context.beginPath();
  context.rect(left, 0, right_ - left, o.height);
  context.clip();
  for (const [index, line] of o.lines.entries()) {
    const shade = of(`--chart-${(index % 6) + 1}`);
    const path = new Path2D();
    const area = new Path2D();
    let from: number | undefined;
    let last = 0;
    // Where more than three steps are missing, nothing was measured: a gap, no line across.
    const gap = gapOf(line.times) * 3;
    const close = () => {
      if (from === undefined) return;
      area.lineTo(last, floor);
      area.lineTo(from, floor);
      area.closePath();
      from = undefined;
    };
    for (const [place, value] of line.values.entries()) {
      const time = line.times[place] ?? 0;
      const previous = line.times[place - 1];
      if (value === null || (previous !== undefined && time - previous > gap)) close();
      if (value === null) continue;
      const across = x(time);
      if (from === undefined) {
        from = across;
        path.moveTo(across, y(value));
        area.moveTo(across, y(value));
      } else {
        path.lineTo(across, y(value));
        area.lineTo(across, y(value));
      }
      last = across;
    }
    close();
    if (o.lines.length <= 2) {
      const fill = context.createLinearGradient(0, top, 0, floor);
      fill.addColorStop(0, `${shade}40`);
      fill.addColorStop(1, `${shade}05`);
      context.fillStyle = fill;
      context.fill(area);
    }
    context.strokeStyle = shade;
    context.lineWidth = 1.7;
    context.lineJoin = 'round';
    context.lineCap = 'round';
    context.stroke(path);
  }
  const time = o.at === undefined ? undefined : longest(o.lines)[nearest(longest(o.lines), o.at)];
  if (time !== undefined) {
    context.strokeStyle = of('--muted');
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(Math.round(x(time)) + 0.5, top);
    context.lineTo(Math.round(x(time)) + 0.5, floor);
    context.stroke();
    for (const [index, line] of o.lines.entries()) {
      const value = line.values[nearest(line.times, time)];
      if (value === null || value === undefined) continue;
      context.beginPath();
      context.arc(x(time), y(value), 4, 0, 2 * Math.PI);
      context.fillStyle = of(`--chart-${(index % 6) + 1}`);
      context.fill();
      context.strokeStyle = of('--surface');
      context.lineWidth = 2;
      context.stroke();
    }
  }
  context.restore();
}

/** The usual distance of two points: the middle one of all. */
function gapOf(times: readonly number[]): number {
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  return gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? Number.POSITIVE_INFINITY;
}
