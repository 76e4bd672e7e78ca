import { useState } from 'preact/hooks';
import { call } from '../lib/api.ts';
import { dateTime, plural } from '../lib/format.ts';
import { mayChange } from '../lib/session.ts';
import { Confirm } from '../ui/dialog.tsx';
import { Button, Note } from '../ui/parts.tsx';
import type { Vpn } from './vpn.tsx';

type Open = 'rotate' | 'finish' | 'cancel' | undefined;

/** The server's own key: its replacement, and how far that is. */
export function ServerKey({ of, reload }: { of: Vpn; reload: () => Promise<void> | void }) {
  const [open, setOpen] = useState<Open>(undefined);
  const close = () => setOpen(undefined);
  const { rotation } = of;
  const cutOff = open === 'cancel' ? rotation?.moved : rotation?.waiting;
  return (
    <>
      {of.public_key !== null && (
        <p class="small muted">
          {rotation ? 'New public key' : 'Public key'} <code>{of.public_key}</code>
        </p>
      )}
      {rotation && (
        <Note>
          <strong>
            {rotation.waiting.length === 0
              ? 'All clients use the new key'
              : `${plural(rotation.waiting.length, 'client')} still to get the new key: ${rotation.waiting.slice(0, 8).join(', ')}${rotation.waiting.length > 8 ? ' …' : ''}`}
          </strong>
          <span>
            Hand each its new file; the old key works until all have moved
            {rotation.deadline_at !== null &&
              `, at the latest until ${dateTime(Date.parse(rotation.deadline_at))}`}
            . A router in front must forward UDP port {of.port}, too.
          </span>
        </Note>
      )}
      {mayChange.value && (
        <div class="buttons">
          {rotation ? (
            <>
              <Button onClick={() => setOpen('finish')}>End the old key now</Button>
              <Button onClick={() => setOpen('cancel')}>Keep the old key</Button>
            </>
          ) : (
            <Button icon="rotate" onClick={() => setOpen('rotate')}>
              Replace the server's key
            </Button>
          )}
        </div>
      )}
      {open === 'rotate' && (
        <Confirm
          title="Replace the server's key?"
          action="Make a new key"
          onClose={close}
          run={async () => {
            await call('post', '/vpn/server/rotate', { body: {} });
            await reload();
          }}
        >
          <p>
            The new key answers on a second UDP port, which a router in front must forward, too.
            Every client needs a new file; the old key works until each uses its own, for 30 days.
          </p>
        </Confirm>
      )}
      {(open === 'finish' || open === 'cancel') && (
        <Confirm
          title={open === 'finish' ? 'End the old key?' : 'Keep the old key?'}
          action={open === 'finish' ? 'End it' : 'Keep it'}
          danger={(cutOff?.length ?? 0) > 0}
          onClose={close}
          run={async () => {
            if (open === 'finish')
              await call('post', '/vpn/server/rotate/finish', { body: { cut_off: true } });
            else await call('delete', '/vpn/server/rotate', { query: { cut_off: 'true' } });
            await reload();
          }}
        >
          <p>
            {(cutOff?.length ?? 0) === 0
              ? 'Nobody is cut off by it.'
              : `These clients are cut off by it: ${cutOff?.join(', ')}.`}
          </p>
        </Confirm>
      )}
    </>
  );
}
