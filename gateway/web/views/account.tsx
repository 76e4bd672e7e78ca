import { useEffect, useState } from 'preact/hooks';
import { type Answer, call } from '../lib/api.ts';
import { type Expiry, expiries, expiryAt } from '../lib/clients.ts';
import { useResource } from '../lib/resource.ts';
import { account, askWho, mayChange } from '../lib/session.ts';
import { browserOf } from '../lib/words.ts';
import { Confirm, Dialog, DialogButtons } from '../ui/dialog.tsx';
import {
  Badge,
  Button,
  Card,
  Choices,
  Loaded,
  Loading,
  Note,
  ProblemNote,
  Select,
  say,
  Text,
  Title,
  useAction,
  When,
} from '../ui/parts.tsx';
import { download } from './vpn-handover.tsx';

type Account = Answer<'get', '/accounts'>['accounts'][number];
type Token = Answer<'get', '/tokens'>['tokens'][number];
type Scope = NonNullable<Token['scopes']>[number];
type Role = Account['role'];

export function AccountView() {
  return (
    <>
      <Title>Account</Title>
      <div class="grid two">
        <Password />
        <SecondFactor />
      </div>
      <Sessions />
      {mayChange.value && <Tokens />}
      {mayChange.value && <Accounts />}
    </>
  );
}

function Password() {
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const work = useAction();
  return (
    <Card title="Password">
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const done = await work.run(() =>
            call('put', '/account/password', { body: { current, next } }),
          );
          if (!done) return;
          setCurrent('');
          setNext('');
          say('The password is changed; other sessions have ended');
        }}
      >
        <input
          type="text"
          class="hidden"
          autocomplete="username"
          value={account.value?.name}
          readOnly
          tabIndex={-1}
          aria-hidden="true"
        />
        <Text
          label="Present password"
          type="password"
          value={current}
          onChange={setCurrent}
          required
          autocomplete="current-password"
        />
        <Text
          label="New password"
          hint="At least 12 characters. It ends all your other sessions."
          type="password"
          value={next}
          onChange={setNext}
          required
          minLength={12}
          autocomplete="new-password"
        />
        <ProblemNote problem={work.problem} />
        <div>
          <Button type="submit" busy={work.busy}>
            Change password
          </Button>
        </div>
      </form>
    </Card>
  );
}

function SecondFactor() {
  const [open, setOpen] = useState<'on' | 'off' | undefined>(undefined);
  const on = account.value?.totp ?? false;
  return (
    <Card
      title="Second factor"
      actions={<Badge state={on ? 'ok' : 'warning'}>{on ? 'On' : 'Off'}</Badge>}
    >
      <p>
        {on
          ? 'Who logs in needs a code of your authenticator app too.'
          : 'A stolen password is enough to log in. With an authenticator app on your phone it is not.'}
      </p>
      <div class="buttons">
        {on ? (
          <Button onClick={() => setOpen('off')}>Turn off</Button>
        ) : (
          <Button kind="primary" icon="phone" onClick={() => setOpen('on')}>
            Set up
          </Button>
        )}
      </div>
      {open === 'on' && <TotpOn onClose={() => setOpen(undefined)} />}
      {open === 'off' && <TotpOff onClose={() => setOpen(undefined)} />}
    </Card>
  );
}

function TotpOn({ onClose }: { onClose: () => void }) {
  // Asked for once: a second secret would take the place of the one that is being typed in.
  const [begun, setBegun] = useState<Answer<'post', '/account/totp'> | undefined>(undefined);
  const begin = useAction();
  useEffect(() => {
    void begin.run(async () => setBegun(await call('post', '/account/totp')));
  }, []);
  const [code, setCode] = useState('');
  const [codes, setCodes] = useState<readonly string[] | undefined>(undefined);
  const work = useAction();
  const end = async () => {
    onClose();
    await askWho();
  };
  if (codes)
    return (
      <Dialog title="Second factor is on" onClose={end}>
        <Note state="warning">
          <strong>Keep these recovery codes; they are shown once.</strong>
          <span>
            Each is good for one login without the app. Print them, or keep them in a password
            manager.
          </span>
        </Note>
        <ul class="grid two mono">
          {codes.map((one) => (
            <li key={one}>{one}</li>
          ))}
        </ul>
        <div class="buttons end">
          <Button
            icon="download"
            onClick={() => download('pi-gateway-recovery-codes.txt', `${codes.join('\n')}\n`)}
          >
            Download
          </Button>
          <Button kind="primary" onClick={end}>
            I have them
          </Button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title="Set up a second factor" onClose={onClose}>
      <ProblemNote problem={begin.problem} />
      {begin.busy && <Loading />}
      {begun && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void work.run(async () => {
              const answer = await call('put', '/account/totp', { body: { code: code.trim() } });
              setCodes(answer.recovery_codes);
            });
          }}
        >
          <p>
            {begun.svg === null
              ? 'Add an account to your authenticator app with the text below'
              : 'Scan this with an authenticator app'}
            , then type the code that it shows.
          </p>
          {begun.svg !== null && (
            <img
              class="qr"
              src={`data:image/svg+xml,${encodeURIComponent(begun.svg)}`}
              alt="QR code for an authenticator app"
              width={260}
              height={260}
            />
          )}
          <p class="small">
            {begun.svg === null ? 'Text: ' : 'No camera? Type this: '}{' '}
            <code>{begun.secret.replace(/(.{4})(?=.)/g, '$1 ')}</code>
          </p>
          <Text
            label="Code"
            hint="Six digits"
            value={code}
            onChange={setCode}
            required
            autofocus
            inputMode="numeric"
            autocomplete="one-time-code"
          />
          <ProblemNote problem={work.problem} />
          <DialogButtons action="Turn it on" busy={work.busy} onClose={onClose} />
        </form>
      )}
    </Dialog>
  );
}

function TotpOff({ onClose }: { onClose: () => void }) {
  const [password, setPassword] = useState('');
  const work = useAction();
  return (
    <Dialog title="Turn the second factor off?" onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          if (!(await work.run(() => call('delete', '/account/totp', { body: { password } }))))
            return;
          say('The second factor is off');
          onClose();
          await askWho();
        }}
      >
        <p>Your password alone is then enough to log in.</p>
        <Text
          label="Password"
          type="password"
          value={password}
          onChange={setPassword}
          required
          autofocus
          autocomplete="current-password"
        />
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Turn off" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}

function Sessions() {
  const sessions = useResource('sessions', () => call('get', '/sessions'));
  const work = useAction();
  return (
    <Card title="Where you are logged in" flush>
      <ProblemNote problem={work.problem} />
      <Loaded of={sessions}>
        {({ sessions: all }) => (
          <ul class="rows">
            {all.map((one) => (
              <li key={one.id}>
                <div class="row">
                  <div class="main">
                    <span class="name">{browserOf(one.client)}</span>
                    <div class="detail">
                      from <span class="mono">{one.address}</span> · used{' '}
                      <When at={one.last_used} /> · ends <When at={one.expires} />
                    </div>
                  </div>
                  {one.current ? (
                    <Badge state="ok">This one</Badge>
                  ) : (
                    <Button
                      busy={work.busy}
                      onClick={() =>
                        work.run(async () => {
                          await call('delete', '/sessions/{id}', { params: { id: one.id } });
                          await sessions.reload();
                        })
                      }
                    >
                      End
                    </Button>
                  )}
                </div>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Card>
  );
}

const tokenKinds = {
  metrics: { title: 'Metrics', detail: 'For Prometheus: reads /metrics', scopes: ['metrics:read'] },
  read: { title: 'Read everything', detail: 'Changes nothing', scopes: undefined },
  vpn: {
    title: 'VPN clients',
    detail: 'Reads and changes them',
    scopes: ['vpn:read', 'vpn:write'],
  },
  all: { title: 'Everything', detail: 'As an admin, but for accounts', scopes: undefined },
} as const satisfies Record<
  string,
  { title: string; detail: string; scopes: readonly Scope[] | undefined }
>;
type TokenKind = keyof typeof tokenKinds;

function Tokens() {
  const tokens = useResource('tokens', () => call('get', '/tokens'));
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Token | undefined>(undefined);
  return (
    <Card
      title="API tokens"
      flush
      actions={
        <Button icon="add" onClick={() => setAdding(true)}>
          Add token
        </Button>
      }
    >
      <Loaded of={tokens}>
        {({ tokens: all }) =>
          all.length === 0 ? (
            <p class="row muted">
              None. Programs use them in place of a password, each with its own limits.
            </p>
          ) : (
            <ul class="rows">
              {all.map((one) => (
                <li key={one.id}>
                  <div class="row">
                    <div class="main">
                      <span class="name">{one.name}</span>
                      <div class="detail">
                        {one.role}, {one.scopes?.join(', ') ?? 'all that the role may'} · used{' '}
                        <When at={one.last_used} /> ·{' '}
                        {one.expires === null ? (
                          'no end'
                        ) : (
                          <>
                            ends <When at={one.expires} />
                          </>
                        )}
                      </div>
                    </div>
                    <Button kind="danger" square icon="trash" onClick={() => setRemoving(one)}>
                      {`End token ${one.name}`}
                    </Button>
                  </div>
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      {adding && <AddToken onClose={() => setAdding(false)} onDone={tokens.reload} />}
      {removing && (
        <Confirm
          title={`End the token ${removing.name}?`}
          action="End it"
          danger
          onClose={() => setRemoving(undefined)}
          run={async () => {
            await call('delete', '/tokens/{id}', { params: { id: removing.id } });
            await tokens.reload();
          }}
        >
          <p>What uses it is refused at once.</p>
        </Confirm>
      )}
    </Card>
  );
}

function AddToken({ onClose, onDone }: { onClose: () => void; onDone: () => Promise<void> }) {
  const [name, setName] = useState('');
  const [kind, setKind] = useState<TokenKind>('metrics');
  const [expiry, setExpiry] = useState<Exclude<Expiry, 'date'>>('year');
  const [token, setToken] = useState<string | undefined>(undefined);
  const work = useAction();
  const add = () =>
    work.run(async () => {
      const { scopes } = tokenKinds[kind];
      const expires = expiryAt(expiry, '', Date.now());
      const answer = await call('post', '/tokens', {
        body: {
          name: name.trim(),
          role: kind === 'metrics' || kind === 'read' ? 'viewer' : 'admin',
          ...(scopes === undefined ? {} : { scopes: [...scopes] }),
          ...(expires === null ? {} : { expires }),
        },
      });
      setToken(answer.token);
      await onDone();
    });
  if (token !== undefined)
    return (
      <Dialog title={`Token ${name}`} onClose={onClose}>
        <Note state="warning">
          <strong>Copy it now: it is shown once.</strong>
        </Note>
        <pre class="diff mono row">{token}</pre>
        <div class="buttons end">
          <Button
            icon="copy"
            onClick={async () => {
              await navigator.clipboard?.writeText(token);
              say('Copied');
            }}
          >
            Copy
          </Button>
          <Button kind="primary" onClick={onClose}>
            I have it
          </Button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title="Add an API token" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <Text
          label="Name"
          hint="What uses it, e.g. prometheus"
          value={name}
          onChange={setName}
          required
          autofocus
          pattern="[a-z][a-z0-9._\-]{0,31}"
          spellcheck={false}
        />
        <Choices
          legend="It may"
          wide
          value={kind}
          onChange={setKind}
          options={Object.entries(tokenKinds).map(([key, { title, detail }]) => ({
            key: key as TokenKind,
            title,
            detail,
          }))}
        />
        <Select
          label="It ends"
          value={expiry}
          options={Object.entries(expiries).flatMap(([key, text]) =>
            key === 'date' ? [] : [[key as Exclude<Expiry, 'date'>, text] as const],
          )}
          onChange={setExpiry}
        />
        <ProblemNote problem={work.problem} />
        <DialogButtons action="Make token" busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}

const roleWords: Record<Role, string> = {
  admin: 'Admin: may change everything',
  viewer: 'Viewer: sees, changes nothing',
};

function Accounts() {
  const accounts = useResource('accounts', () => call('get', '/accounts'));
  const [open, setOpen] = useState<'add' | { change: Account } | { remove: Account } | undefined>(
    undefined,
  );
  const close = () => setOpen(undefined);
  return (
    <Card
      title="Accounts"
      flush
      actions={
        <Button icon="add" onClick={() => setOpen('add')}>
          Add account
        </Button>
      }
    >
      <Loaded of={accounts}>
        {({ accounts: all }) => (
          <ul class="rows">
            {all.map((one) => (
              <li key={one.name}>
                <div class="row">
                  <div class="main">
                    <span class="name">{one.name}</span>
                    <div class="detail">
                      {roleWords[one.role]} · second factor {one.totp ? 'on' : 'off'} · password of{' '}
                      <When at={one.password_changed} />
                    </div>
                  </div>
                  {one.name === account.value?.name ? (
                    <Badge state="ok">You</Badge>
                  ) : (
                    <>
                      <Button square icon="edit" onClick={() => setOpen({ change: one })}>
                        {`Change ${one.name}`}
                      </Button>
                      <Button
                        kind="danger"
                        square
                        icon="trash"
                        onClick={() => setOpen({ remove: one })}
                      >
                        {`Remove ${one.name}`}
                      </Button>
                    </>
                  )}
                </div>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
      {open === 'add' && <EditAccount onClose={close} onDone={accounts.reload} />}
      {typeof open === 'object' && 'change' in open && (
        <EditAccount of={open.change} onClose={close} onDone={accounts.reload} />
      )}
      {typeof open === 'object' && 'remove' in open && (
        <Confirm
          title={`Remove ${open.remove.name}?`}
          action="Remove"
          danger
          onClose={close}
          run={async () => {
            await call('delete', '/accounts/{name}', { params: { name: open.remove.name } });
            await accounts.reload();
          }}
        >
          <p>Its sessions and tokens end with it.</p>
        </Confirm>
      )}
    </Card>
  );
}

function EditAccount({
  of,
  onClose,
  onDone,
}: {
  of?: Account;
  onClose: () => void;
  onDone: () => Promise<void>;
}) {
  const [name, setName] = useState(of?.name ?? '');
  const [role, setRole] = useState<Role>(of?.role ?? 'viewer');
  const [password, setPassword] = useState('');
  const [factor, setFactor] = useState(true);
  const work = useAction();
  const save = () =>
    work.run(async () => {
      if (of)
        await call('patch', '/accounts/{name}', {
          params: { name: of.name },
          body: {
            role,
            ...(password === '' ? {} : { password }),
            ...(of.totp && !factor ? { totp: false as const } : {}),
          },
        });
      else await call('post', '/accounts', { body: { name: name.trim(), role, password } });
      await onDone();
      onClose();
    });
  return (
    <Dialog title={of ? `Change ${of.name}` : 'Add an account'} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        {!of && (
          <Text
            label="Name"
            hint="Lower-case letters, digits, dot and hyphen"
            value={name}
            onChange={setName}
            required
            autofocus
            pattern="[a-z][a-z0-9._\-]{0,31}"
            spellcheck={false}
          />
        )}
        <Choices
          legend="Role"
          wide
          value={role}
          onChange={setRole}
          options={[
            {
              key: 'viewer',
              title: 'Viewer',
              detail: 'Sees all but logs, configuration and accounts; changes nothing',
            },
            { key: 'admin', title: 'Admin', detail: 'May change everything' },
          ]}
        />
        <Text
          label={of ? 'New password' : 'Password'}
          hint={of ? 'Empty: it stays. A change ends its sessions.' : 'At least 12 characters'}
          type="password"
          value={password}
          onChange={setPassword}
          {...(of ? {} : { required: true })}
          minLength={12}
          autocomplete="new-password"
        />
        {of?.totp && (
          <Choices
            legend="Second factor"
            value={factor ? 'stays' : 'off'}
            onChange={(value) => setFactor(value === 'stays')}
            options={[
              { key: 'stays', title: 'Stays on' },
              { key: 'off', title: 'Turn off', detail: 'The phone was lost' },
            ]}
          />
        )}
        <ProblemNote problem={work.problem} />
        <DialogButtons action={of ? 'Save' : 'Add account'} busy={work.busy} onClose={onClose} />
      </form>
    </Dialog>
  );
}
