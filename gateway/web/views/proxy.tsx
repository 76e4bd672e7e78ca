import { useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
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
  ProblemNote,
  say,
  Text,
  useAction,
  When,
} from '../ui/parts.tsx';

type Site = Answer<'get', '/proxy'>['sites'][number];

/** What is found by name, and where it leads. */
export function ProxyCard() {
  const proxy = useResource('proxy', () => call('get', '/proxy'), { every: 60, area: 'proxy' });
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Site | undefined>(undefined);
  return (
    <>
      <Loaded of={proxy}>
        {({ sites }) => (
          <Card
            title="Found by name"
            flush
            actions={
              mayChange.value && (
                <Button icon="add" onClick={() => setAdding(true)}>
                  Add
                </Button>
              )
            }
          >
            {sites.length === 0 ? (
              <Empty icon="globe">
                <p>No service has a name yet.</p>
              </Empty>
            ) : (
              <ul class="rows">
                {sites.map((one) => (
                  <li key={one.name}>
                    <Row of={one} onRemove={() => setRemoving(one)} />
                  </li>
                ))}
              </ul>
            )}
          </Card>
        )}
      </Loaded>
      {adding && <NewService onClose={() => setAdding(false)} onDone={() => proxy.reload()} />}
      {removing && (
        <Confirm
          title={`Serve ${removing.name} no more?`}
          action="Remove"
          danger
          onClose={() => setRemoving(undefined)}
          run={async () => {
            await call('delete', '/proxy/services/{name}', { params: { name: removing.name } });
            say(`Removed: ${removing.name}`);
            await proxy.reload();
          }}
        >
          <p>Its name is gone from the network; the service itself goes on.</p>
        </Confirm>
      )}
    </>
  );
}

const clients = ({ mtls }: Site) =>
  mtls === false
    ? ''
    : ` · for ${mtls === true ? 'clients with a certificate' : mtls.join(', ')} alone`;

function Row({ of, onRemove }: { of: Site; onRemove: () => void }) {
  const problem = of.certificates.find((one) => one.problem !== null)?.problem;
  const missing = of.certificates.some(({ not_after }) => not_after === null);
  return (
    <div class="row">
      <div class="main">
        <span class="name">{of.name}</span>
        {of.urls.map((url) => (
          <div class="detail" key={url}>
            <a href={url} rel="noreferrer" target="_blank">
              {url}
            </a>
          </div>
        ))}
        <div class="detail">
          <span class="mono">{of.to}</span> · {of.zones.join(' and ')}
          {clients(of)}
        </div>
        <div class="detail">
          {problem ??
            (missing ? (
              'Its certificate is being made'
            ) : (
              <>
                certificate until <When at={of.certificates[0]?.not_after ?? null} />
              </>
            ))}
        </div>
      </div>
      <Badge state={problem ? 'failed' : missing ? 'warning' : 'ok'}>
        {problem ? 'No certificate' : missing ? 'Starts' : 'Served'}
      </Badge>
      {mayChange.value && of.origin === 'settings' && (
        <Button square icon="trash" onClick={onRemove}>
          {`Remove ${of.name}`}
        </Button>
      )}
    </div>
  );
}

function NewService({ onClose, onDone }: { onClose: () => void; onDone: () => unknown }) {
  const [name, setName] = useState('');
  const [to, setTo] = useState('');
  const [vpn, setVpn] = useState(false);
  const [mtls, setMtls] = useState(false);
  const work = useAction();
  const submit = async (event: Event) => {
    event.preventDefault();
    const isDone = await work.run(async () => {
      await call('post', '/proxy/services', {
        body: { name, to, mtls, ...(vpn ? { zones: ['vpn'] } : {}) },
      });
      say(`https://${name}.home.arpa/ is served`);
      await onDone();
    });
    if (isDone) onClose();
  };
  return (
    <Dialog title="A service by name" onClose={onClose}>
      <form onSubmit={submit}>
        <Text
          label="Name"
          hint={`It is found at https://${name || 'NAME'}.home.arpa/`}
          value={name}
          onChange={setName}
          required
          maxLength={40}
          autofocus
        />
        <Text
          label="Where it is"
          hint="http:// or https://, an address and a port: 127.0.0.1:3000 for one on the gateway"
          value={to}
          onChange={setTo}
          required
        />
        <Check checked={vpn} onChange={setVpn} label="For the VPN alone, not for the lan" />
        <Check
          checked={mtls}
          onChange={setMtls}
          label="Only for devices with a certificate of this gateway"
        />
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Add" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}
