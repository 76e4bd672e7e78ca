import * as z from 'zod';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { needProxy, readProxyFacts } from '../proxy/facts.ts';
import { certificatesUnit } from '../proxy/unit.ts';
import {
  currentServers,
  issueClient,
  issueServer,
  namesIn,
  newPassword,
  revoke,
  signRequest,
} from './issue.ts';
import { allIssued, certificateName, type Issued, keyFileOf, withCaLock } from './store.ts';
import { readTrust, trustSteps } from './trust.ts';
import { ownName, publicPaths } from './urls.ts';
import {
  type CertificateList,
  type CertificateView,
  certificate,
  certificateList,
  handedClient,
  newClient,
  newServer,
  newSigned,
  revocation,
  serial,
  trust,
} from './view.ts';

const none = z.strictObject({});
const day = 86_400_000;

/** Days before its end from which on it is shown as ending. */
const soon = 14;

/** Milliseconds for what follows: the proxy's reload, the lists. */
const patience = 110_000;

export const certificateVerbs = {
  'certificate.list': defineVerb({
    summary: 'Lists certificates that the CA has issued',
    args: z.strictObject({ all: z.boolean().default(false) }),
    result: certificateList,
    changes: false,
    run: (system, { all }) => listCertificates(system, all),
  }),
  'certificate.trust': defineVerb({
    summary: "Reads the CA's root and how devices come to trust it",
    args: none,
    result: trust,
    changes: false,
    run: async (system) => {
      const { name, fingerprint, notAfter, pem, mobileconfig } = await readTrust(system);
      return {
        name,
        fingerprint,
        not_after: notAfter,
        pem,
        mobileconfig,
        url: await trustUrl(system),
        steps: trustSteps.map(({ system: which, file, steps }) => ({
          system: which,
          file: file === 'profile' ? 'root.mobileconfig' : 'root.crt',
          steps,
        })),
      };
    },
  }),
  'certificate.issue': defineVerb({
    summary: 'Issues a certificate with a key, for a server in your networks',
    args: newServer,
    result: certificate,
    changes: true,
    run: async (system, { name, names }) => {
      await needProxy(system);
      const wanted = { name: refuseProxys(name), purpose: 'owner' as const, ...namesIn(names) };
      const one = await withCaLock(system, async () => {
        refuseTwin(await allIssued(system), name);
        return await issueServer(system, wanted, Date.now());
      });
      await follow(system);
      return viewOf(one, undefined, Date.now());
    },
  }),
  'certificate.sign': defineVerb({
    summary: "Issues a certificate by a server's own request",
    args: newSigned,
    result: z.object({ certificate, pem: z.string() }),
    changes: true,
    audited: ({ name, names, days }) => ({ name, names, days }),
    run: async (system, { name, names, request, days }) => {
      await needProxy(system);
      const wanted = { name: refuseProxys(name), purpose: 'owner' as const, ...namesIn(names) };
      const { issued, pem } = await withCaLock(system, () =>
        signRequest(system, { ...wanted, request, days }, Date.now()),
      );
      await follow(system);
      return { certificate: viewOf(issued, undefined, Date.now()), pem };
    },
  }),
  'certificate.client': defineVerb({
    summary: "Issues a certificate for a person's device",
    args: newClient,
    result: handedClient,
    changes: true,
    audited: ({ name, days }) => ({ name, days }),
    run: async (system, { name, days, password = newPassword(), old }) => {
      await needProxy(system);
      const { issued, p12 } = await withCaLock(system, () =>
        issueClient(system, { name, days, password, old }, Date.now()),
      );
      await follow(system);
      return {
        certificate: viewOf(issued, undefined, Date.now()),
        password,
        p12: p12.toString('base64'),
      };
    },
  }),
  'certificate.renew': defineVerb({
    summary: 'Renews a certificate now, with a new key',
    args: z.strictObject({ name: certificateName }),
    result: certificate,
    changes: true,
    run: async (system, { name }) => {
      await needProxy(system);
      const one = await withCaLock(system, async () =>
        issueServer(system, await serverOf(system, name), Date.now()),
      );
      await follow(system, true);
      return viewOf(one, undefined, Date.now());
    },
  }),
  'certificate.revoke': defineVerb({
    summary: 'Revokes a certificate',
    args: z.strictObject({ serial, ...revocation.shape }),
    result: certificate,
    changes: true,
    run: async (system, { serial: which, reason }) => {
      await needProxy(system);
      const one = await withCaLock(system, () => revoke(system, which, reason, Date.now()));
      // Until the proxy has the list, who has the certificate is let in.
      await follow(system, true);
      return viewOf(one, undefined, Date.now());
    },
  }),
  'certificate.export': defineVerb({
    summary: "Reads a server's certificate with its key",
    args: z.strictObject({ name: certificateName }),
    result: z.object({ pem: z.string() }),
    // It hands out a key: it is in the audit log.
    changes: true,
    run: async (system, { name }) => {
      await needProxy(system);
      await serverOf(system, name);
      const pem = await readIfThere(at(system, keyFileOf(name)));
      if (pem === undefined)
        throw new GatewayError(
          `The key of ${name} is not there`,
          `Have a new one: sudo pi-gateway certificate renew ${name}`,
          'missing',
        );
      return { pem };
    },
  }),
} as const;

/** Names that the proxy gives to its own. */
function refuseProxys(name: string): string {
  if (name.startsWith('proxy-'))
    throw new GatewayError(
      `Names that begin with 'proxy-' are the proxy's`,
      'Take another one',
      'refused',
    );
  return name;
}

function refuseTwin(issued: readonly Issued[], name: string): void {
  const there = currentServers(issued).get(name);
  if (there && !there.revoked && Date.parse(there.not_after) > Date.now())
    throw new GatewayError(
      `There is a certificate ${name} already, until ${there.not_after.slice(0, 10)}`,
      `Take another name; or end that one first: sudo pi-gateway certificate revoke ${there.serial}`,
      'conflict',
    );
}

async function serverOf(system: System, name: string): Promise<Issued> {
  const one = currentServers(await allIssued(system)).get(name);
  if (!one || one.revoked)
    throw new GatewayError(
      `There is no certificate ${name} whose key the gateway has`,
      'See which there are: sudo pi-gateway certificate list',
      'missing',
    );
  return one;
}

/** Lets the proxy, the lists and monitoring know; whoever waits knows that they do. */
async function follow(system: System, waits = false): Promise<void> {
  // Not `start`: one that runs already may have begun before this. It may be cut off anywhere.
  await system.run('systemctl', ['restart', ...(waits ? [] : ['--no-block']), certificatesUnit], {
    timeout: patience,
  });
}

async function trustUrl(system: System): Promise<string | null> {
  return (await readProxyFacts(system))
    ? `http://${await ownName(system)}${publicPaths.page}`
    : null;
}

async function listCertificates(system: System, all: boolean): Promise<CertificateList> {
  if (!(await readProxyFacts(system)))
    return { available: false, root: null, trust_url: null, certificates: [] };
  const issued = await allIssued(system);
  const current = currentServers(issued);
  const { name, fingerprint, notAfter } = await readTrust(system);
  const certificates = issued
    .map((one) => viewOf(one, current.get(one.name), Date.now()))
    .filter(({ state }) => all || (state !== 'replaced' && state !== 'over'));
  return {
    available: true,
    root: { name, fingerprint, not_after: notAfter },
    trust_url: await trustUrl(system),
    certificates,
  };
}

/** @param current what counts of a server's name, if that is known to be another. */
function viewOf(one: Issued, current: Issued | undefined, now: number): CertificateView {
  const left = Date.parse(one.not_after) - now;
  const state = one.revoked
    ? 'revoked'
    : one.kind === 'server' && current && current.serial !== one.serial
      ? 'replaced'
      : left <= 0
        ? 'over'
        : left < soon * day
          ? 'ending'
          : 'good';
  return {
    serial: one.serial,
    kind: one.kind,
    name: one.name,
    purpose: one.purpose,
    names: [...one.dns, ...one.addresses],
    not_before: one.not_before,
    not_after: one.not_after,
    state,
    renewed: one.kind === 'server' && state !== 'revoked' && state !== 'replaced',
    revoked: one.revoked,
  };
}
