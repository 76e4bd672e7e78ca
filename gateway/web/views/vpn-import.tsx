import { useState } from 'preact/hooks';
import { type Answer, call, Problem } from '../lib/api.ts';
import { plural } from '../lib/format.ts';
import { Dialog, DialogButtons } from '../ui/dialog.tsx';
import { Badge, Check, Field, Note, ProblemNote, say, useAction } from '../ui/parts.tsx';

type Result = Answer<'post', '/vpn/import'>;

/** Clients of PiVPN or wg-easy: first what would be done, then it is done. */
export function ImportClients({
  onClose,
  onChange,
}: {
  onClose: () => void;
  onChange: () => Promise<void>;
}) {
  const [files, setFiles] = useState<{ name: string; text: string }[]>([]);
  const [serverKey, setServerKey] = useState(false);
  const [addresses, setAddresses] = useState(false);
  const [plan, setPlan] = useState<Result | undefined>(undefined);
  const work = useAction();
  const ask = (dry: boolean) =>
    work.run(async () => {
      if (files.length === 0)
        throw new Problem('No file is chosen', {
          fix: 'wg0.json of wg-easy; wg0.conf, clients.txt and configs/*.conf of PiVPN',
        });
      const result = await call('post', '/vpn/import', {
        body: { files, dry_run: dry, take_server_key: serverKey, new_addresses: addresses },
      });
      if (dry) return setPlan(result);
      say(
        `${plural(result.clients.filter(({ action }) => action === 'add').length, 'client')} imported`,
      );
      await onChange();
      onClose();
    });
  return (
    <Dialog title="Import clients" onClose={onClose} wide={plan !== undefined}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void ask(plan === undefined);
        }}
      >
        <Field
          label="Files of PiVPN or wg-easy"
          hint="wg0.json of wg-easy; wg0.conf, clients.txt and configs/*.conf of PiVPN"
        >
          {(aria) => (
            <input
              {...aria}
              type="file"
              multiple
              accept=".json,.conf,.txt"
              onChange={async ({ currentTarget }) => {
                setPlan(undefined);
                setFiles(
                  await Promise.all(
                    [...(currentTarget.files ?? [])].map(async (file) => ({
                      name: file.name,
                      text: await file.text(),
                    })),
                  ),
                );
              }}
            />
          )}
        </Field>
        <Check
          label="Take over the old server's key"
          hint="Its clients then work unchanged; those of this gateway need new files"
          checked={serverKey}
          onChange={(on) => {
            setServerKey(on);
            setPlan(undefined);
          }}
        />
        <Check
          label="Give other addresses where the old do not fit"
          hint="Those clients need new files"
          checked={addresses}
          onChange={(on) => {
            setAddresses(on);
            setPlan(undefined);
          }}
        />
        {plan && <Plan of={plan} />}
        <ProblemNote problem={work.problem} />
        <DialogButtons
          action={plan ? 'Import' : 'Look at them'}
          busy={work.busy}
          onClose={onClose}
        />
      </form>
    </Dialog>
  );
}

function Plan({ of }: { of: Result }) {
  return (
    <>
      {of.warnings.map((warning) => (
        <Note state="warning" key={warning}>
          {warning}
        </Note>
      ))}
      <p>
        From {of.kind === 'pivpn' ? 'PiVPN' : 'wg-easy'}; the gateway's key: {of.server_key}.
      </p>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Client</th>
              <th scope="col">What happens</th>
              <th scope="col">Addresses</th>
            </tr>
          </thead>
          <tbody>
            {of.clients.map((client) => (
              <tr key={client.was}>
                <th scope="row">
                  {client.name}
                  {client.was !== client.name && <div class="small muted">was {client.was}</div>}
                </th>
                <td>
                  <Badge state={client.action === 'add' ? 'ok' : 'unknown'}>
                    {client.action === 'add' ? 'Added' : 'Left out'}
                  </Badge>
                  <div class="small muted">
                    {client.why}
                    {client.needs_new_config && ' It needs a new file.'}
                  </div>
                </td>
                <td class="mono">{client.addresses.join(', ')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
