import { useState } from 'preact/hooks';
import { address, call, text } from '../lib/api.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Button, Note, ProblemNote, say, useAction } from '../ui/parts.tsx';
import type { Client } from './vpn.tsx';

/** Gives the browser a file to keep. */
export function download(
  name: string,
  content: string | Uint8Array<ArrayBuffer>,
  type = 'text/plain',
): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const anchor = document.createElement('a');
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  URL.revokeObjectURL(url);
}

/**
 * The client's configuration on its way to the device: as a QR code, and as a file. It holds the private key,
 * which the gateway keeps no longer than this takes.
 */
export function Handover({
  client,
  title,
  onClose,
}: {
  client: Client;
  title: string;
  onClose: () => void;
}) {
  const [gone, setGone] = useState(false);
  const work = useAction();
  const take = (keep: boolean) =>
    work.run(async () => {
      const params = { name: client.name };
      if (keep) {
        const file = await text('post', '/vpn/clients/{name}/config', { params, body: {} });
        setGone(true);
        download(`${client.name}.conf`, file);
      } else {
        await call('delete', '/vpn/clients/{name}/config', { params });
        say(`The gateway has forgotten the key of ${client.name}`);
        onClose();
      }
    });
  if (!client.config_held && !client.rotation?.config_held)
    return (
      <Dialog title={title} onClose={onClose} light>
        <Note>
          This client made its own key: the gateway knows only the public part, so there is nothing
          to hand over.
        </Note>
        <div class="buttons end">
          <Button kind="primary" onClick={onClose}>
            Done
          </Button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title={title} onClose={onClose}>
      {gone ? (
        <Note state="ok">
          <strong>The file is yours, and only yours.</strong>
          <span>
            The gateway has forgotten the private key. Open the file in the WireGuard app, then
            delete it. Lost it? Rotate the client's keys, and it gets a new one.
          </span>
        </Note>
      ) : (
        <>
          <img
            class="qr"
            src={address('/vpn/clients/{name}/qr', { params: { name: client.name } })}
            alt={`QR code with the configuration of ${client.name}, for the WireGuard app`}
            width={300}
            height={300}
          />
          <p>
            On the phone, in the WireGuard app: <b>+</b>, then <b>Scan from QR code</b>. On a
            computer, download the file.
          </p>
          <Note state="warning">
            <strong>It holds the private key, and can be had once.</strong>
            <span>With the download, or with “Done”, the gateway forgets the key.</span>
          </Note>
        </>
      )}
      <ProblemNote problem={work.problem} />
      <div class="buttons end">
        {!gone && (
          <Button icon="download" busy={work.busy} onClick={() => take(true)}>
            Download file
          </Button>
        )}
        <Button kind="primary" busy={work.busy} onClick={() => (gone ? onClose() : take(false))}>
          Done
        </Button>
      </div>
    </Dialog>
  );
}
