import { signal } from '@preact/signals';
import type { ComponentChildren, InputHTMLAttributes } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Problem } from '../lib/api.ts';
import { now } from '../lib/clock.ts';
import { dateTime, relative } from '../lib/format.ts';
import type { Resource } from '../lib/resource.ts';
import { sparkPath } from '../lib/series.ts';
import { Icon, type IconName } from './icon.tsx';

export type State = 'ok' | 'warning' | 'failed' | 'unknown' | 'info';

const signs: Record<State, IconName> = {
  ok: 'ok',
  warning: 'warning',
  failed: 'failed',
  unknown: 'unknown',
  info: 'info',
};

export function Badge({
  state,
  children,
  icon,
}: {
  state: State;
  children: ComponentChildren;
  icon?: IconName;
}) {
  return (
    <span class={`badge ${state}`}>
      <Icon name={icon ?? signs[state]} />
      {children}
    </span>
  );
}

export function Sign({ state }: { state: State }) {
  return (
    <span class="sign">
      <Icon name={signs[state]} />
    </span>
  );
}

type CardProps = {
  title?: ComponentChildren;
  actions?: ComponentChildren;
  /** Without padding, for lists and tables. */
  flush?: boolean;
  children: ComponentChildren;
};

export function Card({ title, actions, flush, children }: CardProps) {
  const id = useId();
  return (
    <section class="card" {...(title === undefined ? {} : { 'aria-labelledby': id })}>
      {(title !== undefined || actions !== undefined) && (
        <header>
          {title !== undefined && <h2 id={id}>{title}</h2>}
          {actions}
        </header>
      )}
      {flush ? children : <div class="body">{children}</div>}
    </section>
  );
}

/** The view's title; it takes the focus when the view changes, so that screen readers say where one is. */
export function Title({
  children,
  actions,
}: {
  children: ComponentChildren;
  actions?: ComponentChildren;
}) {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${ref.current?.textContent ?? ''} · Pi Gateway`;
    if (titleMayFocus) ref.current?.focus({ preventScroll: true });
    titleMayFocus = true;
  }, []);
  return (
    <div class="title">
      <h1 tabIndex={-1} ref={ref}>
        {children}
      </h1>
      {actions}
    </div>
  );
}
/** Not for the page's first view: there the focus stays at the top, before the skip link. */
let titleMayFocus = false;

export function Note({ state = 'info', children }: { state?: State; children: ComponentChildren }) {
  return (
    <div class={`note ${state}`}>
      <Icon name={signs[state]} />
      <div class="grow">{children}</div>
    </div>
  );
}

/** What went wrong and what to do about it, told to screen readers at once. */
export function ProblemNote({ problem }: { problem: Problem | undefined }) {
  return (
    <div role="alert">
      {problem && (
        <Note state="failed">
          <strong>{problem.message}</strong>
          {problem.errors.length > 0 && (
            <ul>
              {problem.errors.map(({ path, message }) => (
                <li key={path + message}>
                  {path !== '' && <code>{path}: </code>}
                  {message}
                </li>
              ))}
            </ul>
          )}
          {problem.fix !== undefined && <span>{problem.fix}</span>}
        </Note>
      )}
    </div>
  );
}

export function Empty({ icon, children }: { icon: IconName; children: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      {children}
    </div>
  );
}

export function Loading() {
  return (
    <div class="loading" role="status">
      <span class="hidden">Loading</span>
      <i />
      <i />
      <i />
    </div>
  );
}

/** Shows what was loaded; over it what went wrong since, and before it that it is on its way. */
export function Loaded<T>({
  of,
  children,
}: {
  of: Resource<T>;
  children: (data: T) => ComponentChildren;
}) {
  const data = of.data.value;
  const problem = of.problem.value;
  return (
    <>
      {problem && (
        <div class="grow">
          <ProblemNote problem={problem} />
          <p class="buttons">
            <Button icon="update" onClick={() => of.reload()}>
              Try again
            </Button>
          </p>
        </div>
      )}
      {data === undefined ? !problem && <Loading /> : children(data)}
    </>
  );
}

type ButtonProps = {
  children: ComponentChildren;
  onClick?: () => unknown;
  icon?: IconName;
  kind?: 'primary' | 'danger' | 'danger primary' | 'bare';
  /** Only the icon is seen, the words are its name. */
  square?: boolean;
  busy?: boolean;
  disabled?: boolean;
  type?: 'button' | 'submit';
  'aria-pressed'?: boolean;
  'aria-expanded'?: boolean;
};

/** While busy it stays where the focus is: a button that is disabled would lose it. */
export function Button({
  children,
  onClick,
  icon,
  kind,
  square,
  busy,
  disabled,
  type = 'button',
  ...aria
}: ButtonProps) {
  return (
    <button
      type={type}
      class={`button ${kind ?? ''} ${square ? 'square' : ''}`}
      aria-disabled={busy || disabled ? 'true' : undefined}
      {...(square && typeof children === 'string' ? { title: children } : {})}
      {...aria}
      onClick={(event) => {
        if (busy || disabled) event.preventDefault();
        else void onClick?.();
      }}
    >
      {busy ? <span class="spin" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {square ? <span class="hidden">{children}</span> : children}
    </button>
  );
}

type FieldProps = {
  label: ComponentChildren;
  hint?: ComponentChildren;
  wrong?: string | undefined;
  children: (aria: {
    id: string;
    'aria-describedby'?: string;
    'aria-invalid'?: 'true';
  }) => ComponentChildren;
};

export function Field({ label, hint, wrong, children }: FieldProps) {
  const id = useId();
  const described = [hint !== undefined && `${id}-hint`, wrong && `${id}-wrong`]
    .filter(Boolean)
    .join(' ');
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({
        id,
        ...(described ? { 'aria-describedby': described } : {}),
        ...(wrong ? { 'aria-invalid': 'true' as const } : {}),
      })}
      {hint !== undefined && (
        <span class="hint" id={`${id}-hint`}>
          {hint}
        </span>
      )}
      {wrong && (
        <span class="wrong" id={`${id}-wrong`}>
          {wrong}
        </span>
      )}
    </div>
  );
}

type TextProps = Omit<FieldProps, 'children'> & {
  value: string;
  onChange: (value: string) => void;
  type?: 'text' | 'password' | 'date' | 'number' | 'search';
  autofocus?: boolean;
} & Pick<
    InputHTMLAttributes<HTMLInputElement>,
    | 'autocomplete'
    | 'placeholder'
    | 'required'
    | 'minLength'
    | 'maxLength'
    | 'inputMode'
    | 'pattern'
    | 'min'
    | 'max'
    | 'spellcheck'
  >;

export function Text({
  label,
  hint,
  wrong,
  value,
  onChange,
  type = 'text',
  autofocus,
  ...rest
}: TextProps) {
  const ref = useRef<HTMLInputElement>(null);
  // Before the next key can arrive. A dialog is not open yet at that point, and does it itself.
  useLayoutEffect(() => {
    if (autofocus) ref.current?.focus();
  }, [autofocus]);
  return (
    <Field label={label} hint={hint} wrong={wrong}>
      {(aria) => (
        <input
          ref={ref}
          value={value}
          autocapitalize="none"
          data-first={autofocus ? '' : undefined}
          autocomplete="off"
          // The attributes' type is a union over `type`, which a variable is of no single member of.
          {...({ type, ...rest, ...aria } as InputHTMLAttributes<HTMLInputElement>)}
          onInput={({ currentTarget }) => onChange(currentTarget.value)}
        />
      )}
    </Field>
  );
}

export function Select<T extends string>({
  label,
  hint,
  value,
  options,
  onChange,
}: {
  label: ComponentChildren;
  hint?: ComponentChildren;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}) {
  return (
    <Field label={label} hint={hint}>
      {(aria) => (
        <select
          {...aria}
          value={value}
          onChange={({ currentTarget }) => onChange(currentTarget.value as T)}
        >
          {options.map(([key, text]) => (
            <option key={key} value={key}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** One of few, with what each means. */
export function Choices<T extends string>({
  legend,
  value,
  options,
  onChange,
  wide,
}: {
  legend: string;
  value: T;
  options: readonly { key: T; title: string; detail?: string }[];
  onChange: (value: T) => void;
  wide?: boolean;
}) {
  const name = useId();
  return (
    <fieldset class="field">
      <legend>{legend}</legend>
      <div class={`choices ${wide ? 'wide' : ''}`}>
        {options.map(({ key, title, detail }) => (
          <label class="choice" key={key}>
            <input
              type="radio"
              name={name}
              checked={value === key}
              onChange={() => onChange(key)}
            />
            <span>
              {title}
              {detail !== undefined && <small>{detail}</small>}
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** Several of few. */
export function Checks<T extends string>({
  legend,
  values,
  options,
  onChange,
  hint,
}: {
  legend: string;
  values: readonly T[];
  options: readonly { key: T; title: string; detail?: string }[];
  onChange: (values: T[]) => void;
  hint?: string;
}) {
  const id = useId();
  return (
    <fieldset class="field" {...(hint === undefined ? {} : { 'aria-describedby': id })}>
      <legend>{legend}</legend>
      <div class="choices">
        {options.map(({ key, title, detail }) => (
          <label class="choice" key={key}>
            <input
              type="checkbox"
              checked={values.includes(key)}
              onChange={({ currentTarget }) =>
                onChange(
                  options
                    .map((one) => one.key)
                    .filter((one) => (one === key ? currentTarget.checked : values.includes(one))),
                )
              }
            />
            <span>
              {title}
              {detail !== undefined && <small>{detail}</small>}
            </span>
          </label>
        ))}
      </div>
      {hint !== undefined && (
        <span class="hint" id={id}>
          {hint}
        </span>
      )}
    </fieldset>
  );
}

export function Check({
  label,
  hint,
  checked,
  onChange,
}: {
  label: string;
  hint?: string;
  checked: boolean;
  onChange: (on: boolean) => void;
}) {
  return (
    <label class="choice">
      <input
        type="checkbox"
        checked={checked}
        onChange={({ currentTarget }) => onChange(currentTarget.checked)}
      />
      <span>
        {label}
        {hint !== undefined && <small>{hint}</small>}
      </span>
    </label>
  );
}

export function Segments<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}) {
  return (
    <fieldset class="segments">
      <legend class="hidden">{label}</legend>
      {options.map(([key, text]) => (
        <button type="button" key={key} aria-pressed={value === key} onClick={() => onChange(key)}>
          {text}
        </button>
      ))}
    </fieldset>
  );
}

export function Search({
  value,
  onChange,
  label,
}: {
  value: string;
  onChange: (value: string) => void;
  label: string;
}) {
  return (
    <div class="search">
      <Icon name="search" />
      <input
        type="search"
        value={value}
        aria-label={label}
        placeholder={label}
        autocomplete="off"
        onInput={({ currentTarget }) => onChange(currentTarget.value)}
      />
    </div>
  );
}

/** A time as it is read at a glance; the exact one on demand. */
export function When({
  at,
  never = 'never',
}: {
  at: string | number | null | undefined;
  never?: string;
}) {
  if (at === null || at === undefined) return <>{never}</>;
  const time = typeof at === 'number' ? at : Date.parse(at);
  return (
    <time dateTime={new Date(time).toISOString()} title={dateTime(time)} class="nowrap">
      {relative(time, now.value)}
    </time>
  );
}

export function Facts({ of }: { of: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A trend without numbers: these stand beside it. */
export function Spark({
  values,
  floor,
  ceiling,
}: {
  values: readonly (number | null)[];
  floor?: number;
  ceiling?: number;
}) {
  const path = sparkPath(values, floor, ceiling);
  return (
    <svg
      class="spark"
      viewBox="0 0 100 30"
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      {path && <path class="area" d={`${path}L100 30L0 30Z`} />}
      {path && <path d={path} />}
    </svg>
  );
}

export function Meter({ share, state, label }: { share: number; state?: State; label: string }) {
  const percent = Math.max(0, Math.min(100, share * 100));
  return (
    // biome-ignore lint/a11y/useSemanticElements: browsers give <meter> colours of their own
    <div
      class={`meter ${state ?? ''}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(percent)}
    >
      <i style={{ width: `${percent}%` }} />
    </div>
  );
}

/** Something that takes time and may fail: what goes on, and what went wrong. */
export function useAction(): {
  busy: boolean;
  problem: Problem | undefined;
  run: (what: () => Promise<unknown>) => Promise<boolean>;
  clear: () => void;
} {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | undefined>(undefined);
  return {
    busy,
    problem,
    clear: () => setProblem(undefined),
    run: async (what) => {
      setBusy(true);
      setProblem(undefined);
      try {
        await what();
        return true;
      } catch (error) {
        setProblem(error instanceof Problem ? error : new Problem(String(error)));
        return false;
      } finally {
        setBusy(false);
      }
    },
  };
}

type Toast = { id: number; text: string };
export const toasts = signal<readonly Toast[]>([]);
let lastToast = 0;

/** Tells that something is done: seen for some seconds, and told to screen readers. */
export function say(text: string): void {
  lastToast += 1;
  const id = lastToast;
  toasts.value = [...toasts.value, { id, text }];
  setTimeout(() => {
    toasts.value = toasts.value.filter((one) => one.id !== id);
  }, 6000);
}

export function Toasts() {
  return (
    <output class="toasts">
      {toasts.value.map(({ id, text }) => (
        <div class="toast" key={id}>
          <Icon name="ok" />
          {text}
        </div>
      ))}
    </output>
  );
}
