import { useState } from 'preact/hooks';
import { call } from '../lib/api.ts';
import { enter } from '../lib/session.ts';
import { Logo } from '../ui/icon.tsx';
import { Button, Note, ProblemNote, Text, useAction } from '../ui/parts.tsx';

function Gate({ title, children }: { title: string; children: preact.ComponentChildren }) {
  return (
    <main class="gate">
      <div class="card">
        <span class="brand">
          <Logo />
          Pi Gateway
        </span>
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}

/** The first account, for whoever holds the device: the claim code is on its boot partition and console. */
export function ClaimView() {
  const [code, setCode] = useState('');
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const work = useAction();
  const short = password.length > 0 && password.length < 12;
  return (
    <Gate title="Make this gateway yours">
      <p class="muted">
        Nobody owns it yet. The claim code is in <code>gateway-status.txt</code> on the boot
        partition of the card, and on the console.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void work.run(async () =>
            enter(
              await call('post', '/claim', {
                body: { code: code.trim(), name: name.trim(), password },
              }),
            ),
          );
        }}
      >
        <Text
          label="Claim code"
          value={code}
          onChange={setCode}
          required
          autofocus
          spellcheck={false}
        />
        <Text
          label="Your account's name"
          hint="Lower-case letters, digits, dot and hyphen; a letter first"
          value={name}
          onChange={setName}
          required
          autocomplete="username"
          pattern="[a-z][a-z0-9._\-]{0,31}"
          spellcheck={false}
        />
        <Text
          label="Password"
          hint="At least 12 characters. Four or five random words are easy to type on a phone."
          wrong={short ? `${12 - password.length} more characters` : undefined}
          type="password"
          value={password}
          onChange={setPassword}
          required
          minLength={12}
          autocomplete="new-password"
        />
        <ProblemNote problem={work.problem} />
        <Button type="submit" kind="primary" busy={work.busy}>
          Make it mine
        </Button>
      </form>
    </Gate>
  );
}

export function LoginView() {
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [code, setCode] = useState<string | undefined>(undefined);
  const work = useAction();
  const logIn = () =>
    work.run(async () => {
      const answer = await call('post', '/session', {
        body: { name: name.trim(), password, ...(code === undefined ? {} : { code: code.trim() }) },
      });
      if (answer.code_needed) setCode('');
      else enter(answer);
    });
  return (
    <Gate title="Log in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void logIn();
        }}
      >
        {code === undefined ? (
          <>
            <Text
              label="Name"
              value={name}
              onChange={setName}
              required
              autofocus
              autocomplete="username"
              spellcheck={false}
            />
            <Text
              label="Password"
              type="password"
              value={password}
              onChange={setPassword}
              required
              autocomplete="current-password"
            />
          </>
        ) : (
          <>
            <Text
              key="code"
              label="Code of your authenticator app"
              hint="Six digits. Without the app, one of your recovery codes."
              value={code}
              onChange={setCode}
              required
              autofocus
              autocomplete="one-time-code"
              inputMode="text"
              spellcheck={false}
            />
            <Note>The password is right. One step is left.</Note>
          </>
        )}
        <ProblemNote problem={work.problem} />
        <div class="buttons">
          {code !== undefined && <Button onClick={() => setCode(undefined)}>Back</Button>}
          <Button type="submit" kind="primary" busy={work.busy}>
            {code === undefined ? 'Log in' : 'Check the code'}
          </Button>
        </div>
      </form>
      <details class="small muted">
        <summary>Password forgotten, or the phone lost?</summary>
        <p>
          On the gateway, over SSH: <code>sudo pi-gateway account password NAME</code> sets another
          password, <code>sudo pi-gateway account totp-off NAME</code> takes the second factor away.
        </p>
      </details>
    </Gate>
  );
}
