import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import type { IconName } from './icon.tsx';
import { Button, ProblemNote, useAction } from './parts.tsx';

type DialogProps = {
  title: string;
  onClose: () => void;
  wide?: boolean;
  /** Nothing is lost by a click beside it. */
  light?: boolean;
  children: ComponentChildren;
};

/**
 * The browser's own modal dialog: it keeps the focus inside, ends at Escape, and gives the focus back to
 * where it was.
 */
export function Dialog({ title, onClose, wide, light, children }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    if (dialog && !dialog.open) {
      dialog.showModal();
      dialog.querySelector<HTMLElement>('[data-first]')?.focus();
    }
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape does the same as the click beside it
    <dialog
      ref={ref}
      class={wide ? 'wide' : ''}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (light && event.target === ref.current) onClose();
      }}
    >
      <header>
        <h2 id={id} tabIndex={-1}>
          {title}
        </h2>
        <Button kind="bare" square icon="close" onClick={onClose}>
          Close
        </Button>
      </header>
      <div class="body">{children}</div>
    </dialog>
  );
}

type DialogButtonsProps = {
  /** What the second button does, as a verb: Save. */
  action: string;
  icon?: IconName;
  danger?: boolean | undefined;
  busy: boolean;
  onClose: () => void;
  /** None: the button submits the form that it is in. */
  onAction?: () => unknown;
};

/** The end of a dialog in which something is done: Cancel, and what does it. */
export function DialogButtons({
  action,
  icon,
  danger,
  busy,
  onClose,
  onAction,
}: DialogButtonsProps) {
  return (
    <div class="buttons end">
      <Button onClick={onClose}>Cancel</Button>
      <Button
        kind={danger ? 'danger primary' : 'primary'}
        busy={busy}
        {...(icon ? { icon } : {})}
        {...(onAction ? { onClick: onAction } : { type: 'submit' })}
      >
        {action}
      </Button>
    </div>
  );
}

type ConfirmProps = {
  title: string;
  /** What the button does, as a verb: Revoke. */
  action: string;
  danger?: boolean;
  onClose: () => void;
  /** The dialog ends if it is done, and says what is wrong otherwise. */
  run: () => Promise<unknown>;
  children: ComponentChildren;
};

export function Confirm({ title, action, danger, onClose, run, children }: ConfirmProps) {
  const work = useAction();
  return (
    <Dialog title={title} onClose={onClose} light>
      {children}
      <ProblemNote problem={work.problem} />
      <DialogButtons
        action={action}
        danger={danger}
        busy={work.busy}
        onClose={onClose}
        onAction={async () => {
          if (await work.run(run)) onClose();
        }}
      />
    </Dialog>
  );
}
