import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { plural } from '../lib/format.ts';
import { useResource } from '../lib/resource.ts';
import { mayChange } from '../lib/session.ts';
import { Confirm, Dialog, DialogButtons } from '../ui/dialog.tsx';
import {
  Badge,
  Button,
  Card,
  Check,
  Empty,
  Loaded,
  Note,
  ProblemNote,
  type State,
  say,
  Text,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';
import { ProxyCard } from './proxy.tsx';
import { download } from './vpn-handover.tsx';

type List = Answer<'get', '/certificates'>;
type One = List['certificates'][number];
type Handed = Answer<'post', '/certificates/clients'>;

const states: Record<One['state'], readonly [State, string]> = {
  good: ['ok', 'Good'],
  ending: ['warning', 'Ends soon'],
  over: ['failed', 'Over'],
  revoked: ['unknown', 'Revoked'],
  replaced: ['unknown', 'Replaced'],
};

/** What a certificate is for, in words. */
const kinds: Record<One['kind'], string> = {
  server: 'server, renewed by itself',
  client: "a person's device",
  request: 'server with a key of its own; renew it there',
};

export function CertificatesView() {
  const list = useResource('certificates', () => call('get', '/certificates', {}), {
    every: 60,
    area: 'certificates',
  });
  const [adding, setAdding] = useState(false);
  const [revoking, setRevoking] = useState<One | undefined>(undefined);
  return (
    <>
      <Title>Services by name</Title>
      <ProxyCard />
      <Loaded of={list}>
        {({ root, trust_url, certificates }) => (
          <>
            {root && <TrustCard root={root} url={trust_url} />}
            <Card
              title="Certificates"
              flush
              actions={
                mayChange.value && (
                  <Button icon="add" onClick={() => setAdding(true)}>
                    For a device
                  </Button>
                )
              }
            >
              {certificates.length === 0 ? (
                <Empty icon="key">
                  <p>Nothing was issued yet.</p>
                </Empty>
              ) : (
                <ul class="rows">
                  {certificates.map((one) => (
                    <li key={one.serial}>
                      <Row of={one} onRevoke={() => setRevoking(one)} />
                    </li>
                  ))}
                </ul>
              )}
            </Card>
          </>
        )}
      </Loaded>
      {adding && <NewClient onClose={() => setAdding(false)} onDone={() => list.reload()} />}
      {revoking && (
        <Confirm
          title={`Revoke ${revoking.name}?`}
          action="Revoke"
          danger
          onClose={() => setRevoking(undefined)}
          run={async () => {
            await call('post', '/certificates/{serial}/revoke', {
              params: { serial: revoking.serial },
              body: {},
            });
            say(`Revoked: ${revoking.name}`);
            await list.reload();
          }}
        >
          <p>Who has it is refused from now on. That cannot be undone; a new one can be issued.</p>
        </Confirm>
      )}
    </>
  );
}

function Row({ of, onRevoke }: { of: One; onRevoke: () => void }) {
  const [state, words] = states[of.state];
  return (
    <div class="row">
      <div class="main">
        <span class="name">{of.name}</span> <span class="detail mono">{of.names.join(', ')}</span>
        <div class="detail">{kinds[of.kind]}</div>
        <div class="detail">
          until <When at={of.not_after} />
          {of.revoked && (
            <>
              , revoked <When at={of.revoked.at} />
            </>
          )}
        </div>
      </div>
      <Badge state={state}>{words}</Badge>
      {mayChange.value && of.purpose === 'owner' && !of.revoked && (
        <Button square icon="trash" onClick={onRevoke}>
          {`Revoke ${of.name}`}
        </Button>
      )}
    </div>
  );
}

function TrustCard({ root, url }: { root: NonNullable<List['root']>; url: string | null }) {
  const [open, setOpen] = useState(false);
  return (
    <Card
      title="Trust this gateway"
      actions={
        <Button icon="info" onClick={() => setOpen(true)}>
          How
        </Button>
      }
    >
      <p>
        {root.name}, until <When at={root.not_after} />. Devices that trust it open services without
        a warning{url && <>: on each open {<a href={url}>{url}</a>}</>}.
      </p>
      <p class="mono small">{root.fingerprint}</p>
      {open && <TrustDialog onClose={() => setOpen(false)} />}
    </Card>
  );
}

function TrustDialog({ onClose }: { onClose: () => void }) {
  const trust = useResource('trust', () => call('get', '/certificates/trust'), {});
  return (
    <Dialog title="Trust this gateway" onClose={onClose} wide light>
      <Loaded of={trust}>
        {({ pem, mobileconfig, steps }) => (
          <>
            <div class="buttons">
              <Button
                icon="download"
                onClick={() => download('root.crt', pem, 'application/x-x509-ca-cert')}
              >
                root.crt
              </Button>
              <Button
                icon="download"
                onClick={() =>
                  download('root.mobileconfig', mobileconfig, 'application/x-apple-aspen-config')
                }
              >
                root.mobileconfig
              </Button>
            </div>
            {steps.map((one) => (
              <p key={one.system}>
                <strong>
                  {one.system} ({one.file})
                </strong>
                <br />
                {one.steps}
              </p>
            ))}
          </>
        )}
      </Loaded>
    </Dialog>
  );
}

function NewClient({ onClose, onDone }: { onClose: () => void; onDone: () => unknown }) {
  const [name, setName] = useState('');
  const [days, setDays] = useState('365');
  const [old, setOld] = useState(false);
  const [handed, setHanded] = useState<Handed | undefined>(undefined);
  const work = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    void work.run(async () => {
      const made = await call('post', '/certificates/clients', {
        body: { name, days: Number(days), old },
      });
      setHanded(made);
      await onDone();
    });
  };
  if (handed)
    return (
      <Dialog title={`For ${handed.certificate.name}`} onClose={onClose}>
        <Note state="ok">
          <strong>Take both now: the gateway keeps no copy.</strong>
          <span>
            Bring the file to the device, open it there, and type the password. In Firefox: Settings
            → Privacy & Security → Certificates → View Certificates → Your Certificates → Import.
          </span>
        </Note>
        <p>
          Password: <code class="mono">{handed.password}</code>
        </p>
        <div class="buttons end">
          <Button
            kind="primary"
            icon="download"
            onClick={() =>
              download(
                `${handed.certificate.name}.p12`,
                Uint8Array.from(atob(handed.p12), (letter) => letter.charCodeAt(0)),
                'application/x-pkcs12',
              )
            }
          >
            {`${handed.certificate.name}.p12`}
          </Button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title="A certificate for a device" onClose={onClose}>
      <form onSubmit={submit}>
        <p>Services that ask for one let in who has it: a phone, a laptop.</p>
        <Text
          label="Whose it is"
          hint="a-z, 0-9 and -, e.g. anns-phone"
          value={name}
          onChange={setName}
          required
          maxLength={40}
          autofocus
        />
        <Text
          label="Days that it is good"
          hint={`${plural(Number(days) || 0, 'day')}; at most 825`}
          type="number"
          min={1}
          max={825}
          value={days}
          onChange={setDays}
          required
        />
        <Check
          checked={old}
          onChange={setOld}
          label="For a system before Android 12, iOS 16, macOS 13 or Windows 10 1809"
        />
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Issue" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}
